//! The client's end of the control protocol.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::{Answer, Request, Response};

/// How long the daemon may take for a line; a reload waits for workers, but not for long.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum ClientError {
    /// Nobody answers at the socket.
    Unreachable(String),
    /// The daemon said no.
    Refused(String),
}

/// The answer's content as it came.
#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    ok: Option<&'a RawValue>,
}

/// A connection to the daemon, for any number of requests one after the other.
pub(super) struct Client {
    socket: PathBuf,
    reader: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the daemon at `socket`.
    pub(super) fn connect(socket: &Path) -> Result<Client, ClientError> {
        let stream = UnixStream::connect(socket).map_err(|error| unreachable(socket, &error))?;
        let client = Client { socket: socket.to_owned(), reader: BufReader::new(stream) };
        let stream = client.reader.get_ref();
        stream.set_read_timeout(Some(ANSWER_TIME)).map_err(|error| client.lost(&error))?;
        Ok(client)
    }

    /// Sends a request and passes every line of the answer on, as a value and as it came.
    pub(super) fn ask(
        &mut self,
        request: &Request,
        mut show: impl FnMut(Response, &str) -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        match self.reader.get_mut().write_all(request.line().as_bytes()) {
            // A daemon with too many clients answers before it is asked, and closes.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                return Err(self.lost(&error));
            }
            Ok(()) | Err(_) => {}
        }
        loop {
            let line = self.next_line()?;
            let answer: Answer = serde_json::from_str(&line).map_err(|error| {
                ClientError::Refused(format!(
                    "the daemon's answer is not understood: {error}\n  \
                    use the `adit` of the same version as the daemon"
                ))
            })?;
            let response = answer
                .into_result()
                .map_err(|failure| ClientError::Refused(failure.to_string()))?;
            let content = serde_json::from_str::<Content<'_>>(&line).ok().and_then(|line| line.ok);
            let is_last = !matches!(
                response,
                Response::Sessions { last: false, .. } | Response::Traced { last: false, .. }
            );
            show(response, content.map_or("null", RawValue::get))?;
            if is_last {
                return Ok(());
            }
        }
    }

    /// The answer to a request that has one line of it.
    pub(super) fn fetch(&mut self, request: &Request) -> Result<Response, ClientError> {
        let mut fetched = None;
        self.ask(request, |response, _| {
            fetched = Some(response);
            Ok(())
        })?;
        fetched.ok_or_else(|| self.lost(&io::ErrorKind::UnexpectedEof.into()))
    }

    fn next_line(&mut self) -> Result<String, ClientError> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => Err(self.lost(&io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(line),
            Err(error) => Err(self.lost(&error)),
        }
    }

    fn lost(&self, error: &io::Error) -> ClientError {
        let shown = self.socket.display();
        ClientError::Unreachable(format!(
            "the daemon at {shown} does not answer: {error}\n  look at its log, or restart it"
        ))
    }
}

fn unreachable(socket: &Path, error: &io::Error) -> ClientError {
    let shown = socket.display();
    let cure = match error.kind() {
        io::ErrorKind::PermissionDenied => "run this command as the user who runs the daemon",
        _ => "start it with `adit run`, or name its socket: --socket PATH or $ADIT_SOCKET",
    };
    ClientError::Unreachable(format!("no daemon answers at {shown}: {error}\n  {cure}"))
}
