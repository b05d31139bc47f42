//! Paths of the API, read without case.

use crate::resource::{Fault, Kind};

use super::call::decode;

/// Segments of a path at most; the longest that means something has eleven.
const SEGMENTS_MAX: usize = 16;

/// What a path means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `/metadata/endpoints`: where clients find everything.
    Metadata,
    /// `/{tenant}/oauth2/…`: tokens.
    Directory { tenant: String, rest: Vec<String> },
    /// `/subscriptions`.
    Subscriptions,
    /// `/tenants`.
    Tenants,
    /// `/subscriptions/{s}`.
    Subscription(String),
    /// `/subscriptions/{s}/providers[/Microsoft.Network]`: what there is.
    Providers(String, Option<String>),
    /// `/subscriptions/{s}/resourcegroups`.
    Groups(String),
    /// `/subscriptions/{s}/resourcegroups/{g}`.
    Group(Place),
    /// `/subscriptions/{s}/resourcegroups/{g}/resources`, or of the whole subscription.
    All(Place),
    /// `…/providers/Microsoft.Network/{type}`, of a group or of a subscription.
    List(Place, String),
    /// `…/providers/Microsoft.Network/{type}/{name}`.
    One(Place, Kind, String),
    /// `…/{type}/{name}/{parts}[/{name}]`.
    Part(Place, Kind, String, String, Option<String>),
    /// `…/loadBalancers/{name}/backendAddressPools/{pool}/queryInboundNatRulePortMapping`.
    PortMapping(Place, String, String),
    /// `…/networkInterfaces/{name}`.
    Nic(Place, String),
    /// `…/locations/{location}/{what}[/{name}]`.
    Location(Place, String, String, Option<String>),
    /// Something of `Microsoft.Network` that Azure has and adit has not.
    Unsupported(String),
}

/// A subscription, and a resource group in it unless all are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) subscription: String,
    pub(super) group: Option<String>,
}

/// Types of `Microsoft.Network` that clients ask for around Private Link.
const UNSUPPORTED: &[&str] = &[
    "applicationGateways",
    "natGateways",
    "networkWatchers",
    "privateDnsZones",
    "privateLinkServiceProxies",
    "publicIPAddresses",
    "publicIPPrefixes",
    "routeTables",
    "serviceEndpointPolicies",
    "virtualNetworkGateways",
];

/// Reads a path.
///
/// # Errors
/// It means nothing.
pub(super) fn route(path: &str) -> Result<Route, Fault> {
    let words: Vec<String> =
        path.split('/').filter(|word| !word.is_empty()).map(decode).take(SEGMENTS_MAX).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let is = |at: usize, word: &str| words.get(at).is_some_and(|w| w.eq_ignore_ascii_case(word));
    let text = |word: &&str| (*word).to_owned();
    match words.as_slice() {
        [_, _] if is(0, "metadata") && is(1, "endpoints") => Ok(Route::Metadata),
        [_] if is(0, "tenants") => Ok(Route::Tenants),
        [_] if is(0, "subscriptions") => Ok(Route::Subscriptions),
        [_, s] if is(0, "subscriptions") => Ok(Route::Subscription(text(s))),
        [_, s, _] if is(0, "subscriptions") && is(2, "providers") => {
            Ok(Route::Providers(text(s), None))
        }
        [_, s, _, provider] if is(0, "subscriptions") && is(2, "providers") => {
            Ok(Route::Providers(text(s), Some(text(provider))))
        }
        [_, s, _] if is(0, "subscriptions") && is(2, "resourceGroups") => {
            Ok(Route::Groups(text(s)))
        }
        [_, s, _] if is(0, "subscriptions") && is(2, "resources") => {
            Ok(Route::All(Place { subscription: text(s), group: None }))
        }
        [_, s, _, _, rest @ ..]
            if is(0, "subscriptions") && is(2, "providers") && is(3, "Microsoft.Network") =>
        {
            within(path, Place { subscription: text(s), group: None }, rest)
        }
        [_, s, _, g, rest @ ..] if is(0, "subscriptions") && is(2, "resourceGroups") => {
            let place = Place { subscription: text(s), group: Some(text(g)) };
            let word = |at: usize, word: &str| {
                rest.get(at).is_some_and(|found: &&str| found.eq_ignore_ascii_case(word))
            };
            match rest {
                [] => Ok(Route::Group(place)),
                [_] if word(0, "resources") => Ok(Route::All(place)),
                [_, _, rest @ ..] if word(0, "providers") && word(1, "Microsoft.Network") => {
                    within(path, place, rest)
                }
                _ => Err(nothing(path)),
            }
        }
        [tenant, rest @ ..]
            if is(1, "oauth2") || is(1, "v2.0") || is(1, "discovery") || is(1, ".well-known") =>
        {
            let rest = rest.iter().map(text).collect();
            Ok(Route::Directory { tenant: text(tenant), rest })
        }
        _ => Err(nothing(path)),
    }
}

/// What stands behind `Microsoft.Network`.
fn within(path: &str, place: Place, words: &[&str]) -> Result<Route, Fault> {
    let text = |word: &&str| (*word).to_owned();
    let is = |word: &str| words.first().is_some_and(|first| first.eq_ignore_ascii_case(word));
    if UNSUPPORTED.iter().any(|known| is(known)) {
        return Ok(Route::Unsupported(words.first().map(text).unwrap_or_default()));
    }
    if is("locations") {
        return match words {
            [_, location, what] => Ok(Route::Location(place, text(location), text(what), None)),
            [_, location, what, name] => {
                Ok(Route::Location(place, text(location), text(what), Some(text(name))))
            }
            _ => Err(nothing(path)),
        };
    }
    if is("networkInterfaces") {
        return match words {
            [kind] => Ok(Route::List(place, text(kind))),
            [_, name] => Ok(Route::Nic(place, text(name))),
            _ => Ok(Route::Unsupported(words.join("/"))),
        };
    }
    let kind = words.first().and_then(|word| Kind::of_type(word));
    let kind = kind.ok_or_else(|| nothing(path))?;
    match words {
        [kind] => Ok(Route::List(place, text(kind))),
        [_, name] => Ok(Route::One(place, kind, text(name))),
        [_, name, part] => Ok(Route::Part(place, kind, text(name), text(part), None)),
        [_, name, part, inner] => {
            Ok(Route::Part(place, kind, text(name), text(part), Some(text(inner))))
        }
        [_, name, pools, pool, action]
            if kind == Kind::Balancer
                && pools.eq_ignore_ascii_case("backendAddressPools")
                && action.eq_ignore_ascii_case("queryInboundNatRulePortMapping") =>
        {
            Ok(Route::PortMapping(place, text(name), text(pool)))
        }
        _ => Ok(Route::Unsupported(words.join("/"))),
    }
}

fn nothing(path: &str) -> Fault {
    let shown: String = path.chars().take(200).collect();
    let message = format!("the path {shown:?} names no resource type that adit has; mend it");
    Fault::new(404, "InvalidResourceType", message)
}
