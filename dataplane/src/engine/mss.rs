//! How large TCP's segments may become: what a service's treatment says of its SYNs.

use super::Engine;
use crate::device::Frame;
use crate::flow::FlowView;
use crate::packet::{Packet, clamp_mss};
use crate::snapshot::MssClamp;
use crate::types::{Address, FlowIndex};

/// Bytes of a TCP header without options.
const TCP_BYTES: u32 = 20;

impl Engine {
    /// Lowers the MSS that a SYN or its answer announces; the frame has been rewritten.
    #[cold]
    pub(super) fn clamp_segments(&self, number: FlowIndex, frame: &mut Frame, packet: &Packet) {
        let mss_max = self.flows.get(number).and_then(|flow| self.mss_max(flow));
        if let Some(mss_max) = mss_max {
            clamp_mss(frame.bytes_mut(), packet, mss_max);
        }
    }

    fn mss_max(&self, flow: FlowView<'_>) -> Option<u16> {
        let snapshot = &self.generation.snapshot;
        let endpoint = snapshot.endpoint_of_link(flow.link)?;
        match snapshot.service(endpoint.service)?.treatment.mss_clamp {
            MssClamp::Off => None,
            MssClamp::Bytes(bytes) => Some(bytes),
            MssClamp::Auto => {
                let client = self.link(flow.client()?.device)?.mtu;
                let backend = self.mtu_towards(flow.neighbor())?;
                // RFC 6691: what options take is not counted.
                let fits = |mtu: u32, address: Address| {
                    mtu.saturating_sub(u32::from(address.family().header_bytes()) + TCP_BYTES)
                };
                let client = fits(client, flow.key().client);
                let bytes = client.min(fits(backend, flow.backend()));
                Some(u16::try_from(bytes).unwrap_or(u16::MAX))
            }
        }
    }
}
