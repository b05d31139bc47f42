//! What connections carry: a stream of cells of 16 bytes, each of which says whose it is, so that
//! a byte in the wrong place is noticed and any packet tells whose canary it holds.

/// Bytes of a cell.
pub(super) const CELL: usize = 16;

const MAGIC: [u8; 4] = [0xad, 0x17, 0xca, 0xfe];

/// The bytes that one side of a connection sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    /// Whose connection it is.
    pub(super) tenant: u8,
    /// Which one.
    pub(super) dial: u32,
    /// Whether it is the server's side.
    pub(super) answers: bool,
}

impl Stream {
    fn cell(self, number: u32) -> [u8; CELL] {
        let mut cell = [0; CELL];
        cell[..4].copy_from_slice(&MAGIC);
        // Redundant, so that no flipped bit makes one tenant another.
        cell[4] = self.tenant;
        cell[5] = !self.tenant;
        cell[6] = u8::from(self.answers);
        cell[7] = mixed(self.dial, number);
        cell[8..12].copy_from_slice(&self.dial.to_be_bytes());
        cell[12..].copy_from_slice(&number.to_be_bytes());
        cell
    }

    /// The byte at an offset and those behind it, into all of `bytes`.
    pub(super) fn write(self, offset: usize, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() {
            let (number, skip) = ((offset + at) / CELL, (offset + at) % CELL);
            let cell = self.cell(u32::try_from(number).unwrap());
            let count = (CELL - skip).min(bytes.len() - at);
            bytes[at..at + count].copy_from_slice(&cell[skip..skip + count]);
            at += count;
        }
    }

    /// Whether these bytes are those from `offset` on.
    pub(super) fn matches(self, offset: usize, bytes: &[u8]) -> bool {
        let mut expected = vec![0; bytes.len()];
        self.write(offset, &mut expected);
        expected == bytes
    }
}

fn mixed(dial: u32, number: u32) -> u8 {
    let mixed = (dial ^ number.rotate_left(16)).wrapping_mul(0x9e37_79b9);
    mixed.to_be_bytes()[0]
}

/// The connection whose stream begins with these bytes.
pub(super) fn first_dial(bytes: &[u8]) -> Option<u32> {
    let cell = bytes.get(..CELL)?;
    let dial = u32::from_be_bytes(cell[8..12].try_into().ok()?);
    (cell[..4] == MAGIC).then_some(dial)
}

/// Whose canary is in these bytes, if any whole one is.
pub(super) fn tenant_of(bytes: &[u8]) -> Option<u8> {
    let cells = bytes.windows(CELL).filter(|cell| cell[..4] == MAGIC && cell[4] == !cell[5]);
    cells.map(|cell| cell[4]).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_the_same_however_it_is_cut() {
        let stream = Stream { tenant: 1, dial: 77, answers: true };
        let mut whole = vec![0; 100];
        stream.write(0, &mut whole);
        for cut in 0..100 {
            assert!(stream.matches(cut, &whole[cut..]));
            assert!(!Stream { tenant: 2, ..stream }.matches(cut.min(80), &whole[cut.min(80)..]));
            // What is shorter than a cell may begin like any.
            let is_short = whole.len() - cut < CELL;
            assert!(cut == 0 || is_short || !stream.matches(0, &whole[cut..]), "{cut}");
        }
        assert_eq!((first_dial(&whole), tenant_of(&whole[9..])), (Some(77), Some(1)));
        assert_eq!(tenant_of(&whole[1..CELL]), None);
    }
}
