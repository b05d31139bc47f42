//! One network namespace: made, entered by threads and children, gone with its last handle.
//!
//! Promise: no name is left in the file system (nothing like `ip netns add`): a namespace is an
//! open descriptor, so it ends with the process even if that is killed. Threads that enter it are
//! threads of this module, never the caller's, unless the caller asks for just that.
//!
//! A socket belongs for ever to the namespace of the thread that opened it, and a new thread
//! starts in the namespace of the one that started it. So a server may be bound inside
//! [`Namespace::run`] and be served anywhere, and threads started inside `run` stay inside.
//!
//! The kernel keeps a namespace while a thread, a descriptor or an open socket refers to it, and
//! removes its devices some milliseconds after the last is gone.

use std::ffi::OsStr;
use std::fs;
use std::fs::File;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::thread::JoinHandle;

use crate::error::{Context, LabError};
use crate::netlink::{Message, Netlink};
use crate::sandbox;
use crate::sandbox::Privilege;
use crate::sys;

/// The namespace of the thread that opens this file.
const OWN_NAMESPACE: &str = "/proc/thread-self/ns/net";

/// A handle on a network namespace. Clones are handles on the same one.
#[derive(Clone)]
pub struct Namespace {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    descriptor: OwnedFd,
    netlink: Mutex<Netlink>,
    /// Any socket will do for ioctls on devices; it must have been opened inside.
    control: UdpSocket,
}

impl std::fmt::Debug for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Namespace({})", self.name())
    }
}

impl Namespace {
    /// Creates an empty namespace: `lo` is up, IPv6 is off where the kernel lets us, so that
    /// captures and counters show only packets that somebody meant to send.
    ///
    /// The name is for error messages only and need not be unique.
    ///
    /// # Errors
    /// When the process lacks the right, see [`sandbox::enter`], or the limit of namespaces or
    /// descriptors is reached.
    pub fn create(name: &str) -> Result<Self, LabError> {
        thread::scope(|scope| {
            let helper = thread::Builder::new().name(format!("lab-{name}"));
            let made = helper.spawn_scoped(scope, || {
                sys::unshare_network()?;
                sys::raise_loopback()?;
                // Best effort: /proc/sys is read-only in some containers.
                let _ = disable_ipv6_here();
                Self::of_this_thread(name)
            })?;
            made.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
        .context("create namespace", || name.to_string())
    }

    /// The namespace that the calling thread is in.
    ///
    /// # Errors
    /// When /proc is not mounted or descriptors have run out.
    pub fn current() -> Result<Self, LabError> {
        Self::of_this_thread("current").context("open namespace", || OWN_NAMESPACE.into())
    }

    fn of_this_thread(name: &str) -> io::Result<Self> {
        let inner = Inner {
            name: name.to_string(),
            descriptor: File::open(OWN_NAMESPACE)?.into(),
            netlink: Mutex::new(Netlink::open()?),
            control: UdpSocket::bind("0.0.0.0:0")?,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Switches IPv6 on for all its devices. They still have no addresses of their own making.
    ///
    /// # Errors
    /// When /proc/sys is read-only, or the kernel has no IPv6.
    pub fn enable_ipv6(&self) -> Result<(), LabError> {
        let switch = || switch_ipv6_here("0");
        self.run(switch)?.context("enable IPv6 in", || self.name().to_string())
    }

    /// The name given at creation.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Runs `work` on a new thread inside the namespace and returns what it returns. A panic of
    /// `work` goes on in the caller.
    ///
    /// # Errors
    /// When the thread cannot be started or may not enter.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        thread::scope(|scope| {
            let inside = thread::Builder::new().name(format!("lab-{}", self.name()));
            let inside = inside.spawn_scoped(scope, || {
                sys::set_network(self.as_fd())?;
                Ok(work())
            })?;
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
        .context("enter namespace", || self.name().to_string())
    }

    /// Starts a thread inside the namespace that lives on after this call.
    ///
    /// # Errors
    /// When the thread cannot be started or may not enter.
    pub fn spawn<T: Send + 'static>(
        &self,
        thread_name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, LabError> {
        // The new thread inherits the namespace of the one that starts it.
        self.run(|| thread::Builder::new().name(thread_name.to_string()).spawn(work))?
            .context("start thread", || thread_name.to_string())
    }

    /// Moves the calling thread into the namespace for the rest of its life, and with it the
    /// threads that it starts from then on.
    ///
    /// # Errors
    /// When the process may not enter.
    pub fn enter_thread(&self) -> Result<(), LabError> {
        sys::set_network(self.as_fd()).context("enter namespace", || self.name().to_string())
    }

    /// A command whose process will run inside the namespace. Start it by its own methods, or by
    /// [`crate::Process::start`] so that it ends with its handle.
    ///
    /// # Errors
    /// When descriptors have run out.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Result<Command, LabError> {
        let descriptor = self.inner.descriptor.try_clone();
        let descriptor = descriptor.context("open namespace", || self.name().to_string())?;
        let mut command = Command::new(program);
        sys::enter_before_exec(&mut command, descriptor);
        Ok(command)
    }

    /// A path by which another process can open the namespace, valid while this handle lives.
    pub fn path(&self) -> PathBuf {
        let (pid, fd) = (std::process::id(), self.inner.descriptor.as_raw_fd());
        PathBuf::from(format!("/proc/{pid}/fd/{fd}"))
    }

    /// The shell command by which a person enters the namespace by hand, from another terminal
    /// of the same user.
    pub fn enter_command(&self) -> String {
        let (pid, path) = (std::process::id(), self.path());
        let net = format!("--net={}", path.display());
        match sandbox::entered() {
            Some(Privilege::UserNamespace) => {
                format!("nsenter --target {pid} --user --preserve-credentials {net}")
            }
            Some(Privilege::Root) | None => format!("nsenter {net}"),
        }
    }

    /// Writes a network setting: `set_sysctl("ipv4/ip_forward", "1")`.
    ///
    /// # Errors
    /// When the kernel has no such setting, or /proc/sys is read-only as in some containers.
    pub fn set_sysctl(&self, setting: &str, value: &str) -> Result<(), LabError> {
        let path = format!("/proc/sys/net/{setting}");
        self.run(|| fs::write(&path, value))?
            .context("write", || format!("{path} in {}", self.name()))
    }

    /// Reads a network setting, without its line end.
    ///
    /// # Errors
    /// When the kernel has no such setting.
    pub fn sysctl(&self, setting: &str) -> Result<String, LabError> {
        let path = format!("/proc/sys/net/{setting}");
        let text = self.run(|| fs::read_to_string(&path))?;
        Ok(text.context("read", || format!("{path} in {}", self.name()))?.trim_end().to_string())
    }

    pub(crate) fn request(&self, message: Message) -> io::Result<Vec<Vec<u8>>> {
        // A panic while it was held cannot have left it half changed: it only counts requests.
        self.inner.netlink.lock().unwrap_or_else(PoisonError::into_inner).request(message)
    }

    pub(crate) fn control(&self) -> BorrowedFd<'_> {
        self.inner.control.as_fd()
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.descriptor.as_fd()
    }
}

/// Turns IPv6 off in the namespace of the calling thread, for present and future devices. Paths
/// under /proc/sys/net lead to the settings of the namespace of the thread that opens them.
pub(crate) fn disable_ipv6_here() -> io::Result<()> {
    switch_ipv6_here("1")
}

fn switch_ipv6_here(off: &str) -> io::Result<()> {
    for scope in ["all", "default"] {
        fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), off)?;
    }
    Ok(())
}
