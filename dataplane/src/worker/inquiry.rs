//! Single questions to a worker and its answers, beside the pages of sessions: one at a time, asked
//! and answered at a batch boundary, in memory that is there already.

use super::Ticket;
use crate::engine::{Engine, Explanation, FlowKey, Session};
use crate::sync::{ArrayQueue, AtomicU64, Ordering};
use crate::types::{FlowIndex, Instant};

/// What control asks one worker.
#[derive(Clone, Copy, Debug)]
pub enum Inquiry {
    /// What would become of a packet with this key?
    Explain(FlowKey),
    /// Which live flow has this number?
    Show(FlowIndex),
    /// End the live flow with this number and key.
    End(FlowIndex, FlowKey),
}

/// What the worker says.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time exists, and a worker allocates nothing"
)]
pub enum Finding {
    /// To [`Inquiry::Explain`].
    Explained(Explanation),
    /// To [`Inquiry::Show`], and to [`Inquiry::End`]: the flow as it was.
    Session(Option<Session>),
}

/// The exchange of one worker.
pub(super) struct Inquiries {
    asked: ArrayQueue<(Ticket, Inquiry)>,
    answered: ArrayQueue<(Ticket, Finding)>,
    tickets: AtomicU64,
}

impl Inquiries {
    pub(super) fn new() -> Inquiries {
        let (asked, answered) = (ArrayQueue::new(1), ArrayQueue::new(1));
        Inquiries { asked, answered, tickets: AtomicU64::new(0) }
    }

    /// `None` if another question waits.
    pub(super) fn ask(&self, inquiry: Inquiry) -> Option<Ticket> {
        let ticket = Ticket(self.tickets.fetch_add(1, Ordering::Relaxed) + 1);
        self.asked.push((ticket, inquiry)).ok().map(|()| ticket)
    }

    /// An answer to an earlier question, which nobody waits for any more, is thrown away.
    pub(super) fn take(&self, ticket: Ticket) -> Option<Finding> {
        self.answered.pop().filter(|(answered, _)| *answered == ticket).map(|(_, found)| found)
    }

    /// For the worker: answers what was asked.
    pub(super) fn answer(&self, engine: &mut Engine, now: Instant) {
        let Some((ticket, inquiry)) = self.asked.pop() else { return };
        let found = match inquiry {
            Inquiry::Explain(key) => Finding::Explained(engine.explain(now, &key)),
            Inquiry::Show(number) => Finding::Session(engine.session(now, number)),
            Inquiry::End(number, key) => Finding::Session(engine.end_session(now, number, &key)),
        };
        // What it replaces, nobody took.
        let _ = self.answered.force_push((ticket, found));
    }
}
