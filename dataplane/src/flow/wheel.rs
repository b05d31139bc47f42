//! A timer wheel: which flows may have expired by now.
//!
//! 4,096 slots of 80 ms, each a doubly linked list threaded through one array. A packet does not
//! touch the wheel: it only stamps its flow, and a flow whose turn comes early is put back at its
//! true deadline. Deadlines beyond the horizon of 327 s wait at the horizon and are put back there.
//! Scheduling and cancelling are O(1); finding what is due costs a step for each slot passed and
//! each flow found, and the caller bounds the steps (I8).

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use crate::types::{FlowIndex, Tick};

const SLOTS: u32 = 4096;

/// log2 of the ticks of a slot: 8 ticks, 80 ms.
const SLOT_SHIFT: u32 = 3;

/// No flow; or in `previous`, if the upper bit alone is set, that the slot's head points here.
const NOBODY: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Link {
    next: u32,
    /// The flow before, or `HEAD | slot`.
    previous: u32,
}

const HEAD: u32 = 1 << 31;
const UNLINKED: Link = Link { next: NOBODY, previous: NOBODY };

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
            links: Vec::with_capacity(capacity),
            current: 0,
            started: false,
        }
    }

    /// Bytes of memory at most.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.heads) + self.links.capacity() * size_of::<Link>()
    }

    /// Schedules a flow that is not scheduled for its deadline, or for the horizon if that is
    /// nearer.
    pub(super) fn schedule(&mut self, flow: FlowIndex, deadline: Tick, now: Tick) {
        self.start(now);
        let at = slot_number(deadline.after((1 << SLOT_SHIFT) - 1));
        // A deadline that is past goes into the slot that is emptied next.
        let ahead = at.wrapping_sub(self.current) & SLOT_NUMBER_MASK;
        let ahead = if ahead > SLOT_NUMBER_MASK / 2 { 0 } else { ahead.min(SLOTS - 1) };
        let slot = self.current.wrapping_add(ahead) % SLOTS;
        let head = self.heads[slot as usize];
        if self.links.len() <= flow.slot() {
            self.links.resize(flow.slot() + 1, UNLINKED);
        }
        self.links[flow.slot()] = Link { next: head, previous: HEAD | slot };
        if head != NOBODY {
            self.links[head as usize].previous = flow.0;
        }
        self.heads[slot as usize] = flow.0;
    }

    /// Takes a flow out of the wheel, if it is in it.
    pub(super) fn cancel(&mut self, flow: FlowIndex) {
        let Some(link) = self.links.get_mut(flow.slot()) else {
            return;
        };
        let Link { next, previous } = core::mem::replace(link, UNLINKED);
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

    /// Takes the next flow out whose slot has passed. Each slot passed and each flow found costs
    /// one of `steps`; `None` if nothing is due or no step is left.
    pub(super) fn next_due(&mut self, now: Tick, steps: &mut u32) -> Option<FlowIndex> {
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
                let flow = FlowIndex(head);
                self.cancel(flow);
                return Some(flow);
            }
            if behind == 0 {
                return None;
            }
            self.current = self.current.wrapping_add(1) & SLOT_NUMBER_MASK;
        }
        None
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
        core::iter::from_fn(|| wheel.next_due(Tick(now), &mut steps)).map(|flow| flow.0).collect()
    }

    #[test]
    fn flows_come_due_at_their_deadline_and_not_before() {
        for origin in [0_u32, 1_000_003, u32::MAX - 20_000] {
            let mut wheel = Wheel::new(16);
            let tick = |offset: u32| Tick(origin.wrapping_add(offset));
            wheel.schedule(FlowIndex(0), tick(3_000), tick(0));
            wheel.schedule(FlowIndex(1), tick(3_000), tick(0));
            wheel.schedule(FlowIndex(2), tick(30_000), tick(0));
            assert_eq!(due(&mut wheel, tick(2_999).0), []);
            let mut both = due(&mut wheel, tick(3_008).0);
            both.sort_unstable();
            assert_eq!(both, [0, 1], "origin {origin}");
            assert_eq!(due(&mut wheel, tick(29_990).0), []);
            assert_eq!(due(&mut wheel, tick(30_008).0), [2]);
        }
    }

    #[test]
    fn cancelled_flows_never_come() {
        let mut wheel = Wheel::new(16);
        for flow in 0..5 {
            wheel.schedule(FlowIndex(flow), Tick(100), Tick(0));
        }
        for flow in [2, 0, 4] {
            wheel.cancel(FlowIndex(flow));
            wheel.cancel(FlowIndex(flow));
        }
        let mut rest = due(&mut wheel, 1_000);
        rest.sort_unstable();
        assert_eq!(rest, [1, 3]);
    }

    #[test]
    fn a_leap_of_the_clock_loses_nobody_and_steps_are_bounded() {
        let mut wheel = Wheel::new(16);
        wheel.schedule(FlowIndex(0), Tick(50), Tick(0));
        wheel.schedule(FlowIndex(1), Tick(10_000_000), Tick(0));
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
        wheel.schedule(FlowIndex(0), Tick(800_000), Tick(40_000));
        wheel.schedule(FlowIndex(1), Tick(1), Tick(40_000));
        assert_eq!(due(&mut wheel, 40_000), [1]);
        assert_eq!(due(&mut wheel, 40_000 + 4096 * 8), [0]);
    }
}
