//! Connections as they are meant, and how far each has come: what both applications and the
//! checkers know of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::agenda::Nanos;
use super::header::Header;
use super::intent::TCP_PORTS;
use super::pattern::Stream;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The client closes when it has everything.
    Client,
    /// The client closes its side as soon as it has asked.
    HalfClose,
    /// The server closes when it has answered.
    Server,
    /// The client resets it halfway.
    Reset,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Waiting,
    Open,
    /// Everything arrived.
    Done,
    /// It broke.
    Broken,
}

/// One connection, or one series of datagrams.
#[derive(Clone, Debug)]
pub(super) struct Dial {
    pub(super) tenant: usize,
    pub(super) host: usize,
    pub(super) endpoint: IpAddr,
    pub(super) is_tcp: bool,
    pub(super) port: u16,
    pub(super) start: Nanos,
    /// Bytes that the client sends.
    pub(super) request: usize,
    /// Bytes that the server sends.
    pub(super) response: usize,
    pub(super) ending: Ending,
    /// Silence before the second half of the request.
    pub(super) pause: Nanos,
    /// Whether that silence is longer than adit keeps a flow.
    pub(super) outlives: bool,
    pub(super) progress: Progress,
    /// Bytes that arrived, at the server and at the client.
    pub(super) asked: usize,
    pub(super) answered: usize,
    /// Which server's socket got its first bytes.
    pub(super) served_by: Option<(IpAddr, usize, u64)>,
}

impl Dial {
    /// Over, one way or the other.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.progress, Progress::Done | Progress::Broken)
    }
}

/// All connections of a world.
pub(super) struct Dials {
    pub(super) all: Vec<Dial>,
    /// Bytes of theirs that arrived.
    pub(super) bytes: u64,
    /// Tenant and endpoint of each link id that backends were told.
    links: BTreeMap<Vec<u8>, (usize, IpAddr)>,
}

impl Dials {
    pub(super) fn new(all: Vec<Dial>) -> Dials {
        Dials { all, bytes: 0, links: BTreeMap::new() }
    }

    /// One side's stream of a connection.
    pub(super) fn stream(&self, dial: usize, answers: bool) -> Stream {
        let tenant = u8::try_from(self.all[dial].tenant).unwrap();
        Stream { tenant, dial: u32::try_from(dial).unwrap(), answers }
    }

    /// A backend was told who asks.
    pub(super) fn judge_header(&mut self, dial: usize, header: &Header) {
        let known = &self.all[dial];
        let said = (header.client.1, header.endpoint);
        let is_its = said == (known.port, (known.endpoint, TCP_PORTS.0));
        assert!(is_its, "header: {header:?} is not of {known:?}");
        let place = (known.tenant, known.endpoint);
        let first = *self.links.entry(header.link.clone()).or_insert(place);
        assert_eq!(first, place, "header: a link id is of one endpoint");
    }

    /// Bytes arrived at an application: they must be what the true peer sent, from where the last
    /// ones ended.
    pub(super) fn arrived(&mut self, dial: usize, answers: bool, bytes: &[u8]) {
        let stream = self.stream(dial, answers);
        let known = &mut self.all[dial];
        let count = if answers { &mut known.answered } else { &mut known.asked };
        let whole = if answers { known.response } else { known.request };
        assert!(
            stream.matches(*count, bytes) && *count + bytes.len() <= whole,
            "stream: what arrived of {stream:?} behind byte {count} is not what was sent"
        );
        *count += bytes.len();
        self.bytes += bytes.len() as u64;
    }
}
