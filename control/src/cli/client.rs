//! The client's end of the control protocol.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
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

/// Sends a request and passes every line of the answer on, as a value and as it came.
pub(super) fn ask(
    socket: &Path,
    request: &Request,
    mut show: impl FnMut(Response, &str) -> Result<(), ClientError>,
) -> Result<(), ClientError> {
    let stream = UnixStream::connect(socket).map_err(|error| unreachable(socket, &error))?;
    let lost = |error: io::Error| {
        let shown = socket.display();
        ClientError::Unreachable(format!(
            "the daemon at {shown} does not answer: {error}\n  look at its log, or restart it"
        ))
    };
    stream.set_read_timeout(Some(ANSWER_TIME)).map_err(lost)?;
    match (&stream).write_all(request.line().as_bytes()) {
        // A daemon with too many clients answers before it is asked, and closes.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(lost(error)),
        Ok(()) | Err(_) => {}
    }
    let mut reader = BufReader::new(&stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).map_err(lost)? == 0 {
            return Err(lost(io::ErrorKind::UnexpectedEof.into()));
        }
        let answer: Answer = serde_json::from_str(&line).map_err(|error| {
            ClientError::Refused(format!(
                "the daemon's answer is not understood: {error}\n  \
                use the `adit` of the same version as the daemon"
            ))
        })?;
        let response =
            answer.into_result().map_err(|failure| ClientError::Refused(failure.to_string()))?;
        let content = serde_json::from_str::<Content<'_>>(&line).ok().and_then(|line| line.ok);
        let is_last = !matches!(response, Response::Sessions { last: false, .. });
        show(response, content.map_or("null", RawValue::get))?;
        if is_last {
            return Ok(());
        }
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
