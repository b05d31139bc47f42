//! Whatever a request holds, it is answered, and what is refused has changed nothing.

use serde_json::Value;

use super::support::{MANUAL, Office, at, balancer, endpoint, network, service};

/// Requests that are drawn.
const REQUESTS: usize = 3_000;

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
    "virtualNetworks/v/subnets/s",
    "loadBalancers/lb",
    "loadBalancers/lb/frontendIPConfigurations/front",
    "privateLinkServices/web",
    "privateLinkServices/web/privateEndpointConnections",
    "privateEndpoints/pe",
    "privateEndpoints/pe/privateDnsZoneGroups/g",
    "networkInterfaces/x",
    "locations/eastus/checkPrivateLinkServiceVisibility",
    "virtualNetworks/%2e%2e/%00",
    "//",
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

#[test]
fn a_request_is_made_whole_or_not_at_all() {
    let office = Office::new();
    office.furnish();
    office.made("privateEndpoints/pe", &endpoint(MANUAL, &at("privateLinkServices/web")));
    let mut draw = Draw(7);
    let mut refused = 0;
    for _ in 0..REQUESTS {
        let path = *draw.of(PATHS);
        let mut body = match draw.below(4) {
            0 => network("10.1.0.0/16", "10.1.0.0/24", "Disabled"),
            1 => balancer(),
            2 => service("lb", "front"),
            _ => endpoint(MANUAL, &at("privateLinkServices/web")),
        };
        (0..draw.below(3)).for_each(|_| spoil(&mut draw, &mut body));
        let mut bytes = body.to_string().into_bytes();
        if draw.below(10) == 0 {
            let cut = draw.below(bytes.len());
            bytes.truncate(cut);
        }
        let method =
            *draw.of(&["PUT", "PUT", "PUT", "GET", "DELETE", "POST", "HEAD", "PATCH", "x"]);
        let before = office.digest();
        let reply = office.send(method, &at(path), &bytes);
        assert!((200..600).contains(&reply.status), "{reply:?}");
        assert_ne!(reply.status, 500, "{method} {path} {body}: {reply:?}");
        if reply.status >= 400 {
            refused += 1;
            assert_eq!(office.digest(), before, "{method} {path}: {reply:?}");
            let error = &reply.body.unwrap_or_default()["error"];
            let whole = error["code"].is_string() && error["message"].is_string();
            assert!(whole || method == "HEAD", "{method} {path}");
        }
    }
    assert!(refused > REQUESTS / 4, "only {refused} were refused");
    assert!(refused < REQUESTS, "some of them were good");
}
