//! All resources of a process: the file's and those made through the API, found by what they are.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::model::{
    AppGroup, Balancer, Endpoint, Group, Head, Network, Origin, Resource, SecurityGroup, Service,
    Subnet, SubnetKey,
};
use super::shelves::Shelves;
use super::{Fault, Id, Key, Kind};
use crate::config::{Config, Name};
use crate::state::{Connection, ConnectionState, Registry};

/// Where the file's resources are shown, and where names need no group before them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The subscription.
    pub subscription: String,
    /// The resource group.
    pub group: String,
    /// The region.
    pub location: String,
}

impl Default for Home {
    fn default() -> Self {
        Home {
            subscription: "00000000-0000-0000-0000-000000000000".to_owned(),
            group: "adit".to_owned(),
            location: "local".to_owned(),
        }
    }
}

/// Resources by what they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    map: BTreeMap<Id, Resource>,
    /// The endpoints among them.
    endpoints: Shelves,
    revision: u64,
}

/// A change of one resource: what it is afterwards, or that it is gone.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The resource.
    pub id: Id,
    /// What it is afterwards.
    pub new: Option<Resource>,
}

impl Step {
    /// The resource is this, from now on.
    #[must_use]
    pub fn put(resource: Resource) -> Step {
        Step { id: resource.id(), new: Some(resource) }
    }

    /// The resource is gone.
    #[must_use]
    pub fn delete(id: Id) -> Step {
        Step { id, new: None }
    }
}

impl Resources {
    /// The resource of an id.
    #[must_use]
    pub fn get(&self, id: &Id) -> Option<&Resource> {
        self.map.get(id)
    }

    /// All of them, by kind and place.
    pub fn iter(&self) -> impl Iterator<Item = &Resource> {
        self.map.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Those of a kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Resource> {
        let key = Key { subscription: String::new(), group: String::new(), name: String::new() };
        self.map
            .range(Id { kind, key }..)
            .map(|(_, resource)| resource)
            .take_while(move |resource| resource.kind() == kind)
    }

    /// Those that follow an id, in the order of [`Resources::iter`].
    pub fn after(&self, id: &Id) -> impl Iterator<Item = &Resource> {
        let behind = (Bound::Excluded(id), Bound::Unbounded);
        self.map.range::<Id, _>(behind).map(|(_, resource)| resource)
    }

    /// The number of the next change.
    #[must_use]
    pub fn next_revision(&self) -> u64 {
        self.revision + 1
    }

    /// Makes a change, and returns the one that takes it back.
    pub fn apply(&mut self, step: Step) -> Step {
        let old = match step.new {
            Some(resource) => {
                self.revision = self.revision.max(resource.head().revision);
                self.map.insert(step.id.clone(), resource)
            }
            None => self.map.remove(&step.id),
        };
        if let Some(Resource::Endpoint(old)) = &old {
            self.endpoints.take(old);
        }
        if let Some(Resource::Endpoint(new)) = self.map.get(&step.id) {
            self.endpoints.put(new);
        }
        Step { id: step.id, new: old }
    }
}

impl FromIterator<Resource> for Resources {
    fn from_iter<I: IntoIterator<Item = Resource>>(list: I) -> Self {
        let mut resources = Resources::default();
        list.into_iter().for_each(|resource| drop(resources.apply(Step::put(resource))));
        resources
    }
}

/// All resources.
#[derive(Clone, Debug, Default)]
pub struct Estate {
    /// Where the file's are shown.
    pub home: Home,
    /// Those of the file.
    pub file: Resources,
    /// Those made through the API.
    pub own: Resources,
}

macro_rules! lookups {
    ($($(#[$doc:meta])* $one:ident $all:ident: $kind:ident $type:ty;)+) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $one(&self, key: &Key) -> Option<&Arc<$type>> {
            match self.get(&Id::new(Kind::$kind, key))? {
                Resource::$kind(found) => Some(found),
                _ => None,
            }
        }

        /// All of that kind.
        pub fn $all(&self) -> impl Iterator<Item = &Arc<$type>> {
            self.of_kind(Kind::$kind).filter_map(|resource| match resource {
                Resource::$kind(found) => Some(found),
                _ => None,
            })
        }
    )+};
}

impl Estate {
    /// An estate with these resources of a file.
    #[must_use]
    pub fn new(home: Home, config: &Config) -> Estate {
        let mut estate = Estate { home, ..Estate::default() };
        estate.follow(config);
        estate
    }

    /// The file says something else now.
    pub fn follow(&mut self, config: &Config) {
        self.file = super::of_file::resources(config, &self.home);
    }

    /// The resource of an id.
    #[must_use]
    pub fn get(&self, id: &Id) -> Option<&Resource> {
        self.own.get(id).or_else(|| self.file.get(id))
    }

    /// Those of a kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Resource> {
        self.own.of_kind(kind).chain(self.file.of_kind(kind))
    }

    lookups! {
        /// The resource group of a key without a name.
        group groups: Group Group;
        /// The virtual network of a key.
        network networks: Network Network;
        /// The load balancer of a key.
        balancer balancers: Balancer Balancer;
        /// The private link service of a key.
        service services: Service Service;
        /// The private endpoint of a key.
        endpoint endpoints: Endpoint Endpoint;
        /// The network security group of a key.
        security_group security_groups: SecurityGroup SecurityGroup;
        /// The application security group of a key.
        app_group app_groups: AppGroup AppGroup;
    }

    /// The private endpoints of a virtual network.
    pub fn endpoints_of_network(
        &self,
        network: &Key,
    ) -> impl Iterator<Item = &Arc<Endpoint>> + use<'_> {
        let [own, file] = [&self.own, &self.file].map(|of| of.endpoints.of_network(network));
        own.chain(file)
    }

    /// The private endpoints that lead to a service.
    pub fn endpoints_of_service(
        &self,
        service: &Key,
    ) -> impl Iterator<Item = &Arc<Endpoint>> + use<'_> {
        let [own, file] = [&self.own, &self.file].map(|of| of.endpoints.of_service(service));
        own.chain(file)
    }

    /// How many private endpoints a subscription has.
    #[must_use]
    pub fn endpoints_of_subscription(&self, subscription: &str) -> usize {
        let both = [&self.own, &self.file].into_iter();
        both.map(|of| of.endpoints.count_of_subscription(subscription)).sum()
    }

    /// Network and subnet of a key.
    #[must_use]
    pub fn subnet(&self, key: &SubnetKey) -> Option<(&Arc<Network>, &Subnet)> {
        let network = self.network(&key.network)?;
        Some((network, network.subnet(&key.subnet)?))
    }

    /// Makes changes, and returns those that take them back.
    pub fn apply(&mut self, steps: Vec<Step>) -> Vec<Step> {
        let mut undo: Vec<Step> = steps.into_iter().map(|step| self.own.apply(step)).collect();
        undo.reverse();
        undo
    }

    /// The name by which the operator's commands know a resource: its own in the file's resource
    /// group, else with the group's before it, and the subscription's before that.
    #[must_use]
    pub fn name(&self, head: &Head) -> Name {
        let is = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
        let Head { subscription, group, name, .. } = head;
        Name::of_resource(match is(subscription, &self.home.subscription) {
            true if is(group, &self.home.group) => name.clone(),
            true => format!("{group}/{name}"),
            false => format!("{subscription}/{group}/{name}"),
        })
    }

    /// All subscriptions in which there is something.
    #[must_use]
    pub fn subscriptions(&self) -> BTreeSet<&str> {
        let groups = self.groups().map(|group| group.head.subscription.as_str());
        groups.chain([self.home.subscription.as_str()]).collect()
    }

    /// Refuses to change what the file says.
    ///
    /// # Errors
    /// It is the file's.
    pub fn refuse_file(&self, id: &Id) -> Result<(), Fault> {
        match self.file.get(id) {
            Some(resource) if resource.head().origin == Origin::File => Err(Fault::conflict(
                "ResourceDefinedByFile",
                format!("{id} is defined by the configuration file; change it there, and reload"),
            )),
            _ => Ok(()),
        }
    }
}

/// The estate, and what is known of connections.
#[derive(Clone, Copy, Debug)]
pub struct View<'s> {
    /// The resources.
    pub estate: &'s Estate,
    /// The connections, by the names of their endpoints.
    pub registry: &'s Registry,
}

impl<'s> View<'s> {
    /// The connection of an endpoint.
    #[must_use]
    pub fn connection(&self, endpoint: &Endpoint) -> Option<&'s Connection> {
        self.registry.connection(&self.estate.name(&endpoint.head))
    }

    /// The state of an endpoint's connection.
    #[must_use]
    pub fn state(&self, endpoint: &Endpoint) -> ConnectionState {
        self.connection(endpoint).map_or(endpoint.initial, |connection| connection.state)
    }

    /// The endpoints whose connections a service has.
    pub fn connected(&self, service: &Key) -> impl Iterator<Item = &'s Arc<Endpoint>> + use<'s> {
        let view = *self;
        let endpoints = self.estate.endpoints_of_service(service);
        endpoints.filter(move |endpoint| view.state(endpoint) != ConnectionState::Disconnected)
    }
}

/// Whose request it is, as far as rules on resources ask.
pub trait Rights {
    /// Whether the caller may see a resource.
    fn may_read(&self, id: &Id) -> bool;
    /// Whether the caller may change a resource: for a service, also decide on its connections.
    fn may_write(&self, id: &Id) -> bool;
    /// The tenant of a subscription.
    fn tenant(&self, subscription: &str) -> String;
    /// Whether what Azure refuses and adit could do is refused.
    fn is_strict(&self) -> bool;
}
