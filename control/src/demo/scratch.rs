//! A directory for the demo's files that goes away with its handle.
//!
//! Only its owner may look inside, since the control socket lies there.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Names tried; all are taken only by directories of killed demos with the same process id.
const ATTEMPTS: u32 = 100;

/// An open directory; dropping it removes it with everything inside.
pub(super) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes an empty directory among the system's temporary ones.
    pub(super) fn create() -> io::Result<Scratch> {
        let base = base()?;
        let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
        for attempt in 0..ATTEMPTS {
            let path = base.join(format!("{}{attempt}", prefix()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Scratch { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
                Err(error) => {
                    let words = format!("create {}: {error}", path.display());
                    return Err(io::Error::new(error.kind(), words));
                }
            }
        }
        Err(last)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Directories of this process that are still there.
pub(super) fn left() -> io::Result<Vec<PathBuf>> {
    let mut left = Vec::new();
    for entry in fs::read_dir(base()?)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&prefix()) {
            left.push(entry.path());
        }
    }
    Ok(left)
}

fn base() -> io::Result<PathBuf> {
    std::path::absolute(std::env::temp_dir())
}

fn prefix() -> String {
    format!("adit-demo-{}-", std::process::id())
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // If it is gone already, somebody else has cleaned up.
        let _ = fs::remove_dir_all(&self.path);
    }
}
