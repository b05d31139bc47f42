//! What every sample backend says of itself: its name and the client address that it saw.
//!
//! The text is `backend=<name>`, white space, `peer=<ip:port>`, and, from the echo servers, one
//! blank and the payload. It is what people read in a demo, and what tests parse.

use std::fmt;
use std::io;
use std::net::SocketAddrV4;
use std::str::FromStr;

/// The answer of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which backend answered.
    pub backend: String,
    /// Whom it saw: behind a NAT, the NAT IP and the leased port.
    pub peer: SocketAddrV4,
    /// What it was sent; empty in HTTP answers.
    pub payload: String,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "backend={} peer={} {}", self.backend, self.peer, self.payload)
    }
}

impl FromStr for Answer {
    type Err = io::Error;

    fn from_str(text: &str) -> io::Result<Self> {
        let parse = || {
            let (backend, rest) = field(text, "backend=")?;
            let (peer, payload) = field(rest, "peer=")?;
            let peer = peer.parse().ok()?;
            Some(Self { backend: backend.into(), peer, payload: payload.into() })
        };
        parse().ok_or_else(|| {
            let words = format!("not the answer of a sample backend: {text:?}");
            io::Error::new(io::ErrorKind::InvalidData, words)
        })
    }
}

/// Splits `key=value rest` at the one white space after the value.
fn field<'a>(text: &'a str, key: &str) -> Option<(&'a str, &'a str)> {
    let text = text.strip_prefix(key)?;
    Some(text.split_once([' ', '\n']).unwrap_or((text, "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let http: Answer = "backend=b1\npeer=10.0.0.4:1024\n".parse().unwrap();
        assert_eq!((http.backend.as_str(), http.payload.as_str()), ("b1", ""));
        let echo: Answer = "backend=b1 peer=10.0.0.4:1024 two  words ".parse().unwrap();
        assert_eq!(echo.payload, "two  words ");
        assert_eq!(echo.to_string().parse::<Answer>().unwrap(), echo);
        for wrong in ["", "peer=1.2.3.4:5", "backend=x", "backend=x peer=y z"] {
            assert!(wrong.parse::<Answer>().is_err(), "{wrong}");
        }
    }
}
