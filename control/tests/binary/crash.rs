//! The daemon is killed in the middle of writes by its API, again and again, with no warning
//! (SIGKILL). What was answered is there afterwards; what was not is whole or absent; link ids are
//! never given out twice.

use std::collections::HashMap;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::client::{Access, Client};
use crate::support::{Daemon, Home};

/// Lives of the daemon at most, and for how long another one begins.
const LIVES: u64 = 12;
const TIME: Duration = Duration::from_secs(25);

/// Clients that write at once, each on resources of its own.
const CLIENTS: u64 = 3;

/// What is known of one resource: as it was answered last, and as it may be instead, because a
/// request about it was not answered.
#[derive(Clone, Debug)]
struct Known {
    answered: Value,
    asked: Option<Value>,
}

impl Known {
    fn allows(&self, seen: &Value) -> bool {
        self.answered == *seen || self.asked.as_ref() == Some(seen)
    }
}

/// Everything that the clients of one life have learned, by path.
type Ledger = Mutex<HashMap<String, Known>>;

/// A client's notes while it writes.
struct Writer<'l> {
    client: Client,
    ledger: &'l Ledger,
    /// Answers to all clients.
    answers: &'l AtomicU64,
    prefix: String,
}

impl Writer<'_> {
    /// Sends a request after which the resource at `place` is as `wanted`, and notes what came.
    fn write(
        &mut self,
        (method, path): (&str, &str),
        body: Option<&Value>,
        (place, wanted): (&str, Value),
    ) -> io::Result<Value> {
        let note = |known: Option<Value>, wanted: Option<Value>| {
            let mut ledger = self.ledger.lock().unwrap();
            let entry = ledger.entry(place.to_owned());
            let entry = entry.or_insert(Known { answered: Value::Null, asked: None });
            entry.answered = known.unwrap_or_else(|| entry.answered.clone());
            entry.asked = wanted;
        };
        note(None, Some(wanted.clone()));
        let (status, answer) = self.client.send(method, path, body)?;
        assert!(status < 300, "{method} {path}: {status} {answer}");
        note(Some(wanted), None);
        self.answers.fetch_add(1, Ordering::Relaxed);
        Ok(answer)
    }

    /// Writes until the daemon is gone.
    fn work(&mut self, number: u64) -> io::Result<()> {
        for round in 0_u64.. {
            let network = format!("virtualNetworks/n{number}");
            let body = self::network(round);
            self.write(("PUT", &network), Some(&body), (&network, json!(round % 200)))?;
            let rule = format!("networkSecurityGroups/g/securityRules/r{number}");
            let body = security_rule(number, round);
            self.write(("PUT", &rule), Some(&body), (&rule, json!(round % 1000)))?;
            let endpoint = format!("privateEndpoints/e{number}-{round}");
            let body = self.endpoint(number);
            let made =
                self.write(("PUT", &endpoint), Some(&body), (&endpoint, json!("Pending")))?;
            let nic = made["properties"]["networkInterfaces"][0]["id"].as_str().unwrap();
            let guid = nic.rsplit('.').next().unwrap();
            let connection = format!(
                "privateLinkServices/web/privateEndpointConnections/e{number}-{round}.{guid}"
            );
            for status in ["Approved", "Rejected"] {
                let body = json!({ "properties": { "privateLinkServiceConnectionState": {
                    "status": status, "description": status,
                }}});
                self.write(("PUT", &connection), Some(&body), (&endpoint, json!(status)))?;
            }
            if round % 3 > 0 {
                self.write(("DELETE", &endpoint), None, (&endpoint, Value::Null))?;
            }
            if round % 4 == 3 {
                self.write(("DELETE", &rule), None, (&rule, Value::Null))?;
            }
        }
        Ok(())
    }

    fn endpoint(&self, number: u64) -> Value {
        let prefix = &self.prefix;
        let subnet = format!("{prefix}virtualNetworks/c{number}/subnets/s");
        json!({ "location": "eastus", "properties": {
            "subnet": { "id": subnet },
            "manualPrivateLinkServiceConnections": [{ "name": "c", "properties": {
                "privateLinkServiceId": format!("{prefix}privateLinkServices/web"),
            }}],
        }})
    }
}

/// A network of which every part says the same number.
fn network(round: u64) -> Value {
    let at = round % 200;
    let subnet = |name: &str, third: u64| {
        let prefix = format!("10.{at}.{third}.0/24");
        json!({ "name": name, "properties": { "addressPrefix": prefix } })
    };
    json!({ "location": "eastus", "tags": { "round": at.to_string() }, "properties": {
        "addressSpace": { "addressPrefixes": [format!("10.{at}.0.0/16")] },
        "subnets": [subnet("one", 0), subnet("two", 1)],
    }})
}

fn security_rule(number: u64, round: u64) -> Value {
    let at = round % 1000;
    json!({ "properties": {
        "priority": 100 + number, "direction": "Inbound", "access": "Deny", "protocol": "Tcp",
        "sourceAddressPrefix": "*", "sourcePortRange": "*", "destinationAddressPrefix": "*",
        "destinationPortRange": (1 + at).to_string(), "description": at.to_string(),
    }})
}

/// What a resource says of itself; it must not disagree with itself.
fn seen(client: &mut Client, path: &str) -> Value {
    let (status, whole) = client.send("GET", path, None).unwrap();
    if status == 404 {
        return Value::Null;
    }
    assert_eq!(status, 200, "{path}: {whole}");
    let properties = &whole["properties"];
    match path {
        _ if path.starts_with("virtualNetworks/") => {
            let at: u64 = whole["tags"]["round"].as_str().unwrap().parse().unwrap();
            let space = &properties["addressSpace"]["addressPrefixes"];
            assert_eq!(*space, json!([format!("10.{at}.0.0/16")]), "{whole}");
            for (third, subnet) in properties["subnets"].as_array().unwrap().iter().enumerate() {
                let prefix = format!("10.{at}.{third}.0/24");
                assert_eq!(subnet["properties"]["addressPrefix"], prefix, "{whole}");
            }
            json!(at)
        }
        _ if path.starts_with("networkSecurityGroups/") => {
            let at: u64 = properties["description"].as_str().unwrap().parse().unwrap();
            assert_eq!(properties["destinationPortRange"], (1 + at).to_string(), "{whole}");
            json!(at)
        }
        _ => {
            let connection = &properties["manualPrivateLinkServiceConnections"][0]["properties"];
            connection["privateLinkServiceConnectionState"]["status"].clone()
        }
    }
}

/// What the clients write into.
fn furnish(client: &mut Client, prefix: &str) {
    let id = |path: &str| json!({ "id": format!("{prefix}{path}") });
    let network = |space: &str, subnet: &str| {
        json!({ "location": "eastus", "properties": {
            "addressSpace": { "addressPrefixes": [space] },
            "subnets": [{ "name": "s", "properties": {
                "addressPrefix": subnet, "privateLinkServiceNetworkPolicies": "Disabled",
            }}],
        }})
    };
    client.made("PUT", "virtualNetworks/v", Some(&network("10.1.0.0/16", "10.1.0.0/24")));
    for number in 0..CLIENTS {
        let path = format!("virtualNetworks/c{number}");
        client.made("PUT", &path, Some(&network("10.0.0.0/16", "10.0.0.0/20")));
    }
    let group = json!({ "location": "eastus", "properties": {} });
    client.made("PUT", "networkSecurityGroups/g", Some(&group));
    let subnet = id("virtualNetworks/v/subnets/s");
    let balancer = json!({ "location": "eastus", "properties": {
        "frontendIPConfigurations": [{ "name": "f", "properties": { "subnet": subnet } }],
        "backendAddressPools": [{ "name": "p" }],
    }});
    client.made("PUT", "loadBalancers/lb", Some(&balancer));
    let service = json!({ "location": "eastus", "properties": {
        "loadBalancerFrontendIpConfigurations": [id("loadBalancers/lb/frontendIPConfigurations/f")],
        "ipConfigurations": [{ "name": "n", "properties": { "subnet": subnet } }],
    }});
    client.made("PUT", "privateLinkServices/web", Some(&service));
}

/// Link ids by endpoint; one that was given to another endpoint before is a failure.
fn judge_links(client: &mut Client, given: &mut HashMap<u64, String>) {
    let list = client.made("GET", "privateLinkServices/web/privateEndpointConnections", None);
    for connection in list["value"].as_array().unwrap() {
        let properties = &connection["properties"];
        let link: u64 = properties["linkIdentifier"].as_str().unwrap().parse().unwrap();
        let name = connection["name"].as_str().unwrap().to_owned();
        let first = given.entry(link).or_insert_with(|| name.clone());
        assert_eq!(*first, name, "link id {link} was given out twice");
    }
}

#[test]
fn what_was_answered_survives_and_what_was_not_is_whole_or_absent() {
    let home = Home::new();
    let config = home.configure("", "");
    let began = Instant::now();
    let (mut given, mut lives) = (HashMap::new(), 0);
    for life in 0..LIVES {
        if began.elapsed() > TIME {
            break;
        }
        let daemon = Daemon::start_with(&home, &config, &["--arm", "127.0.0.1:0"]);
        let access = Access::of(&daemon);
        let mut client = access.connect().unwrap();
        furnish(&mut client, &access.prefix);
        // Endpoints of the life before would be written again under their names.
        let left = client.made("GET", "privateEndpoints", None);
        for endpoint in left["value"].as_array().unwrap() {
            let name = endpoint["name"].as_str().unwrap();
            client.made("DELETE", &format!("privateEndpoints/{name}"), None);
        }
        let ledger = Ledger::default();
        for path in (0..CLIENTS).flat_map(|number| {
            [
                format!("virtualNetworks/n{number}"),
                format!("networkSecurityGroups/g/securityRules/r{number}"),
            ]
        }) {
            let answered = seen(&mut client, &path);
            ledger.lock().unwrap().insert(path, Known { answered, asked: None });
        }
        let answers = AtomicU64::new(0);
        let clients = (0..CLIENTS).map(|_| access.connect().unwrap()).collect::<Vec<_>>();
        thread::scope(|scope| {
            let writers = clients.into_iter().zip(0..).map(|(client, number)| {
                let (ledger, answers, prefix) = (&ledger, &answers, access.prefix.clone());
                let mut writer = Writer { client, ledger, answers, prefix };
                scope.spawn(move || writer.work(number).unwrap_err())
            });
            let writers: Vec<_> = writers.collect();
            // At another moment in each life, whatever the machine's speed.
            while answers.load(Ordering::Relaxed) < 5 + life * 7
                && writers.iter().all(|writer| !writer.is_finished())
            {
                thread::yield_now();
            }
            daemon.signal(Signal::KILL);
            writers.into_iter().for_each(|writer| drop(writer.join().unwrap()));
        });
        let ended = answers.into_inner();
        assert!(ended >= 5, "life {life}: the daemon ended by itself, or answered nothing");
        drop(daemon);
        let daemon = Daemon::start_with(&home, &config, &["--arm", "127.0.0.1:0"]);
        let mut client = Access::of(&daemon).connect().unwrap();
        for (path, known) in ledger.into_inner().unwrap() {
            let seen = seen(&mut client, &path);
            assert!(known.allows(&seen), "life {life}: {path} is {seen}, and not {known:?}");
        }
        judge_links(&mut client, &mut given);
        lives += 1;
    }
    assert!(lives > 1, "the first of its lives took {TIME:?}");
}
