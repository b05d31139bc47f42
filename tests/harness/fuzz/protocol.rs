//! Any bytes on the control socket, at either end.
//!
//! The first byte says in how large pieces they come. They are cut into lines as the daemon does,
//! each line is read as a request and as an answer; whatever becomes a value travels again
//! unchanged, and whatever does not is refused in one line with a cure.

use control::api::{
    Answer, ErrorCode, Failure, Line, Lines, REQUEST_BYTES_MAX, Request, SESSIONS_LIMIT_MAX,
};

/// See the module's documentation.
///
/// # Panics
/// Lines were cut wrongly, or a value did not survive its own encoding.
pub fn protocol(bytes: &[u8]) {
    let Some((&size, bytes)) = bytes.split_first() else {
        return;
    };
    let lines = cut(bytes, usize::from(size) * 17 + 1);
    assert_eq!(lines, expected(bytes), "in pieces of {size}");
    for line in &lines {
        if let Line::Request(line) = line {
            read_request(line);
            read_answer(line);
        }
    }
}

/// As the daemon reads a client that sends so many bytes at a time.
fn cut(bytes: &[u8], piece: usize) -> Vec<Line> {
    let mut lines = Lines::default();
    let mut found = Vec::new();
    let mut rest = bytes;
    loop {
        while let Some(line) = lines.take() {
            found.push(line);
            if found.last() == Some(&Line::TooLong) {
                return found;
            }
        }
        let room = lines.room();
        assert!((1..=REQUEST_BYTES_MAX).contains(&room), "there is room for {room} bytes");
        let (now, later) = rest.split_at(piece.min(room).min(rest.len()));
        if now.is_empty() {
            found.extend(lines.finish().map(Line::Request));
            return found;
        }
        lines.push(now);
        rest = later;
    }
}

/// The lines as the protocol defines them, from all bytes at once.
fn expected(bytes: &[u8]) -> Vec<Line> {
    let mut found = Vec::new();
    let mut pieces = bytes.split(|&byte| byte == b'\n').peekable();
    while let Some(piece) = pieces.next() {
        let is_last = pieces.peek().is_none();
        if piece.len() >= REQUEST_BYTES_MAX {
            found.push(Line::TooLong);
            return found;
        }
        if !is_last || !piece.is_empty() {
            found.push(Line::Request(piece.to_vec()));
        }
    }
    found
}

fn read_request(line: &[u8]) {
    match Request::parse(line) {
        Ok(request) => {
            let again = request.line();
            assert!(again.ends_with('\n') && again.matches('\n').count() == 1, "{again:?}");
            assert_eq!(Request::parse(again.as_bytes()), Ok(request.clone()), "{again}");
            if let Request::Sessions(filter) = request {
                assert!(filter.limit <= SESSIONS_LIMIT_MAX);
            }
        }
        Err(failure) => {
            use ErrorCode::{BadRequest, UnknownRequest, UnsupportedVersion};
            assert!([BadRequest, UnknownRequest, UnsupportedVersion].contains(&failure.code));
            check_failure(&failure);
        }
    }
}

/// A refusal is told in one line, and the client reads what the daemon meant.
fn check_failure(failure: &Failure) {
    assert!(!failure.message.is_empty() && !failure.cure.is_empty(), "{failure:?}");
    assert!(!failure.message.chars().any(char::is_control), "{failure:?}");
    let answer = Answer::new(Err(failure.clone()));
    let line = serde_json::to_string(&answer).expect("an answer can be written");
    assert!(!line.contains('\n'), "{line}");
    let back: Answer = serde_json::from_str(&line).expect("its own answer can be read");
    assert_eq!(back.into_result().expect_err("it was a failure"), *failure);
}

fn read_answer(line: &[u8]) {
    let Ok(answer) = serde_json::from_slice::<Answer>(line) else {
        return;
    };
    let once = serde_json::to_string(&answer).expect("what was read can be written");
    let back: Answer = serde_json::from_str(&once).expect("what was written can be read");
    assert_eq!(serde_json::to_string(&back).expect("and written again"), once);
}
