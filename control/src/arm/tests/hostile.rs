//! Whatever a request holds, it is answered, and what is refused has changed nothing.
//!
//! Requests are drawn: paths, methods, headers and bodies, good ones and such that are spoilt in a
//! few places. The seeds below are always played, and one more that nobody has seen; a failure
//! names its seed, which belongs here from then on.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::parts::{nat_rule, rich, security_rule};
use super::peering::side as peering;
use super::support::{MANUAL, Office, VERSION, at, balancer, endpoint, network, service};
use crate::arm::{Call, Reply};
use crate::resource::model::{Origin, Resource};

/// Requests that are drawn from a seed.
const REQUESTS: usize = 3_000;

/// For how long requests are drawn from a new seed.
const TIME: Duration = Duration::from_secs(4);

/// Pseudorandom numbers from a seed (splitmix64).
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap_or(0)
    }

    fn of<'l, T>(&mut self, list: &'l [T]) -> &'l T {
        &list[self.below(list.len())]
    }
}

const PATHS: &[&str] = &[
    "virtualNetworks/v",
    "virtualNetworks/c",
    "virtualNetworks/c/subnets/s",
    "virtualNetworks/c/virtualNetworkPeerings/p",
    "virtualNetworks/v/virtualNetworkPeerings/p",
    "virtualNetworks",
    "loadBalancers/lb",
    "loadBalancers/lb/frontendIPConfigurations/front",
    "loadBalancers/lb/backendAddressPools/pool",
    "loadBalancers/lb/backendAddressPools/other",
    "loadBalancers/lb/backendAddressPools/pool/queryInboundNatRulePortMapping",
    "loadBalancers/lb/inboundNatRules/ssh",
    "loadBalancers/lb/probes/health",
    "privateLinkServices/web",
    "privateLinkServices/web/privateEndpointConnections",
    CONNECTION,
    "privateEndpoints/pe",
    "privateEndpoints/other",
    "privateEndpoints/pe/privateDnsZoneGroups/g",
    "networkSecurityGroups/g",
    "networkSecurityGroups/g/securityRules/r",
    "networkSecurityGroups/g/defaultSecurityRules",
    "applicationSecurityGroups/a",
    "networkInterfaces/x",
    "locations/eastus/checkPrivateLinkServiceVisibility",
    "publicIPAddresses/x",
    "virtualNetworks/%2e%2e/%00",
    "//",
];

/// Stands for the connection that there is.
const CONNECTION: &str = "privateLinkServices/web/privateEndpointConnections/?";

const METHODS: &[&str] = &[
    "PUT", "PUT", "PUT", "PUT", "GET", "DELETE", "DELETE", "POST", "HEAD", "PATCH", "OPTIONS", "x",
    "",
];

/// What stands in a header, or behind the question mark, in place of what should.
const WORDS: &[&str] = &[
    "",
    "*",
    "W/\"00000000-0000-0000-0000-000000000001\"",
    "Bearer",
    "Bearer ..",
    "Bearer a.b.c",
    "\u{0}\u{ffff}",
    "api-version=2024-05-01",
    "api-version=%32%30%32%34",
    "api-version=9999-99-99-preview",
    "&&=&=",
];

/// Values in place of others.
fn odd(draw: &mut Draw) -> Value {
    let odd = [
        "null",
        "0",
        "-1",
        "1e300",
        "18446744073709551616",
        "true",
        "[]",
        "{}",
        "[[[[]]]]",
        "\"\"",
        "\"10.0.0.300\"",
        "\"10.0.0.1/33\"",
        "\"0.0.0.0/0\"",
        "\"\\u0000\"",
        "\"/subscriptions\"",
        "{\"id\":\"/\"}",
        "{\"id\":7}",
        "\"255.255.255.255\"",
        "65536",
        "\"*\"",
    ];
    let text: &str = draw.of::<&str>(&odd);
    serde_json::from_str(text).unwrap_or(Value::Null)
}

/// Spoils one place of a body, wherever it is.
fn spoil(draw: &mut Draw, value: &mut Value) {
    let deeper = draw.below(5) > 0;
    match value {
        Value::Object(map) if !map.is_empty() && deeper => {
            let at = draw.below(map.len());
            if let Some((_, inner)) = map.iter_mut().nth(at) {
                spoil(draw, inner);
            }
        }
        Value::Array(list) if !list.is_empty() && deeper => {
            let at = draw.below(list.len());
            spoil(draw, &mut list[at]);
        }
        other => *other = odd(draw),
    }
}

/// A body that suits a path, unless another is drawn.
fn body(draw: &mut Draw, path: &str) -> Value {
    let group = || {
        let rule = json!({ "name": "r", "properties": security_rule(100, "Deny") });
        json!({ "location": "eastus", "properties": { "securityRules": [rule] } })
    };
    let guarded = || {
        let mut body = network("10.0.0.0/16", "10.0.0.0/24", "Enabled");
        let subnet = &mut body["properties"]["subnets"][0]["properties"];
        subnet["networkSecurityGroup"] = json!({ "id": at("networkSecurityGroups/g") });
        subnet["privateEndpointNetworkPolicies"] = "Enabled".into();
        body
    };
    let decision = |status: &str| {
        let state = json!({ "status": status });
        json!({ "properties": { "privateLinkServiceConnectionState": state } })
    };
    let member = || {
        let mut body = endpoint(MANUAL, &at("privateLinkServices/web"));
        let groups = json!([{ "id": at("applicationSecurityGroups/a") }]);
        body["properties"]["applicationSecurityGroups"] = groups;
        body
    };
    let pool = || rich()["properties"]["backendAddressPools"][0].clone();
    let all: &[(&str, &dyn Fn() -> Value)] = &[
        ("virtualNetworks/v", &|| network("10.1.0.0/16", "10.1.0.0/24", "Disabled")),
        ("virtualNetworks/c", &guarded),
        ("virtualNetworks/c/subnets", &|| guarded()["properties"]["subnets"][0].clone()),
        ("virtualNetworks/c/virtualNetworkPeerings", &|| peering("v")),
        ("virtualNetworks/v/virtualNetworkPeerings", &|| peering("c")),
        ("loadBalancers/lb", &balancer),
        ("loadBalancers/lb", &rich),
        ("loadBalancers/lb/backendAddressPools", &pool),
        ("loadBalancers/lb/backendAddressPools", &|| json!({ "ipAddress": "10.1.0.100" })),
        ("loadBalancers/lb/inboundNatRules", &|| json!({ "properties": nat_rule(5000, 5005) })),
        ("privateLinkServices/web", &|| service("lb", "front")),
        (CONNECTION, &|| decision("Approved")),
        (CONNECTION, &|| decision("Rejected")),
        ("privateEndpoints", &|| endpoint(MANUAL, &at("privateLinkServices/web"))),
        ("privateEndpoints", &member),
        ("networkSecurityGroups/g", &group),
        (
            "networkSecurityGroups/g/securityRules",
            &|| json!({ "properties": security_rule(200, "Allow") }),
        ),
        ("applicationSecurityGroups", &|| json!({ "location": "eastus", "tags": { "a": "b" } })),
    ];
    let suits: Vec<_> = all.iter().filter(|(start, _)| path.starts_with(start)).collect();
    if draw.below(5) == 0 || suits.is_empty() {
        return draw.of(all).1();
    }
    draw.of(&suits).1()
}

/// Text with a sign more, less or another.
fn bend(draw: &mut Draw, text: &str) -> String {
    let mut signs: Vec<char> = text.chars().collect();
    for _ in 0..=draw.below(3) {
        let place = draw.below(signs.len() + 1);
        match draw.below(3) {
            0 if place < signs.len() => drop(signs.remove(place)),
            1 if place < signs.len() => signs[place] = signs[place].to_ascii_uppercase(),
            _ => signs.insert(place, *draw.of(&['/', '%', '.', '?', '\0', 'ä', ' ', 'A'])),
        }
    }
    signs.into_iter().collect()
}

fn draw_call(draw: &mut Draw, office: &Office) -> Call {
    let path = *draw.of(PATHS);
    let mut body = body(draw, path);
    (0..draw.below(3)).for_each(|_| spoil(draw, &mut body));
    let mut bytes = body.to_string().into_bytes();
    if draw.below(20) == 0 {
        let cut = draw.below(bytes.len());
        bytes.truncate(cut);
    }
    let connections = at("privateLinkServices/web/privateEndpointConnections");
    let mut path = match path {
        CONNECTION => {
            let list = office.send("GET", &connections, b"").body.unwrap_or_default();
            let name = list["value"][0]["name"].as_str().unwrap_or("?").to_owned();
            format!("{connections}/{name}")
        }
        path => at(path),
    };
    if draw.below(12) == 0 {
        path = bend(draw, &path);
    }
    let odd = |draw: &mut Draw, good: Option<String>| match draw.below(25) {
        0 => Some((*draw.of(WORDS)).to_owned()),
        _ => good,
    };
    Call {
        method: (*draw.of(METHODS)).to_owned(),
        path,
        query: odd(draw, Some(VERSION.to_owned())).unwrap_or_default(),
        authorization: odd(draw, Some(format!("Bearer {}", office.token))),
        if_match: odd(draw, None),
        if_none_match: odd(draw, None),
        body: bytes,
    }
}

/// What an answer must be: a success, or a refusal that says why.
fn judge(call: &Call, reply: &Reply, seed: u64) {
    let Call { method, path, .. } = call;
    let said = || format!("seed {seed}: {method} {path} {}", String::from_utf8_lossy(&call.body));
    assert!((200..600).contains(&reply.status), "{}: {reply:?}", said());
    assert_ne!(reply.status, 500, "{}: {reply:?}", said());
    if reply.status >= 400 && !(method == "HEAD" && reply.body.is_none()) {
        let error = reply.body.as_ref().map(|body| &body["error"]);
        let is_whole = |error: &Value| {
            // The token endpoint has a form of its own (RFC 6749 5.2).
            error.is_string() || (error["code"].is_string() && error["message"].is_string())
        };
        assert!(error.is_some_and(is_whole), "{}: {reply:?}", said());
    }
}

/// Draws requests from a seed for as long as it is wanted; how many of how many were refused.
fn play(seed: u64, mut goes_on: impl FnMut(usize) -> bool) -> (usize, usize) {
    let office = Office::new();
    office.furnish();
    let mut draw = Draw(seed);
    let (mut refused, mut all) = (0, 0);
    while goes_on(all) {
        all += 1;
        if draw.below(100) == 0 {
            // What was deleted comes back, as far as it fits what is there.
            office.put("virtualNetworks/v", &network("10.1.0.0/16", "10.1.0.0/24", "Disabled"));
            office.put("virtualNetworks/c", &network("10.0.0.0/16", "10.0.0.0/24", "Enabled"));
            office.put("loadBalancers/lb", &rich());
            office.put("privateLinkServices/web", &service("lb", "front"));
            office.put("privateEndpoints/pe", &endpoint(MANUAL, &at("privateLinkServices/web")));
        }
        let call = draw_call(&mut draw, &office);
        let before = office.digest();
        let reply = office.desk.answer(&call);
        judge(&call, &reply, seed);
        let writes = ["PUT", "DELETE", "PATCH"].contains(&call.method.as_str());
        if reply.status >= 400 || !writes {
            refused += usize::from(reply.status >= 400);
            let Call { method, path, .. } = &call;
            assert_eq!(office.digest(), before, "seed {seed}: {method} {path}: {reply:?}");
        }
    }
    // What came of it can be kept.
    for resource in office.kept.0.lock().estate.own.iter() {
        let kept = serde_json::to_vec(resource).unwrap();
        let mut read: Resource = serde_json::from_slice(&kept).unwrap();
        read.head_mut().origin = Origin::Api;
        assert_eq!(read, *resource, "seed {seed}");
    }
    (refused, all)
}

#[test]
fn a_request_is_made_whole_or_not_at_all() {
    for seed in [7, 11, 2_024] {
        let (refused, all) = play(seed, |played| played < REQUESTS);
        assert!(refused > all / 4, "seed {seed}: only {refused} were refused");
        assert!(refused < all * 9 / 10, "seed {seed}: {refused} of {all} were refused");
    }
}

#[test]
fn requests_that_nobody_has_seen_are_made_whole_or_not_at_all() {
    let seed = getrandom::u64().unwrap();
    println!("seed {seed}");
    let began = Instant::now();
    let (_, all) = play(seed, |_| began.elapsed() < TIME);
    assert!(all > 0, "no request in {TIME:?}");
}
