//! PROXY protocol headers in front of what clients send, without ending their connections here.
//!
//! The handshake passes as it is. What would let the client speak first (a packet that completes
//! it: an acknowledgement, data or FIN) lets adit send the header first, at the number at which
//! the client begins; a bare acknowledgement is replaced by it, whatever else comes follows it,
//! behind it in number. Nothing that the client says may come to lie before the header or in its
//! place: on a service that tells backends who asks, that would be a forged answer. So until it is
//! acknowledged segments of data from before its end are dropped, and so is everything before the
//! handshake is done.
//!
//! Numbers are believed only of segments whose checksum is right; the sum is computed for as long
//! as a header is not acknowledged.
//!
//! The short way carries no packet of such a flow. `flow` remembers, `packet` knows the bytes.

use super::Engine;
use crate::device::Frame;
use crate::drop_reason::DropReason;
use crate::flow::{Flow, Insert, State};
use crate::packet::proxy::{self, Numbers};
use crate::packet::{Fragmentation, Packet, TcpFlags, splice};
use crate::types::{DeviceIndex, Direction, FlowIndex, Protocol, ProxyDialect, Tick};

/// What becomes of a client's packet because of a header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It passes as it is.
    Passes,
    /// It opens the connection, and says nothing but that.
    Opens,
    /// It passes behind a header of so many bytes.
    Follows(u8),
    /// The header, which was queued, says all that it would say.
    Replaced,
}

impl Engine {
    /// A flow was opened: whether it owes a header.
    pub(super) fn owe_header(&mut self, number: FlowIndex) {
        let Some(flow) = self.flows.get(number) else { return };
        let owes = flow.protocol() == Protocol::Tcp && self.dialect(&flow).is_some();
        if let Some(flow) = self.flows.get_mut(number).filter(|_| owes) {
            flow.set_insert(Insert::Owed);
        }
    }

    /// The layout of the header that the service of a flow wants now.
    fn dialect(&self, flow: &Flow) -> Option<ProxyDialect> {
        let snapshot = &self.generation.snapshot;
        let endpoint = snapshot.endpoint_of_link(flow.link)?;
        snapshot.service(endpoint.service)?.treatment.proxy_protocol
    }

    /// Decides about a client's packet of a flow before anything of it changes.
    #[inline(always)]
    pub(super) fn judge_insertion(
        &mut self,
        number: FlowIndex,
        frame: &Frame,
        packet: &Packet,
        now: Tick,
    ) -> Result<Fate, DropReason> {
        match self.flows.get(number).is_some_and(|flow| flow.inserts_nothing()) {
            true => Ok(Fate::Passes),
            false => self.judge_client(number, frame, packet, now),
        }
    }

    #[cold]
    fn judge_client(
        &mut self,
        number: FlowIndex,
        frame: &Frame,
        packet: &Packet,
        now: Tick,
    ) -> Result<Fate, DropReason> {
        let flow = self.flows.get(number).ok_or(DropReason::Internal)?;
        if packet.flags.any(TcpFlags::SYN) {
            let is_whole = packet.fragmentation != Fragmentation::First;
            return if is_whole { Ok(Fate::Opens) } else { Err(DropReason::ProxyHeaderEarly) };
        }
        let (spoken, data) = splice::read(frame.bytes(), packet).ok_or(DropReason::Internal)?;
        let says_nothing = data == 0 && !packet.flags.any(TcpFlags::FIN);
        match flow.insert() {
            Insert::Nothing => Ok(Fate::Passes),
            Insert::Owed if packet.flags.any(TcpFlags::RST) => Ok(Fate::Passes),
            Insert::Owed => {
                let is_done = flow.state.after(Direction::Forward, packet.flags).is_established();
                let first = self.insertions.first(number).filter(|_| is_done);
                let first = first.ok_or(DropReason::ProxyHeaderEarly)?;
                if !splice::is_intact(frame.bytes(), packet) {
                    return Err(DropReason::TcpChecksum);
                }
                if !says_nothing && is_before(spoken.sequence, first) {
                    return Err(DropReason::ProxyHeaderOverlap);
                }
                let numbers = Numbers { sequence: first, ..spoken };
                let length = self.begin_header(number, numbers, now)?;
                Ok(length.map_or(Fate::Passes, |length| match says_nothing {
                    true => Fate::Replaced,
                    false => Fate::Follows(length),
                }))
            }
            Insert::Bytes(length) => {
                let first = self.insertions.get(number).map(|it| it.numbers.sequence);
                let resets = packet.flags.any(TcpFlags::RST);
                if let Some(first) = first.filter(|_| !resets) {
                    if !says_nothing && is_before(spoken.sequence, first) {
                        return Err(DropReason::ProxyHeaderOverlap);
                    }
                    if splice::is_intact(frame.bytes(), packet) {
                        self.insertions.hear_client(number, &spoken);
                    }
                }
                Ok(Fate::Follows(length))
            }
        }
    }

    /// The client's packet completes the handshake: the header goes out. Returns how long it is;
    /// `None` if the configuration in force wants none any more.
    fn begin_header(
        &mut self,
        number: FlowIndex,
        numbers: Numbers,
        now: Tick,
    ) -> Result<Option<u8>, DropReason> {
        let flow = self.flows.get(number).ok_or(DropReason::Internal)?;
        let Some(dialect) = self.dialect(&flow) else {
            self.insertions.forget(number);
            let flow = self.flows.get_mut(number).ok_or(DropReason::Internal)?;
            flow.set_insert(Insert::Nothing);
            return Ok(None);
        };
        if !self.insertions.has_room() {
            return Err(DropReason::ProxyHeadersFull);
        }
        let key = flow.key();
        let (client, endpoint) = ((key.client, key.client_port), (key.endpoint, key.endpoint_port));
        let header = proxy::header(dialect, flow.link, client, endpoint);
        let length = proxy::length(dialect, key.family());
        self.insertions.send(number, numbers, header, now);
        let flow = self.flows.get_mut(number).ok_or(DropReason::Internal)?;
        flow.set_insert(Insert::Bytes(length));
        self.count_headers();
        Ok(Some(length))
    }

    /// Changes a client's packet as was decided. `None` if it cannot be.
    #[inline(always)]
    pub(super) fn insert_before(frame: &mut Frame, packet: &Packet, fate: Fate) -> Option<()> {
        match fate {
            Fate::Passes | Fate::Replaced => Some(()),
            Fate::Follows(length) => {
                splice::move_forward(frame.bytes_mut(), packet, length);
                Some(())
            }
            Fate::Opens => {
                let before = frame.length();
                let length = splice::strip_syn(frame.bytes_mut(), packet)?;
                if length < before {
                    frame.set_length(length);
                    frame.offload.segmentation = None;
                }
                Some(())
            }
        }
    }

    /// A backend's packet passes: what it says is brought to what the client knows.
    #[inline(always)]
    pub(super) fn take_out(&mut self, number: FlowIndex, frame: &mut Frame, packet: &Packet) {
        if self.flows.get(number).is_some_and(|flow| !flow.inserts_nothing()) {
            self.hear_answer(number, frame, packet);
        }
    }

    #[cold]
    fn hear_answer(&mut self, number: FlowIndex, frame: &mut Frame, packet: &Packet) {
        let Some(flow) = self.flows.get(number) else { return };
        let Some((spoken, _)) = splice::read(frame.bytes(), packet) else { return };
        let acknowledges = packet.flags.any(TcpFlags::ACK);
        let is_intact = || splice::is_intact(frame.bytes(), packet);
        match flow.insert() {
            Insert::Nothing => {}
            Insert::Owed => {
                if packet.flags.any(TcpFlags::SYN) && acknowledges && is_intact() {
                    self.insertions.set_first(number, spoken.acknowledgement);
                    self.reserve_window(number, frame, packet);
                }
            }
            Insert::Bytes(length) => {
                let is_heard = acknowledges && !packet.flags.any(TcpFlags::RST);
                if is_heard && self.insertions.get(number).is_some() && is_intact() {
                    self.insertions.hear_backend(number, spoken.acknowledgement);
                    self.count_headers();
                }
                let first = self.insertions.get(number).map(|it| it.numbers.sequence);
                if first.is_some() && packet.flags.any(TcpFlags::SYN) {
                    splice::make_room(frame.bytes_mut(), packet, length);
                }
                splice::move_back(frame.bytes_mut(), packet, length, first);
            }
        }
    }

    /// The header will take its part of the window that the backend opens.
    fn reserve_window(&self, number: FlowIndex, frame: &mut Frame, packet: &Packet) {
        let Some(flow) = self.flows.get(number) else { return };
        let Some(dialect) = self.dialect(&flow) else { return };
        let length = proxy::length(dialect, flow.key().family());
        splice::make_room(frame.bytes_mut(), packet, length);
    }

    /// How much further a backend's numbers of a flow's packets are than the client's.
    pub(super) fn inserted_bytes(flow: &Flow) -> u32 {
        match flow.insert() {
            Insert::Nothing | Insert::Owed => 0,
            Insert::Bytes(bytes) => bytes.into(),
        }
    }

    /// The flow is over, or its record: its header is not sent any more.
    pub(super) fn forget_header(&mut self, number: FlowIndex) {
        self.insertions.forget(number);
        self.count_headers();
    }

    fn count_headers(&mut self) {
        self.counters.proxy_headers_waiting = self.insertions.len() as u64;
    }

    /// Writes the next header into `frame`.
    pub(super) fn emit_header(&mut self, frame: &mut Frame) -> Option<DeviceIndex> {
        while let Some(number) = self.insertions.next_to_send() {
            let Some(device) = self.write_header(number, frame) else { continue };
            match self.insertions.note_sent(number) {
                false => self.counters.proxy_headers_sent += 1,
                true => self.counters.proxy_headers_repeated += 1,
            }
            return Some(device);
        }
        None
    }

    /// Not to a connection that is reset, unless it turns out to live; nor to a station that is not
    /// known: the clock comes back to both.
    fn write_header(&self, number: FlowIndex, frame: &mut Frame) -> Option<DeviceIndex> {
        let flow = self.flows.get(number).filter(|flow| flow.state != State::Reset)?;
        // Its next hop is the one that its generation knows.
        if flow.generation != self.generation.number {
            return None;
        }
        let underway = self.insertions.get(number)?;
        let hop = self.generation.neighbors.lookup(flow.neighbor())?;
        let link = self.link(hop.device)?;
        let tuple = flow.rewrite(Direction::Forward).to;
        let stations = (link.mac, hop.mac);
        let segment = proxy::segment(&tuple, stations, &underway.numbers, &underway.header)?;
        frame.fill(&segment);
        Some(hop.device)
    }
}

/// Whether a client speaks of bytes before the one that it began with.
fn is_before(sequence: u32, first: u32) -> bool {
    sequence.wrapping_sub(first) >= 1 << 31
}
