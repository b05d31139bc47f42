//! Rules of load-balancing rules.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use super::{part, part_here};
use crate::resource::Fault;
use crate::resource::body::Object;
use crate::resource::estate::Rights;
use crate::resource::model::{Balancer, Distribution, Rule, Transport};

/// Reads a load-balancing rule of a balancer with these frontends, pools, probes, and rules before
/// it.
pub(super) fn rule(
    balancer: &Balancer,
    body: &Object<'_>,
    rights: &dyn Rights,
) -> Result<Rule, Fault> {
    let name = body.name()?;
    let properties = body.object("properties")?;
    let frontend = frontend(balancer, &properties)?;
    let pool = pool(balancer, &properties)?;
    let probe = probe(balancer, &properties)?;
    let protocol = protocol(&properties, "write Tcp, Udp or All")?;
    // All ports are 0, and only all of them.
    let range = if protocol == Transport::All { 0..=0 } else { 1..=65_535 };
    let port = |name: &str| {
        let field = properties.path(name);
        let missing =
            || Fault::value(&field, "the port is missing", "write 1 to 65535, or 0 with All");
        properties.number::<u16>(name, range.clone())?.ok_or_else(missing)
    };
    let (frontend_port, backend_port) = (port("frontendPort")?, port("backendPort")?);
    let distribution = properties.word("loadDistribution", Distribution::WORDS)?;
    let rule = Rule {
        name,
        frontend,
        pool,
        protocol,
        distribution: distribution.unwrap_or(Distribution::Default),
        frontend_port,
        backend_port,
        floats: floats(&properties, frontend_port..=frontend_port, backend_port)?,
        idle_minutes: idle_minutes(&properties)?,
        tcp_reset: properties.truth("enableTcpReset")?,
        probe,
        udp_tracking: properties.truth("enableConnectionTracking")?.unwrap_or(false),
        outbound_snat_disabled: properties.truth("disableOutboundSnat")?.unwrap_or(false),
    };
    if rights.is_strict() {
        unique_backend_port(&properties, balancer, &rule)?;
    }
    Ok(rule)
}

pub(super) fn protocol(properties: &Object<'_>, cure: &str) -> Result<Transport, Fault> {
    let found = properties.word("protocol", Transport::WORDS)?;
    let field = properties.path("protocol");
    found.ok_or_else(|| Fault::value(&field, "the protocol is missing", cure))
}

pub(super) fn idle_minutes(properties: &Object<'_>) -> Result<Option<u8>, Fault> {
    properties.number("idleTimeoutInMinutes", 4..=30)
}

/// The name of the frontend that a rule takes packets of.
pub(super) fn frontend(balancer: &Balancer, properties: &Object<'_>) -> Result<String, Fault> {
    let frontend = part(properties, "frontendIPConfiguration", "frontendIPConfigurations")?;
    match balancer.frontend(&frontend) {
        Some(_) => Ok(frontend),
        None => Err(Fault::reference(&properties.path("frontendIPConfiguration"), &frontend)),
    }
}

/// The name of the one pool of a rule.
fn pool(balancer: &Balancer, properties: &Object<'_>) -> Result<String, Fault> {
    let field = properties.path("backendAddressPool");
    let pool = if properties.has("backendAddressPool") {
        part(properties, "backendAddressPool", "backendAddressPools")?
    } else {
        let list = properties.objects("backendAddressPools")?;
        let Some(first) = list.first().filter(|_| list.len() == 1) else {
            return Err(Fault::value(&field, "a rule has one pool", "name it: {\"id\": ...}"));
        };
        part_here(first, "backendAddressPools")?
    };
    match balancer.pool(&pool) {
        Some(_) => Ok(pool),
        None => Err(Fault::reference(&field, &pool)),
    }
}

/// The name of its probe, if it names one.
fn probe(balancer: &Balancer, properties: &Object<'_>) -> Result<Option<String>, Fault> {
    if !properties.has("probe") {
        return Ok(None);
    }
    let wanted = part(properties, "probe", "probes")?;
    let found = balancer.probes.iter().find(|probe| probe.name.eq_ignore_ascii_case(&wanted));
    match found {
        Some(probe) => Ok(Some(probe.name.clone())),
        None => Err(Fault::reference(&properties.path("probe"), &wanted)),
    }
}

/// Whether the frontend floats: packets then keep the port that was dialled.
pub(super) fn floats(
    properties: &Object<'_>,
    dialled: RangeInclusive<u16>,
    backend_port: u16,
) -> Result<bool, Fault> {
    let floats = properties.truth("enableFloatingIP")?.unwrap_or(false);
    if floats && dialled != (backend_port..=backend_port) {
        let rule = "packets of a floating IP keep the port that was dialled, which is not this one";
        let cure = "write the frontend's port, or leave enableFloatingIP out";
        return Err(Fault::value(&properties.path("backendPort"), rule, cure));
    }
    Ok(floats)
}

/// Two rules may not meet at one port of a pool, says Azure. To adit they are two.
fn unique_backend_port(
    properties: &Object<'_>,
    balancer: &Balancer,
    rule: &Rule,
) -> Result<(), Fault> {
    let same = |other: &&Rule| {
        other.pool.eq_ignore_ascii_case(&rule.pool)
            && (other.protocol, other.backend_port) == (rule.protocol, rule.backend_port)
    };
    let Some(other) = balancer.rules.iter().find(same) else { return Ok(()) };
    let text = format!("rule {} leads to the same port of the same pool", other.name);
    let cure = "choose another port, or another pool";
    let code = "RulesUseSameBackendPortProtocolAndPool";
    Err(Fault::rule(code, &properties.path("backendPort"), text, cure))
}

pub(super) fn unique_ports(field: &str, balancer: &Balancer) -> Result<(), Fault> {
    let mut seen = HashSet::new();
    for rule in &balancer.rules {
        let frontend = rule.frontend.to_ascii_lowercase();
        if !seen.insert((frontend, rule.protocol, rule.frontend_port)) {
            let text = format!("rule {} has protocol and port of another rule", rule.name);
            let cure = "a frontend has one rule for each protocol and port";
            return Err(Fault::rule("RulesUseSameFrontendPortProtocolAndVnet", field, text, cure));
        }
    }
    Ok(())
}
