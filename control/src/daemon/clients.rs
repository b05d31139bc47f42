//! Who is connected to the control socket, and who has to leave when there is no room.
//!
//! Bounds: [`CLIENTS_MAX`] at once. A newcomer takes the place of the one that has been silent for
//! longest, so that clients that connect and never ask cannot keep others from asking. Each has
//! [`GRACE`] to ask; newcomers wait meanwhile, up to [`PATIENCE`]. So there is no room only where
//! all clients are busy.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Clients at once at most.
pub(super) const CLIENTS_MAX: usize = 64;

/// How long a client may be silent before it may have to leave.
const GRACE: Duration = Duration::from_millis(100);

/// How long a newcomer waits for a place.
const PATIENCE: Duration = Duration::from_secs(1);

struct Client {
    stream: Arc<UnixStream>,
    /// Since when its next request is waited for; `None` while it is being answered.
    silent_since: Option<Instant>,
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Clients(Mutex<Vec<Client>>);

/// Whether there is room for one more.
#[derive(Debug, PartialEq, Eq)]
enum Room {
    /// Yes.
    Free,
    /// In a moment.
    In(Duration),
    /// Everybody is being answered.
    None,
}

impl Clients {
    /// A place for a client, as soon as there is one; `None` if all others are busy.
    pub(super) fn admit(self: &Arc<Self>, stream: &Arc<UnixStream>) -> Option<Place> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = Instant::now();
            let mut clients = self.0.lock();
            match make_room(&mut clients, now) {
                Room::Free => {
                    let (stream, silent_since) = (Arc::clone(stream), Some(now));
                    clients.push(Client { stream: Arc::clone(&stream), silent_since });
                    return Some(Place { clients: Arc::clone(self), stream });
                }
                Room::In(time) if now < deadline => {
                    drop(clients);
                    thread::sleep(time);
                }
                Room::In(_) | Room::None => return None,
            }
        }
    }
}

/// Sends the one away that has been silent for longest, if there are too many.
fn make_room(clients: &mut Vec<Client>, now: Instant) -> Room {
    if clients.len() < CLIENTS_MAX {
        return Room::Free;
    }
    let silent = clients.iter().enumerate();
    let silent = silent.filter_map(|(at, client)| Some((client.silent_since?, at)));
    let Some((since, at)) = silent.min() else { return Room::None };
    let silence = now.duration_since(since);
    if silence < GRACE {
        return Room::In(GRACE - silence);
    }
    // Its thread wakes and ends. It fails only if the client has left already.
    let _ = clients.swap_remove(at).stream.shutdown(Shutdown::Both);
    Room::Free
}

/// One of [`CLIENTS_MAX`], until dropped.
pub(super) struct Place {
    clients: Arc<Clients>,
    stream: Arc<UnixStream>,
}

impl Place {
    /// The client.
    pub(super) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Its next request is waited for.
    pub(super) fn listen(&self) {
        self.note(Some(Instant::now()));
    }

    /// Its request has come and is being answered.
    pub(super) fn answer(&self) {
        self.note(None);
    }

    fn note(&self, silent_since: Option<Instant>) {
        let mut clients = self.clients.0.lock();
        let own = clients.iter_mut().find(|client| Arc::ptr_eq(&client.stream, &self.stream));
        if let Some(client) = own {
            client.silent_since = silent_since;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clients.0.lock().retain(|client| !Arc::ptr_eq(&client.stream, &self.stream));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read};

    use super::*;

    fn connect(clients: &Arc<Clients>) -> (Option<Place>, UnixStream) {
        let (own, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        (clients.admit(&Arc::new(own)), theirs)
    }

    fn is_open(mut stream: &UnixStream) -> bool {
        stream.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    fn full() -> (Arc<Clients>, Vec<(Option<Place>, UnixStream)>) {
        let clients = Arc::new(Clients::default());
        let all = (0..CLIENTS_MAX).map(|_| connect(&clients)).collect();
        (clients, all)
    }

    #[test]
    fn the_one_that_has_been_silent_for_longest_has_to_leave() {
        let (clients, all) = full();
        let place = |at: usize| all[at].0.as_ref().unwrap();
        place(0).answer();
        place(1).answer();
        place(1).listen();
        let (late, _stream) = connect(&clients);
        assert!(late.is_some());
        let left: Vec<usize> = (0..all.len()).filter(|&at| !is_open(&all[at].1)).collect();
        assert_eq!(left, [2], "0 is being answered, 1 has just been");
        assert_eq!(clients.0.lock().len(), CLIENTS_MAX);
    }

    #[test]
    fn a_client_has_time_to_ask() {
        let (clients, _all) = full();
        let first = clients.0.lock()[0].silent_since.unwrap();
        let room = |after| make_room(&mut clients.0.lock(), first + after);
        let moment = Duration::from_millis(1);
        assert_eq!(room(GRACE - moment), Room::In(moment));
        assert_eq!(room(GRACE), Room::Free);
    }

    #[test]
    fn nobody_who_is_being_answered_has_to_leave() {
        let (clients, mut all) = full();
        all.iter().for_each(|(place, _)| place.as_ref().unwrap().answer());
        assert!(connect(&clients).0.is_none());
        assert!(all.iter().all(|(_, stream)| is_open(stream)));
        drop(all.pop());
        assert!(connect(&clients).0.is_some(), "who leaves makes room");
    }
}
