//! A timer wheel: which flows may have expired by now.
//!
//! 4,096 slots of 80 ms, each a doubly linked list threaded through one array. One timer stands for
//! [`FLOWS_PER_TIMER`] neighboring flows and is due when the first of them may have expired. A
//! packet does not touch the wheel: it only stamps its flow, and a timer that comes early is put
//! back at its true deadline. Deadlines beyond the horizon of 327 s wait at the horizon and are put
//! back there. Scheduling and cancelling are O(1); finding what is due costs a step for each slot
//! passed and each timer found, and the caller bounds the steps (I8).

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use crate::types::{FlowIndex, Tick};

const SLOTS: u32 = 4096;

/// log2 of the ticks of a slot: 8 ticks, 80 ms.
const SLOT_SHIFT: u32 = 3;

/// Flows that share a timer: few enough to look at all of them whenever it is due.
pub(super) const FLOWS_PER_TIMER: u32 = 8;

/// No timer; or in `previous`, if the upper bit alone is set, that the slot's head points here.
const NOBODY: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Link {
    next: u32,
    /// The timer before, or `HEAD | slot`.
    previous: u32,
    /// The slot that it is in, as a slot number since the origin of ticks (wrapping).
    at: u32,
}

const HEAD: u32 = 1 << 31;
const UNLINKED: Link = Link { next: NOBODY, previous: NOBODY, at: 0 };

/// A timer of some flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timer(u32);

impl Timer {
    /// The timer of a flow.
    pub(super) fn of(flow: FlowIndex) -> Timer {
        Timer(flow.0 / FLOWS_PER_TIMER)
    }

    /// The flows that it stands for.
    pub(super) fn flows(self) -> impl Iterator<Item = FlowIndex> {
        let first = self.0 * FLOWS_PER_TIMER;
        (first..first + FLOWS_PER_TIMER).map(FlowIndex)
    }

    fn slot(self) -> usize {
        self.0 as usize
    }
}

/// The timers of one flow table.
pub(super) struct Wheel {
    heads: Box<[u32]>,
    links: Vec<Link>,
    /// The slot that is being emptied, as a slot number since the origin of ticks (wrapping).
    current: u32,
    started: bool,
}

impl Wheel {
    /// A wheel for flows numbered below `capacity`. Memory is touched as it is used.
    pub(super) fn new(capacity: usize) -> Wheel {
        Wheel {
            heads: vec![NOBODY; SLOTS as usize].into_boxed_slice(),
            links: Vec::with_capacity(capacity.div_ceil(FLOWS_PER_TIMER as usize)),
            current: 0,
            started: false,
        }
    }

    /// Bytes of memory at most.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.heads) + self.links.capacity() * size_of::<Link>()
    }

    /// Makes sure that a timer is due no later than at this deadline, or at the horizon if that is
    /// nearer. Of the flows that share it, nearly always one that came before has seen to it.
    #[inline(always)]
    pub(super) fn schedule(&mut self, timer: Timer, deadline: Tick, now: Tick) {
        self.start(now);
        let at = slot_number(deadline.after((1 << SLOT_SHIFT) - 1));
        // A deadline that is past goes into the slot that is emptied next.
        let ahead = self.ahead(at).min(SLOTS - 1);
        let is_due = |link: &Link| link.previous != NOBODY && self.ahead(link.at) <= ahead;
        if !self.links.get(timer.slot()).is_some_and(is_due) {
            self.reschedule(timer, ahead);
        }
    }

    /// Puts a timer so many slots ahead, wherever it is.
    #[inline(never)]
    fn reschedule(&mut self, timer: Timer, ahead: u32) {
        if self.links.len() <= timer.slot() {
            self.links.resize(timer.slot() + 1, UNLINKED);
        }
        self.cancel(timer);
        self.link(timer, self.current.wrapping_add(ahead) & SLOT_NUMBER_MASK);
    }

    fn link(&mut self, timer: Timer, at: u32) {
        let slot = at % SLOTS;
        let head = self.heads[slot as usize];
        self.links[timer.slot()] = Link { next: head, previous: HEAD | slot, at };
        if head != NOBODY {
            self.links[head as usize].previous = timer.0;
        }
        self.heads[slot as usize] = timer.0;
    }

    /// Takes a timer out of the wheel, if it is in it.
    pub(super) fn cancel(&mut self, timer: Timer) {
        let Some(link) = self.links.get_mut(timer.slot()) else {
            return;
        };
        let Link { next, previous, .. } = core::mem::replace(link, UNLINKED);
        if previous == NOBODY {
            return;
        }
        match previous & HEAD {
            0 => self.links[previous as usize].next = next,
            _ => self.heads[(previous & !HEAD) as usize] = next,
        }
        if next != NOBODY {
            self.links[next as usize].previous = previous;
        }
    }

    /// The next timer whose slot has passed. It stays in the wheel until it is cancelled. Each slot
    /// passed and each timer found costs one of `steps`; `None` if nothing is due or no step is
    /// left.
    pub(super) fn next_due(&mut self, now: Tick, steps: &mut u32) -> Option<Timer> {
        self.start(now);
        let end = slot_number(now);
        let behind = end.wrapping_sub(self.current) & SLOT_NUMBER_MASK;
        if behind > SLOTS && behind <= SLOT_NUMBER_MASK / 2 {
            // The clock leapt: one round visits every slot.
            self.current = end.wrapping_sub(SLOTS) & SLOT_NUMBER_MASK;
        }
        while *steps > 0 {
            let behind = end.wrapping_sub(self.current) & SLOT_NUMBER_MASK;
            if behind > SLOT_NUMBER_MASK / 2 {
                return None;
            }
            *steps -= 1;
            let head = self.heads[(self.current % SLOTS) as usize];
            if head != NOBODY {
                return Some(Timer(head));
            }
            if behind == 0 {
                return None;
            }
            self.current = self.current.wrapping_add(1) & SLOT_NUMBER_MASK;
        }
        None
    }

    /// How many slots ahead of the one that is being emptied; 0 if it is past, as slots are that a
    /// clock leapt over and a timer may still be in.
    fn ahead(&self, at: u32) -> u32 {
        let ahead = at.wrapping_sub(self.current) & SLOT_NUMBER_MASK;
        if ahead > SLOT_NUMBER_MASK / 2 { 0 } else { ahead }
    }

    fn start(&mut self, now: Tick) {
        if !self.started {
            self.current = slot_number(now);
            self.started = true;
        }
    }
}

/// Slot numbers wrap where ticks do.
const SLOT_NUMBER_MASK: u32 = u32::MAX >> SLOT_SHIFT;

fn slot_number(tick: Tick) -> u32 {
    tick.0 >> SLOT_SHIFT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(wheel: &mut Wheel, now: u32) -> Vec<u32> {
        let mut steps = 100_000;
        let mut all = Vec::new();
        while let Some(timer) = wheel.next_due(Tick(now), &mut steps) {
            wheel.cancel(timer);
            all.push(timer.0);
        }
        all
    }

    #[test]
    fn timers_come_due_at_their_deadline_and_not_before() {
        for origin in [0_u32, 1_000_003, u32::MAX - 20_000] {
            let mut wheel = Wheel::new(16);
            let tick = |offset: u32| Tick(origin.wrapping_add(offset));
            wheel.schedule(Timer(0), tick(3_000), tick(0));
            wheel.schedule(Timer(1), tick(3_000), tick(0));
            wheel.schedule(Timer(2), tick(30_000), tick(0));
            assert_eq!(due(&mut wheel, tick(2_999).0), []);
            let mut both = due(&mut wheel, tick(3_008).0);
            both.sort_unstable();
            assert_eq!(both, [0, 1], "origin {origin}");
            assert_eq!(due(&mut wheel, tick(29_990).0), []);
            assert_eq!(due(&mut wheel, tick(30_008).0), [2]);
        }
    }

    #[test]
    fn cancelled_timers_never_come() {
        let mut wheel = Wheel::new(16);
        for timer in 0..5 {
            wheel.schedule(Timer(timer), Tick(100), Tick(0));
        }
        for timer in [2, 0, 4] {
            wheel.cancel(Timer(timer));
            wheel.cancel(Timer(timer));
        }
        let mut rest = due(&mut wheel, 1_000);
        rest.sort_unstable();
        assert_eq!(rest, [1, 3]);
    }

    #[test]
    fn a_leap_of_the_clock_loses_nobody_and_steps_are_bounded() {
        let mut wheel = Wheel::new(16);
        wheel.schedule(Timer(0), Tick(50), Tick(0));
        wheel.schedule(Timer(1), Tick(10_000_000), Tick(0));
        let mut steps = 10;
        assert_eq!(wheel.next_due(Tick(50_000_000), &mut steps), None);
        assert_eq!(steps, 0);
        let mut all = due(&mut wheel, 50_000_000);
        all.sort_unstable();
        assert_eq!(all, [0, 1]);
    }

    #[test]
    fn deadlines_beyond_the_horizon_come_early_and_past_ones_at_once() {
        let mut wheel = Wheel::new(16);
        wheel.schedule(Timer(0), Tick(800_000), Tick(40_000));
        wheel.schedule(Timer(1), Tick(1), Tick(40_000));
        assert_eq!(due(&mut wheel, 40_000), [1]);
        assert_eq!(due(&mut wheel, 40_000 + 4096 * 8), [0]);
    }

    #[test]
    fn the_nearest_deadline_of_its_flows_is_the_timers() {
        let mut wheel = Wheel::new(16);
        let timer = Timer::of(FlowIndex(9));
        assert!(timer.flows().eq((8..16).map(FlowIndex)));
        for deadline in [3_000, 2_000, 4_000] {
            wheel.schedule(timer, Tick(deadline), Tick(0));
        }
        assert_eq!(due(&mut wheel, 1_990), []);
        assert_eq!(due(&mut wheel, 2_008), [1]);
        assert_eq!(due(&mut wheel, 9_000), []);
    }
}
