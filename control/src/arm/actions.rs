//! Requests that change something: create, replace, delete, decide.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::call::{Call, Reply};
use super::desk::{Backend, Caller, Desk, body, key, scope};
use super::lists;
use super::route::Place;
use crate::resource::body::{self as read, Object};
use crate::resource::change::Change;
use crate::resource::estate::{Estate, View};
use crate::resource::model::{Endpoint, Group, Head, Origin, Resource, Service};
use crate::resource::{
    Fault, Id, Key, Kind, Step, balancer, connection, endpoint, network, peering, render, security,
    service,
};
use crate::state::ConnectionState;

/// A resource that a request is about.
pub(super) type Target<'t> = (&'t Place, Kind, &'t str);

/// Creates a resource, or replaces one.
pub(super) fn put<B: Backend>(
    desk: &Desk<B>,
    call: &Call,
    caller: &Caller<'_>,
    (place, kind, name): Target<'_>,
) -> Result<Reply, Fault> {
    caller.require(true, &scope(place, kind, name))?;
    read::name("name", name)?;
    let json = body(call)?;
    let object = Object::of(&json)?;
    let id = Id::new(kind, &key(place, name));
    let mut is_new = false;
    desk.backend.change(&caller.identity, &mut |view| {
        let estate = view.estate;
        estate.refuse_file(&id)?;
        let old = estate.get(&id);
        condition(call, old)?;
        is_new = old.is_none();
        let mut steps = ensure_group(estate, place, &object, caller)?;
        let head = head(estate, place, name, old.map(Resource::head), &object)?;
        let dice = &mut || (desk.sources.dice)();
        steps.extend(match kind {
            Kind::Group => return Err(Fault::not_found("of no type")),
            Kind::Network => network::put(estate, head, &object)?,
            Kind::Balancer => balancer::put(estate, head, &object, caller)?,
            Kind::Service => service::put(estate, head, &object, caller, dice)?,
            Kind::Endpoint => endpoint::put(view, head, &object, caller, dice)?,
            Kind::SecurityGroup => security::put(estate, head, &object)?,
            Kind::AppGroup => security::put_app_group(head),
        });
        Ok(Change::of(steps))
    })?;
    let value = lists::shown(desk, &id)?.body.unwrap_or_default();
    Ok(updating(desk, call, value, is_new))
}

/// What a client gets that will ask again: the resource, and where to ask.
pub(super) fn updating<B: Backend>(
    desk: &Desk<B>,
    call: &Call,
    mut value: Value,
    is_new: bool,
) -> Reply {
    value["properties"]["provisioningState"] = "Updating".into();
    let url = note(desk, call, "operations");
    let status = if is_new { 201 } else { 200 };
    Reply::of(status, value).with("Azure-AsyncOperation", url).with("Retry-After", "0")
}

pub(super) fn deleted<B: Backend>(desk: &Desk<B>, call: &Call) -> Reply {
    let location = note(desk, call, "operationResults");
    let status = location.replace("/operationResults/", "/operations/");
    let reply = Reply::empty(202).with("Location", location);
    reply.with("Azure-AsyncOperation", status).with("Retry-After", "0")
}

/// Notes a change that is done, and returns where to ask for it.
fn note<B: Backend>(desk: &Desk<B>, call: &Call, what: &str) -> String {
    let guid = render::guid((desk.sources.dice)());
    desk.operations.note(&guid, &call.path);
    let subscription = call.path.split('/').nth(2).unwrap_or_default();
    let version = call.parameter("api-version").unwrap_or_default();
    format!(
        "{}/subscriptions/{subscription}/providers/Microsoft.Network/locations/local/{what}/{guid}\
        ?api-version={version}",
        desk.url
    )
}

/// Deletes a resource; it is no error that there is none.
pub(super) fn delete<B: Backend>(
    desk: &Desk<B>,
    call: &Call,
    caller: &Caller<'_>,
    (place, kind, name): Target<'_>,
) -> Result<Reply, Fault> {
    caller.require(true, &scope(place, kind, name))?;
    let id = Id::new(kind, &key(place, name));
    let mut was_there = true;
    desk.backend.change(&caller.identity, &mut |view| {
        let estate = view.estate;
        estate.refuse_file(&id)?;
        let Some(old) = estate.get(&id) else {
            was_there = false;
            return Ok(Change::default());
        };
        condition(call, Some(old))?;
        Ok(Change::of(match kind {
            Kind::Group => return Err(Fault::not_found("of no type")),
            Kind::Network => network::delete(estate, &id.key)?,
            Kind::Balancer => balancer::delete(estate, &id.key)?,
            Kind::Service => service::delete(view, &id.key)?,
            Kind::Endpoint => endpoint::delete(&id.key),
            Kind::SecurityGroup => security::delete(estate, &id.key)?,
            Kind::AppGroup => security::delete_app_group(estate, &id.key)?,
        }))
    })?;
    Ok(if was_there { deleted(desk, call) } else { Reply::empty(204) })
}

/// Gives a resource other tags; of endpoints and services Azure wants the whole.
pub(super) fn tag<B: Backend>(
    desk: &Desk<B>,
    call: &Call,
    caller: &Caller<'_>,
    (place, kind, name): Target<'_>,
) -> Result<Reply, Fault> {
    if matches!(kind, Kind::Group | Kind::Service | Kind::Endpoint) {
        return Err(lists::method(&call.method));
    }
    caller.require(true, &scope(place, kind, name))?;
    let json = body(call)?;
    let tags = tags(&Object::of(&json)?)?;
    let id = Id::new(kind, &key(place, name));
    desk.backend.change(&caller.identity, &mut |view| {
        view.estate.refuse_file(&id)?;
        let found = view.estate.get(&id);
        let mut resource = found.ok_or_else(|| Fault::not_found(&id.to_string()))?.clone();
        condition(call, found)?;
        let head = resource.head_mut();
        head.tags.clone_from(&tags);
        head.revision = view.estate.own.next_revision();
        Ok(Change::of(vec![Step::put(resource)]))
    })?;
    lists::shown(desk, &id)
}

/// Refuses a change of another version than the client means.
pub(super) fn condition(call: &Call, old: Option<&Resource>) -> Result<(), Fault> {
    let etag = old.map(|old| render::etag(old.head()));
    let wanted = call.if_match.as_deref();
    let same = match wanted {
        None => true,
        Some("*") => etag.is_some(),
        Some(wanted) => etag.as_deref() == Some(wanted),
    };
    if same && !(call.if_none_match.as_deref() == Some("*") && etag.is_some()) {
        return Ok(());
    }
    let message = "the resource has changed meanwhile, or is there already; get it and try again";
    Err(Fault::new(412, "PreconditionFailed", message))
}

/// A resource group comes into being with what is first put into it; in strict mode it must be
/// there.
fn ensure_group(
    estate: &Estate,
    place: &Place,
    body: &Object<'_>,
    caller: &Caller<'_>,
) -> Result<Vec<Step>, Fault> {
    let key = key(place, "");
    if estate.group(&key).is_some() {
        return Ok(Vec::new());
    }
    let name = place.group.as_deref().unwrap_or_default();
    let scope = scope(place, Kind::Group, "");
    if caller.is_strict || caller.require(true, &scope).is_err() {
        let message = format!("resource group {name:?} could not be found; create it first");
        return Err(Fault::new(404, "ResourceGroupNotFound", message));
    }
    group_name(name)?;
    let location = body.text("location")?.unwrap_or(&estate.home.location);
    let head = new_head(estate, place, "", location);
    Ok(vec![Step::put(Resource::Group(Arc::new(Group { head })))])
}

fn group_name(name: &str) -> Result<(), Fault> {
    let inner = |sign: char| sign.is_alphanumeric() || "_-.()".contains(sign);
    let fits = (1..=90).contains(&name.chars().count()) && name.chars().all(inner);
    if fits && !name.ends_with('.') {
        return Ok(());
    }
    let rule = format!("{name:?} is not a valid name");
    let cure = "it has 1 to 90 letters, digits, '_', '-', '.' and parentheses, and no '.' last";
    Err(Fault::rule("InvalidResourceGroup", "resourceGroupName", rule, cure))
}

fn new_head(estate: &Estate, place: &Place, name: &str, location: &str) -> Head {
    let group = place.group.clone().unwrap_or_default();
    let known = estate.group(&key(place, "")).map(|group| group.head.group.clone());
    Head {
        subscription: place.subscription.to_ascii_lowercase(),
        group: known.unwrap_or(group),
        name: name.to_owned(),
        location: location.to_owned(),
        tags: BTreeMap::new(),
        revision: estate.own.next_revision(),
        origin: Origin::Api,
    }
}

/// The head of a resource: its names as they were first written, the rest from the request.
fn head(
    estate: &Estate,
    place: &Place,
    name: &str,
    old: Option<&Head>,
    body: &Object<'_>,
) -> Result<Head, Fault> {
    let location = match (body.text("location")?, old) {
        (Some(location), Some(old)) => {
            let plain = |text: &str| text.replace(' ', "").to_ascii_lowercase();
            if plain(location) != plain(&old.location) {
                let message = format!(
                    "location: the resource is in {:?} and cannot move; delete it first",
                    old.location
                );
                return Err(Fault::conflict("InvalidResourceLocation", message));
            }
            old.location.as_str()
        }
        (Some(location), None) if !location.is_empty() => location,
        (_, Some(old)) => old.location.as_str(),
        (_, None) => {
            let cure = "name the region: \"location\": \"eastus\"";
            return Err(Fault::rule("LocationRequired", "location", "it is missing", cure));
        }
    };
    let name = old.map_or(name, |old| old.name.as_str());
    let mut head = new_head(estate, place, name, location);
    head.tags = tags(body)?;
    Ok(head)
}

fn tags(body: &Object<'_>) -> Result<BTreeMap<String, String>, Fault> {
    let all = body.object("tags")?;
    let names: Vec<String> = all.names().map(str::to_owned).collect();
    let tags = names.into_iter().map(|name| {
        let value = all.text(&name)?.unwrap_or_default().to_owned();
        Ok((name, value))
    });
    tags.collect()
}

/// A resource group.
pub(super) fn group<B: Backend>(
    desk: &Desk<B>,
    call: &Call,
    caller: &Caller<'_>,
    place: &Place,
) -> Result<Reply, Fault> {
    let id = Id::new(Kind::Group, &key(place, ""));
    let name = place.group.as_deref().unwrap_or_default();
    let writes = matches!(call.method.as_str(), "PUT" | "PATCH" | "DELETE");
    caller.require(writes, &scope(place, Kind::Group, ""))?;
    let missing = || {
        let message = format!("resource group {name:?} could not be found");
        Fault::new(404, "ResourceGroupNotFound", message)
    };
    match call.method.as_str() {
        "PUT" | "PATCH" => put_group(desk, call, caller, place),
        "DELETE" => {
            desk.backend.change(&caller.identity, &mut |view| {
                view.estate.refuse_file(&id)?;
                view.estate.group(&id.key).ok_or_else(missing)?;
                // The whole must hold together without all of it, or nothing goes.
                let inside = view.estate.own.iter().map(Resource::id);
                let inside = inside.filter(|inner| inner.key.of_group() == id.key);
                let inside: Vec<Id> = inside.collect();
                refuse_group(view, &id.key)?;
                let goes = |network: &Key| network.of_group() == id.key;
                let mut steps = peering::leave(view.estate, goes);
                steps.extend(inside.into_iter().map(Step::delete));
                Ok(Change::of(steps))
            })?;
            Ok(deleted(desk, call))
        }
        "HEAD" => {
            let found = desk.see(|view| Ok(view.estate.group(&id.key).is_some()))?;
            Ok(Reply::empty(if found { 204 } else { 404 }))
        }
        "GET" => desk.see(|view| {
            let group = view.estate.group(&id.key).ok_or_else(missing)?;
            Ok(Reply::of(200, render::group(group)))
        }),
        method => Err(lists::method(method)),
    }
}

/// A group does not go while something outside leads into it.
fn refuse_group(view: View<'_>, group: &Key) -> Result<(), Fault> {
    let outside = |key: &Key| key.of_group() != *group;
    let services = view.estate.services().filter(|service| !outside(&service.head.key()));
    for service in services {
        let mut connected = view.connected(&service.head.key());
        if let Some(endpoint) = connected.find(|endpoint| outside(&endpoint.head.key())) {
            let message = format!(
                "private link service {} has the connection {}; delete that first",
                service.head.name,
                endpoint.connection()
            );
            let code = "PrivateLinkServiceWithPrivateEndpointConnectionsCannotBeDeleted";
            return Err(Fault::conflict(code, message));
        }
    }
    Ok(())
}

fn put_group<B: Backend>(
    desk: &Desk<B>,
    call: &Call,
    caller: &Caller<'_>,
    place: &Place,
) -> Result<Reply, Fault> {
    let json = body(call)?;
    let object = Object::of(&json)?;
    let id = Id::new(Kind::Group, &key(place, ""));
    group_name(place.group.as_deref().unwrap_or_default())?;
    let mut is_new = false;
    desk.backend.change(&caller.identity, &mut |view| {
        view.estate.refuse_file(&id)?;
        let old = view.estate.get(&id);
        is_new = old.is_none();
        let head = head(view.estate, place, "", old.map(Resource::head), &object)?;
        Ok(Change::of(vec![Step::put(Resource::Group(Arc::new(Group { head })))]))
    })?;
    desk.see(|view| {
        let group = view.estate.group(&id.key).ok_or_else(|| Fault::not_found("group"))?;
        Ok(Reply::of(if is_new { 201 } else { 200 }, render::group(group)))
    })
}

/// Approves, rejects or removes a connection, as its provider.
pub(super) fn decide<B: Backend>(
    desk: &Desk<B>,
    call: &Call,
    caller: &Caller<'_>,
    (place, service_name, name): (&Place, &str, &str),
) -> Result<Reply, Fault> {
    let id = Id::new(Kind::Service, &key(place, service_name));
    let is_put = call.method == "PUT";
    let json = if is_put { body(call)? } else { Value::Object(Default::default()) };
    let object = Object::of(&json)?;
    let mut was_there = true;
    desk.backend.change(&caller.identity, &mut |view| {
        let service = view.estate.service(&id.key);
        let service = service.ok_or_else(|| Fault::not_found(&id.to_string()))?;
        let found = connection::find(view, service, name);
        if is_put {
            let endpoint = found.map_err(|_| no_such_connection(service))?;
            let wish = connection::wish(&object, view.state(endpoint))?;
            let name = view.estate.name(&endpoint.head);
            return Ok(Change { steps: Vec::new(), wishes: vec![(name, wish)] });
        }
        match found {
            Ok(endpoint) => Ok(remove(view, endpoint)),
            Err(_) => {
                was_there = false;
                Ok(Change::default())
            }
        }
    })?;
    if !is_put {
        return Ok(if was_there { deleted(desk, call) } else { Reply::empty(204) });
    }
    desk.see(|view| {
        let service = view.estate.service(&id.key);
        let service = service.ok_or_else(|| Fault::not_found(&id.to_string()))?;
        let endpoint = connection::find(view, service, name)?;
        Ok(Reply::of(200, render::connection(view, service, endpoint)))
    })
}

fn no_such_connection(service: &Service) -> Fault {
    let message = format!(
        "a provider cannot create a connection to {}; the consumer creates a private endpoint",
        service.head.name
    );
    Fault::new(400, "PrivateEndpointConnectionCannotBeCreatedByServiceProvider", message)
}

/// The provider takes a connection away: for good, whatever becomes of the service.
fn remove(view: View<'_>, endpoint: &Arc<Endpoint>) -> Change {
    let description = "Removed by the provider".to_owned();
    let state = ConnectionState::Disconnected;
    let actions_required = "None".to_owned();
    let wish = connection::Wish { state, description, actions_required };
    let name = view.estate.name(&endpoint.head);
    let steps = match endpoint.head.origin {
        Origin::File => Vec::new(),
        Origin::Api => {
            let gone = Endpoint { initial: state, ..endpoint.as_ref().clone() };
            vec![Step::put(Resource::Endpoint(Arc::new(gone)))]
        }
    };
    Change { steps, wishes: vec![(name, wish)] }
}
