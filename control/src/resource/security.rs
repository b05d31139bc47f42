//! Rules of network security groups and application security groups.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use dataplane::types::{Family, Prefix};

use super::balancer::{replace, unique};
use super::body::{self, Object};
use super::estate::Estate;
use super::limits;
use super::model::{AppGroup, Direction, Head, Parties, Resource, SecurityGroup, SecurityRule};
use super::{Fault, Id, Key, Kind, Step};
use crate::config::{AddressFilter, COMBINATIONS_MAX, PRIORITIES, port_range};

/// Characters of a rule's description at most.
const DESCRIPTION_MAX: usize = 140;

/// Protocols of a rule by name.
const PROTOCOLS: &[(&str, &str)] =
    &[("Tcp", "Tcp"), ("Udp", "Udp"), ("Icmp", "Icmp"), ("Esp", "Esp"), ("Ah", "Ah"), ("*", "*")];

/// Service tags of Azure's services besides those that mean something here. They stand for public
/// addresses, which nobody has who reaches an endpoint. A region may follow: `Storage.WestEurope`.
const SERVICE_TAGS: &[&str] = &[
    "ActionGroup",
    "ApiManagement",
    "AppConfiguration",
    "AppService",
    "AppServiceManagement",
    "AzureActiveDirectory",
    "AzureActiveDirectoryDomainServices",
    "AzureBackup",
    "AzureBotService",
    "AzureCloud",
    "AzureConnectors",
    "AzureContainerRegistry",
    "AzureCosmosDB",
    "AzureDatabricks",
    "AzureDevOps",
    "AzureEventGrid",
    "AzureFrontDoor",
    "AzureIoTHub",
    "AzureKeyVault",
    "AzureMachineLearning",
    "AzureMonitor",
    "AzurePlatformDNS",
    "AzurePlatformIMDS",
    "AzurePlatformLKM",
    "AzureResourceManager",
    "AzureSignalR",
    "AzureSiteRecovery",
    "AzureStack",
    "AzureTrafficManager",
    "CognitiveServicesManagement",
    "DataFactory",
    "EventHub",
    "GatewayManager",
    "HDInsight",
    "KustoAnalytics",
    "LogicApps",
    "MicrosoftContainerRegistry",
    "PowerBI",
    "ServiceBus",
    "ServiceFabric",
    "Sql",
    "SqlManagement",
    "Storage",
    "StorageSyncService",
];

/// Creates a network security group, or replaces one.
///
/// # Errors
/// The request breaks a rule.
pub fn put(estate: &Estate, head: Head, body: &Object<'_>) -> Result<Vec<Step>, Fault> {
    let rules = body.object("properties")?.objects("securityRules")?;
    let rules = rules.iter().map(|body| rule(estate, body.name()?, body));
    let rules = rules.collect::<Result<_, _>>()?;
    finish(SecurityGroup { head, rules })
}

/// Creates a rule of a group, or replaces one.
///
/// # Errors
/// The request breaks a rule.
pub fn put_rule(
    estate: &Estate,
    mut group: SecurityGroup,
    name: &str,
    body: &Object<'_>,
) -> Result<Vec<Step>, Fault> {
    let rule = rule(estate, body::name("name", name)?, body)?;
    replace(&mut group.rules, rule, |rule| &mut rule.name);
    finish(group)
}

/// Deletes a rule of a group.
///
/// # Errors
/// None, at present.
pub fn delete_rule(mut group: SecurityGroup, name: &str) -> Result<Vec<Step>, Fault> {
    group.rules.retain(|rule| !rule.name.eq_ignore_ascii_case(name));
    finish(group)
}

/// Deletes a network security group.
///
/// # Errors
/// A subnet names it.
pub fn delete(estate: &Estate, key: &Key) -> Result<Vec<Step>, Fault> {
    if let Some((network, subnet)) = users(estate, key).next() {
        let message = format!(
            "network security group {} cannot be deleted because it is in use by the subnet \
            {subnet} of {}; take it away from that first",
            key.name, network.name
        );
        return Err(Fault::new(400, "InUseNetworkSecurityGroupCannotBeDeleted", message));
    }
    Ok(vec![Step::delete(Id::new(Kind::SecurityGroup, key))])
}

/// The subnets that name a group: their networks, and their names.
pub fn users<'e>(estate: &'e Estate, group: &Key) -> impl Iterator<Item = (&'e Head, &'e str)> {
    let subnets = estate
        .networks()
        .flat_map(|network| network.subnets.iter().map(|subnet| (&network.head, subnet)));
    let named = subnets.filter(move |(_, subnet)| subnet.security_group.as_ref() == Some(group));
    named.map(|(head, subnet)| (head, subnet.name.as_str()))
}

/// Creates an application security group, or replaces one.
#[must_use]
pub fn put_app_group(head: Head) -> Vec<Step> {
    vec![Step::put(Resource::AppGroup(Arc::new(AppGroup { head })))]
}

/// Deletes an application security group.
///
/// # Errors
/// An endpoint is in it, or a rule names it.
pub fn delete_app_group(estate: &Estate, key: &Key) -> Result<Vec<Step>, Fault> {
    let mut members = estate.endpoints().filter(|endpoint| endpoint.app_groups.contains(key));
    let member = members.next().map(|member| format!("the private endpoint {}", member.head.name));
    let names = |parties: &Parties| matches!(parties, Parties::Groups(keys) if keys.contains(key));
    let rule = || {
        let groups = estate.security_groups();
        let mut rules = groups.flat_map(|group| &group.rules);
        let rule = rules.find(|rule| names(&rule.sources) || names(&rule.destinations))?;
        Some(format!("the security rule {}", rule.name))
    };
    if let Some(user) = member.or_else(rule) {
        let message = format!(
            "application security group {} cannot be deleted because it is referenced by {user}; \
            change that first",
            key.name
        );
        return Err(Fault::new(400, "InUseApplicationSecurityGroupCannotBeDeleted", message));
    }
    Ok(vec![Step::delete(Id::new(Kind::AppGroup, key))])
}

/// Judges a group as a whole.
fn finish(group: SecurityGroup) -> Result<Vec<Step>, Fault> {
    let field = "properties.securityRules";
    limits::RULES_PER_SECURITY_GROUP.check(field, group.rules.len())?;
    unique(field, group.rules.iter().map(|rule| rule.name.as_str()))?;
    let mut seen = HashSet::new();
    for rule in &group.rules {
        if !seen.insert((rule.direction, rule.priority)) {
            let text = format!(
                "security rule {} conflicts with another: rules cannot have the same priority {} \
                and direction",
                rule.name, rule.priority
            );
            return Err(Fault::rule(
                "SecurityRuleConflict",
                field,
                text,
                "choose another priority",
            ));
        }
    }
    Ok(vec![Step::put(Resource::SecurityGroup(Arc::new(group)))])
}

fn rule(estate: &Estate, name: String, body: &Object<'_>) -> Result<SecurityRule, Fault> {
    let properties = body.object("properties")?;
    let missing = |name: &str, cure: &str| {
        Fault::value(&properties.path(name), format!("the {name} is missing"), cure)
    };
    let description = properties.text("description")?.filter(|text| !text.is_empty());
    let length = description.map_or(0, |text| text.chars().count());
    if length > DESCRIPTION_MAX {
        let rule = format!("the description has {length} characters");
        let cure = format!("{DESCRIPTION_MAX} is the most");
        return Err(Fault::value(&properties.path("description"), rule, cure));
    }
    let range = u64::from(PRIORITIES.0)..=u64::from(PRIORITIES.1);
    let priority = properties.number("priority", range)?;
    let direction = properties.word("direction", Direction::WORDS)?;
    let allows = properties.word("access", &[("Allow", true), ("Deny", false)])?;
    let protocol = properties.word("protocol", PROTOCOLS)?;
    let rule = SecurityRule {
        name,
        description: description.map(str::to_owned),
        priority: priority.ok_or_else(|| missing("priority", "write 100 to 4096"))?,
        direction: direction.ok_or_else(|| missing("direction", "write Inbound or Outbound"))?,
        allows: allows.ok_or_else(|| missing("access", "write Allow or Deny"))?,
        protocol: protocol.ok_or_else(|| missing("protocol", "write Tcp, Udp or *"))?.to_owned(),
        sources: parties(estate, &properties, "source")?,
        destinations: parties(estate, &properties, "destination")?,
        source_ports: ports(&properties, "source")?,
        ports: ports(&properties, "destination")?,
    };
    let combinations = count(&rule.sources) * count(&rule.destinations) * rule.ports.len();
    if combinations > COMBINATIONS_MAX {
        let text = format!("the lists of the rule multiply to {combinations}");
        let cure = format!("as in Azure, {COMBINATIONS_MAX} is the most: split the rule");
        return Err(Fault::value(&properties.path("destinationPortRanges"), text, cure));
    }
    Ok(rule)
}

fn count(parties: &Parties) -> usize {
    match parties {
        Parties::Addresses(list) => list.len(),
        Parties::Groups(list) => list.len(),
    }
}

/// One side of a rule, which is in one of three properties.
fn parties(estate: &Estate, properties: &Object<'_>, side: &str) -> Result<Parties, Fault> {
    let groups = format!("{side}ApplicationSecurityGroups");
    let (one, many) = (format!("{side}AddressPrefix"), format!("{side}AddressPrefixes"));
    let texts = one_or_many(properties, &one, &many)?;
    let list = properties.objects(&groups)?;
    let field = properties.path(&one);
    if !list.is_empty() && !texts.is_empty() {
        let rule = format!("there is a prefix, and {groups} too");
        return Err(Fault::value(&field, rule, "keep one of the two"));
    }
    if !list.is_empty() {
        return app_groups(estate, &list).map(Parties::Groups);
    }
    if texts.is_empty() {
        let cure = "write \"*\", a prefix, an address or a service tag";
        let code = "SecurityRuleParameterContainsUnsupportedValue";
        return Err(Fault::rule(code, &field, "it is missing", cure));
    }
    for (field, text) in &texts {
        if filter(text).is_none() {
            let rule = format!("{text:?} is no address prefix and no service tag");
            let cure = "write \"10.0.0.0/24\", \"10.0.0.5\", \"VirtualNetwork\" or \"*\"";
            return Err(Fault::rule("SecurityRuleInvalidAddressPrefix", field, rule, cure));
        }
    }
    Ok(Parties::Addresses(texts.into_iter().map(|(_, text)| text.to_owned()).collect()))
}

/// References to application security groups that there are.
///
/// # Errors
/// One is none.
pub(super) fn app_groups(estate: &Estate, list: &[Object<'_>]) -> Result<Vec<Key>, Fault> {
    let keys = list.iter().map(|object| {
        let id = object.reference_here(Kind::AppGroup)?.id;
        match estate.app_group(&id.key) {
            Some(_) => Ok(id.key),
            None => Err(Fault::reference(&object.path("id"), &id.to_string())),
        }
    });
    keys.collect()
}

fn ports(properties: &Object<'_>, side: &str) -> Result<Vec<String>, Fault> {
    let (one, many) = (format!("{side}PortRange"), format!("{side}PortRanges"));
    let texts = one_or_many(properties, &one, &many)?;
    let field = properties.path(&one);
    if texts.is_empty() {
        let code = "SecurityRuleParameterContainsUnsupportedValue";
        return Err(Fault::rule(code, &field, "it is missing", "write \"443\", or \"*\" for all"));
    }
    for (field, text) in &texts {
        if port_range(text).is_none() {
            let rule = format!("{text:?} is no range of ports");
            let cure = "write \"443\", \"8000-8100\" or \"*\"";
            return Err(Fault::rule("SecurityRuleInvalidPortRange", field, rule, cure));
        }
    }
    Ok(texts.into_iter().map(|(_, text)| text.to_owned()).collect())
}

/// What stands in a property, or in the list that may stand in its place; with where it stands.
fn one_or_many<'v>(
    properties: &Object<'v>,
    one: &str,
    many: &str,
) -> Result<Vec<(String, &'v str)>, Fault> {
    let single = properties.text(one)?.filter(|text| !text.is_empty());
    let list = properties.texts(many)?;
    if let (Some(_), false) = (single, list.is_empty()) {
        let rule = format!("there is {many} too");
        return Err(Fault::value(&properties.path(one), rule, "keep one of the two"));
    }
    let single = single.map(|text| (properties.path(one), text));
    let list = list.into_iter().enumerate();
    let list = list.map(|(at, text)| (format!("{}[{at}]", properties.path(many)), text));
    Ok(single.into_iter().chain(list).collect())
}

/// Whose addresses a text means; `None` if it means nothing.
#[must_use]
pub fn filter(text: &str) -> Option<AddressFilter> {
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    let known = AddressFilter::TAGS.iter().find(|(tag, _)| is(tag)).map(|(_, filter)| *filter);
    if let Some(filter) = known.or_else(|| is("any").then_some(AddressFilter::Any)) {
        return Some(filter);
    }
    let (address, length) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
    if let Ok(address) = address.parse::<IpAddr>() {
        let length = match length {
            Some(length) => length.parse().ok()?,
            None => Family::of(address).bits(),
        };
        return Prefix::new(address, length).map(AddressFilter::Prefix);
    }
    let tag = text.split('.').next().unwrap_or_default();
    let named = SERVICE_TAGS.iter().any(|known| known.eq_ignore_ascii_case(tag));
    named.then_some(AddressFilter::Nobody)
}
