//! A client of the API: HTTP/1.1 over TLS on one connection, as little of it as tests need.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use serde_json::Value;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::{Daemon, PATIENCE};

/// How the API is reached.
#[derive(Clone)]
pub(crate) struct Access {
    address: String,
    token: String,
    config: Arc<ClientConfig>,
    /// What stands before a resource's type in its path.
    pub(crate) prefix: String,
}

impl Access {
    /// As `adit arm env` says it.
    #[track_caller]
    pub(crate) fn of(daemon: &Daemon) -> Access {
        let said = daemon.json(&["arm", "env"]);
        let text = |field: &str| said[field].as_str().expect("a text").to_owned();
        let pem = std::fs::read(text("ca")).expect("the authority's certificate");
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            roots.add(certificate.expect("a certificate")).expect("an authority");
        }
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let subscription = text("subscription");
        Access {
            address: text("endpoint").trim_start_matches("https://").to_owned(),
            token: text("token"),
            config: Arc::new(config),
            prefix: format!(
                "/subscriptions/{subscription}/resourceGroups/rg/providers/Microsoft.Network/"
            ),
        }
    }

    /// A connection to it.
    pub(crate) fn connect(&self) -> std::io::Result<Client> {
        let socket = TcpStream::connect(&self.address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = ClientConnection::new(Arc::clone(&self.config), name).expect("TLS");
        let stream = BufReader::new(StreamOwned::new(tls, socket));
        Ok(Client { stream, access: self.clone() })
    }
}

/// A connection.
pub(crate) struct Client {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    access: Access,
}

impl Client {
    /// Sends a request about a path behind the prefix. An error means that no whole answer came.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> std::io::Result<(u16, Value)> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let Access { prefix, token, .. } = &self.access;
        let request = format!(
            "{method} {prefix}{path}?api-version=2024-05-01 HTTP/1.1\r\nHost: localhost\r\n\
             Authorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let gone = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(gone)?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(gone());
            }
            if line == "\r\n" {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or_default();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    }

    /// Sends one that must succeed.
    #[track_caller]
    pub(crate) fn made(&mut self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let (status, answer) = self.send(method, path, body).expect("an answer");
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }
}
