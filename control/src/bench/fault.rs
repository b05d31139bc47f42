//! What goes wrong with a connection or a datagram, and what to do about it.

use std::io;

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    Refused,
    Reset,
    ConnectTimeout,
    AnswerTimeout,
    Unreachable,
    ClosedEarly,
    BadAnswer,
    Status,
    NoPort,
    NoDescriptor,
    Other,
}

/// Name in JSON, words for people, cure.
type Row = (Fault, &'static str, &'static str, &'static str);

/// In the order of the variants.
const TABLE: [Row; Fault::COUNT] = [
    (
        Fault::Refused,
        "refused",
        "connection refused",
        "nothing listens there: start a backend (`adit bench serve` is one) or mend the port; \
         through adit, see `adit drops`",
    ),
    (
        Fault::Reset,
        "reset",
        "connection reset",
        "who served it, or something on the way, has ended it: look at the backend's log; through \
         adit, at `adit drops`",
    ),
    (
        Fault::ConnectTimeout,
        "connect_timeout",
        "no answer to the connection attempt",
        "packets are lost on the way or the backend's queue of connections is full; through adit, \
         see `adit endpoints` (is it approved?), `adit drops`, and `adit explain`",
    ),
    (
        Fault::AnswerTimeout,
        "answer_timeout",
        "connected, but no answer in time",
        "the backend is too slow (--timeout), or waits for something else than it was sent \
         (--speak)",
    ),
    (
        Fault::Unreachable,
        "unreachable",
        "no route, or an ICMP error",
        "look at `ip route get` for the target, and whether its host is up",
    ),
    (
        Fault::ClosedEarly,
        "closed_early",
        "closed before the answer was complete",
        "the backend ended the connection: does it want another --speak?",
    ),
    (
        Fault::BadAnswer,
        "bad_answer",
        "not an answer that can be read",
        "does the backend speak something else than --speak says?",
    ),
    (
        Fault::Status,
        "http_error",
        "HTTP status of 400 or more",
        "look at the backend's log, and at --path",
    ),
    (
        Fault::NoPort,
        "no_local_port",
        "no local port or address left (a limit of this machine, not of the target)",
        "give more addresses by --source, or close by --close reset, which leaves no TIME_WAIT",
    ),
    (
        Fault::NoDescriptor,
        "no_descriptor",
        "no file descriptor left (a limit of this machine, not of the target)",
        "raise it: ulimit -Hn, or fewer --flows",
    ),
    (Fault::Other, "other", "another error of the system", "see the first one's words above"),
];

impl Fault {
    pub(super) const COUNT: usize = 11;

    /// All of them.
    pub(super) fn all() -> impl Iterator<Item = Fault> {
        TABLE.iter().map(|row| row.0)
    }

    fn row(self) -> &'static Row {
        &TABLE[self.index()]
    }

    pub(super) fn index(self) -> usize {
        self as usize
    }

    /// Its name for programs.
    pub(super) fn name(self) -> &'static str {
        self.row().1
    }

    /// Its name for people.
    pub(super) fn words(self) -> &'static str {
        self.row().2
    }

    /// What to do about it.
    pub(super) fn cure(self) -> &'static str {
        self.row().3
    }

    /// Whether this machine, and not the target, is what failed.
    pub(super) fn is_own(self) -> bool {
        matches!(self, Fault::NoPort | Fault::NoDescriptor)
    }

    /// The kind of an error of a socket.
    pub(super) fn of(error: &io::Error) -> Fault {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::ConnectionRefused => Fault::Refused,
            Kind::ConnectionReset | Kind::BrokenPipe | Kind::ConnectionAborted => Fault::Reset,
            Kind::TimedOut => Fault::ConnectTimeout,
            Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => {
                Fault::Unreachable
            }
            Kind::AddrInUse | Kind::AddrNotAvailable => Fault::NoPort,
            Kind::UnexpectedEof => Fault::ClosedEarly,
            _ if is_no_descriptor(error) => Fault::NoDescriptor,
            _ => Fault::Other,
        }
    }
}

fn is_no_descriptor(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn the_table_is_in_order_and_every_row_has_its_words() {
        for (at, row) in TABLE.iter().enumerate() {
            assert_eq!(row.0.index(), at);
            assert!([row.1, row.2, row.3].iter().all(|words| !words.is_empty()), "{row:?}");
        }
    }

    #[test]
    fn errors_have_kinds() {
        for (errno, fault) in [
            (Errno::CONNREFUSED, Fault::Refused),
            (Errno::CONNRESET, Fault::Reset),
            (Errno::PIPE, Fault::Reset),
            (Errno::TIMEDOUT, Fault::ConnectTimeout),
            (Errno::HOSTUNREACH, Fault::Unreachable),
            (Errno::ADDRNOTAVAIL, Fault::NoPort),
            (Errno::MFILE, Fault::NoDescriptor),
            (Errno::PERM, Fault::Other),
        ] {
            assert_eq!(Fault::of(&errno.into()), fault, "{errno:?}");
        }
    }
}
