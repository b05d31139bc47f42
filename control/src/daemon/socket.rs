//! The control socket's place in the file system: nobody else's, from the first moment, and gone in
//! the end.
//!
//! A lock file beside the socket says which process owns the path. The kernel drops the lock with
//! the process however it ends, so a socket without a lock is stale and is replaced, and two
//! processes that start together cannot both win.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};

use super::{DaemonError, log};

/// Clients that may wait to be accepted.
const BACKLOG: i32 = 64;

/// The bound socket; its file goes with it.
pub(super) struct ControlSocket {
    path: PathBuf,
    listener: UnixListener,
    /// Given up last, when the socket is gone.
    _lock: Lock,
}

impl ControlSocket {
    /// Binds the socket; makes its directory if it is the default one.
    pub(super) fn bind(path: &Path, is_default: bool) -> Result<ControlSocket, DaemonError> {
        if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
            let cure = "create the directory, or set adit.control_socket";
            if !is_default {
                let problem = format!("{} does not exist", parent.display());
                return Err(DaemonError::new(problem, cure));
            }
            let made = DirBuilder::new().recursive(true).mode(0o755).create(parent);
            made.map_err(|error| failed(parent, &error))?;
        }
        let lock = Lock::take(path)?;
        clear(path)?;
        let listener = bind_private(path).map_err(|error| failed(path, &error))?;
        Ok(ControlSocket { path: path.to_owned(), listener, _lock: lock })
    }

    /// The socket, to accept clients from.
    pub(super) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            log(format_args!("{} cannot be removed: {error}", self.path.display()));
        }
    }
}

fn failed(path: &Path, error: &io::Error) -> DaemonError {
    let problem = format!("the control socket {} cannot be made: {error}", path.display());
    let cure = match error.kind() {
        io::ErrorKind::PermissionDenied => "run as root, or set adit.control_socket",
        _ => "set adit.control_socket to a path where a file can be made",
    };
    DaemonError::new(problem, cure)
}

/// A socket that only its owner may connect to. The mode is set before there is a file: the kernel
/// gives the file the mode of the socket.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let flags = SocketFlags::CLOEXEC;
    let socket: OwnedFd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
}

/// Removes what a dead process left at `path`.
fn clear(path: &Path) -> Result<(), DaemonError> {
    let shown = path.display();
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(path, &error)),
    };
    if !metadata.file_type().is_socket() {
        let cure = "remove it, or set adit.control_socket to another path";
        return Err(DaemonError::new(format!("{shown} exists and is no socket"), cure));
    }
    if UnixStream::connect(path).is_ok() {
        let cure = "stop that program, or set adit.control_socket to another path";
        return Err(DaemonError::new(format!("another program serves {shown}"), cure));
    }
    fs::remove_file(path).map_err(|error| failed(path, &error))
}

/// Ownership of a socket's path.
struct Lock {
    path: PathBuf,
    /// Holds the lock for as long as it is open.
    _file: File,
}

impl Lock {
    fn take(socket: &Path) -> Result<Lock, DaemonError> {
        let mut path = socket.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        loop {
            let mut open = OpenOptions::new();
            open.read(true).write(true).create(true).truncate(false).mode(0o600);
            let mut file = open.open(&path).map_err(|error| failed(socket, &error))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(taken(socket, &mut file)),
                Err(TryLockError::Error(error)) => return Err(failed(socket, &error)),
            }
            // The owner before may have removed the file between the two calls.
            let same = |opened: fs::Metadata, named: fs::Metadata| {
                (opened.dev(), opened.ino()) == (named.dev(), named.ino())
            };
            let opened = file.metadata().map_err(|error| failed(socket, &error))?;
            if fs::metadata(&path).is_ok_and(|named| same(opened, named)) {
                let written =
                    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
                written.map_err(|error| failed(socket, &error))?;
                return Ok(Lock { path, _file: file });
            }
        }
    }
}

impl Drop for Lock {
    /// Removes the file while its lock is still held.
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            log(format_args!("{} cannot be removed: {error}", self.path.display()));
        }
    }
}

fn taken(socket: &Path, file: &mut File) -> DaemonError {
    let mut owner = String::new();
    let read = file.take(20).read_to_string(&mut owner);
    let who = match (read, owner.trim().parse::<u32>()) {
        (Ok(_), Ok(pid)) => format!("adit with process id {pid}"),
        _ => "another adit".to_owned(),
    };
    let problem = format!("{who} serves {} already", socket.display());
    DaemonError::new(problem, "stop it, or set adit.control_socket to another path")
}
