//! What an attempt says over its connection, and whether what it hears makes the backend healthy.
//! Bytes in, bytes out.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use tokio_rustls::rustls::{ClientConfig, ClientConnection};

use super::{http, tls};
use crate::config::ProbeProtocol;

/// A PROXY protocol v2 header of the command LOCAL: from adit itself, for nobody.
const PROXY_LOCAL: [u8; 16] =
    [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x20, 0, 0, 0];

/// What an attempt comes to.
pub(super) type Outcome = Result<(), String>;

/// What shall be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) protocol: ProbeProtocol,
    /// Of the request, if there is one.
    pub(crate) path: String,
    /// Whether a PROXY header comes first.
    pub(crate) proxy_header: bool,
}

/// One attempt's conversation.
pub(super) struct Dialogue {
    /// What waits to be sent.
    out: Vec<u8>,
    manner: Manner,
    answer: http::StatusReader,
    outcome: Option<Outcome>,
}

enum Manner {
    /// The connection alone is the answer.
    Tcp,
    Http,
    Https(Box<ClientConnection>),
}

impl Dialogue {
    pub(super) fn new(
        question: &Question,
        backend: SocketAddr,
        settings: &Arc<ClientConfig>,
    ) -> Dialogue {
        let mut dialogue = Dialogue {
            out: Vec::new(),
            manner: Manner::Tcp,
            answer: http::StatusReader::default(),
            outcome: None,
        };
        if question.proxy_header {
            dialogue.out.extend(PROXY_LOCAL);
        }
        let request = || http::request(backend, &question.path);
        match question.protocol {
            ProbeProtocol::Tcp => {}
            ProbeProtocol::Http => {
                dialogue.out.extend(request());
                dialogue.manner = Manner::Http;
            }
            ProbeProtocol::Https => dialogue.greet(settings, backend, &request()),
        }
        dialogue
    }

    fn greet(&mut self, settings: &Arc<ClientConfig>, backend: SocketAddr, request: &[u8]) {
        match tls::client(settings, backend.ip()) {
            Err(error) => self.end(Err(format!("TLS: {error}"))),
            Ok(mut client) => {
                // Kept until the handshake is through; a vector takes everything.
                let _ = client.writer().write_all(request);
                let _ = client.write_tls(&mut self.out);
                self.manner = Manner::Https(Box::new(client));
            }
        }
    }

    /// The connection is open.
    pub(super) fn open(&mut self) {
        if matches!(self.manner, Manner::Tcp) {
            self.end(Ok(()));
        }
    }

    /// The backend has sent something.
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        if self.outcome.is_some() {
            return;
        }
        match &mut self.manner {
            Manner::Tcp => {}
            Manner::Http => self.read(bytes),
            Manner::Https(client) => match decrypt(client, bytes, &mut self.out) {
                Ok(plain) => self.read(&plain),
                Err(error) => self.end(Err(format!("TLS: {error}"))),
            },
        }
    }

    fn read(&mut self, bytes: &[u8]) {
        match self.answer.push(bytes) {
            None => {}
            Some(Ok(200)) => self.end(Ok(())),
            Some(Ok(status)) => self.end(Err(format!("status {status}, not 200"))),
            Some(Err(error)) => self.end(Err(error)),
        }
    }

    /// What waits to be sent; whoever sends it takes it out.
    pub(super) fn outgoing(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// What it has come to.
    pub(super) fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    fn end(&mut self, outcome: Outcome) {
        self.outcome.get_or_insert(outcome);
    }
}

/// What came of it in clear; what must be said in turn goes into `out`.
fn decrypt(
    client: &mut ClientConnection,
    mut bytes: &[u8],
    out: &mut Vec<u8>,
) -> Result<Vec<u8>, String> {
    let mut plain = Vec::new();
    while !bytes.is_empty() {
        client.read_tls(&mut bytes).map_err(|error| error.to_string())?;
        let state = client.process_new_packets();
        // An alert is sent whether or not it went well.
        let _ = client.write_tls(out);
        let waiting = state.map_err(|error| error.to_string())?.plaintext_bytes_to_read();
        let before = plain.len();
        plain.resize(before + waiting, 0);
        client.reader().read_exact(&mut plain[before..]).map_err(|error| error.to_string())?;
    }
    while client.wants_write() {
        if client.write_tls(out).is_err() {
            break;
        }
    }
    Ok(plain)
}
