//! Flows: those that live, and whose an address and port of the provider's side is or was.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Protocol, SessionId};

/// A flow.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Session {
    /// Its name for as long as it lives.
    pub id: SessionId,
    /// Its protocol.
    pub protocol: Protocol,
    /// The consumer's virtual network.
    pub virtual_network: String,
    /// The client.
    pub client: IpAddr,
    /// The client's port.
    pub client_port: u16,
    /// Name of the endpoint; `None` if it is gone and the flow not yet.
    pub endpoint: Option<String>,
    /// Address of the endpoint.
    pub endpoint_address: IpAddr,
    /// The port of the endpoint.
    pub endpoint_port: u16,
    /// Id of the connection.
    pub link_id: u32,
    /// The NAT IP that stands for the client.
    pub nat_ip: IpAddr,
    /// The port leased there.
    pub nat_port: u16,
    /// The backend.
    pub backend: IpAddr,
    /// What packets to it are addressed to, if that is a frontend that floats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floating_ip: Option<IpAddr>,
    /// The port of the backend.
    pub backend_port: u16,
    /// What the flow is doing.
    pub state: String,
    /// Seconds since its last packet.
    pub idle_seconds: f64,
    /// Seconds until it expires if no packet comes.
    pub expires_in_seconds: f64,
    /// The worker that owns it.
    pub worker: u8,
}

/// Whose an address and port on the provider's side is, or was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The flow's name, if it lives.
    pub session: Option<SessionId>,
    /// What the flow is doing, or why it ended.
    pub state: String,
    /// Its protocol.
    pub protocol: Protocol,
    /// The consumer's virtual network.
    pub virtual_network: String,
    /// The client.
    pub client: IpAddr,
    /// The client's port.
    pub client_port: u16,
    /// Name of the endpoint, if anybody knows it.
    pub endpoint: Option<String>,
    /// Address of the endpoint.
    pub endpoint_address: IpAddr,
    /// The port of the endpoint.
    pub endpoint_port: u16,
    /// Id of the connection.
    pub link_id: u32,
    /// The private link service, if anybody knows it.
    pub private_link_service: Option<String>,
    /// The NAT IP that stands for the client.
    pub nat_ip: IpAddr,
    /// The port leased there.
    pub nat_port: u16,
    /// The backend.
    pub backend: IpAddr,
    /// What packets to it are addressed to, if that is a frontend that floats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floating_ip: Option<IpAddr>,
    /// The port of the backend.
    pub backend_port: u16,
    /// When the flow began (RFC 3339), if that is recorded.
    pub began: Option<String>,
    /// When it ended.
    pub ended: Option<String>,
}
