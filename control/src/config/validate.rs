//! Judges a raw configuration rule by rule and builds the valid one.
//!
//! Every resource is judged even if others are broken: names resolve to positions of the file
//! whether or not what they name is valid, so that one fault is not reported through all that
//! refers to it. Only a file without a single fault becomes a [`Config`].

mod address;
mod balancer;
mod consumer;
mod family;
mod floating;
mod network;
mod peering;
mod probe;
mod provider;
mod quota;
mod recording;
mod security;
mod treatment;
mod value;

use std::collections::HashMap;

use super::error::{ConfigError, ConfigErrors};
use super::name::Name;
use super::raw::{RawConfig, Text};
use super::reader::Place;
use super::valid::{Config, VirtualNetwork};
use super::{Checked, suggest};
pub(crate) use address::unusable;
pub(crate) use family::without_nat_ip;
pub(crate) use floating::wrong_before_frontend;

use address::Claims;

/// See [`super::check`]; `errors` are those that reading the file found.
pub(super) fn validate(raw: &RawConfig, errors: Vec<ConfigError>) -> Result<Checked, ConfigErrors> {
    let mut context = Context { errors, warnings: Vec::new(), claims: Claims::default() };
    let settings = value::settings(&mut context, raw);
    let names = Names::of(&mut context, raw);
    let networks = network::virtual_networks(&mut context, &names, &raw.virtual_networks);
    peering::judge(&mut context, &networks, &raw.virtual_networks);
    let security_groups = security::groups(&mut context, &raw.security_groups);
    let (devices, bindings) = network::devices(&mut context, &names, &raw.devices);
    let load_balancers = balancer::load_balancers(&mut context, &names, &networks, raw);
    let services = provider::services(&mut context, &names, &networks, raw);
    let endpoints = consumer::endpoints(&mut context, &names, &networks, &raw.endpoints);
    network::attachment(&mut context, &names, &networks, raw);
    context.routers(&networks, raw);
    let Context { mut errors, mut warnings, .. } = context;
    warnings.sort_by_key(|warning| warning.line);
    let all = || {
        Some(Config {
            settings: settings?,
            virtual_networks: networks.into_iter().collect::<Option<_>>()?,
            devices: devices.into_iter().collect::<Option<_>>()?,
            bindings,
            load_balancers: load_balancers.into_iter().collect::<Option<_>>()?,
            services: services.into_iter().collect::<Option<_>>()?,
            endpoints: endpoints.into_iter().collect::<Option<_>>()?,
            security_groups: security_groups.into_iter().collect::<Option<_>>()?,
        })
    };
    let config = all();
    if let Some(config) = &config {
        errors.extend(quota::sums(config, raw));
        errors.extend(family::judge(config, raw));
        errors.extend(floating::judge(config, raw));
    }
    match config {
        Some(config) if errors.is_empty() => Ok(Checked { config, warnings }),
        _ => {
            if errors.is_empty() {
                let problem = "a part of the file was refused without a reason";
                errors.push(Place::default().error(problem, "this is a bug of adit: report it"));
            }
            Err(ConfigErrors::new(errors))
        }
    }
}

/// What judging needs and gathers.
struct Context {
    errors: Vec<ConfigError>,
    warnings: Vec<ConfigError>,
    claims: Claims,
}

impl Context {
    fn error(&mut self, place: &Place, problem: impl Into<String>, cure: impl Into<String>) {
        self.errors.push(place.error(problem, cure));
    }

    fn warn(&mut self, place: &Place, problem: impl Into<String>, cure: impl Into<String>) {
        self.warnings.push(place.error(problem, cure));
    }

    /// A resource's own name.
    fn name(&mut self, raw: Option<&Text>) -> Option<Name> {
        let raw = raw?;
        let name = Name::new(&raw.value);
        if name.is_none() {
            self.error(&raw.place, format!("{:?} is not a valid name", raw.value), Name::RULE);
        }
        name
    }

    /// Reports names that are used twice among siblings, and returns the position of each.
    fn positions<'n>(
        &mut self,
        names: impl Iterator<Item = Option<&'n Text>>,
        kind: &'static str,
    ) -> Table<'n> {
        let mut by_name: HashMap<&str, usize> = HashMap::new();
        let mut lines = HashMap::new();
        for (at, name) in names.enumerate() {
            let Some(name) = name else { continue };
            let text = name.value.as_str();
            if let Some(first) = lines.get(text) {
                let problem = format!("{text:?} is already the name of the {kind} on line {first}");
                self.error(&name.place, problem, format!("give every {kind} a name of its own"));
                continue;
            }
            by_name.insert(text, at);
            lines.insert(text, name.place.line);
        }
        Table { kind, by_name }
    }

    /// What a name refers to.
    fn resolve(&mut self, table: &Table<'_>, name: Option<&Text>) -> Option<usize> {
        let name = name?;
        let found = table.by_name.get(name.value.as_str()).copied();
        if found.is_none() {
            let mut names: Vec<&str> = table.by_name.keys().copied().collect();
            names.sort_unstable();
            let problem = format!("there is no {} {:?}", table.kind, name.value);
            self.error(&name.place, problem, suggest::cure(&name.value, names.into_iter()));
        }
        found
    }

    /// Routers must not be adit's own addresses; known only when all of those are.
    fn routers(&mut self, networks: &[Option<VirtualNetwork>], raw: &RawConfig) {
        for (at, network) in networks.iter().enumerate() {
            let Some(network) = network else { continue };
            for (route, raw_route) in network.routes.iter().zip(&raw.virtual_networks[at].routes) {
                let Some(owner) = self.claims.owned_by_adit(at, route.next_hop_ip_address) else {
                    continue;
                };
                let problem = format!("{} is {owner}", route.next_hop_ip_address);
                if let Some(text) = &raw_route.next_hop_ip_address {
                    let cure = "name the address of a router on the segment";
                    self.errors.push(text.place.error(problem, cure));
                }
            }
        }
    }
}

/// Names of one kind of resource.
struct Table<'n> {
    kind: &'static str,
    by_name: HashMap<&'n str, usize>,
}

/// Names of all resources that others refer to.
struct Names<'n> {
    networks: Table<'n>,
    load_balancers: Table<'n>,
    services: Table<'n>,
    security_groups: Table<'n>,
}

impl<'n> Names<'n> {
    fn of(context: &mut Context, raw: &'n RawConfig) -> Names<'n> {
        let networks = raw.virtual_networks.iter().map(|network| network.name.as_ref());
        let load_balancers = raw.load_balancers.iter().map(|balancer| balancer.name.as_ref());
        let services = raw.services.iter().map(|service| service.name.as_ref());
        let security_groups = raw.security_groups.iter().map(|group| group.name.as_ref());
        Names {
            networks: context.positions(networks, "virtual network"),
            load_balancers: context.positions(load_balancers, "load balancer"),
            services: context.positions(services, "private link service"),
            security_groups: context.positions(security_groups, "network security group"),
        }
    }

    /// The virtual network of a load balancer, if both resolve.
    fn network_of_balancer(&self, raw: &RawConfig, balancer: usize) -> Option<usize> {
        let name = raw.load_balancers.get(balancer)?.virtual_network.as_ref()?;
        self.networks.by_name.get(name.value.as_str()).copied()
    }
}
