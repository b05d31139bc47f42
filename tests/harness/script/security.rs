//! `guard NET PRIORITY allow|deny tcp|udp|any PREFIX PORT-PORT`: one more rule of the network
//! security group that guards the endpoints of a network; the first word of it makes the group.

use dataplane::snapshot::{Access, EndpointPlan, Plan, PortRange, SecurityGroupPlan, SecurityRule};
use dataplane::types::{Prefix, Protocol, ScopeId};

/// Adds the rule that these words describe.
///
/// # Errors
/// What they do not say.
pub(super) fn guard(plan: &mut Plan, scope: ScopeId, words: &[&str]) -> Result<(), &'static str> {
    let rule = rule(words).ok_or("a guard is PRIORITY allow|deny tcp|udp|any PREFIX PORT-PORT")?;
    let is_there = |endpoint: &&EndpointPlan| endpoint.scope == scope;
    let links: Vec<_> = plan.endpoints.iter().filter(is_there).map(|it| it.link).collect();
    let groups = &mut plan.security_groups;
    match groups.iter_mut().find(|group| group.links == links) {
        Some(group) => group.rules.push(rule),
        None => groups.push(SecurityGroupPlan { rules: vec![rule], links }),
    }
    Ok(())
}

fn rule(words: &[&str]) -> Option<SecurityRule> {
    let [priority, access, protocol, source, ports] = words else { return None };
    let (address, length) = source.split_once('/')?;
    let (first, last) = ports.split_once('-')?;
    Some(SecurityRule {
        priority: priority.parse().ok()?,
        protocol: match *protocol {
            "tcp" => Some(Protocol::Tcp),
            "udp" => Some(Protocol::Udp),
            "any" => None,
            _ => return None,
        },
        sources: vec![Prefix::new(address.parse().ok()?, length.parse().ok()?)?],
        destinations: vec![Prefix::new([0, 0, 0, 0].into(), 0)?],
        ports: vec![PortRange { first: first.parse().ok()?, last: last.parse().ok()? }],
        access: match *access {
            "allow" => Access::Allow,
            "deny" => Access::Deny,
            _ => return None,
        },
    })
}
