//! How many flows this machine can have at once, and what says so.

use super::report::grouped;

/// Memory of the kernel and of this program for a flow, roughly: a socket with small buffers.
const BYTES_PER_FLOW: u64 = 8 * 1024;
/// Descriptors for everything else.
const OTHER_DESCRIPTORS: u64 = 64;

/// What there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capacity {
    /// File descriptors that the process may have.
    pub(super) descriptors: u64,
    /// Bytes of memory that are free.
    pub(super) memory: u64,
    /// Addresses that flows are sent from.
    pub(super) sources: u64,
    /// Ports of each of them.
    pub(super) ports: u64,
}

/// How many flows there will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fit {
    pub(super) flows: usize,
    /// Why not as many as wanted, and the cure.
    pub(super) reason: Option<String>,
}

impl Capacity {
    /// As many flows as wanted, or as many as go.
    pub(super) fn fit(self, wanted: usize) -> Fit {
        let Capacity { descriptors, memory, sources, ports } = self;
        let bounds = [
            (
                descriptors.saturating_sub(OTHER_DESCRIPTORS),
                format!(
                    "each flow is a file descriptor, and this process may have {descriptors}: \
                     raise it (ulimit -Hn, fs.nr_open), or run as root"
                ),
            ),
            (
                sources * ports,
                format!(
                    "flows to one target differ by their local address and port, and there are \
                     {sources} x {ports}: give more addresses by --source"
                ),
            ),
            (
                memory / BYTES_PER_FLOW,
                format!(
                    "a flow takes about {} KiB, and {} MiB are free: use a larger machine",
                    BYTES_PER_FLOW / 1024,
                    memory / 1024 / 1024
                ),
            ),
        ];
        let least = bounds.into_iter().min_by_key(|bound| bound.0);
        match least {
            Some((most, why)) if most < wanted as u64 => {
                let flows = usize::try_from(most).unwrap_or(usize::MAX).max(1);
                let (shown, wanted) = (grouped(flows as f64), grouped(wanted as f64));
                Fit { flows, reason: Some(format!("{shown} flows instead of {wanted}: {why}")) }
            }
            _ => Fit { flows: wanted, reason: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scarcest_thing_says_how_many() {
        let plenty =
            Capacity { descriptors: 1 << 30, memory: 1 << 40, sources: 256, ports: 64_512 };
        assert_eq!(plenty.fit(16_515_072), Fit { flows: 16_515_072, reason: None });
        let one_more = plenty.fit(16_515_073);
        assert_eq!(one_more.flows, 16_515_072);
        assert!(one_more.reason.is_some_and(|reason| reason.contains("--source")));
        let few = Capacity { descriptors: 20_000, ..plenty }.fit(64_512);
        assert_eq!(few.flows, 19_936);
        assert!(few.reason.is_some_and(|reason| reason.contains("ulimit")));
        let small = Capacity { memory: 1 << 30, ..plenty }.fit(1_032_192);
        assert_eq!(small.flows, 131_072);
        assert!(small.reason.is_some_and(|reason| reason.contains("1024 MiB")));
        assert_eq!(Capacity { descriptors: 10, ..plenty }.fit(5).flows, 1);
    }
}
