//! How large TCP's segments may become: what a service's treatment says of its SYNs.

use super::Engine;
use crate::device::Frame;
use crate::flow::Flow;
use crate::packet::{Packet, clamp_mss};
use crate::snapshot::MssClamp;
use crate::types::FlowIndex;

/// Bytes of IPv4 and TCP headers without options, which the MSS does not count (RFC 6691).
const HEADER_BYTES: u32 = 40;

impl Engine {
    /// Lowers the MSS that a SYN or its answer announces; the frame has been rewritten.
    #[cold]
    pub(super) fn clamp_segments(&self, number: FlowIndex, frame: &mut Frame, packet: &Packet) {
        let mss_max = self.flows.get(number).and_then(|flow| self.mss_max(flow));
        if let Some(mss_max) = mss_max {
            clamp_mss(frame.bytes_mut(), packet, mss_max);
        }
    }

    fn mss_max(&self, flow: &Flow) -> Option<u16> {
        let snapshot = &self.generation.snapshot;
        let endpoint = snapshot.endpoint_of_link(flow.link)?;
        match snapshot.service(endpoint.service)?.treatment.mss_clamp {
            MssClamp::Off => None,
            MssClamp::Bytes(bytes) => Some(bytes),
            MssClamp::Auto => {
                let client = self.link(flow.client()?.device)?.mtu;
                let backend = self.mtu_towards(flow.neighbor())?;
                let bytes = client.min(backend).saturating_sub(HEADER_BYTES);
                Some(u16::try_from(bytes).unwrap_or(u16::MAX))
            }
        }
    }
}
