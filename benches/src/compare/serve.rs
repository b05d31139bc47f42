//! A server that sends back what it gets, a connection at a time on each of a few threads: enough
//! for short connections one after the other, without a thread for each.

use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use lab::{LabError, Namespace};

/// Threads that accept.
const THREADS: usize = 8;

/// How long a connection may be silent, and how soon the end of the server is noticed.
const PATIENCE: Duration = Duration::from_secs(2);

/// See the module's documentation. Ends when dropped.
pub(super) struct Answers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Answers {
    pub(super) fn start(namespace: &Namespace, at: SocketAddrV4) -> Result<Answers, LabError> {
        let error = |source| LabError::new("listen on", at.to_string(), source);
        let listener = namespace.run(|| TcpListener::bind(at))?.map_err(error)?;
        listener.set_nonblocking(true).map_err(error)?;
        let stop = Arc::new(AtomicBool::new(false));
        let start = |_| {
            let (listener, stop) = (listener.try_clone().map_err(error)?, Arc::clone(&stop));
            Ok(std::thread::spawn(move || accept(&listener, &stop)))
        };
        let threads = (0..THREADS).map(start).collect::<Result<_, LabError>>()?;
        Ok(Answers { stop, threads })
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that panicked has ended too.
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            // A connection that breaks is the client's to notice.
            Ok((stream, _)) => drop(answer(stream, stop)),
            Err(_) => wait(listener),
        }
    }
}

/// Waits for a connection, for a while.
fn wait(listener: &TcpListener) {
    let mut poll = [rustix::event::PollFd::new(listener, rustix::event::PollFlags::IN)];
    let while_idle = rustix::event::Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    let _ = rustix::event::poll(&mut poll, Some(&while_idle));
}

fn answer(mut stream: TcpStream, stop: &AtomicBool) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut bytes = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut bytes)? {
            0 => break,
            length => stream.write_all(&bytes[..length])?,
        }
    }
    Ok(())
}
