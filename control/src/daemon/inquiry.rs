//! Asks one worker one question and waits for its answer, a batch later. One question at a time.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use dataplane::engine::{Explanation, FlowKey, Session};
use dataplane::types::FlowIndex;
use dataplane::worker::{Finding, Inquiry};
use parking_lot::Mutex;

use super::crew::Crew;
use crate::api::{ErrorCode, Failure, SessionId};

/// How long a worker may take.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// Time between two looks for an answer.
const LOOK: Duration = Duration::from_micros(200);

/// See the module's documentation.
pub(super) struct Inquirer {
    crew: Arc<Crew>,
    turn: Mutex<()>,
}

impl Inquirer {
    pub(super) fn new(crew: Arc<Crew>) -> Inquirer {
        Inquirer { crew, turn: Mutex::default() }
    }

    /// How many workers there are.
    pub(super) fn workers(&self) -> u8 {
        u8::try_from(self.crew.len()).unwrap_or(u8::MAX)
    }

    /// What would become of a packet.
    pub(super) fn explain(&self, worker: u8, key: FlowKey) -> Result<Explanation, Failure> {
        match self.ask(worker, Inquiry::Explain(key))? {
            Finding::Explained(explanation) => Ok(explanation),
            Finding::Session(_) => Err(late(worker)),
        }
    }

    /// A worker's live flow by its number.
    pub(super) fn show(&self, worker: u8, flow: FlowIndex) -> Result<Option<Session>, Failure> {
        match self.ask(worker, Inquiry::Show(flow))? {
            Finding::Session(session) => Ok(session),
            Finding::Explained(_) => Err(late(worker)),
        }
    }

    /// Ends the flow with this name; the flow as it was.
    pub(super) fn end(&self, id: SessionId) -> Result<Session, Failure> {
        let gone = || {
            let message = format!("there is no session {id} any more");
            Failure::new(ErrorCode::NotFound, message, "look at the list: `adit sessions`")
        };
        let flow = FlowIndex(id.number);
        if usize::from(id.worker) >= self.crew.len() {
            return Err(gone());
        }
        let shown = self.show(id.worker, flow)?;
        let session = shown.filter(|session| SessionId::of(id.worker, session) == id);
        let session = session.ok_or_else(gone)?;
        match self.ask(id.worker, Inquiry::End(flow, session.key))? {
            Finding::Session(ended) => ended.ok_or_else(gone),
            Finding::Explained(_) => Err(late(id.worker)),
        }
    }

    fn ask(&self, worker: u8, inquiry: Inquiry) -> Result<Finding, Failure> {
        let _turn = self.turn.lock();
        let shared = self.crew.shared().get(usize::from(worker)).ok_or_else(|| late(worker))?;
        let deadline = Instant::now() + ANSWER_TIME;
        // Refused while a question that was given up waits for the worker.
        let ticket = shared.inquire(inquiry).ok_or_else(|| late(worker))?;
        self.crew.wake();
        loop {
            if let Some(finding) = shared.take_finding(ticket) {
                return Ok(finding);
            }
            if Instant::now() >= deadline {
                return Err(late(worker));
            }
            thread::sleep(LOOK);
        }
    }
}

fn late(worker: u8) -> Failure {
    let message = format!("worker {worker} did not answer in time");
    Failure::new(ErrorCode::Timeout, message, "try again; if it stays so, look at `adit status`")
}
