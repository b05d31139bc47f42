//! Flows that nobody has answered yet have a small quota and give way, oldest first.
//!
//! A flood opens flows that come to nothing: TCP without a handshake, UDP of one packet. Each new
//! flow is noted at the end of a queue with room for one in [`QUEUE_SHARE`] records. A note that is
//! pushed out of the full queue, while more than half of the quota is used, takes its flow with it
//! if that is still unanswered; and where a newcomer finds no record or no port, the oldest
//! unanswered flow that has one gives way at once; but none of a reserve that its endpoint has not
//! exceeded. So a flood takes nothing from flows that were
//! answered, and lasting room from nobody (I8). Bounds: for one newcomer [`NOTES_MAX`] notes, of
//! which [`PASSED_OVER_MAX`] stay; the others go for good.

use alloc::collections::VecDeque;

use super::Engine;
use super::room::is_of_reserve;
use crate::flow::{Flow, FlowView};
use crate::record::EndReason;
use crate::types::{FlowIndex, Lease};

/// One in so many records of the table has room in the queue.
const QUEUE_SHARE: usize = 8;

/// Notes looked at for one newcomer, at most.
const NOTES_MAX: usize = 1_024;

/// Unanswered flows passed over for one newcomer, at most; and the shortest queue.
const PASSED_OVER_MAX: usize = 64;

/// A flow as it was opened: its number may since be another's, but hardly with the same port.
#[derive(Clone, Copy)]
struct Note {
    flow: FlowIndex,
    nat_port: u16,
}

/// New flows in the order in which they were opened.
pub(super) struct Embryos {
    notes: VecDeque<Note>,
    quota: usize,
}

impl Embryos {
    /// For a table of `flows_max` flows.
    pub(super) fn new(flows_max: usize) -> Embryos {
        let quota = (flows_max / QUEUE_SHARE).max(PASSED_OVER_MAX);
        Embryos { notes: VecDeque::with_capacity(quota), quota }
    }
}

impl Engine {
    /// Notes a flow that was just opened. The oldest gives way if there are too many.
    #[inline(always)]
    pub(super) fn note_embryo(&mut self, flow: FlowIndex, lease: Lease) {
        self.counters.flows_unanswered += 1;
        let note = Note { flow, nat_port: lease.port };
        let Embryos { notes, quota } = &mut self.embryos;
        let is_full = notes.len() >= *quota;
        let pushed_out = if is_full { notes.pop_front() } else { None };
        notes.push_back(note);
        let is_crowded = self.counters.flows_unanswered > *quota as u64 / 2;
        if let Some(oldest) = pushed_out.filter(|_| is_crowded) {
            self.displace_unreserved(oldest);
        }
    }

    /// A flow that was pushed out gives way, unless it is of its endpoint's reserve.
    #[cold]
    fn displace_unreserved(&mut self, oldest: Note) {
        let flow = self.flows.get(oldest.flow);
        if !flow.is_some_and(|flow| is_of_reserve(&self.generation, &flow)) {
            self.displace(oldest);
        }
    }

    /// Makes room: the oldest unanswered flow that `has` what is wanted gives way. `false` if none
    /// was found.
    pub(super) fn make_room(&mut self, has: impl Fn(&Flow) -> bool) -> bool {
        let mut passed_over = 0;
        for _ in 0..NOTES_MAX.min(self.embryos.notes.len()) {
            let Some(note) = self.embryos.notes.pop_front() else { break };
            match self.embryo(note) {
                Some(flow) if has(&flow) => return self.displace(note),
                // It goes on waiting, as if it were newer.
                Some(_) => {
                    self.embryos.notes.push_back(note);
                    passed_over += 1;
                }
                None => {}
            }
            if passed_over == PASSED_OVER_MAX {
                break;
            }
        }
        false
    }

    /// Whether [`Engine::make_room`] would find one.
    pub(super) fn can_make_room(&self, has: impl Fn(&Flow) -> bool) -> bool {
        let notes = self.embryos.notes.iter().take(NOTES_MAX);
        let unanswered = notes.filter_map(|&note| self.embryo(note));
        unanswered.take(PASSED_OVER_MAX).any(|flow| has(&flow))
    }

    /// The flow of a note, if it lives and nobody has answered it.
    fn embryo(&self, note: Note) -> Option<FlowView<'_>> {
        let flow = self.flows.get(note.flow)?;
        (flow.state.is_embryonic() && flow.nat_port() == note.nat_port).then_some(flow)
    }

    /// Removes an unanswered flow: its record and its port are free at once, without a rest.
    fn displace(&mut self, note: Note) -> bool {
        let is_embryo = self.embryo(note).is_some();
        if is_embryo {
            self.remove(note.flow, EndReason::Displaced);
            self.counters.flows_displaced += 1;
        }
        is_embryo
    }
}
