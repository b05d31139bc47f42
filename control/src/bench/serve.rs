//! `adit bench serve`: a backend to measure. One thread answers lines, HTTP and datagrams, and each
//! answer names it and whom it saw, as the lab's backends do.
//!
//! Bounds: a line or an HTTP head of 64 KiB; as many connections as there are descriptors; what a
//! client does not read is kept up to 1 MiB, then its connection is closed. Not meant for the open
//! internet.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use super::args::Serve;
use super::clock::Poller;
use super::{BenchError, plan};
use crate::stop::Stop;

const LISTENER: u64 = 0;
const DATAGRAMS: u64 = 1;
const FIRST_CLIENT: u64 = 2;
const LINE_MAX: usize = 64 * 1024;
const UNSENT_MAX: usize = 1024 * 1024;
/// Connections or datagrams that are taken in a row.
const BURST: usize = 64;
const LOOK: Duration = Duration::from_millis(100);

/// Serves until it is told to stop.
pub(super) fn run(
    options: &Serve,
    stop: &Stop,
    print: impl FnOnce(&str),
) -> Result<(), BenchError> {
    let failed = |error: io::Error| {
        let problem = format!("{} cannot be listened on: {error}", options.listen);
        BenchError::new(problem, "listen on a free port of this machine, or on 0.0.0.0")
    };
    plan::raise_descriptors();
    let mut server = Server::bind(options).map_err(failed)?;
    let address = server.listener.local_addr().map_err(failed)?;
    print(&format!("{} listens on {address}, TCP and UDP; end it by Ctrl-C\n", options.name));
    while !stop.is_requested() {
        server.turn().map_err(failed)?;
    }
    Ok(())
}

struct Server {
    name: String,
    poller: Poller,
    listener: TcpListener,
    datagrams: UdpSocket,
    clients: HashMap<u64, Client>,
    next: u64,
    buffer: Vec<u8>,
}

struct Client {
    stream: TcpStream,
    peer: SocketAddr,
    received: Vec<u8>,
    unsent: Vec<u8>,
    is_last: bool,
}

impl Server {
    fn bind(options: &Serve) -> io::Result<Server> {
        let listener = TcpListener::bind(options.listen)?;
        let datagrams = UdpSocket::bind(listener.local_addr()?)?;
        listener.set_nonblocking(true)?;
        datagrams.set_nonblocking(true)?;
        // Room for bursts while connections are served; less will do too.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&datagrams, 4 << 20);
        // More connections may wait than std has room for.
        rustix::net::listen(&listener, 4096)?;
        let poller = Poller::new()?;
        poller.watch_level(&listener, LISTENER)?;
        poller.watch_level(&datagrams, DATAGRAMS)?;
        Ok(Server {
            name: options.name.clone(),
            poller,
            listener,
            datagrams,
            clients: HashMap::new(),
            next: FIRST_CLIENT,
            buffer: vec![0; LINE_MAX],
        })
    }

    fn turn(&mut self) -> io::Result<()> {
        let numbers: Vec<u64> = self.poller.wait(LOOK)?.collect();
        for number in numbers {
            match number {
                LISTENER => self.accept(),
                DATAGRAMS => self.echo(),
                client => self.serve(client),
            }
        }
        Ok(())
    }

    fn accept(&mut self) {
        for _ in 0..BURST {
            // What cannot be accepted now is told again.
            let Ok((stream, peer)) = self.listener.accept() else { return };
            let number = self.next;
            let is_ready = stream.set_nonblocking(true).is_ok()
                && stream.set_nodelay(true).is_ok()
                && self.poller.watch(&stream, number, true).is_ok();
            if is_ready {
                self.next += 1;
                let (received, unsent) = (Vec::new(), Vec::new());
                let client = Client { stream, peer, received, unsent, is_last: false };
                self.clients.insert(number, client);
            }
        }
    }

    fn echo(&mut self) {
        for _ in 0..BURST {
            let Ok((bytes, peer)) = self.datagrams.recv_from(&mut self.buffer) else { return };
            let mut answer = naming(&self.name, peer);
            answer.extend_from_slice(&self.buffer[..bytes]);
            // A full buffer loses the answer, as networks do.
            let _ = self.datagrams.send_to(&answer, peer);
        }
    }

    fn serve(&mut self, number: u64) {
        let Some(client) = self.clients.get_mut(&number) else { return };
        // A client that goes away is no error of ours.
        if !client.serve(&self.name, &mut self.buffer).unwrap_or(false) {
            self.clients.remove(&number);
        }
    }
}

fn naming(name: &str, peer: SocketAddr) -> Vec<u8> {
    format!("backend={name} peer={peer} ").into_bytes()
}

impl Client {
    /// Reads and answers what is there; whether it goes on.
    fn serve(&mut self, name: &str, buffer: &mut [u8]) -> io::Result<bool> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => self.is_last = true,
                Ok(bytes) => self.received.extend_from_slice(&buffer[..bytes]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            self.answer_all(name);
            self.flush()?;
            if self.is_last || self.received.len() > LINE_MAX || self.unsent.len() > UNSENT_MAX {
                break;
            }
        }
        self.flush()?;
        let is_flooded = self.received.len() > LINE_MAX || self.unsent.len() > UNSENT_MAX;
        let is_over = is_flooded || self.is_last && self.unsent.is_empty();
        Ok(!is_over)
    }

    /// Writes what the client takes now.
    fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(bytes) => drop(self.unsent.drain(..bytes)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn answer_all(&mut self, name: &str) {
        while let Some((used, answer, is_last)) = answer(&self.received, name, self.peer) {
            self.received.drain(..used);
            self.unsent.extend(answer);
            self.is_last |= is_last;
        }
    }
}

/// The answer to the first request of what was received: how many bytes it is, the answer, and
/// whether the client wants no more. `None` if it is not complete.
fn answer(received: &[u8], name: &str, peer: SocketAddr) -> Option<(usize, Vec<u8>, bool)> {
    let is_http = [b"GET ".as_slice(), b"POST ", b"HEAD "].iter().any(|m| received.starts_with(m));
    if !is_http {
        let end = received.iter().position(|byte| *byte == b'\n')? + 1;
        let answer = [naming(name, peer).as_slice(), &received[..end]].concat();
        return Some((end, answer, false));
    }
    let end = received.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
    let field = |key: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(key));
        line.map(str::trim)
    };
    let length = field("content-length:").map_or(Some(0), |text| text.parse::<usize>().ok());
    let whole = end.checked_add(length?)?;
    let is_last = field("connection:") == Some("close");
    let body = format!("backend={name}\npeer={peer}\n");
    let connection = if is_last { "close" } else { "keep-alive" };
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: {connection}\r\n\r\n{}",
        body.len(),
        if head.starts_with("head") { "" } else { &body }
    );
    (received.len() >= whole).then(|| (whole, answer.into_bytes(), is_last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(received: &str) -> Option<(usize, String, bool)> {
        let peer = SocketAddr::from(([10, 0, 0, 1], 9));
        let (used, bytes, is_last) = answer(received.as_bytes(), "b1", peer)?;
        Some((used, String::from_utf8(bytes).unwrap(), is_last))
    }

    #[test]
    fn lines_come_back_with_a_name() {
        let echoed = (4, "backend=b1 peer=10.0.0.1:9 abc\n".to_owned(), false);
        assert_eq!(text("abc\nde"), Some(echoed));
        assert_eq!(text("abc"), None);
        assert_eq!(text(""), None);
    }

    #[test]
    fn http_is_answered_when_its_body_is_there() {
        let (used, answer, is_last) = text("GET / HTTP/1.1\r\nHost: x\r\n\r\nnext").unwrap();
        assert_eq!((used, is_last), (27, false));
        assert!(answer.ends_with("\r\n\r\nbackend=b1\npeer=10.0.0.1:9\n"), "{answer}");
        let post = "POST / HTTP/1.1\r\nContent-Length: 3\r\nConnection: close\r\n\r\n";
        assert_eq!(text(post), None);
        let (used, _, is_last) = text(&format!("{post}abc")).unwrap();
        assert_eq!((used, is_last), (post.len() + 3, true));
        assert_eq!(text("POST / HTTP/1.1\r\nContent-Length: -3\r\n\r\n"), None);
    }
}
