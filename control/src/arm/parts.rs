//! Requests about a part of a resource: some of Azure's parts are created, replaced and deleted by
//! themselves, all are read by themselves.

use serde_json::{Value, json};

use super::actions::{condition, decide, deleted, updating};
use super::call::{Call, Reply};
use super::desk::{Backend, Caller, Desk, body, key, scope};
use super::lists;
use super::route::Place;
use crate::resource::body::Object;
use crate::resource::change::Change;
use crate::resource::estate::View;
use crate::resource::model::{Balancer, Resource, SecurityGroup};
use crate::resource::{Fault, Id, Kind, Step, balancer, network, peering, render, security};

/// A part of a resource that a request is about.
#[derive(Clone, Copy)]
pub(super) struct Part<'t> {
    pub(super) kind: Kind,
    pub(super) name: &'t str,
    pub(super) part: &'t str,
    pub(super) inner: Option<&'t str>,
}

/// Parts that are written by themselves, by the kind of what they are parts of.
const WRITTEN: &[(Kind, &str)] = &[
    (Kind::Network, "subnets"),
    (Kind::Network, "virtualNetworkPeerings"),
    (Kind::Balancer, "backendAddressPools"),
    (Kind::Balancer, "inboundNatRules"),
    (Kind::SecurityGroup, "securityRules"),
];

/// A part that is written or read.
pub(super) fn part<B: Backend>(
    desk: &Desk<B>,
    call: &Call,
    caller: &Caller<'_>,
    place: &Place,
    part: Part<'_>,
) -> Result<Reply, Fault> {
    let writes = matches!(call.method.as_str(), "PUT" | "DELETE");
    caller.require(writes, &scope(place, part.kind, part.name))?;
    let is = |name: &str| part.part.eq_ignore_ascii_case(name);
    let Some(inner) = part.inner.filter(|_| writes) else {
        return lists::part(desk, call, place, part);
    };
    if part.kind == Kind::Service && is("privateEndpointConnections") {
        return decide(desk, call, caller, (place, part.name, inner));
    }
    if WRITTEN.iter().any(|(kind, name)| *kind == part.kind && is(name)) {
        return write(desk, call, caller, place, (part, inner));
    }
    let message = format!("adit does not change {} by themselves; change the whole", part.part);
    Err(Fault::new(501, "NotImplemented", message))
}

fn write<B: Backend>(
    desk: &Desk<B>,
    call: &Call,
    caller: &Caller<'_>,
    place: &Place,
    (part, inner): (Part<'_>, &str),
) -> Result<Reply, Fault> {
    let id = Id::new(part.kind, &key(place, part.name));
    let puts = call.method == "PUT";
    let json = if puts { body(call)? } else { json!({}) };
    let object = Object::of(&json)?;
    let mut was_there = false;
    desk.backend.change(&caller.identity, &mut |view| {
        view.estate.refuse_file(&id)?;
        let found = view.estate.get(&id);
        was_there = found.is_some_and(|resource| shown(view, resource, part).is_some());
        if found.is_none() && puts {
            return Err(Fault::not_found(&id.to_string()));
        }
        let Some(whole) = found.filter(|_| puts || was_there) else {
            return Ok(Change::default());
        };
        condition(call, Some(whole))?;
        let object = puts.then_some(&object);
        Ok(Change::of(steps(view, whole, (part.part, inner), object, caller)?))
    })?;
    if !puts {
        return Ok(if was_there { deleted(desk, call) } else { Reply::empty(204) });
    }
    let value = desk.see(|view| {
        let whole = view.estate.get(&id).ok_or_else(|| Fault::not_found(&id.to_string()))?;
        shown(view, whole, part).ok_or_else(|| Fault::not_found(inner))
    })?;
    Ok(updating(desk, call, value, !was_there))
}

/// What becomes of the whole when a part is put, or deleted if there is nothing to put.
fn steps(
    view: View<'_>,
    whole: &Resource,
    (part, name): (&str, &str),
    put: Option<&Object<'_>>,
    caller: &Caller<'_>,
) -> Result<Vec<Step>, Fault> {
    let estate = view.estate;
    let revision = estate.own.next_revision();
    match whole {
        Resource::Network(whole) if part.eq_ignore_ascii_case("virtualNetworkPeerings") => {
            match put {
                Some(body) => peering::put(estate, whole, name, body, caller),
                None => Ok(peering::delete(estate, whole, name)),
            }
        }
        Resource::Network(whole) => match put {
            Some(body) => network::put_subnet(estate, whole, name, body, revision),
            None => network::delete_subnet(estate, whole, name, revision),
        },
        Resource::Balancer(whole) => {
            let mut whole = Balancer::clone(whole);
            whole.head.revision = revision;
            let is_pool = part.eq_ignore_ascii_case("backendAddressPools");
            match put {
                Some(body) if is_pool => balancer::put_pool(estate, whole, name, body, caller),
                Some(body) => balancer::put_nat_rule(estate, whole, name, body),
                None if is_pool => balancer::delete_pool(estate, whole, name),
                None => balancer::delete_nat_rule(estate, whole, name),
            }
        }
        Resource::SecurityGroup(whole) => {
            let mut whole = SecurityGroup::clone(whole);
            whole.head.revision = revision;
            match put {
                Some(body) => security::put_rule(estate, whole, name, body),
                None => security::delete_rule(whole, name),
            }
        }
        _ => Err(Fault::not_found(part)),
    }
}

/// A part as it is shown: every part stands in the whole, under its own name. Without a name, all
/// of its kind.
pub(super) fn shown(view: View<'_>, whole: &Resource, part: Part<'_>) -> Option<Value> {
    let whole = render::resource(view, whole);
    let lists = whole["properties"].as_object().into_iter().flatten();
    let mut lists = lists.filter(|(name, _)| name.eq_ignore_ascii_case(part.part));
    let list = lists.find_map(|(_, value)| value.as_array())?;
    let Some(wanted) = part.inner else { return Some(json!(list)) };
    let is_it = |value: &&Value| {
        value["name"].as_str().is_some_and(|known| known.eq_ignore_ascii_case(wanted))
    };
    list.iter().find(is_it).cloned()
}

/// Which ports of inbound NAT rules lead to a backend.
pub(super) fn port_mapping<B: Backend>(
    desk: &Desk<B>,
    call: &Call,
    caller: &Caller<'_>,
    place: &Place,
    (name, pool): (&str, &str),
) -> Result<Reply, Fault> {
    lists::only(call, "POST")?;
    caller.require(false, &scope(place, Kind::Balancer, name))?;
    let json = body(call)?;
    let object = Object::of(&json)?;
    let Some(address) = object.address("ipAddress")? else {
        let cure = "name a backend of the pool: \"10.1.0.10\"";
        return Err(Fault::value("ipAddress", "the address is missing", cure));
    };
    desk.see(|view| {
        let found = view.estate.balancer(&key(place, name));
        let balancer = found.ok_or_else(|| Fault::not_found(name))?;
        let pool = balancer.pool(pool).ok_or_else(|| Fault::not_found(pool))?;
        let mappings = render::port_mappings(balancer, pool, address);
        Ok(Reply::of(200, json!({ "inboundNatRulePortMappings": mappings })))
    })
}
