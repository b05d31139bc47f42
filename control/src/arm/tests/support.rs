//! A desk for tests, and requests to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dataplane::snapshot::{Local, Snapshot};
use dataplane::types::EndpointIndex;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::arm::{Backend, Call, Desk, Issuer, Planner, Policy, Reply, Sources};
use crate::config::Config;
use crate::resource::change::{Before, Outcome, follow};
use crate::resource::compose::compose;
use crate::resource::estate::View;
use crate::resource::{Estate, Fault, Home};
use crate::state::Registry;

pub(super) const SUB: &str = "00000000-0000-0000-0000-000000000001";
pub(super) const VERSION: &str = "api-version=2024-05-01";

/// What the daemon keeps, without workers: each change is compiled, and noted.
pub(super) struct Kept {
    pub(super) estate: Estate,
    pub(super) registry: Registry,
    pub(super) config: Config,
    pub(super) snapshot: Snapshot,
    file: Config,
}

impl Kept {
    /// However a change is made, what comes of it is what the whole would be.
    fn make(&mut self, outcome: Outcome) {
        let whole = compose(&self.estate, &self.file).unwrap();
        match outcome {
            Outcome::Whole(all) => {
                (self.config, self.registry) = (all.config, all.registry);
                self.snapshot = all.snapshot;
            }
            Outcome::One(edit) => {
                let before = self.registry.clone();
                self.snapshot = self.snapshot.with(edit.patch()).unwrap();
                let (name, connection) = edit.connection();
                let (name, connection) = (name.clone(), connection.cloned());
                edit.make(&mut self.config, &mut self.registry);
                assert_eq!(self.registry.connection(&name), connection.as_ref());
                let others = |registry: &Registry| -> Vec<_> {
                    let all = registry.all().map(|(name, one)| (name.clone(), one.clone()));
                    all.filter(|(other, _)| *other != name).collect()
                };
                assert_eq!(others(&self.registry), others(&before));
            }
        }
        assert_eq!(format!("{whole:?}"), format!("{:?}", self.config));
        // A connection that is decided on is not made anew, and there is none too many.
        let anew = self.registry.next(&whole).unwrap();
        assert!(anew.all().eq(self.registry.all()));
        assert_eq!(anew.link_counter(), self.registry.link_counter());
        let built = crate::compile::snapshot(&whole, &self.registry).unwrap();
        same_snapshot(&self.snapshot, &built);
    }
}

/// Two snapshots that say the same about endpoints, whatever their order.
fn same_snapshot(one: &Snapshot, other: &Snapshot) {
    let endpoints = |snapshot: &Snapshot| {
        let mut endpoints: Vec<_> = snapshot.endpoints().to_vec();
        endpoints.sort_unstable_by_key(|endpoint| endpoint.link);
        endpoints
    };
    assert_eq!(endpoints(one), endpoints(other));
    for (at, endpoint) in (0..).map(EndpointIndex).zip(one.endpoints()) {
        for address in endpoint.addresses.iter() {
            assert_eq!(one.local(endpoint.scope, address), Some(Local::Endpoint(at)));
        }
        assert_eq!(one.endpoint_of_link(endpoint.link), Some(endpoint));
        let groups = [one, other].map(|of| format!("{:?}", of.security_group(endpoint)));
        assert_eq!(groups[0], groups[1]);
    }
    let reserves = |of: &Snapshot| (of.reserves().is_empty(), of.reserves().leave(100, |_| 0));
    assert_eq!(reserves(one), reserves(other));
    assert_eq!(one.pool_keys(), other.pool_keys());
    assert_eq!(one.next_hops(), other.next_hops());
}

#[derive(Clone)]
pub(super) struct Rehearsal(pub(super) Arc<Mutex<Kept>>);

impl Backend for Rehearsal {
    fn look(&self, look: &mut dyn FnMut(View<'_>)) {
        let kept = self.0.lock();
        look(View { estate: &kept.estate, registry: &kept.registry });
    }

    fn change(&self, _: &str, plan: Planner<'_>) -> Result<(), Fault> {
        let mut kept = self.0.lock();
        let change = plan(View { estate: &kept.estate, registry: &kept.registry })?;
        let undo = kept.estate.apply(change.steps.clone());
        let before = Before {
            file: &kept.file,
            config: &kept.config,
            registry: &kept.registry,
            snapshot: &kept.snapshot,
            uptime: Duration::ZERO,
        };
        match follow(&kept.estate, before, &change, &undo) {
            Ok(outcome) => {
                kept.make(outcome);
                Ok(())
            }
            Err(fault) => {
                drop(kept.estate.apply(undo));
                Err(fault)
            }
        }
    }
}

pub(super) struct Office {
    pub(super) desk: Desk<Rehearsal>,
    pub(super) kept: Rehearsal,
    pub(super) token: String,
}

impl Office {
    pub(super) fn new() -> Office {
        Office::with("", "", false)
    }

    /// With a configuration file and a file of roles.
    pub(super) fn with(file: &str, roles: &str, is_strict: bool) -> Office {
        let file = crate::config::check(file).unwrap().config;
        let (snapshot, registry) = crate::compile::compile(&file, &Registry::default()).unwrap();
        let estate = Estate::new(Home::default(), &file);
        let kept = Kept { estate, registry, config: file.clone(), snapshot, file };
        let kept = Rehearsal(Arc::new(Mutex::new(kept)));
        let numbers = AtomicU64::new(1);
        let sources = Sources {
            now: Box::new(|| 1000),
            dice: Box::new(move || u128::from(numbers.fetch_add(1, Ordering::Relaxed))),
        };
        let policy = Policy::read(roles).unwrap();
        let url = "https://127.0.0.1:1".to_owned();
        let issuer = Issuer::new(b"secret");
        let desk = Desk::new(kept.clone(), issuer, policy, sources, url, is_strict);
        let (token, _) = desk.token(None).unwrap();
        Office { desk, kept, token }
    }

    pub(super) fn send(&self, method: &str, path: &str, body: &[u8]) -> Reply {
        self.desk.answer(&Call {
            method: method.to_owned(),
            path: path.to_owned(),
            query: VERSION.to_owned(),
            authorization: Some(format!("Bearer {}", self.token)),
            body: body.to_vec(),
            ..Call::default()
        })
    }

    pub(super) fn put(&self, path: &str, body: &Value) -> Reply {
        self.send("PUT", &at(path), body.to_string().as_bytes())
    }

    #[track_caller]
    pub(super) fn made(&self, path: &str, body: &Value) -> Value {
        let reply = self.put(path, body);
        assert!([200, 201].contains(&reply.status), "{path}: {reply:?}");
        self.get(path)
    }

    #[track_caller]
    pub(super) fn get(&self, path: &str) -> Value {
        let reply = self.send("GET", &at(path), b"");
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        reply.body.unwrap()
    }

    #[track_caller]
    pub(super) fn refused(&self, path: &str, body: &Value, code: &str) -> String {
        let before = self.digest();
        let reply = self.put(path, body);
        assert_eq!(code_of(&reply), code, "{path}: {reply:?}");
        assert_eq!(self.digest(), before, "a refused request changed something");
        let body = reply.body.unwrap_or_default();
        body["error"]["message"].as_str().unwrap_or_default().to_owned()
    }

    pub(super) fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", &at(path), b"")
    }

    /// Everything that is kept, as text.
    pub(super) fn digest(&self) -> String {
        let kept = self.kept.0.lock();
        let connections: Vec<_> = kept.registry.all().collect();
        let resources: Vec<_> = kept.estate.own.iter().collect();
        format!("{resources:?} {connections:?}")
    }

    /// The usual provider and consumer.
    pub(super) fn furnish(&self) {
        self.made("virtualNetworks/v", &network("10.1.0.0/16", "10.1.0.0/24", "Disabled"));
        self.made("virtualNetworks/c", &network("10.0.0.0/16", "10.0.0.0/24", "Enabled"));
        self.made("loadBalancers/lb", &balancer());
        self.made("privateLinkServices/web", &service("lb", "front"));
    }
}

pub(super) fn code_of(reply: &Reply) -> &str {
    let body = reply.body.as_ref();
    body.and_then(|body| body["error"]["code"].as_str()).unwrap_or_default()
}

/// The id of something in the group `rg`.
pub(super) fn at(path: &str) -> String {
    format!("/subscriptions/{SUB}/resourceGroups/rg/providers/Microsoft.Network/{path}")
}

pub(super) fn network(space: &str, subnet: &str, service_policies: &str) -> Value {
    json!({ "location": "eastus", "properties": {
        "addressSpace": { "addressPrefixes": [space] },
        "subnets": [{ "name": "s", "properties": {
            "addressPrefix": subnet, "privateLinkServiceNetworkPolicies": service_policies,
        }}],
    }})
}

pub(super) fn balancer() -> Value {
    let part = |part: &str| json!({ "id": at(&format!("loadBalancers/lb/{part}")) });
    let subnet = json!({ "id": at("virtualNetworks/v/subnets/s") });
    let frontend = |name: &str| json!({ "name": name, "properties": { "subnet": subnet } });
    json!({ "location": "eastus", "sku": { "name": "Standard" }, "properties": {
        "frontendIPConfigurations": [frontend("front"), frontend("other")],
        "backendAddressPools": [{ "name": "pool", "properties": {
            "loadBalancerBackendAddresses": [
                { "name": "b", "properties": { "ipAddress": "10.1.0.100" } },
            ],
        }}],
        "loadBalancingRules": [{ "name": "http", "properties": {
            "protocol": "tcp", "frontendPort": 80, "backendPort": 8080,
            "frontendIPConfiguration": part("frontendIPConfigurations/front"),
            "backendAddressPool": part("backendAddressPools/pool"),
        }}],
    }})
}

pub(super) fn service(balancer: &str, frontend: &str) -> Value {
    let frontend = format!("loadBalancers/{balancer}/frontendIPConfigurations/{frontend}");
    let subnet = json!({ "id": at("virtualNetworks/v/subnets/s") });
    json!({ "location": "eastus", "properties": {
        "loadBalancerFrontendIpConfigurations": [{ "id": at(&frontend) }],
        "ipConfigurations": [
            { "name": "n", "properties": { "subnet": subnet } },
        ],
    }})
}

pub(super) fn endpoint(list: &str, target: &str) -> Value {
    json!({ "location": "eastus", "properties": {
        "subnet": { "id": at("virtualNetworks/c/subnets/s") },
        list: [{ "name": "c", "properties": { "privateLinkServiceId": target } }],
    }})
}

pub(super) const AUTOMATIC: &str = "privateLinkServiceConnections";
pub(super) const MANUAL: &str = "manualPrivateLinkServiceConnections";
