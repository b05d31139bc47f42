//! The stamp that a datagram carries to the echo and back, and which of a flow's came back.
//!
//! The stamp is text, so that echoes that answer in text keep it. Bounds: a bit for each datagram.

use std::io::Write;
use std::time::Duration;

/// What stands in front of a stamp.
const MARK: &[u8] = b"adit-bench ";
/// Bytes of a stamp, its mark and last blank included.
pub(super) const STAMP_BYTES: usize = MARK.len() + 9 + 9 + 17 + 17;
/// How far into an answer a stamp is looked for.
const LOOK: usize = 512;

/// Which datagram it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Of which run and step, so that what is left of others is not counted.
    pub(super) run: u32,
    pub(super) flow: u32,
    /// Counts the datagrams of a flow.
    pub(super) sequence: u64,
    /// When it was to be sent.
    pub(super) intended: Duration,
}

impl Stamp {
    /// Writes a datagram of so many bytes, but no shorter than a stamp.
    pub(super) fn write(self, size: usize, into: &mut Vec<u8>) {
        let nanos = u64::try_from(self.intended.as_nanos()).unwrap_or(u64::MAX);
        into.clear();
        into.extend_from_slice(MARK);
        // A vector takes all bytes.
        let _ =
            write!(into, "{:08x} {:08x} {:016x} {nanos:016x} ", self.run, self.flow, self.sequence);
        into.resize(size.max(STAMP_BYTES), b'x');
    }

    /// The first stamp in an answer.
    pub(super) fn read(answer: &[u8]) -> Option<Stamp> {
        let head = &answer[..answer.len().min(LOOK)];
        let at = head.windows(MARK.len()).position(|window| window == MARK)?;
        let words = head.get(at + MARK.len()..at + STAMP_BYTES)?;
        let mut words = std::str::from_utf8(words).ok()?.split(' ');
        let mut number = |digits: usize| {
            let word = words.next().filter(|word| word.len() == digits)?;
            u64::from_str_radix(word, 16).ok()
        };
        let (run, flow) = (number(8)?, number(8)?);
        let (sequence, nanos) = (number(16)?, number(16)?);
        let (run, flow) = (u32::try_from(run).ok()?, u32::try_from(flow).ok()?);
        Some(Stamp { run, flow, sequence, intended: Duration::from_nanos(nanos) })
    }
}

/// What an answer was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    First,
    /// Later than one that was sent after it.
    Overtaken,
    Again,
    /// It was never sent.
    Unknown,
}

/// The datagrams of a flow.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    sent: u64,
    /// The next after the highest that came back.
    next: u64,
    back: Vec<u64>,
}

impl Track {
    /// The number of the next datagram.
    pub(super) fn send(&mut self) -> u64 {
        self.sent += 1;
        self.sent - 1
    }

    /// Notes that one came back.
    pub(super) fn arrive(&mut self, sequence: u64) -> Arrival {
        if sequence >= self.sent {
            return Arrival::Unknown;
        }
        let word = usize::try_from(sequence / 64).unwrap_or(usize::MAX);
        let bit = 1_u64 << (sequence % 64);
        if word >= self.back.len() {
            self.back.resize(word + 1, 0);
        }
        if self.back[word] & bit != 0 {
            return Arrival::Again;
        }
        self.back[word] |= bit;
        if sequence < self.next {
            return Arrival::Overtaken;
        }
        self.next = sequence + 1;
        Arrival::First
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_comes_back_from_any_echo() {
        let intended = Duration::from_nanos(1_234_567_890_123);
        let stamp = Stamp { run: 0xfeed, flow: 7, sequence: 1 << 40, intended };
        let mut bytes = Vec::new();
        stamp.write(1, &mut bytes);
        assert_eq!((bytes.len(), Stamp::read(&bytes)), (STAMP_BYTES, Some(stamp)));
        stamp.write(200, &mut bytes);
        assert_eq!((bytes.len(), Stamp::read(&bytes)), (200, Some(stamp)));
        let named = [b"backend=b1 peer=1.2.3.4:5 ".as_slice(), &bytes].concat();
        assert_eq!(Stamp::read(&named), Some(stamp));
    }

    #[test]
    fn strange_bytes_are_no_stamp() {
        let mut bytes = Vec::new();
        let stamp = Stamp { run: 1, flow: 2, sequence: 3, intended: Duration::ZERO };
        stamp.write(0, &mut bytes);
        for end in 0..bytes.len() - 1 {
            assert_eq!(Stamp::read(&bytes[..end]), None, "{end} bytes");
        }
        for at in 0..bytes.len() - 1 {
            let mut broken = bytes.clone();
            broken[at] = b'~';
            assert_eq!(Stamp::read(&broken), None, "byte {at}");
        }
        assert_eq!(Stamp::read(&[0xff; 2000]), None);
    }

    #[test]
    fn each_datagram_counts_once() {
        let mut track = Track::default();
        assert_eq!(
            (0..200).map(|_| track.send()).collect::<Vec<_>>(),
            (0..200).collect::<Vec<_>>()
        );
        assert_eq!(track.arrive(0), Arrival::First);
        assert_eq!(track.arrive(130), Arrival::First);
        assert_eq!(track.arrive(129), Arrival::Overtaken);
        assert_eq!(track.arrive(129), Arrival::Again);
        assert_eq!(track.arrive(130), Arrival::Again);
        assert_eq!(track.arrive(131), Arrival::First);
        assert_eq!(track.arrive(200), Arrival::Unknown);
        assert_eq!(track.arrive(u64::MAX), Arrival::Unknown);
    }
}
