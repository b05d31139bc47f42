//! Rules of inbound NAT rules: each backend of a pool has a port of the rule's range, the lowest
//! that was free when it came, and keeps it while it stays.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

use super::part;
use super::rule::{floats, frontend, idle_minutes, protocol};
use crate::resource::Fault;
use crate::resource::body::Object;
use crate::resource::model::{Balancer, NatRule, Transport};

/// Reads an inbound NAT rule of a balancer with these frontends and pools.
pub(super) fn nat_rule(
    balancer: &Balancer,
    name: String,
    body: &Object<'_>,
) -> Result<NatRule, Fault> {
    let properties = body.object("properties")?;
    let field = |name: &str| properties.path(name);
    if !properties.has("backendAddressPool") {
        let what = "inbound NAT rules of a virtual machine's interface: name a backendAddressPool, \
            frontendPortRangeStart and frontendPortRangeEnd";
        return Err(Fault::unsupported(&field("backendAddressPool"), what));
    }
    let pool = part(&properties, "backendAddressPool", "backendAddressPools")?;
    if balancer.pool(&pool).is_none() {
        return Err(Fault::reference(&field("backendAddressPool"), &pool));
    }
    let protocol = protocol(&properties, "write Tcp or Udp")?;
    if protocol == Transport::All {
        let cure = "write Tcp or Udp, or a load-balancing rule";
        let rule = "an inbound NAT rule has one protocol";
        return Err(Fault::value(&field("protocol"), rule, cure));
    }
    let port = |name: &str| {
        let missing = || Fault::value(&field(name), "the port is missing", "write 1 to 65535");
        properties.number::<u16>(name, 1..=65_535)?.ok_or_else(missing)
    };
    let first_port = port("frontendPortRangeStart")?;
    let last_port = port("frontendPortRangeEnd")?;
    if last_port < first_port {
        let rule = format!("{last_port} is below frontendPortRangeStart");
        let cure = "write the lowest port first";
        return Err(Fault::value(&field("frontendPortRangeEnd"), rule, cure));
    }
    let backend_port = port("backendPort")?;
    Ok(NatRule {
        name,
        frontend: frontend(balancer, &properties)?,
        pool: Some(pool),
        protocol,
        first_port,
        last_port,
        backend_port,
        floats: floats(&properties, first_port..=last_port, backend_port)?,
        mapping: Vec::new(),
        idle_minutes: idle_minutes(&properties)?,
        tcp_reset: properties.truth("enableTcpReset")?,
    })
}

/// No port of a rule is another rule's.
pub(super) fn apart(field: &str, balancer: &Balancer) -> Result<(), Fault> {
    let refuse = |rule: &NatRule, other: &str| {
        let text = format!("ports of rule {} are ports of the rule {other}", rule.name);
        let cure = "a frontend has one rule for each protocol and port: choose other ports";
        Err(Fault::rule("RulesUseSameFrontendPortProtocolAndVnet", field, text, cure))
    };
    for (at, rule) in balancer.nat_rules.iter().enumerate() {
        let ports = rule.first_port..=rule.last_port;
        let meets = |frontend: &str, protocol| {
            rule.frontend.eq_ignore_ascii_case(frontend) && rule.protocol == protocol
        };
        let balanced = balancer.rules.iter().find(|other| {
            meets(&other.frontend, other.protocol) && ports.contains(&other.frontend_port)
        });
        if let Some(other) = balanced {
            return refuse(rule, &other.name);
        }
        let before = balancer.nat_rules[..at].iter().find(|other| {
            meets(&other.frontend, other.protocol)
                && rule.first_port <= other.last_port
                && other.first_port <= rule.last_port
        });
        if let Some(other) = before {
            return refuse(rule, &other.name);
        }
    }
    Ok(())
}

/// Gives each backend its port of each rule.
pub(super) fn map_ports(
    field: &str,
    balancer: &mut Balancer,
    old: Option<&Balancer>,
) -> Result<(), Fault> {
    let Balancer { nat_rules, pools, .. } = balancer;
    for rule in nat_rules {
        let wanted = rule.pool.as_deref().unwrap_or_default();
        let pool = pools.iter().find(|pool| pool.name.eq_ignore_ascii_case(wanted));
        let addresses: BTreeSet<IpAddr> =
            pool.into_iter().flat_map(|pool| &pool.backends).map(|it| it.address).collect();
        let old = old.and_then(|old| old.nat_rule(&rule.name));
        let kept = old.into_iter().flat_map(|old| &old.mapping).filter(|(address, port)| {
            addresses.contains(address) && (rule.first_port..=rule.last_port).contains(port)
        });
        let mut mapping: BTreeMap<IpAddr, u16> = kept.copied().collect();
        let mut taken: HashSet<u16> = mapping.values().copied().collect();
        for address in addresses {
            if mapping.contains_key(&address) {
                continue;
            }
            let free = (rule.first_port..=rule.last_port).find(|port| !taken.contains(port));
            let Some(port) = free else {
                let text = format!("the range of rule {} has no port for {address}", rule.name);
                let cure = "a range has a port for each backend of the pool: enlarge it";
                return Err(Fault::rule("FrontendPortRangeTooSmall", field, text, cure));
            };
            mapping.insert(address, port);
            taken.insert(port);
        }
        rule.mapping = mapping.into_iter().collect();
    }
    Ok(())
}
