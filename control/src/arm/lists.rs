//! Requests that only look.

use serde_json::{Value, json};

use super::actions::Target;
use super::call::{Call, Reply};
use super::desk::{Backend, Caller, Desk, body, key, scope};
use super::directory;
use super::parts::{self, Part};
use super::policy::path_of;
use super::route::{Place, Route};
use crate::resource::body::Object;
use crate::resource::estate::View;
use crate::resource::service::{is_alias, lists};
use crate::resource::{Fault, Id, Key, Kind, connection, endpoint, render};

/// What is asked of a region.
#[derive(Clone, Copy)]
pub(super) struct Asked<'t> {
    pub(super) location: &'t str,
    pub(super) what: &'t str,
    pub(super) name: Option<&'t str>,
}

/// The refusal of a method.
pub(super) fn method(method: &str) -> Fault {
    let message = format!("the method {method} is not possible here; see Azure's description");
    Fault::new(405, "MethodNotAllowed", message)
}

pub(super) fn only(call: &Call, wanted: &str) -> Result<(), Fault> {
    if call.method == wanted { Ok(()) } else { Err(method(&call.method)) }
}

/// Lists, and what stands above resources.
pub(super) fn answer<B: Backend>(
    desk: &Desk<B>,
    call: &Call,
    caller: &Caller<'_>,
    route: &Route,
) -> Result<Reply, Fault> {
    only(call, "GET").or_else(|fault| nic_is_fixed(route, fault))?;
    match route {
        Route::Tenants => Ok(directory::tenants(desk, caller)),
        Route::Subscriptions => desk.see(|view| Ok(directory::subscriptions(desk, caller, view))),
        Route::Subscription(id) => {
            caller.require(false, &format!("/subscriptions/{id}"))?;
            Ok(Reply::of(200, directory::subscription(desk, id)))
        }
        Route::Providers(id, which) => Ok(directory::providers(id, which.as_deref())),
        Route::Groups(subscription) => desk.see(|view| {
            let groups = view.estate.groups();
            let here = groups.filter(|g| g.head.subscription.eq_ignore_ascii_case(subscription));
            let seen = here.filter(|g| caller.may_read_path(&g.head.id(Kind::Group)));
            Ok(Reply::list(seen.map(|group| render::group(group)).collect()))
        }),
        Route::All(place) => desk.see(|view| {
            let all = Kind::TYPES.iter().flat_map(|(kind, _)| listed(view, caller, place, *kind));
            Ok(Reply::list(all.collect()))
        }),
        Route::List(place, type_name) => {
            exists(desk, place)?;
            desk.see(|view| match Kind::of_type(type_name) {
                Some(kind) => Ok(Reply::list(listed(view, caller, place, kind))),
                None => Ok(Reply::list(nics(view, caller, place))),
            })
        }
        Route::Nic(place, name) => desk.see(|view| {
            let all = nics(view, caller, place);
            let is = |nic: &&Value| {
                nic["name"].as_str().is_some_and(|known| known.eq_ignore_ascii_case(name))
            };
            let found = all.iter().find(is).cloned();
            found.map(|nic| Reply::of(200, nic)).ok_or_else(|| Fault::not_found(name))
        }),
        _ => Err(method(&call.method)),
    }
}

/// Network interfaces belong to their endpoints and services.
fn nic_is_fixed(route: &Route, fault: Fault) -> Result<(), Fault> {
    match route {
        Route::Nic(_, name) => Err(Fault::conflict(
            "NetworkInterfaceIsReadOnly",
            format!("network interface {name} cannot be changed; change what it belongs to"),
        )),
        _ => Err(fault),
    }
}

fn exists<B: Backend>(desk: &Desk<B>, place: &Place) -> Result<(), Fault> {
    let Some(group) = &place.group else { return Ok(()) };
    let found = desk.see(|view| Ok(view.estate.group(&key(place, "")).is_some()))?;
    let message = || format!("resource group {group:?} could not be found; create it first");
    if found { Ok(()) } else { Err(Fault::new(404, "ResourceGroupNotFound", message())) }
}

fn within(place: &Place) -> impl Fn(&Key) -> bool + use<'_> {
    let wanted = key(place, "");
    move |key: &Key| {
        key.subscription == wanted.subscription
            && (place.group.is_none() || key.group == wanted.group)
    }
}

fn listed(view: View<'_>, caller: &Caller<'_>, place: &Place, kind: Kind) -> Vec<Value> {
    let within = within(place);
    let here = view.estate.of_kind(kind).filter(|resource| {
        let id = resource.id();
        within(&id.key) && caller.may_read_path(&path_of(&id))
    });
    here.map(|resource| render::resource(view, resource)).collect()
}

fn nics(view: View<'_>, caller: &Caller<'_>, place: &Place) -> Vec<Value> {
    let within = within(place);
    let seen = |key: &Key| caller.may_read_path(&path_of(&Id::new(Kind::Group, &key.of_group())));
    render::nics(view, |key| within(key) && seen(key))
}

/// One resource.
pub(super) fn one<B: Backend>(
    desk: &Desk<B>,
    call: &Call,
    caller: &Caller<'_>,
    (place, kind, name): Target<'_>,
) -> Result<Reply, Fault> {
    if !["GET", "HEAD"].contains(&call.method.as_str()) {
        return Err(method(&call.method));
    }
    caller.require(false, &scope(place, kind, name))?;
    let id = Id::new(kind, &key(place, name));
    desk.see(|view| {
        let resource = view.estate.get(&id).ok_or_else(|| {
            let shown = format!("'{}/{name}' under '{}'", kind.type_name(), id.key.group);
            Fault::not_found(&shown)
        })?;
        Ok(Reply::of(200, render::resource(view, resource)))
    })
}

/// A resource as it is.
pub(super) fn shown<B: Backend>(desk: &Desk<B>, id: &Id) -> Result<Reply, Fault> {
    desk.see(|view| {
        let resource = view.estate.get(id).ok_or_else(|| Fault::not_found(&id.to_string()))?;
        Ok(Reply::of(200, render::resource(view, resource)))
    })
}

/// A part of a resource, or all of its kind.
pub(super) fn part<B: Backend>(
    desk: &Desk<B>,
    call: &Call,
    place: &Place,
    part: Part<'_>,
) -> Result<Reply, Fault> {
    only(call, "GET")?;
    let id = Id::new(part.kind, &key(place, part.name));
    let is = |name: &str| part.part.eq_ignore_ascii_case(name);
    desk.see(|view| {
        let resource = view.estate.get(&id).ok_or_else(|| Fault::not_found(&id.to_string()))?;
        if part.kind == Kind::Endpoint && is("privateDnsZoneGroups") {
            let message = "adit does not have private DNS zone groups; use customDnsConfigs";
            let none = Fault::new(501, "NotImplemented", message);
            return if part.inner.is_none() { Ok(Reply::list(Vec::new())) } else { Err(none) };
        }
        if let (Kind::Service, Some(name)) = (part.kind, part.inner)
            && is("privateEndpointConnections")
        {
            let service = view.estate.service(&id.key);
            let service = service.ok_or_else(|| Fault::not_found(&id.to_string()))?;
            let endpoint = connection::find(view, service, name)?;
            return Ok(Reply::of(200, render::connection(view, service, endpoint)));
        }
        let name = part.inner.unwrap_or_default();
        let missing = || Fault::not_found(&format!("{}/{name}", part.part));
        let found = parts::shown(view, resource, part).ok_or_else(missing)?;
        Ok(match (part.inner, found) {
            (None, Value::Array(all)) => Reply::list(all),
            (_, one) => Reply::of(200, one),
        })
    })
}

/// What is asked of a region: operations, visibility, types of endpoints.
pub(super) fn location<B: Backend>(
    desk: &Desk<B>,
    call: &Call,
    caller: &Caller<'_>,
    place: &Place,
    asked: Asked<'_>,
) -> Result<Reply, Fault> {
    let Asked { location, what, name } = asked;
    let is = |name: &str| what.eq_ignore_ascii_case(name);
    if let Some(guid) = name {
        only(call, "GET")?;
        let known = desk.operations.find(guid).ok_or_else(|| Fault::not_found(guid))?;
        caller.require(false, &known)?;
        return match () {
            () if is("operations") => Ok(Reply::of(200, json!({ "status": "Succeeded" }))),
            () if is("operationResults") => Ok(Reply::empty(204)),
            () => Err(Fault::not_found(what)),
        };
    }
    if is("checkPrivateLinkServiceVisibility") {
        only(call, "POST")?;
        return visibility(desk, call, caller, place);
    }
    only(call, "GET")?;
    if is("autoApprovedPrivateLinkServices") {
        return desk.see(|view| {
            let services = view.estate.services();
            let listed = services.filter(|s| lists(&s.auto_approval, &place.subscription));
            let ids = listed.map(|s| json!({ "privateLinkService": s.head.id(Kind::Service) }));
            Ok(Reply::list(ids.collect()))
        });
    }
    if is("availablePrivateEndpointTypes") {
        let name = "Microsoft.Network.privateLinkServices";
        let subscription = &place.subscription;
        return Ok(Reply::list(vec![json!({
            "id": format!("/subscriptions/{subscription}/providers/Microsoft.Network/locations/\
                {location}/availablePrivateEndpointTypes/{name}"),
            "name": name,
            "type": "Microsoft.Network/AvailablePrivateEndpointTypes",
            "resourceName": "Microsoft.Network/privateLinkServices",
            "displayName": "Private link services",
        })]));
    }
    let message = format!("adit does not have {what} of a region; do without");
    Err(Fault::new(501, "NotImplemented", message))
}

fn visibility<B: Backend>(
    desk: &Desk<B>,
    call: &Call,
    caller: &Caller<'_>,
    place: &Place,
) -> Result<Reply, Fault> {
    let json = body(call)?;
    let object = Object::of(&json)?;
    let alias = object.text("privateLinkServiceAlias")?.unwrap_or_default();
    if !is_alias(alias) {
        let cure = "write an alias: prefix.{guid}.{region}.azure.privatelinkservice";
        return Err(Fault::value("privateLinkServiceAlias", "this is no alias", cure));
    }
    desk.see(|view| {
        let mut services = view.estate.services();
        let found = services.find(|service| service.alias.eq_ignore_ascii_case(alias));
        let visible =
            found.is_some_and(|service| endpoint::is_visible(service, &place.subscription, caller));
        Ok(Reply::of(200, json!({ "visible": visible })))
    })
}
