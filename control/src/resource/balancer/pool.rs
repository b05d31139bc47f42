//! Rules of backend pools.

use std::collections::HashSet;
use std::net::IpAddr;

use dataplane::limits::BACKENDS_PER_RULE_MAX;
use dataplane::types::Prefix;

use crate::config::AdminState;
use crate::resource::body::Object;
use crate::resource::estate::{Estate, Rights};
use crate::resource::model::{Backend, Balancer, Pool};
use crate::resource::{Fault, Key, Kind};

/// The longest time to drain that makes sense: a day.
const DRAIN_SECONDS_MAX: u64 = 24 * 3600;

/// Reads a pool.
pub(super) fn pool(
    estate: &Estate,
    balancer: &Balancer,
    name: String,
    body: &Object<'_>,
    rights: &dyn Rights,
) -> Result<Pool, Fault> {
    let properties = body.object("properties")?;
    if !properties.objects("tunnelInterfaces")?.is_empty() {
        let what = "tunnels, which are of gateway load balancers";
        return Err(Fault::unsupported(&properties.path("tunnelInterfaces"), what));
    }
    let network = balancer.frontends.first().map(|frontend| &frontend.subnet.network);
    same_network(&properties, network)?;
    let list = properties.objects("loadBalancerBackendAddresses")?;
    let field = properties.path("loadBalancerBackendAddresses");
    if rights.is_strict() && !list.is_empty() {
        let what = "pools of addresses behind private link services in strict mode";
        return Err(Fault::unsupported(&field, what));
    }
    if list.len() > BACKENDS_PER_RULE_MAX {
        let rule = format!("the pool has {} backends", list.len());
        return Err(Fault::value(&field, rule, format!("{BACKENDS_PER_RULE_MAX} is the most")));
    }
    let space = network.and_then(|key| estate.network(key));
    let space = space.map_or(&[][..], |network| &network.address_space);
    let mut seen = HashSet::new();
    let backends = list.iter().enumerate().map(|(at, body)| {
        let inner = body.object("properties")?;
        same_network(&inner, network)?;
        let address = address(&inner, space)?;
        if !seen.insert(address) {
            let rule = format!("{address} is in the pool twice");
            return Err(Fault::value(&inner.path("ipAddress"), rule, "remove one of the two"));
        }
        let name = if body.has("name") { body.name()? } else { format!("backend-{at}") };
        let admin_state = inner.word("adminState", AdminState::WORDS)?.unwrap_or_default();
        Ok(Backend { name, address, admin_state })
    });
    let backends = backends.collect::<Result<Vec<_>, _>>()?;
    super::unique(&field, backends.iter().map(|backend| backend.name.as_str()))?;
    let drain_seconds = properties.number("drainPeriodInSeconds", 0..=DRAIN_SECONDS_MAX)?;
    Ok(Pool { name, backends, drain_seconds })
}

fn address(properties: &Object<'_>, space: &[Prefix]) -> Result<IpAddr, Fault> {
    let field = properties.path("ipAddress");
    let Some(address) = properties.address("ipAddress")? else {
        return Err(Fault::value(&field, "the address is missing", "name it: \"10.1.0.10\""));
    };
    if space.iter().any(|prefix| prefix.contains(address)) {
        return Ok(address);
    }
    let rule = format!("{address} is not in the virtual network of the frontends");
    Err(Fault::value(&field, rule, "backends are in the same virtual network"))
}

/// Pools and backends may name their virtual network: it is that of the frontends.
fn same_network(properties: &Object<'_>, network: Option<&Key>) -> Result<(), Fault> {
    let Some(named) = properties.reference("virtualNetwork", Kind::Network)? else {
        return Ok(());
    };
    if network.is_none_or(|network| *network == named.id.key) {
        return Ok(());
    }
    let rule = "backends are in the virtual network of the frontends";
    Err(Fault::value(&properties.path("virtualNetwork"), rule, "name that one, or leave it out"))
}
