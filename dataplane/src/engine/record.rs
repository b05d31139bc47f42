//! Tells of flows as they begin and end (see `record`), in an output that the worker drains.
//!
//! Bounds: [`RECORDS_MAX`] records wait, more than one batch or one call of [`Engine::advance`]
//! can append; a worker that does not drain loses those that come later, which are counted (I8).
//! Off it costs a comparison where flows begin and end, and one for each packet.

use alloc::collections::VecDeque;
use core::time::Duration;

use super::{ADVANCE_STEPS, Engine, Outcome};
use crate::device::Frame;
use crate::drop_reason::DropReason;
use crate::flow::{State, Tallies};
use crate::limits::BATCH_FRAMES_MAX;
use crate::record::{EndReason, FlowEvent, FlowRecord, Recording};
use crate::types::{Direction, FlowIndex, Tick};
use crate::wire::ethernet::HEADER_BYTES;
use crate::wire::ip::Ip;

/// Records that wait for the worker.
const RECORDS_MAX: usize = 1_024;

/// Flows that end or begin because of one packet at most: it may end its own, make an expired one
/// and an unanswered one give way for its record, another for its port, push one out of the queue,
/// and begin.
const RECORDS_PER_FRAME: usize = 6;

const _: () = assert!(BATCH_FRAMES_MAX * RECORDS_PER_FRAME <= RECORDS_MAX);
const _: () = assert!((ADVANCE_STEPS as usize) * 2 < RECORDS_MAX);

/// What is told, and what it is told from.
#[derive(Default)]
pub(super) struct Records {
    pub(super) tallies: Tallies,
    recording: Recording,
    waiting: VecDeque<FlowRecord>,
}

impl Engine {
    /// From now on flows are told of. To be called before there are any.
    pub fn record(&mut self, recording: Recording) {
        let room = if recording == Recording::Nothing { 0 } else { RECORDS_MAX };
        let tallies = Tallies::new(self.flows.capacity(), recording);
        self.records = Records { tallies, recording, waiting: VecDeque::with_capacity(room) };
    }

    /// The next record. To be called until it gives `None`, after each batch and each advance.
    #[inline]
    pub fn poll_record(&mut self) -> Option<FlowRecord> {
        self.records.waiting.pop_front()
    }

    /// A flow has just been entered.
    pub(super) fn record_begin(&mut self, number: FlowIndex, now: Tick) {
        if self.records.recording != Recording::Nothing {
            self.records.tallies.begin(number, now);
            self.append(number, FlowEvent::Began);
        }
    }

    /// A flow is over, if that was not told before. Its shortcuts have been taken back.
    pub(super) fn record_end(&mut self, number: FlowIndex, why: EndReason) {
        let is_on = self.records.recording != Recording::Nothing;
        if is_on && self.flows.get(number).is_some_and(|flow| !flow.state.is_ended()) {
            self.append(number, FlowEvent::Ended(why));
        }
    }

    #[cold]
    fn append(&mut self, number: FlowIndex, event: FlowEvent) {
        let Some(flow) = self.flows.get(number) else { return };
        let Records { tallies, waiting, .. } = &mut self.records;
        let record = FlowRecord {
            event,
            at: self.latest,
            began: tallies.began(number),
            last_seen: flow.last_seen,
            key: flow.key(),
            link: flow.link,
            nat: flow.nat(),
            backend: flow.backend(),
            target: flow.target(),
            traffic: tallies.traffic(number, &flow),
        };
        if waiting.len() < RECORDS_MAX {
            waiting.push_back(record);
            self.counters.records += 1;
        } else {
            self.settle(Outcome::RecordsLost(1));
        }
    }

    /// A packet of the flow, as it arrived, has passed.
    #[inline(always)]
    pub(super) fn tally(&mut self, number: FlowIndex, direction: Direction, bytes: u32) {
        let Some(flow) = self.flows.get_mut(number) else { return };
        self.accounts.cells().count(flow.account, direction, bytes.into());
        let tallies = &mut self.records.tallies;
        if tallies.counts() && flow.recent_mut(direction).add(bytes) {
            tallies.empty(number, direction, flow);
        }
    }

    /// How long ago a flow began, if that is recorded.
    pub(super) fn age(&self, number: FlowIndex, now: Tick) -> Option<Duration> {
        let Records { tallies, recording, .. } = &self.records;
        let ticks = (*recording != Recording::Nothing).then(|| now.since(tallies.began(number)))?;
        Some(Duration::from_nanos(u64::from(ticks) * Tick::NANOS))
    }

    /// Why a flow ends whose time is over, or in whose place another begins.
    pub(super) fn silence(&self, number: FlowIndex) -> EndReason {
        match self.flows.get(number).map(|flow| flow.state) {
            Some(State::Opening | State::Answered) => EndReason::HandshakeTimeout,
            Some(State::Closed) => EndReason::Closed,
            Some(State::Reset) => EndReason::Reset,
            _ => EndReason::Idle,
        }
    }
}

/// Bytes of the IP packet in a frame.
#[inline(always)]
pub(super) fn packet_bytes(frame: &Frame) -> u32 {
    let packet = frame.bytes().get(HEADER_BYTES..).and_then(Ip::of);
    packet.and_then(|packet| u32::try_from(packet.total_bytes()).ok()).unwrap_or(0)
}

/// The end of a flow that the configuration does not want any more.
pub(super) fn revoked(reason: DropReason) -> EndReason {
    match reason {
        DropReason::ConnectionPending
        | DropReason::ConnectionRejected
        | DropReason::ConnectionDisconnected => EndReason::Rejected,
        DropReason::EndpointRemoved => EndReason::EndpointRemoved,
        DropReason::SourceSpoofed | DropReason::PeeringNotTransitive => EndReason::ClientRemoved,
        DropReason::PeeringNotConnected => EndReason::PeeringRemoved,
        DropReason::BackendRemoved => EndReason::BackendRemoved,
        DropReason::NatIpRemoved => EndReason::NatIpRemoved,
        DropReason::NatIpDrained | DropReason::BackendDrained => EndReason::Drained,
        _ => EndReason::Internal,
    }
}
