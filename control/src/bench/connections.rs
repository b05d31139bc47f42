//! What a worker does with its TCP connections, and what it counts: decisions without sockets.
//!
//! Time and what became of sockets come in, actions go out: [`Connections::next`] until there is
//! none, then wait until something happens or [`Connections::wake_at`]. Every flow that is begun
//! ends in one count: completed, or one fault. Bounds: as many flows as the work says; a flow has
//! at most one deadline that matters.

use std::collections::VecDeque;
use std::time::Duration;

use super::fault::Fault;
use super::schedule::Schedule;
use super::tally::Tally;
use super::work::{Mode, Work};

/// A slot that is begun later than this was missed.
const LATE: Duration = Duration::from_millis(1);
/// How long a flow rests after a fault, if nothing else paces it.
const REST: Duration = Duration::from_millis(10);
/// Connections that are being opened, or asked, at once where all of them shall be.
const AT_ONCE: usize = 256;

/// What shall be done with a flow's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Open(usize),
    Ask(usize),
    /// It is done with, or its time is over.
    Close(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Opening,
    Asking,
    Ready,
}

#[derive(Clone, Copy, Debug)]
struct Flow {
    state: State,
    /// When what it does was to begin.
    intended: Duration,
    /// When its connection was begun.
    begun: Duration,
    /// Changes with each state, so that old deadlines mean nothing.
    stamp: u32,
    /// Whether what it does counts.
    is_measured: bool,
    /// Whether it was ready or failed once.
    is_settled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Connections are opened that what is measured needs.
    Setup,
    /// Since when.
    Running(Duration),
    /// All connections are open; until when they are held.
    Holding(Duration),
    /// Those that were held are asked again.
    Checking,
    Over,
}

/// See the module's documentation.
pub(super) struct Connections {
    work: Work,
    flows: Vec<Flow>,
    phase: Phase,
    begun: Duration,
    schedule: Option<Schedule>,
    /// Flows that can begin something, oldest first, as they were then.
    idle: VecDeque<(usize, u32)>,
    /// Since when there are any.
    idle_since: Duration,
    deadlines: VecDeque<(Duration, usize, u32)>,
    resting: VecDeque<(Duration, usize)>,
    actions: VecDeque<Action>,
    /// Begun, so far.
    started: u64,
    busy: usize,
    settled: usize,
    /// Flows that have a socket, and the most that had.
    open: usize,
    open_max: usize,
    /// How long it took to open what is held.
    opening_time: Option<Duration>,
    /// Since when it is measured.
    measured_from: Option<Duration>,
    measured: Tally,
    warm_up: Tally,
}

impl Connections {
    pub(super) fn new(work: Work, now: Duration) -> Connections {
        let flow = Flow {
            state: State::Free,
            intended: now,
            begun: now,
            stamp: 0,
            is_measured: false,
            is_settled: false,
        };
        let phase = if work.mode == Mode::Open { Phase::Running(now) } else { Phase::Setup };
        let measured_from = match work.mode {
            Mode::Open => Some(now + work.warm_up),
            Mode::Hold => Some(now),
            Mode::Request => None,
        };
        // While connections are set up for requests, the pace does not count yet.
        let paced = work.mode != Mode::Request;
        Connections {
            flows: vec![flow; work.flows],
            phase,
            begun: now,
            schedule: work.pace.filter(|_| paced).map(|pace| Schedule::new(pace, now)),
            idle: (0..work.flows).map(|flow| (flow, 0)).collect(),
            idle_since: now,
            deadlines: VecDeque::new(),
            resting: VecDeque::new(),
            actions: VecDeque::new(),
            started: 0,
            busy: 0,
            settled: 0,
            open: 0,
            open_max: 0,
            opening_time: None,
            measured_from,
            measured: Tally::default(),
            warm_up: Tally::default(),
            work,
        }
    }

    /// What is to be done now, one thing after the other.
    pub(super) fn next(&mut self, now: Duration) -> Option<Action> {
        self.expire(now);
        self.wake_rested(now);
        self.turn(now);
        self.actions.pop_front().or_else(|| match self.phase {
            Phase::Setup => self.set_up(now),
            Phase::Running(_) => self.run(now),
            Phase::Checking => self.check(now),
            Phase::Holding(_) | Phase::Over => None,
        })
    }

    /// When there may be something to do although nothing happened.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        let deadline = self.deadlines.front().map(|entry| entry.0);
        let rested = self.resting.front().map(|entry| entry.0);
        let phase = match self.phase {
            Phase::Running(_) => self.end(),
            Phase::Holding(until) => Some(until),
            _ => None,
        };
        let slot = match (self.phase, &self.schedule) {
            (Phase::Setup | Phase::Running(_), Some(schedule)) if !self.idle.is_empty() => {
                Some(schedule.peek())
            }
            _ => None,
        };
        [deadline, rested, phase, slot].into_iter().flatten().min()
    }

    /// The connection is established.
    pub(super) fn opened(&mut self, now: Duration, flow: usize) {
        if self.flows[flow].state != State::Opening {
            return;
        }
        let took = now.saturating_sub(self.flows[flow].begun);
        let tally = self.tally(flow);
        tally.opened += 1;
        tally.openings.add(took);
        if self.work.speaks && self.work.mode != Mode::Request {
            self.enter(flow, State::Asking);
            self.watch(now, flow);
            self.actions.push_back(Action::Ask(flow));
        } else if self.work.mode == Mode::Open {
            self.complete(now, flow, None);
        } else {
            self.ready(now, flow);
        }
    }

    /// Its answer is complete.
    pub(super) fn answered(&mut self, now: Duration, flow: usize, backend: Option<&str>) {
        if self.flows[flow].state != State::Asking {
            return;
        }
        if self.work.mode == Mode::Hold && self.phase != Phase::Checking {
            let took = now.saturating_sub(self.flows[flow].intended);
            self.measured.latencies.add(took);
            self.ready(now, flow);
            return;
        }
        self.complete(now, flow, backend);
    }

    /// It failed; its socket is gone.
    pub(super) fn failed(&mut self, now: Duration, flow: usize, fault: Fault) {
        if self.flows[flow].state == State::Free {
            return;
        }
        self.tally(flow).fail(fault);
        self.free(now, flow, self.work.pace.is_none() || self.work.mode == Mode::Request);
    }

    /// The backend has ended it while nothing was asked; its socket is gone.
    pub(super) fn ended(&mut self, now: Duration, flow: usize) {
        match (self.flows[flow].state, self.work.mode) {
            (State::Ready, Mode::Request) => {
                self.tally(flow).reopened += 1;
                self.free(now, flow, false);
            }
            (State::Free, _) => {}
            _ => self.failed(now, flow, Fault::ClosedEarly),
        }
    }

    /// Nothing more shall begin, and what is under way is not waited for.
    pub(super) fn stop(&mut self) {
        let (mode, is_held) = (self.work.mode, self.work.mode == Mode::Hold);
        for flow in 0..self.flows.len() {
            let is_begun = match self.flows[flow].state {
                State::Free => continue,
                State::Opening => mode != Mode::Request,
                State::Asking => true,
                State::Ready => is_held,
            };
            self.tally(flow).abandoned += u64::from(is_begun);
            self.enter(flow, State::Free);
        }
        (self.phase, self.busy) = (Phase::Over, 0);
        self.actions.clear();
    }

    /// Whether all is done.
    pub(super) fn is_done(&self) -> bool {
        self.phase == Phase::Over && self.busy == 0 && self.actions.is_empty()
    }

    /// Since when it is measured; `None` if that is not known yet.
    pub(super) fn measured_from(&self) -> Option<Duration> {
        self.measured_from
    }

    /// How long it took to open what is held.
    pub(super) fn opening_time(&self) -> Option<Duration> {
        self.opening_time
    }

    /// Connections that are open, and the most that were.
    pub(super) fn open(&self) -> (usize, usize) {
        (self.open, self.open_max)
    }

    /// What was counted since the last time: what is measured, and the rest.
    pub(super) fn take_tallies(&mut self) -> (Tally, Tally) {
        (std::mem::take(&mut self.measured), std::mem::take(&mut self.warm_up))
    }

    fn tally(&mut self, flow: usize) -> &mut Tally {
        if self.flows[flow].is_measured { &mut self.measured } else { &mut self.warm_up }
    }

    /// When nothing more begins.
    fn end(&self) -> Option<Duration> {
        match self.phase {
            Phase::Running(since) if self.work.count.is_none() => {
                Some(since + self.work.warm_up + self.work.time)
            }
            _ => None,
        }
    }

    /// Goes from phase to phase.
    fn turn(&mut self, now: Duration) {
        match self.phase {
            Phase::Setup if self.settled == self.flows.len() && self.busy == 0 => {
                if self.work.mode == Mode::Hold {
                    self.opening_time = Some(now.saturating_sub(self.begun));
                    self.phase = Phase::Holding(now + self.work.time);
                } else {
                    self.phase = Phase::Running(now);
                    self.measured_from = Some(now + self.work.warm_up);
                    self.schedule = self.work.pace.map(|pace| Schedule::new(pace, now));
                    self.idle_since = now;
                }
            }
            Phase::Running(_) if self.end().is_some_and(|end| now >= end && !self.owes(end)) => {
                self.conclude();
            }
            Phase::Running(_) if self.work.count == Some(self.started) => self.conclude(),
            Phase::Holding(until) if now >= until => {
                self.phase = Phase::Checking;
                let ready = |flow: &usize| self.flows[*flow].state == State::Ready;
                let ready = (0..self.flows.len()).filter(ready);
                self.idle = ready.map(|flow| (flow, self.flows[flow].stamp)).collect();
            }
            Phase::Checking if self.idle.is_empty() && self.busy == 0 => self.phase = Phase::Over,
            _ => {}
        }
    }

    /// Whether slots before the end are due that flows were free for: late, and not for nothing.
    fn owes(&self, end: Duration) -> bool {
        let is_due = self.schedule.as_ref().is_some_and(|schedule| schedule.peek() < end);
        is_due && !self.idle.is_empty() && self.idle_since < end
    }

    /// Slots that were not begun come to nothing.
    fn conclude(&mut self) {
        if let (Some(end), Some(schedule)) = (self.end(), &mut self.schedule) {
            self.measured.unsent += schedule.skip_to(end);
        }
        self.phase = Phase::Over;
    }

    fn set_up(&mut self, now: Duration) -> Option<Action> {
        if self.busy >= AT_ONCE || self.settled + self.busy >= self.flows.len() {
            return None;
        }
        let intended = self.slot(now)?;
        let (flow, _) = self.idle.pop_front()?;
        self.flows[flow].is_measured = self.work.mode == Mode::Hold;
        self.begin(now, intended, flow, State::Opening);
        if self.work.mode == Mode::Hold {
            self.measured.started += 1;
        }
        Some(Action::Open(flow))
    }

    fn run(&mut self, now: Duration) -> Option<Action> {
        loop {
            let &(flow, stamp) = self.idle.front()?;
            let current = self.flows[flow];
            if current.stamp != stamp {
                self.idle.pop_front();
                continue;
            }
            let opens = current.state == State::Free;
            let reopens = opens && self.work.mode == Mode::Request;
            let intended = if reopens { now } else { self.slot(now)? };
            self.idle.pop_front();
            let state = if opens { State::Opening } else { State::Asking };
            self.flows[flow].is_measured = self.is_measured(intended);
            self.begin(now, intended, flow, state);
            if !reopens {
                self.started += 1;
                self.tally(flow).started += 1;
                let since = intended.max(self.idle_since);
                if self.schedule.is_some() && now.saturating_sub(since) > LATE {
                    self.tally(flow).late += 1;
                }
            }
            return Some(if opens { Action::Open(flow) } else { Action::Ask(flow) });
        }
    }

    fn check(&mut self, now: Duration) -> Option<Action> {
        if self.busy >= AT_ONCE {
            return None;
        }
        while let Some((flow, stamp)) = self.idle.pop_front() {
            if self.flows[flow].stamp != stamp {
                continue;
            }
            self.begin(now, now, flow, State::Asking);
            if self.work.speaks {
                return Some(Action::Ask(flow));
            }
            self.complete(now, flow, None);
            return self.actions.pop_front();
        }
        None
    }

    /// When what begins now was to begin, if it may.
    fn slot(&mut self, now: Duration) -> Option<Duration> {
        if self.work.count.is_some_and(|count| self.started >= count) {
            return None;
        }
        match &mut self.schedule {
            Some(schedule) => schedule.take(now),
            None => Some(now),
        }
    }

    fn is_measured(&self, intended: Duration) -> bool {
        self.measured_from.is_some_and(|from| intended >= from)
    }

    fn begin(&mut self, now: Duration, intended: Duration, flow: usize, state: State) {
        self.flows[flow].intended = intended;
        if state == State::Opening {
            self.flows[flow].begun = now;
            self.open += 1;
            self.open_max = self.open_max.max(self.open);
        }
        self.busy += 1;
        self.enter(flow, state);
        self.watch(now, flow);
    }

    fn enter(&mut self, flow: usize, state: State) {
        let flow = &mut self.flows[flow];
        flow.state = state;
        flow.stamp = flow.stamp.wrapping_add(1);
    }

    fn watch(&mut self, now: Duration, flow: usize) {
        self.deadlines.push_back((now + self.work.timeout, flow, self.flows[flow].stamp));
    }

    fn complete(&mut self, now: Duration, flow: usize, backend: Option<&str>) {
        let took = now.saturating_sub(self.flows[flow].intended);
        self.tally(flow).complete(took, backend);
        if self.work.mode == Mode::Request {
            self.ready(now, flow);
        } else {
            self.actions.push_back(Action::Close(flow));
            self.free(now, flow, false);
        }
    }

    /// It is open and has nothing to do.
    fn ready(&mut self, now: Duration, flow: usize) {
        self.busy = self.busy.saturating_sub(1);
        self.enter(flow, State::Ready);
        self.settle(flow);
        if self.work.mode == Mode::Request {
            self.push_idle(now, flow);
        }
    }

    /// It has no connection any more.
    fn free(&mut self, now: Duration, flow: usize, rests: bool) {
        if matches!(self.flows[flow].state, State::Opening | State::Asking) {
            self.busy = self.busy.saturating_sub(1);
        }
        self.open = self.open.saturating_sub(1);
        self.enter(flow, State::Free);
        self.settle(flow);
        if self.work.mode == Mode::Hold {
            // Whoever is lost stays lost.
        } else if rests {
            self.resting.push_back((now + REST, flow));
        } else {
            self.push_idle(now, flow);
        }
    }

    fn settle(&mut self, flow: usize) {
        if !std::mem::replace(&mut self.flows[flow].is_settled, true) {
            self.settled += 1;
        }
    }

    fn push_idle(&mut self, now: Duration, flow: usize) {
        if self.idle.is_empty() {
            self.idle_since = now;
        }
        self.idle.push_back((flow, self.flows[flow].stamp));
    }

    fn expire(&mut self, now: Duration) {
        while let Some(&(deadline, flow, stamp)) = self.deadlines.front() {
            let is_over = self.flows[flow].stamp != stamp;
            if !is_over && deadline > now {
                return;
            }
            self.deadlines.pop_front();
            if is_over {
                continue;
            }
            let is_opening = self.flows[flow].state == State::Opening;
            let fault = if is_opening { Fault::ConnectTimeout } else { Fault::AnswerTimeout };
            self.failed(now, flow, fault);
            self.actions.push_back(Action::Close(flow));
        }
    }

    fn wake_rested(&mut self, now: Duration) {
        while let Some(&(until, flow)) = self.resting.front() {
            if until > now {
                return;
            }
            self.resting.pop_front();
            self.push_idle(now, flow);
        }
    }
}

#[cfg(test)]
mod tests;
