//! Events of the flow log, in the names of the configuration, and as lines of JSON.

use std::net::IpAddr;
use std::sync::Arc;

use dataplane::record::{EndReason, Traffic};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::api::Protocol;
use crate::moment::Moment;

/// Something that happened, in the flow log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A flow began, or ended.
    Flow(FlowEvent),
    /// Newcomers were refused for want of room.
    Refused(Refused),
}

/// A flow, as it is when it begins or ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FlowEvent {
    /// Why it ended; `None` when it begins.
    pub(crate) why: Option<EndReason>,
    /// When.
    pub(crate) at: Moment,
    /// When it began, and when its last packet came.
    pub(crate) began: Moment,
    pub(crate) last_seen: Moment,
    pub(crate) protocol: Protocol,
    /// Number and name of the consumer's virtual network.
    pub(crate) scope: u16,
    pub(crate) virtual_network: Arc<str>,
    pub(crate) client: (IpAddr, u16),
    /// The endpoint, if anybody knows its name, and the service.
    pub(crate) endpoint: Option<Arc<str>>,
    pub(crate) service: Option<Arc<str>>,
    pub(crate) endpoint_address: (IpAddr, u16),
    pub(crate) link_id: u32,
    pub(crate) nat: (IpAddr, u16),
    /// The backend's own address.
    pub(crate) backend: IpAddr,
    /// What its packets are addressed to: the same, or a frontend that floats.
    pub(crate) target: (IpAddr, u16),
    /// What it carried.
    pub(crate) traffic: Traffic,
}

/// What newcomers lacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// A port of any of these NAT IPs, towards a backend.
    Port { nat_ips: Vec<IpAddr>, backend: IpAddr, protocol: Protocol },
    /// Room within an endpoint's quota, or what is left beside those of others.
    Quota { endpoint: Arc<str>, link_id: u32, flows_max: Option<u32> },
}

/// Newcomers that were refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) at: Moment,
    /// The provider's virtual network, or the consumer's.
    pub(crate) virtual_network: Arc<str>,
    pub(crate) want: Want,
    /// How many since the last event about the same.
    pub(crate) count: u64,
}

impl Event {
    /// The event on a line of its own.
    pub(crate) fn line(&self) -> String {
        // Maps of texts and numbers always become text.
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        match self {
            Event::Flow(flow) => flow.fields(&mut map)?,
            Event::Refused(refused) => refused.fields(&mut map)?,
        }
        map.end()
    }
}

impl FlowEvent {
    /// What packets to its backend are addressed to, if that is a frontend.
    pub(crate) fn floating_ip(&self) -> Option<IpAddr> {
        (self.target.0 != self.backend).then_some(self.target.0)
    }

    fn fields<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("time", &self.at.rfc3339())?;
        let event = if self.why.is_none() { "flow_began" } else { "flow_ended" };
        map.serialize_entry("event", event)?;
        if let Some(why) = self.why {
            map.serialize_entry("reason", why.name())?;
        }
        map.serialize_entry("protocol", &self.protocol)?;
        map.serialize_entry("virtual_network", &*self.virtual_network)?;
        map.serialize_entry("client", &self.client.0)?;
        map.serialize_entry("client_port", &self.client.1)?;
        map.serialize_entry("endpoint", &self.endpoint.as_deref())?;
        map.serialize_entry("endpoint_address", &self.endpoint_address.0)?;
        map.serialize_entry("endpoint_port", &self.endpoint_address.1)?;
        map.serialize_entry("link_id", &self.link_id)?;
        map.serialize_entry("service", &self.service.as_deref())?;
        map.serialize_entry("nat_ip", &self.nat.0)?;
        map.serialize_entry("nat_port", &self.nat.1)?;
        map.serialize_entry("backend", &self.backend)?;
        if let Some(floating) = self.floating_ip() {
            map.serialize_entry("floating_ip", &floating)?;
        }
        map.serialize_entry("backend_port", &self.target.1)?;
        if self.why.is_some() {
            let Traffic { forward, back } = self.traffic;
            map.serialize_entry("began", &self.began.rfc3339())?;
            map.serialize_entry("last_packet", &self.last_seen.rfc3339())?;
            map.serialize_entry("packets_in", &forward.packets)?;
            map.serialize_entry("bytes_in", &forward.bytes)?;
            map.serialize_entry("packets_out", &back.packets)?;
            map.serialize_entry("bytes_out", &back.bytes)?;
        }
        Ok(())
    }
}

impl Refused {
    fn fields<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("time", &self.at.rfc3339())?;
        match &self.want {
            Want::Port { nat_ips, backend, protocol } => {
                map.serialize_entry("event", "nat_ports_exhausted")?;
                map.serialize_entry("protocol", protocol)?;
                map.serialize_entry("virtual_network", &*self.virtual_network)?;
                map.serialize_entry("nat_ips", nat_ips)?;
                map.serialize_entry("backend", backend)?;
            }
            Want::Quota { endpoint, link_id, flows_max } => {
                map.serialize_entry("event", "endpoint_refused")?;
                map.serialize_entry("virtual_network", &*self.virtual_network)?;
                map.serialize_entry("endpoint", &**endpoint)?;
                map.serialize_entry("link_id", link_id)?;
                map.serialize_entry("flows_max", flows_max)?;
            }
        }
        map.serialize_entry("refused", &self.count)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use dataplane::record::Count;

    pub(crate) fn flow(why: Option<EndReason>) -> FlowEvent {
        let traffic = Traffic {
            forward: Count { packets: 7, bytes: 1_234 },
            back: Count { packets: 9, bytes: 5_000_000_000 },
        };
        FlowEvent {
            why,
            at: Moment(1_795_964_645_250),
            began: Moment(1_795_964_640_000),
            last_seen: Moment(1_795_964_645_000),
            protocol: Protocol::Tcp,
            scope: 3,
            virtual_network: "consumer-a".into(),
            client: (IpAddr::from([10, 0, 0, 9]), 40_000),
            endpoint: Some("pe-a".into()),
            service: Some("web".into()),
            endpoint_address: (IpAddr::from([10, 0, 0, 5]), 443),
            link_id: 0x2000_0001,
            nat: (IpAddr::from([10, 1, 0, 4]), 1_024),
            backend: IpAddr::from([10, 1, 0, 10]),
            target: (IpAddr::from([10, 1, 0, 10]), 8_443),
            traffic,
        }
    }

    #[test]
    fn a_flow_is_a_line_of_json_with_its_traffic_at_the_end() {
        let began = Event::Flow(flow(None)).line();
        assert_eq!(
            began,
            "{\"time\":\"2026-11-29T15:04:05.250Z\",\"event\":\"flow_began\",\"protocol\":\"tcp\",\
             \"virtual_network\":\"consumer-a\",\"client\":\"10.0.0.9\",\"client_port\":40000,\
             \"endpoint\":\"pe-a\",\"endpoint_address\":\"10.0.0.5\",\"endpoint_port\":443,\
             \"link_id\":536870913,\"service\":\"web\",\"nat_ip\":\"10.1.0.4\",\"nat_port\":1024,\
             \"backend\":\"10.1.0.10\",\"backend_port\":8443}\n"
        );
        let ended = Event::Flow(flow(Some(EndReason::Idle))).line();
        let ended: serde_json::Value = serde_json::from_str(&ended).unwrap();
        assert_eq!((&ended["event"], &ended["reason"]), (&"flow_ended".into(), &"idle".into()));
        assert_eq!(ended["bytes_out"], 5_000_000_000_u64);
        assert_eq!(ended["began"], "2026-11-29T15:04:00.000Z");
    }

    #[test]
    fn names_that_are_no_plain_text_stay_on_their_line() {
        let event = FlowEvent { endpoint: Some("a\n\"b".into()), ..flow(None) };
        let line = Event::Flow(event).line();
        assert_eq!(line.matches('\n').count(), 1);
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["endpoint"], "a\n\"b");
    }
}
