//! The time since the bench began, processor time, and waiting for sockets until a time.
//!
//! Waits end within microseconds of their time, by a timer of the kernel: epoll's own count whole
//! milliseconds, which is more than many answers take.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

/// The number of the timer among the sockets.
const TIMER: u64 = u64::MAX;
const EVENTS: usize = 256;

/// Time since it was started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Clock {
        Clock(Instant::now())
    }

    pub(super) fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Processor time of this thread.
pub(super) fn thread_time() -> Duration {
    duration(clock_gettime(ClockId::ThreadCPUTime))
}

fn duration(time: Timespec) -> Duration {
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0))
}

/// Waits for sockets, each under a number of its own.
pub(super) struct Poller {
    epoll: OwnedFd,
    timer: OwnedFd,
    events: Vec<Event>,
}

impl Poller {
    pub(super) fn new() -> io::Result<Poller> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let events = Vec::with_capacity(EVENTS);
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN | EventFlags::ET)?;
        Ok(Poller { epoll, timer, events })
    }

    /// Tells of each change of a socket once. It is forgotten when it is closed.
    pub(super) fn watch(&self, socket: impl AsFd, number: u64, writes: bool) -> io::Result<()> {
        let mut flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        if writes {
            flags |= EventFlags::OUT;
        }
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(number), flags)?)
    }

    /// Tells of a socket for as long as there is something to accept or read.
    pub(super) fn watch_level(&self, socket: impl AsFd, number: u64) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(number), EventFlags::IN)?)
    }

    /// Waits for so long at most, and gives the numbers of sockets that changed.
    pub(super) fn wait(&mut self, at_most: Duration) -> io::Result<impl Iterator<Item = u64>> {
        self.events.clear();
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timeout = if at_most.is_zero() {
            Some(&zero)
        } else {
            let value = Timespec::try_from(at_most).unwrap_or(Timespec { tv_sec: 60, tv_nsec: 0 });
            let once = Itimerspec { it_interval: zero, it_value: value };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
            None
        };
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), timeout) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // The fields of a packed structure are copied.
        Ok(self.events.drain(..).map(|event| event.data).map(EventData::u64).filter(is_socket))
    }
}

fn is_socket(number: &u64) -> bool {
    *number != TIMER
}
