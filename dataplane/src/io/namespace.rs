//! Opening something inside another network namespace.
//!
//! A socket belongs for ever to the namespace of the thread that opened it. So a thread that lives
//! for this one purpose enters the namespace, opens, and ends; the caller's thread stays where it
//! is, whatever happens.

use std::fs::File;
use std::os::fd::AsFd;
use std::thread;

use super::{Fail, failed, sys};
use crate::device::DeviceError;

/// Runs `open` inside the network namespace at `path`, or here if there is none.
///
/// # Errors
/// The namespace cannot be opened or entered, or `open` fails.
pub(super) fn inside<T: Send>(
    path: Option<&str>,
    open: impl FnOnce() -> Result<T, DeviceError> + Send,
) -> Result<T, DeviceError> {
    let Some(path) = path else { return open() };
    let error = |error: std::io::Error| error.raw_os_error().unwrap_or(libc::EIO);
    let namespace = File::open(path).map_err(error).fail("open the network namespace")?;
    thread::scope(|scope| {
        let enter = || {
            sys::enter_network_namespace(namespace.as_fd()).fail("enter the network namespace")?;
            open()
        };
        let helper = thread::Builder::new().name("adit-namespace".into());
        let helper = helper.spawn_scoped(scope, enter).map_err(error);
        let helper = helper.fail("start a thread for the network namespace")?;
        // `open` only makes system calls; were it to panic, the device is as good as missing.
        helper.join().unwrap_or(Err(failed("work inside the network namespace")(libc::EIO)))
    })
}
