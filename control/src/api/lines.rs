//! How a stream of bytes becomes lines of requests.
//!
//! Pure: whoever reads the stream pushes what came and takes the lines that are whole. Bounds: it
//! holds less than a line of [`REQUEST_BYTES_MAX`] bytes and what was pushed last; a line that
//! grows to that without an end is said to be too long, and nothing behind it is looked at any
//! more.

use super::REQUEST_BYTES_MAX;

/// What a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A line, without its end.
    Request(Vec<u8>),
    /// More bytes than a line may have.
    TooLong,
}

/// Cuts what a client sends into lines.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: Vec<u8>,
    /// Bytes of the buffer in which there is no end of a line.
    searched: usize,
}

impl Lines {
    /// How many bytes may be pushed now; at least one unless the line is too long already.
    #[must_use]
    pub fn room(&self) -> usize {
        REQUEST_BYTES_MAX.saturating_sub(self.buffer.len())
    }

    /// Bytes that came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line; `None` until more was pushed.
    pub fn take(&mut self) -> Option<Line> {
        let end = self.buffer[self.searched..].iter().position(|&byte| byte == b'\n');
        let Some(end) = end.map(|end| self.searched + end) else {
            self.searched = self.buffer.len();
            return (self.room() == 0).then_some(Line::TooLong);
        };
        let rest = self.buffer.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.buffer, rest);
        self.searched = 0;
        line.truncate(end);
        Some(if end < REQUEST_BYTES_MAX { Line::Request(line) } else { Line::TooLong })
    }

    /// What came behind the last end of a line: a last line without an end is a request too.
    #[must_use]
    pub fn finish(self) -> Option<Vec<u8>> {
        (!self.buffer.is_empty()).then_some(self.buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str) -> Option<Line> {
        Some(Line::Request(line.as_bytes().to_vec()))
    }

    #[test]
    fn lines_come_whole_however_they_were_cut() {
        let mut lines = Lines::default();
        lines.push(b"on");
        assert_eq!(lines.take(), None);
        lines.push(b"e\n\ntwo\nthr");
        assert_eq!(lines.take(), request("one"));
        assert_eq!(lines.take(), request(""));
        assert_eq!(lines.take(), request("two"));
        assert_eq!(lines.take(), None);
        assert_eq!(lines.finish(), Some(b"thr".to_vec()));
    }

    #[test]
    fn the_longest_line_passes_and_a_longer_one_does_not() {
        let mut longest = vec![b'x'; REQUEST_BYTES_MAX - 1];
        let mut lines = Lines::default();
        lines.push(&longest);
        assert_eq!((lines.take(), lines.room()), (None, 1));
        lines.push(b"\n");
        assert_eq!(lines.take(), Some(Line::Request(longest.clone())));
        assert_eq!(lines.finish(), None);
        longest.push(b'x');
        for rest in [b"".as_slice(), b"\n", b"x", b"x\n"] {
            let mut lines = Lines::default();
            lines.push(&longest);
            lines.push(rest);
            assert_eq!(lines.take(), Some(Line::TooLong));
        }
    }
}
