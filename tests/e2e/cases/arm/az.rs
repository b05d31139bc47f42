//! `az` itself, as an administrator types it: the provider's and the consumer's commands of private
//! links, and after each step packets.
//!
//! A load balancer is put by `az rest`: `az network lb create` sends a template, which adit does
//! not take (docs/arm.md).

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use super::{passes, restart_with, silent};
use crate::case::{Failure, Outcome, wait_until};
use crate::role;
use crate::runner::find;
use crate::world::{BACKENDS, ENDPOINT, World, list, text};

/// The program, if it is installed.
pub(super) const PROGRAM: &str = "az";

const SUBSCRIPTION: &str = "11111111-1111-1111-1111-111111111111";
const TENANT: &str = "22222222-2222-2222-2222-222222222222";
const IDENTITY: &str = "33333333-3333-3333-3333-333333333333";
const SECRET: &str = "a-secret-of-the-test";

pub(super) fn all(world: &mut World) -> Outcome {
    let roles = world.adit.directory().join("roles.toml");
    std::fs::write(&roles, roles_of_one())?;
    let networks = id("virtualNetworks", "");
    restart_with(world, &networks, &["--arm-roles", &roles.to_string_lossy()])?;
    let az = Az::log_in(world)?;
    provide(world, &az)?;
    consume(world, &az)?;
    decide(world, &az)?;
    end(world, &az)?;
    world.wait_for_balance()
}

fn roles_of_one() -> String {
    format!(
        "[[subscription]]\nid = \"{SUBSCRIPTION}\"\ntenant = \"{TENANT}\"\n\
         [[identity]]\nname = \"{IDENTITY}\"\nsecret = \"{SECRET}\"\ntenant = \"{TENANT}\"\n\
         [[role_assignment]]\nidentity = \"{IDENTITY}\"\nrole = \"Contributor\"\n\
         scope = \"/subscriptions/{SUBSCRIPTION}\"\n"
    )
}

/// The command line in adit's namespace, with a home of its own.
struct Az<'w> {
    world: &'w World,
    program: PathBuf,
    home: PathBuf,
    url: String,
    ca: String,
}

impl<'w> Az<'w> {
    /// As docs/arm.md says.
    fn log_in(world: &'w World) -> Result<Az<'w>, Failure> {
        let access = world.adit.ask(&["arm", "env"])?;
        let url = text(&access, "endpoint")?.to_owned();
        let ca = text(&access, "ca")?.to_owned();
        let program = find(PROGRAM).ok_or("az is gone")?;
        let home = world.adit.directory().join("azure");
        let az = Az { world, program, home, url, ca };
        az.run("config set core.instance_discovery=false core.collect_telemetry=false")?;
        az.run(&format!(
            "cloud register -n adit --endpoint-resource-manager {url} --endpoint-management {url} \
             --endpoint-active-directory {url} --endpoint-active-directory-resource-id \
             https://management.core.windows.net/",
            url = az.url
        ))?;
        az.run("cloud set -n adit")?;
        let login =
            format!("login --service-principal -u {IDENTITY} -p {SECRET} --tenant {TENANT}");
        let subscriptions = az.run(&login)?;
        ensure!(subscriptions[0]["id"] == SUBSCRIPTION, "logged in to {subscriptions}");
        Ok(az)
    }

    /// What a command prints; words are separated by spaces.
    fn run(&self, words: &str) -> Result<Value, Failure> {
        let (said, wrong) = self.try_run(words)?;
        ensure!(wrong.is_empty(), "az {words}: {wrong}");
        Ok(said)
    }

    /// A command that is refused, with this in what it says.
    fn refused(&self, words: &str, code: &str) -> Outcome {
        let (_, wrong) = self.try_run(words)?;
        ensure!(wrong.contains(code), "az {words} should be refused as {code}: {wrong:?}");
        Ok(())
    }

    /// What a command prints and, if it failed, what is wrong.
    fn try_run(&self, words: &str) -> Result<(Value, String), Failure> {
        let mut command = role::program_in(&self.world.middle, self.program.clone())?;
        command.args(words.split_whitespace()).args(["--only-show-errors", "-o", "json"]);
        command.env("AZURE_CONFIG_DIR", &self.home).env("REQUESTS_CA_BUNDLE", &self.ca);
        let output = command.stdin(Stdio::null()).output()?;
        let said = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        let wrong = String::from_utf8_lossy(&output.stderr).into_owned();
        let failed = !output.status.success();
        Ok((said, if failed { wrong + " (failed)" } else { String::new() }))
    }
}

fn id(kind: &str, name: &str) -> String {
    format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/net/providers/Microsoft.Network/{kind}/{name}"
    )
}

fn provide(world: &World, az: &Az<'_>) -> Outcome {
    let vnet = "network vnet create -g net -l eastus";
    az.run(&format!(
        "{vnet} -n a --address-prefixes 10.0.0.0/16 --subnet-name endpoints \
         --subnet-prefixes 10.0.0.0/24"
    ))?;
    az.run(&format!(
        "{vnet} -n provider --address-prefixes 10.1.0.0/16 --subnet-name nat \
         --subnet-prefixes 10.1.0.0/29"
    ))?;
    let subnet = "--vnet-name provider -g net";
    let front = "-n front --address-prefixes 10.1.1.0/24";
    az.run(&format!("network vnet subnet create {subnet} {front}"))?;
    let open = "-n nat --disable-private-link-service-network-policies true";
    az.run(&format!("network vnet subnet update {subnet} {open}"))?;
    put_balancer(world, az)?;
    let service = az.run(&format!(
        "network private-link-service create -g net -n web --vnet-name provider --subnet nat \
         --lb-frontend-ip-configs {} -l eastus",
        id("loadBalancers", "lb/frontendIPConfigurations/front")
    ))?;
    let alias = text(&service, "alias")?;
    ensure!(alias.ends_with(".eastus.azure.privatelinkservice"), "the service is {service}");
    wait_until("every backend has answered ARP", || {
        let status = world.adit.ask(&["status"])?;
        let hops = list(&status, "next_hops")?;
        Ok(hops.len() == BACKENDS.len() && hops.iter().all(|hop| hop["mac"].is_string()))
    })
}

fn put_balancer(world: &World, az: &Az<'_>) -> Outcome {
    let (front, pool) = ("lb/frontendIPConfigurations/front", "lb/backendAddressPools/all");
    let subnet = json!({ "id": id("virtualNetworks", "provider/subnets/front") });
    let backends = BACKENDS.iter().enumerate().map(|(at, address)| {
        json!({ "name": format!("b{at}"), "properties": { "ipAddress": address.to_string() } })
    });
    let body = json!({ "location": "eastus", "sku": { "name": "Standard" }, "properties": {
        "frontendIPConfigurations": [{ "name": "front", "properties": { "subnet": subnet } }],
        "backendAddressPools": [
            { "name": "all", "properties": {
                "loadBalancerBackendAddresses": backends.collect::<Vec<_>>() } },
        ],
        "loadBalancingRules": [{ "name": "http", "properties": {
            "protocol": "Tcp", "frontendPort": 80, "backendPort": 8080,
            "frontendIPConfiguration": { "id": id("loadBalancers", front) },
            "backendAddressPool": { "id": id("loadBalancers", pool) },
        }}],
    }});
    let file = world.adit.directory().join("lb.json");
    std::fs::write(&file, body.to_string())?;
    let url = format!("{}{}?api-version=2024-05-01", az.url, id("loadBalancers", "lb"));
    let file = Path::new(&file).display();
    az.run(&format!("rest --method put --url {url} --body @{file}"))?;
    wait_until("the load balancer is made", || {
        Ok(az.run("network lb show -g net -n lb")?["provisioningState"] == "Succeeded")
    })
}

fn consume(world: &World, az: &Az<'_>) -> Outcome {
    let create = format!(
        "network private-endpoint create -g net -n pe-a --vnet-name a --subnet endpoints \
         --private-connection-resource-id {} --connection-name c --manual-request true \
         --request-message please -l eastus \
         --ip-configs [{{name:i,group-id:'',member-name:'',private-ip-address:{ENDPOINT}}}]",
        id("privateLinkServices", "web")
    );
    az.run(&create)?;
    let seen = az.run("network private-endpoint show -g net -n pe-a")?;
    let connection = &seen["manualPrivateLinkServiceConnections"][0];
    let state = &connection["privateLinkServiceConnectionState"]["status"];
    ensure!(*state == "Pending" && connection["requestMessage"] == "please", "{seen}");
    let all = az.run("network private-endpoint list -g net")?;
    ensure!(all.as_array().is_some_and(|all| all.len() == 1), "the endpoints are {all}");
    wait_until("a connection that is pending is refused", || {
        silent(world.a(), "while the connection is pending")?;
        Ok(world.adit.drops("connection_pending")? > 0)
    })
}

fn decide(world: &World, az: &Az<'_>) -> Outcome {
    let of = format!("--id {}", id("privateLinkServices", "web"));
    let all = az.run(&format!("network private-endpoint-connection list {of}"))?;
    let connection = text(&all[0], "id")?;
    // It looks again only after ten seconds, whoever it talks to.
    az.run(&format!("network private-endpoint-connection approve --id {connection}"))?;
    passes(world.a(), "after the approval")?;
    let name = connection.rsplit('/').next().unwrap_or_default();
    az.run(&format!(
        "network private-link-service connection update -g net --service-name web -n {name} \
         --connection-status Rejected"
    ))?;
    silent(world.a(), "after the rejection")?;
    let service = az.run("network private-link-service show -g net -n web")?;
    let state = &service["privateEndpointConnections"][0]["privateLinkServiceConnectionState"];
    ensure!(state["status"] == "Rejected", "the service is {service}");
    Ok(())
}

fn end(world: &World, az: &Az<'_>) -> Outcome {
    let delete = "network private-link-service delete -g net -n web";
    az.refused(delete, "PrivateLinkServiceWithPrivateEndpointConnectionsCannotBeDeleted")?;
    az.run("network private-endpoint delete -g net -n pe-a")?;
    az.run(delete)?;
    let left = az.run("network private-link-service list -g net")?;
    ensure!(left == json!([]), "the services are {left}");
    silent(world.a(), "after everything is gone")
}
