//! `adit status --watch`: the status again and again, as plain text, for pipes and logs.

use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use super::args::Connection;
use super::client::{Client, ClientError};
use super::complain;
use super::rates::Pace;
use super::render;
use crate::api::{Request, Response, Status};

/// Shows the status every `interval`, until nobody reads it any more. A daemon that is away is
/// waited for.
pub(super) fn run(
    connection: &Connection,
    interval: Duration,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut client = None;
    let mut before: Option<(Instant, Status)> = None;
    let mut is_away = false;
    loop {
        let began = Instant::now();
        match look(connection, &mut client) {
            Ok((status, raw)) => {
                is_away = false;
                let text = if connection.json {
                    format!("{raw}\n")
                } else {
                    let pace = before.as_ref().map(|(then, old)| {
                        Pace::between(old, &status, began.saturating_duration_since(*then))
                    });
                    render::watched(&status, &pace.unwrap_or_default())
                };
                before = Some((began, status));
                match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                    outcome => outcome?,
                }
            }
            Err(ClientError::Unreachable(text) | ClientError::Refused(text)) => {
                client = None;
                if !is_away {
                    complain(&text);
                    complain("waiting for the daemon");
                }
                is_away = true;
            }
        }
        thread::sleep(interval.saturating_sub(began.elapsed()));
    }
}

/// The status, and the same as it came.
fn look(
    connection: &Connection,
    client: &mut Option<Client>,
) -> Result<(Status, String), ClientError> {
    let mut connected = match client.take() {
        Some(client) => client,
        None => Client::connect(&connection.place.socket)?,
    };
    let mut found = None;
    connected.ask(&Request::Status {}, |response, raw| {
        if let Response::Status(status) = response {
            found = Some((*status, raw.to_owned()));
        }
        Ok(())
    })?;
    *client = Some(connected);
    found.ok_or_else(|| ClientError::Refused("the daemon answered something else".to_owned()))
}
