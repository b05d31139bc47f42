//! The name of a flow for as long as it lives: `WORKER-NUMBER-CHECK`, the last two in hexadecimal.
//!
//! Numbers are given again when flows end; the check, a hash over everything that identifies the
//! flow, keeps an old name from meaning a new flow.

use std::fmt;
use std::str::FromStr;

use dataplane::engine;
use dataplane::hash::Keys;
use dataplane::types::Address;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// See the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId {
    /// The worker that owns the flow.
    pub worker: u8,
    /// Its number there.
    pub number: u32,
    check: u32,
}

impl SessionId {
    /// The name of a worker's flow.
    #[must_use]
    pub fn of(worker: u8, session: &engine::Session) -> SessionId {
        // No secret: whoever may see sessions may see their names.
        let keys = Keys::new(0);
        let [high, low] = Address::from(session.nat_ip).halves();
        let nat = (high ^ low) << 16 | u64::from(session.nat_port);
        let hash = keys.hash(session.key.hash(&keys), nat ^ u64::from(session.link.0) << 32);
        let [a, b, c, d, ..] = hash.to_le_bytes();
        SessionId { worker, number: session.number.0, check: u32::from_le_bytes([a, b, c, d]) }
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:x}-{:08x}", self.worker, self.number, self.check)
    }
}

impl FromStr for SessionId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<SessionId, Self::Err> {
        let parse = || {
            let mut parts = text.split('-');
            let (worker, number, check) = (parts.next()?, parts.next()?, parts.next()?);
            let hex = |part: &str| u32::from_str_radix(part, 16).ok();
            let id = SessionId {
                worker: worker.parse().ok()?,
                number: hex(number)?,
                check: hex(check)?,
            };
            parts.next().is_none().then_some(id)
        };
        parse().ok_or("not the id of a session, as `adit sessions` has it: 0-1f-9f3a21c4")
    }
}

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SessionId, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| serde::de::Error::custom(format!("{text:?} is {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_and_read() {
        for text in ["0-0-00000000", "63-3fffffe-ffffffff"] {
            assert_eq!(text.parse::<SessionId>().unwrap().to_string(), text);
        }
        for bad in ["", "7", "0-1", "0-1-2-3", "256-1-2", "0-g-1", "0-1-100000000", "-1-1-1"] {
            assert!(bad.parse::<SessionId>().is_err(), "{bad}");
        }
    }
}
