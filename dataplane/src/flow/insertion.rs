//! Headers that adit has put, or will put, in front of what clients send, until the backend has
//! acknowledged them.
//!
//! A flow owes a header from its first SYN on; the answer to the SYN tells the number of the
//! header's first byte. When the handshake is done the header is *under way*: kept and sent again,
//! twice as late each time (RFC 6298 5.5), until it is acknowledged. From then on the record of the
//! flow knows all there is to know: how many bytes it was. Plain numbers; no bytes of packets.
//!
//! Memory: eight bytes for each flow that there is room for, touched only by flows that owe a
//! header, and [`Underway`] for one in [`HEADERS_SHARE`]; fixed at start (I8).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use crate::limits::{HEADERS_MIN, HEADERS_SHARE};
use crate::packet::proxy::{Header, Numbers};
use crate::types::{FlowIndex, Tick};

/// How long the first header waits for its acknowledgement, in ticks: 200 ms, which Linux waits at
/// least. One that is sent again for nothing does no harm.
const PATIENCE_TICKS: u32 = 20;

/// How often the wait is doubled: up to 25.6 s.
const DOUBLINGS_MAX: u8 = 7;

/// A header that was sent and is not acknowledged.
#[derive(Clone, Debug)]
pub struct Underway {
    /// Whose it is.
    pub flow: FlowIndex,
    /// What its segment says; what it acknowledges is what the client said last.
    pub numbers: Numbers,
    /// The header.
    pub header: Header,
    due: Tick,
    /// How often it fell due.
    times_due: u8,
    /// Whether it waits to be sent.
    is_queued: bool,
    /// Whether it was ever sent.
    was_sent: bool,
    /// Whether it was once sent before its time, because the backend missed it.
    was_hurried: bool,
}

impl Underway {
    /// How many of these bytes the backend has, by what it acknowledges; `None` if it has not even
    /// heard of the first.
    fn acknowledged(&self, number: u32) -> Option<u32> {
        let bytes = number.wrapping_sub(self.numbers.sequence);
        (bytes < 1 << 31).then_some(bytes)
    }
}

/// What is known of the header of a flow, in one word: nothing, the number of its first byte, or
/// which one is under way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Nowhere,
    First(u32),
    Underway(u32),
}

impl Place {
    const WORD: u64 = 1 << 32;

    #[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
    fn of(word: u64) -> Place {
        match word / Self::WORD {
            1 => Place::First(word as u32),
            2 => Place::Underway(word as u32),
            _ => Place::Nowhere,
        }
    }

    fn word(self) -> u64 {
        match self {
            Place::Nowhere => 0,
            Place::First(number) => Self::WORD | u64::from(number),
            Place::Underway(at) => (2 * Self::WORD) | u64::from(at),
        }
    }
}

/// See the module's documentation.
pub struct Insertions {
    places: Box<[u64]>,
    /// In no order.
    underway: Vec<Underway>,
    /// How many there may be.
    room: usize,
    outbox: VecDeque<FlowIndex>,
    round: Round,
}

/// How far the clock has come with looking at all headers under way.
#[derive(Clone, Copy)]
struct Round {
    next: usize,
    began: Tick,
}

/// All were looked at.
const DONE: usize = usize::MAX;

impl Insertions {
    /// For a table of `flows_max` flows.
    #[must_use]
    pub fn new(flows_max: usize) -> Insertions {
        let room = (flows_max / HEADERS_SHARE).max(HEADERS_MIN);
        Insertions {
            places: vec![0; flows_max].into_boxed_slice(),
            underway: Vec::with_capacity(room),
            room,
            outbox: VecDeque::with_capacity(room),
            round: Round { next: DONE, began: Tick(0) },
        }
    }

    /// Headers under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.underway.len()
    }

    /// Whether no header is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.underway.is_empty()
    }

    fn place(&self, flow: FlowIndex) -> Place {
        self.places.get(flow.slot()).map_or(Place::Nowhere, |word| Place::of(*word))
    }

    fn set_place(&mut self, flow: FlowIndex, place: Place) {
        if let Some(word) = self.places.get_mut(flow.slot()) {
            *word = place.word();
        }
    }

    /// The backend has answered the SYN: here the header begins.
    pub fn set_first(&mut self, flow: FlowIndex, number: u32) {
        if !matches!(self.place(flow), Place::Underway(_)) {
            self.set_place(flow, Place::First(number));
        }
    }

    /// Where the header of a flow begins that still owes it.
    #[must_use]
    pub fn first(&self, flow: FlowIndex) -> Option<u32> {
        match self.place(flow) {
            Place::First(number) => Some(number),
            Place::Nowhere | Place::Underway(_) => None,
        }
    }

    /// The header of a flow, if it is under way.
    #[must_use]
    pub fn get(&self, flow: FlowIndex) -> Option<&Underway> {
        match self.place(flow) {
            Place::Underway(at) => self.underway.get(at as usize),
            Place::Nowhere | Place::First(_) => None,
        }
    }

    fn get_mut(&mut self, flow: FlowIndex) -> Option<&mut Underway> {
        match self.place(flow) {
            Place::Underway(at) => self.underway.get_mut(at as usize),
            Place::Nowhere | Place::First(_) => None,
        }
    }

    /// Whether there is room for one more under way.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.underway.len() < self.room
    }

    /// The header of a flow is sent for the first time. Needs room.
    pub fn send(&mut self, flow: FlowIndex, numbers: Numbers, header: Header, now: Tick) {
        let Ok(at) = u32::try_from(self.underway.len()) else { return };
        if !self.has_room() {
            return;
        }
        self.underway.push(Underway {
            flow,
            numbers,
            header,
            due: now.after(PATIENCE_TICKS),
            times_due: 0,
            is_queued: false,
            was_sent: false,
            was_hurried: false,
        });
        self.set_place(flow, Place::Underway(at));
        self.queue(flow);
    }

    fn queue(&mut self, flow: FlowIndex) {
        let has_room = self.outbox.len() < self.room;
        let Some(underway) = self.get_mut(flow).filter(|it| has_room && !it.is_queued) else {
            return;
        };
        underway.is_queued = true;
        self.outbox.push_back(flow);
    }

    /// The client has spoken again while its header is under way: what it acknowledges and echoes
    /// now, the header says too.
    pub fn hear_client(&mut self, flow: FlowIndex, spoken: &Numbers) {
        let Some(underway) = self.get_mut(flow) else { return };
        let known = underway.numbers;
        if spoken.acknowledgement.wrapping_sub(known.acknowledgement) < 1 << 31 {
            underway.numbers = Numbers { sequence: known.sequence, ..*spoken };
        }
    }

    /// The backend acknowledges everything before this number. If that is all of a header that is
    /// under way, it has arrived and is forgotten; if the backend missed it, it is sent once more
    /// at once.
    pub fn hear_backend(&mut self, flow: FlowIndex, number: u32) {
        let Some(underway) = self.get_mut(flow) else { return };
        let Some(bytes) = underway.acknowledged(number) else { return };
        if bytes as usize >= underway.header.len() {
            return self.forget(flow);
        }
        if !underway.was_hurried {
            underway.was_hurried = true;
            self.queue(flow);
        }
    }

    /// Forgets everything about a flow. Where nothing is known nothing is written: the memory stays
    /// unused.
    pub fn forget(&mut self, flow: FlowIndex) {
        let place = self.place(flow);
        if let Place::Underway(at) = place {
            let at = at as usize;
            if at < self.underway.len() {
                self.underway.swap_remove(at);
            }
            if let Some(moved) = self.underway.get(at).map(|underway| underway.flow) {
                self.set_place(moved, Place::Underway(u32::try_from(at).unwrap_or(u32::MAX)));
            }
        }
        if place != Place::Nowhere {
            self.set_place(flow, Place::Nowhere);
        }
    }

    /// Whether a header waits to be sent.
    #[must_use]
    pub fn has_to_send(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// The next flow whose header is to be sent.
    pub fn next_to_send(&mut self) -> Option<FlowIndex> {
        while let Some(flow) = self.outbox.pop_front() {
            if let Some(underway) = self.get_mut(flow).filter(|underway| underway.is_queued) {
                underway.is_queued = false;
                return Some(flow);
            }
        }
        None
    }

    /// The header of a flow is sent; says whether it was before.
    pub fn note_sent(&mut self, flow: FlowIndex) -> bool {
        self.get_mut(flow).is_some_and(|it| core::mem::replace(&mut it.was_sent, true))
    }

    /// Queues headers that have waited for long enough. Looks at each once a tick, at no more than
    /// `steps` together, which it counts down.
    pub fn advance(&mut self, now: Tick, steps: &mut u32) {
        if self.round.next == DONE {
            if self.round.began == now {
                return;
            }
            self.round = Round { next: 0, began: now };
        }
        while *steps > 0 {
            let Some(underway) = self.underway.get_mut(self.round.next) else {
                self.round.next = DONE;
                return;
            };
            self.round.next += 1;
            *steps -= 1;
            if underway.due.since(now) == 0 {
                underway.times_due = underway.times_due.saturating_add(1).min(DOUBLINGS_MAX);
                underway.due = now.after(PATIENCE_TICKS << underway.times_due);
                let flow = underway.flow;
                self.queue(flow);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOW: FlowIndex = FlowIndex(7);

    fn numbers(acknowledgement: u32) -> Numbers {
        Numbers { sequence: u32::MAX - 9, acknowledgement, window: 5, timestamps: None }
    }

    fn sent(insertions: &mut Insertions, flow: FlowIndex, now: u32) {
        insertions.set_first(flow, numbers(0).sequence);
        let header = Header::from_iter([7; 36]);
        insertions.send(flow, numbers(0), header, Tick(now));
    }

    fn queued(insertions: &mut Insertions) -> Vec<FlowIndex> {
        core::iter::from_fn(|| insertions.next_to_send()).collect()
    }

    /// The clock shows these ticks one after the other; those in which something is sent.
    fn sent_at(insertions: &mut Insertions, ticks: core::ops::Range<u32>) -> Vec<u32> {
        let mut at = Vec::new();
        for tick in ticks {
            insertions.advance(Tick(tick), &mut 256);
            at.extend(queued(insertions).iter().map(|_| tick));
        }
        at
    }

    #[test]
    fn rfc6298_5_a_header_is_sent_again_ever_later_until_it_is_acknowledged() {
        let mut insertions = Insertions::new(100);
        sent(&mut insertions, FLOW, 1_000);
        assert_eq!(queued(&mut insertions), [FLOW]);
        let again = sent_at(&mut insertions, 1_000..4_000);
        assert_eq!(again, [1_020, 1_060, 1_140, 1_300, 1_620, 2_260, 3_540]);
        // Behind the wrap: 36 bytes from ten before it.
        insertions.hear_backend(FLOW, 25);
        assert_eq!(insertions.len(), 1, "a byte of it is missing");
        insertions.hear_backend(FLOW, 26);
        assert!(insertions.is_empty() && insertions.get(FLOW).is_none());
    }

    #[test]
    fn a_backend_that_misses_it_gets_it_at_once_but_only_once() {
        let mut insertions = Insertions::new(100);
        sent(&mut insertions, FLOW, 0);
        assert!(!insertions.note_sent(FLOW) && insertions.note_sent(FLOW));
        queued(&mut insertions);
        insertions.hear_backend(FLOW, numbers(0).sequence);
        assert_eq!(queued(&mut insertions), [FLOW]);
        insertions.hear_backend(FLOW, numbers(0).sequence.wrapping_add(3));
        insertions.hear_backend(FLOW, numbers(0).sequence.wrapping_sub(1));
        assert!(queued(&mut insertions).is_empty());
    }

    #[test]
    fn it_says_what_the_client_said_last() {
        let mut insertions = Insertions::new(100);
        sent(&mut insertions, FLOW, 0);
        let later = Numbers { sequence: 1, window: 9, timestamps: Some([1; 8]), ..numbers(4) };
        insertions.hear_client(FLOW, &later);
        insertions.hear_client(FLOW, &numbers(3));
        let said = insertions.get(FLOW).map(|underway| underway.numbers);
        assert_eq!(said, Some(Numbers { sequence: numbers(0).sequence, ..later }));
    }

    #[test]
    fn whichever_is_forgotten_the_others_are_known() {
        let mut insertions = Insertions::new(64 * HEADERS_SHARE);
        for flow in 0..64 {
            assert!(insertions.has_room());
            sent(&mut insertions, FlowIndex(flow), 0);
        }
        assert!(!insertions.has_room());
        queued(&mut insertions);
        for flow in (0..64).step_by(3) {
            insertions.forget(FlowIndex(flow));
        }
        for flow in 0..64 {
            let known = insertions.get(FlowIndex(flow)).map(|underway| underway.flow);
            assert_eq!(known, (flow % 3 != 0).then_some(FlowIndex(flow)));
        }
        let mut steps = 10;
        insertions.advance(Tick(50), &mut steps);
        assert_eq!((steps, queued(&mut insertions).len()), (0, 10));
        let (mut rest, mut again) = (256, 256);
        insertions.advance(Tick(50), &mut rest);
        insertions.advance(Tick(50), &mut again);
        assert_eq!((queued(&mut insertions).len(), again), (32, 256));
    }
}
