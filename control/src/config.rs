//! The configuration file: text in, a [`Config`] that can hold no invalid value out, or everything
//! that is wrong with the text.
//!
//! `raw` is exactly the file, `valid` what it means; `crate::compile` goes on from there. Nothing
//! here reads a file, asks the kernel or panics, whatever the text.

mod balance;
mod error;
mod keys;
mod name;
mod peering;
mod plain;
mod probe;
mod profile;
mod raw;
mod reader;
mod recording;
mod reference;
mod security;
pub mod suggest;
mod valid;
mod validate;

pub use error::{ConfigError, ConfigErrors};
pub use name::{InterfaceName, Name};
pub(crate) use peering::PEERINGS_MAX;
pub(crate) use plain::plain;
pub(crate) use probe::{
    HTTP_PORTS_REFUSED, INTERVAL_DEFAULT, INTERVAL_MAX, INTERVAL_MIN, THRESHOLD_MAX, wrong_path,
};
pub use probe::{NoHealthyBackends, Probe, ProbeProtocol};
pub use profile::{FlowSettings, Profile};
pub use reference::reference;
pub(crate) use security::{
    ALLOW_VNET, COMBINATIONS_MAX, DENY_ALL, PRIORITIES, RULES_MAX, port_range,
};
pub use valid::{
    AddressFilter, AdminState, Binding, Collector, Config, Device, EndpointPolicies, FastPathUse,
    FlowLog, InboundNatRule, Lifetime, LoadBalancer, LogFile, Memory, MetricsPush, NatIp,
    NetworkSecurityGroup, Pool, PoolBackend, PrivateEndpoint, PrivateLinkService, PrivilegeUse,
    Receiver, Route, Rule, RuleProtocol, SecurityRule, Setting, Settings, Subnet, VirtualNetwork,
};
pub(crate) use validate::{unusable, without_nat_ip, wrong_before_frontend};

/// Where the control socket is unless the configuration says otherwise.
pub const CONTROL_SOCKET: &str = "/run/adit/adit.sock";

/// A valid configuration, and what is legal in it but hardly meant.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The configuration.
    pub config: Config,
    /// Remarks, in the order of the lines.
    pub warnings: Vec<ConfigError>,
}

/// Judges the text of a configuration file.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check(text: &str) -> Result<Checked, ConfigErrors> {
    let (raw, errors) = raw::read(text).map_err(ConfigErrors::new)?;
    validate::validate(&raw, errors)
}

#[cfg(test)]
mod tests;
