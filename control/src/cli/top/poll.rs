//! Asks the daemon on a thread of its own, so that keys are heard while it takes its time.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::api::{Request, Response};
use crate::cli::client::{Client, ClientError};
use crate::cli::rates::Sample;

/// What came of one look.
pub(super) type Look = Result<Box<Sample>, String>;

/// Looks every `interval`, for as long as somebody listens. Connects again after each failure.
pub(super) fn start(
    socket: PathBuf,
    interval: Duration,
    began: Instant,
) -> io::Result<Receiver<Look>> {
    // One look waits at most: a screen that is slow gets no backlog.
    let (sender, receiver) = sync_channel(1);
    let ask = move || poll(&socket, interval, began, &sender);
    thread::Builder::new().name("looks".to_owned()).spawn(ask)?;
    Ok(receiver)
}

fn poll(socket: &std::path::Path, interval: Duration, began: Instant, to: &SyncSender<Look>) {
    let mut client = None;
    loop {
        let asked = Instant::now();
        let look = match client.take() {
            Some(client) => Ok(client),
            None => Client::connect(socket),
        };
        let look = look.and_then(|mut connected| {
            let sample = sample(&mut connected, began)?;
            client = Some(connected);
            Ok(Box::new(sample))
        });
        let look = look.map_err(|error| match error {
            ClientError::Unreachable(text) | ClientError::Refused(text) => text,
        });
        if to.send(look).is_err() {
            return;
        }
        thread::sleep(interval.saturating_sub(asked.elapsed()));
    }
}

fn sample(client: &mut Client, began: Instant) -> Result<Sample, ClientError> {
    let odd = || ClientError::Refused("the daemon answered something else".to_owned());
    let Response::Status(status) = client.fetch(&Request::Status {})? else { return Err(odd()) };
    // Counters are as of now; the lists only have to be near.
    let at = began.elapsed();
    let Response::Endpoints { endpoints } = client.fetch(&Request::Endpoints {})? else {
        return Err(odd());
    };
    let Response::Services { services } = client.fetch(&Request::Services {})? else {
        return Err(odd());
    };
    let Response::Drops { drops, .. } = client.fetch(&Request::Drops { all: true })? else {
        return Err(odd());
    };
    Ok(Sample { at, status: *status, endpoints, services, drops })
}
