//! What a worker shares with control and with its peers.
//!
//! Down, one pointer (the [`Cell`]). Up, the stats page; a bounded ring of records of flows, if
//! somebody wants them, which takes no more when it is full (I8); and pages of sessions, filled at
//! the end of turns on request, a few table slots at a time, so that a list of a million flows
//! costs a worker nothing it can feel, and answers to single questions. Both ways, where backends
//! are probed, frames of health probes. Sideways, one bounded ring to each peer.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::handover::{self, Handover};
use super::inquiry::{Finding, Inquiries, Inquiry};
use super::probe::ProbeRings;
use super::trace::{Trace, Wanted};
use crate::account::AccountPage;
use crate::engine::Session;
use crate::generation::Generation;
use crate::limits::{RECORDS_MAX, WORKERS_MAX};
use crate::publish::Cell;
use crate::record::{FlowRecord, Recording};
use crate::stats::StatsPage;
use crate::sync::{ArrayQueue, AtomicBool, AtomicU64, Ordering};
use crate::types::{FlowIndex, WorkerId};

/// Sizes that are fixed at start.
#[derive(Clone, Copy, Debug)]
pub struct CrewConfig {
    /// Number of workers, 1 to [`WORKERS_MAX`].
    pub workers: u8,
    /// Flows that each worker has room for.
    pub flows_max: usize,
    /// Secret from which hashes and port choices derive; drawn anew at every start.
    pub seed: u64,
    /// How much is told of flows.
    pub recording: Recording,
}

/// Names one request for a page of sessions or for another answer; only its own is taken with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(pub(super) u64);

/// Sessions on their way from a worker to whoever asked. The asker provides the memory.
pub struct SessionPage {
    /// Where in the worker's table to go on; start with 0.
    pub next: FlowIndex,
    /// Whether the table's end is reached.
    pub done: bool,
    /// A configuration that is not in force: each session says what it would make of it. Freed by
    /// whoever asked, for the page comes back.
    pub under: Option<Arc<Generation>>,
    /// The sessions found; a worker pushes no more than there is capacity for.
    pub sessions: Vec<Session>,
    ticket: Ticket,
}

impl fmt::Debug for SessionPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SessionPage { next, done, sessions, ticket, under: _ } = self;
        let mut shown = f.debug_struct("SessionPage");
        shown.field("next", next).field("done", done).field("sessions", sessions);
        shown.field("ticket", ticket).finish_non_exhaustive()
    }
}

impl SessionPage {
    /// An empty page with room for `capacity` sessions, at the start of the table.
    #[must_use]
    pub fn new(capacity: usize) -> SessionPage {
        let sessions = Vec::with_capacity(capacity);
        let (next, ticket) = (FlowIndex(0), Ticket(0));
        SessionPage { next, done: false, under: None, sessions, ticket }
    }
}

/// The part of a worker that control holds.
pub struct Shared {
    /// The generation in force, for all workers.
    pub cell: Arc<Cell>,
    /// What the worker counts.
    pub stats: StatsPage,
    /// What it carried, by account.
    pub accounts: Arc<AccountPage>,
    requests: ArrayQueue<SessionPage>,
    answers: ArrayQueue<SessionPage>,
    tickets: AtomicU64,
    pub(super) inquiries: Inquiries,
    /// Frames of health probes; the same rings for all workers.
    pub probes: Arc<ProbeRings>,
    records: ArrayQueue<FlowRecord>,
    pub(super) trace: Wanted,
    stop: AtomicBool,
}

impl Shared {
    fn new(cell: Arc<Cell>, probes: Arc<ProbeRings>, recording: Recording) -> Shared {
        let room = if recording == Recording::Nothing { 1 } else { RECORDS_MAX };
        Shared {
            records: ArrayQueue::new(room),
            cell,
            stats: StatsPage::new(),
            accounts: Arc::new(AccountPage::new()),
            requests: ArrayQueue::new(1),
            answers: ArrayQueue::new(1),
            tickets: AtomicU64::new(0),
            inquiries: Inquiries::new(),
            probes,
            trace: Wanted::default(),
            stop: AtomicBool::new(false),
        }
    }

    /// Asks for the next page of sessions; wake the worker afterwards. One page at a time: gives it
    /// back if another waits for the worker.
    ///
    /// # Errors
    /// The page, if another waits.
    pub fn request_sessions(&self, mut page: SessionPage) -> Result<Ticket, SessionPage> {
        let ticket = Ticket(self.tickets.fetch_add(1, Ordering::Relaxed) + 1);
        page.ticket = ticket;
        self.requests.push(page).map(|()| ticket)
    }

    /// The page that was asked for with this ticket, once the worker has filled it. An answer to an
    /// earlier request, which nobody waits for any more, is thrown away.
    #[must_use]
    pub fn take_sessions(&self, ticket: Ticket) -> Option<SessionPage> {
        self.answers.pop().filter(|page| page.ticket == ticket)
    }

    /// Asks a question; wake the worker afterwards. One at a time: `None` if another waits.
    #[must_use]
    pub fn inquire(&self, inquiry: Inquiry) -> Option<Ticket> {
        self.inquiries.ask(inquiry)
    }

    /// What the worker says to the question with this ticket, once it has.
    #[must_use]
    pub fn take_finding(&self, ticket: Ticket) -> Option<Finding> {
        self.inquiries.take(ticket)
    }

    /// The next thing that is told of a flow. To be called often enough: what finds no room here is
    /// lost, and counted.
    #[must_use]
    pub fn take_record(&self) -> Option<FlowRecord> {
        self.records.pop()
    }

    /// Shows packets from now on, or none any more; wake the worker afterwards. Whoever asks keeps
    /// what was wanted before until nobody else has it, so that no worker frees it.
    pub fn trace(&self, trace: Option<Arc<Trace>>) {
        self.trace.set(trace);
    }

    /// For the worker: tells of a flow; `false` if there is no room for it.
    pub(super) fn tell(&self, record: FlowRecord) -> bool {
        self.records.push(record).is_ok()
    }

    /// Ends the worker at its next batch boundary; wake it afterwards.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Whether the worker shall end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// For the worker: the page to fill.
    pub(super) fn next_request(&self) -> Option<SessionPage> {
        self.requests.pop()
    }

    /// For the worker: gives a filled page back. An answer that nobody took is replaced.
    pub(super) fn answer(&self, page: SessionPage) {
        drop(self.answers.force_push(page));
    }
}

/// Everything that a worker is born with. Made by [`crew`], given to [`super::Worker::new`] on the
/// worker's own thread.
pub struct Seat {
    /// Which worker.
    pub worker: WorkerId,
    /// Sizes and secret.
    pub config: CrewConfig,
    /// What it shares with control.
    pub shared: Arc<Shared>,
    pub(super) handover: Handover,
}

impl Seat {
    /// The seat for a worker in place of the one that was born with this. There must be only one at
    /// a time: the first must have ended and have been dropped.
    #[must_use]
    pub fn successor(&self) -> Seat {
        let Seat { worker, config, ref shared, ref handover } = *self;
        Seat { worker, config, shared: Arc::clone(shared), handover: handover.clone() }
    }
}

/// The seats of all workers, connected to each other; they start with the cell's generation. A
/// number of workers beyond the limits is brought within them.
#[must_use]
pub fn crew(mut config: CrewConfig, cell: &Arc<Cell>) -> Vec<Seat> {
    config.workers = config.workers.clamp(1, u8::try_from(WORKERS_MAX).unwrap_or(u8::MAX));
    let probes = Arc::new(ProbeRings::new());
    let seats = handover::mesh(config.workers).into_iter().enumerate();
    let seat = |(at, handover): (usize, Handover)| Seat {
        worker: WorkerId(at.to_le_bytes()[0]),
        config,
        shared: Arc::new(Shared::new(Arc::clone(cell), Arc::clone(&probes), config.recording)),
        handover,
    };
    seats.map(seat).collect()
}
