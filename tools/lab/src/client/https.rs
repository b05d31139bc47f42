//! HTTP/1.1 over TLS on one connection, for requests that carry a token.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::DEFAULT_TIMEOUT;
use super::http::Response;
use crate::error::{Context, LabError};

/// How long a server may take for a part of an answer.
const PATIENCE: Duration = Duration::from_secs(6 * DEFAULT_TIMEOUT.as_secs());

/// A connection to a server whose certificate says `localhost`.
pub struct Https {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    token: String,
    subject: String,
}

impl Https {
    /// Connects to a server that an authority vouches for, whose certificate is in `authority`.
    ///
    /// # Errors
    /// As the socket has it; `InvalidData` for a certificate that is none. Who the server is shows
    /// with the first request.
    pub fn connect(server: SocketAddr, token: &str, authority: &Path) -> Result<Https, LabError> {
        let connect = || {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(authority).map_err(invalid)? {
                roots.add(certificate.map_err(invalid)?).map_err(invalid)?;
            }
            let config = ClientConfig::builder().with_root_certificates(roots);
            let config = Arc::new(config.with_no_client_auth());
            let name = ServerName::try_from("localhost").map_err(invalid)?;
            let tls = ClientConnection::new(config, name).map_err(invalid)?;
            let socket = TcpStream::connect(server)?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            Ok(BufReader::new(StreamOwned::new(tls, socket)))
        };
        let stream = connect().context("connect to", || server.to_string())?;
        Ok(Https { stream, token: token.to_owned(), subject: server.to_string() })
    }

    /// Sends a request, and waits for its answer.
    ///
    /// # Errors
    /// As the socket has it; `InvalidData` when what answers does not speak HTTP, or is not who it
    /// should be.
    pub fn send(&mut self, method: &str, path: &str, body: &str) -> Result<Response, LabError> {
        self.exchange(method, path, body)
            .context("ask", || format!("{} to {method} {path}", self.subject))
    }

    fn exchange(&mut self, method: &str, path: &str, body: &str) -> io::Result<Response> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
             Content-Length: {}\r\n\r\n",
            self.token,
            body.len()
        );
        self.stream.get_mut().write_all((head + body).as_bytes())?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| invalid(format!("{line:?} is no status")))?;
        let mut body = vec![0; self.read_length()?];
        self.stream.read_exact(&mut body)?;
        Ok(Response { status, body: String::from_utf8(body).map_err(invalid)? })
    }

    /// Reads the rest of a head; how many bytes follow.
    fn read_length(&mut self) -> io::Result<usize> {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line == "\r\n" {
                return Ok(length);
            }
            let (name, value) = line.split_once(':').unwrap_or_default();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().map_err(invalid)?;
            }
        }
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
