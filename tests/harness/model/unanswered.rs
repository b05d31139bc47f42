//! Flows that nobody has answered stand in a queue, in the order in which they were opened, and
//! give way to newcomers from its front.

use dataplane::record::EndReason;

use super::rules::{Flow, Key, Model};

/// The queue has a place for one in so many flows of a full table, and no fewer than this.
const SHARE: usize = 8;
const SHORTEST: usize = 64;

/// Places that are looked at for one newcomer, and flows that are passed over.
const LOOKED_AT_MAX: usize = 1_024;
const PASSED_OVER_MAX: usize = 64;

/// A place in the queue. It stands for whoever has the record with this number and this port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Note {
    number: u32,
    port: u16,
}

impl Model {
    fn queue_max(&self) -> usize {
        (self.flows_max / SHARE).max(SHORTEST)
    }

    pub(super) fn count_unanswered(&self, worker: usize) -> usize {
        let mine = self.flows.values().filter(|flow| flow.worker == worker);
        mine.filter(|flow| flow.state.is_unanswered()).count()
    }

    /// The unanswered flow that a note stands for, if it still does.
    fn noted(&self, worker: usize, note: Note) -> Option<Key> {
        let mut flows = self.flows.iter().filter(|(_, flow)| flow.worker == worker);
        let is_meant = |flow: &Flow| Note::of(flow) == note && flow.state.is_unanswered();
        flows.find(|(_, flow)| is_meant(flow)).map(|(key, _)| *key)
    }

    /// A flow was opened: whoever is pushed out of the queue gives way if it is crowded.
    pub(super) fn note(&mut self, worker: usize, key: &Key) {
        let queue_max = self.queue_max();
        let is_crowded = self.count_unanswered(worker) > queue_max / 2;
        let note = Note::of(&self.flows[key]);
        let notes = &mut self.workers[worker].notes;
        let pushed_out = if notes.len() == queue_max { notes.pop_front() } else { None };
        notes.push_back(note);
        let oldest = pushed_out.and_then(|note| self.noted(worker, note));
        let is_kept = |key: &Key| self.is_of_reserve(worker, self.flows[key].link);
        if let Some(oldest) = oldest.filter(|key| is_crowded && !is_kept(key)) {
            self.displace(&oldest);
        }
    }

    /// How many flows can be opened before one is pushed out.
    pub(super) fn quiet_opens(&self, worker: usize) -> usize {
        let queue_max = self.queue_max();
        let places = queue_max - self.workers[worker].notes.len();
        places.max((queue_max / 2).saturating_sub(self.count_unanswered(worker)))
    }

    /// Whether an unanswered flow of this kind would give way now.
    pub(super) fn would_give_way(&self, worker: usize, has: impl Fn(&Flow) -> bool) -> bool {
        let notes = self.workers[worker].notes.iter().take(LOOKED_AT_MAX);
        let mut flows = notes.filter_map(|note| self.noted(worker, *note)).take(PASSED_OVER_MAX);
        flows.any(|key| has(&self.flows[&key]))
    }

    /// The oldest unanswered flow of this kind gives way; those before it go to the queue's end.
    pub(super) fn give_way(&mut self, worker: usize, has: impl Fn(&Model, &Flow) -> bool) -> bool {
        let mut passed_over = 0;
        for _ in 0..self.workers[worker].notes.len().min(LOOKED_AT_MAX) {
            let Some(note) = self.workers[worker].notes.pop_front() else { break };
            let Some(key) = self.noted(worker, note) else { continue };
            if has(self, &self.flows[&key]) {
                self.displace(&key);
                return true;
            }
            self.workers[worker].notes.push_back(note);
            passed_over += 1;
            if passed_over == PASSED_OVER_MAX {
                break;
            }
        }
        false
    }

    /// When it is an unanswered flow's turn to give way: those that are not never do.
    pub(super) fn turn(&self, key: &Key) -> usize {
        let flow = &self.flows[key];
        let mut notes = self.workers[flow.worker].notes.iter();
        let turn = notes.position(|note| *note == Note::of(flow));
        turn.filter(|_| flow.state.is_unanswered()).unwrap_or(usize::MAX)
    }

    fn displace(&mut self, key: &Key) {
        let worker = self.flows[key].worker;
        self.remove(key, EndReason::Displaced);
        self.workers[worker].counters.flows_displaced += 1;
    }
}

impl Note {
    fn of(flow: &Flow) -> Note {
        Note { number: flow.number, port: flow.choice.nat.1 }
    }
}
