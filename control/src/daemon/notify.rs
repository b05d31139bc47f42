//! Tells whoever started adit how it is, in the protocol of systemd (`sd_notify(3)`): words in a
//! datagram to the socket that `NOTIFY_SOCKET` names. Where nobody asked, nothing is said.

use std::env;
use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// See the module's documentation.
pub(super) struct Notifier {
    to: Option<(UnixDatagram, SocketAddr)>,
    /// How often life shall be shown: twice in the time that systemd waits.
    watchdog: Option<Duration>,
    shown: Option<Instant>,
}

impl Notifier {
    /// As the environment has it.
    pub(super) fn of_environment() -> Notifier {
        let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
        // Another process may be meant, if this one's parent passed its environment on.
        let is_meant = number("WATCHDOG_PID").is_none_or(|id| id == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|_| is_meant);
        Notifier {
            to: env::var_os("NOTIFY_SOCKET").and_then(open),
            watchdog: watchdog.map(|micros| Duration::from_micros(micros / 2)),
            shown: None,
        }
    }

    /// It works.
    pub(super) fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={status}"));
    }

    /// A reload begins; `ready` ends it.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// It ends.
    pub(super) fn stopping(&self) {
        self.say("STOPPING=1");
    }

    /// It lives, if somebody wants to know so often.
    pub(super) fn live(&mut self, now: Instant) {
        let Some(period) = self.watchdog else { return };
        if self.shown.is_none_or(|then| now.duration_since(then) >= period) {
            self.shown = Some(now);
            self.say("WATCHDOG=1");
        }
    }

    fn say(&self, words: &str) {
        if let Some((socket, to)) = &self.to {
            // Nobody may listen any more: then there is nobody to tell that, either.
            let _ = socket.send_to_addr(words.as_bytes(), to);
        }
    }
}

/// The address may be a path, or a name without a file, which begins with `@`.
fn open(name: OsString) -> Option<(UnixDatagram, SocketAddr)> {
    let to = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok()?,
        [b'/', ..] => SocketAddr::from_pathname(name).ok()?,
        _ => return None,
    };
    let socket = UnixDatagram::unbound().ok()?;
    // A listener that does not read must not stop a reload.
    socket.set_nonblocking(true).ok()?;
    Some((socket, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn life_is_shown_twice_in_the_time_that_is_waited() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut notifier = Notifier {
            to: open(path.into_os_string()),
            watchdog: Some(Duration::from_secs(5)),
            shown: None,
        };
        let mut heard = |after: u64, begin: Instant| {
            notifier.live(begin + Duration::from_secs(after));
            let mut words = [0; 64];
            listener.recv(&mut words).map(|length| words[..length].to_vec()).ok()
        };
        let begin = Instant::now();
        let alive = Some(b"WATCHDOG=1".to_vec());
        let heard: Vec<_> = [0, 4, 5, 6, 10].map(|after| heard(after, begin)).into();
        assert_eq!(heard, [alive.clone(), None, alive.clone(), None, alive]);
    }

    #[test]
    fn addresses_that_are_none_are_no_addresses() {
        for name in ["", "vsock:2:1234", "relative"] {
            assert!(open(name.into()).is_none(), "{name}");
        }
        assert!(open("@adit-abstract".into()).is_some());
    }
}
