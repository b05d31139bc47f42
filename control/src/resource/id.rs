//! Resource ids: `/subscriptions/{s}/resourceGroups/{g}/providers/Microsoft.Network/{type}/{name}`.
//!
//! They are compared without case, as Azure does, and shown as they were first written.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Kinds of resources that stand by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A resource group; its name is empty.
    Group,
    /// A virtual network.
    Network,
    /// A load balancer.
    Balancer,
    /// A private link service.
    Service,
    /// A private endpoint.
    Endpoint,
    /// A network security group.
    SecurityGroup,
    /// An application security group.
    AppGroup,
}

impl Kind {
    /// The kinds of `Microsoft.Network`, with their names in ids.
    pub const TYPES: [(Kind, &'static str); 6] = [
        (Kind::Network, "virtualNetworks"),
        (Kind::Balancer, "loadBalancers"),
        (Kind::Service, "privateLinkServices"),
        (Kind::Endpoint, "privateEndpoints"),
        (Kind::SecurityGroup, "networkSecurityGroups"),
        (Kind::AppGroup, "applicationSecurityGroups"),
    ];

    /// Its name in ids.
    #[must_use]
    pub fn type_name(self) -> &'static str {
        let found = Kind::TYPES.iter().find(|(kind, _)| *kind == self);
        found.map_or("resourceGroups", |(_, name)| name)
    }

    /// The kind that a type's name means.
    #[must_use]
    pub fn of_type(name: &str) -> Option<Kind> {
        let found = Kind::TYPES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name));
        found.map(|(kind, _)| *kind)
    }
}

/// Where a resource is, in lower case: subscription, resource group, name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The subscription.
    pub subscription: String,
    /// The resource group.
    pub group: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// The key of what has these names, whatever their case.
    #[must_use]
    pub fn new(subscription: &str, group: &str, name: &str) -> Key {
        Key {
            subscription: subscription.to_ascii_lowercase(),
            group: group.to_ascii_lowercase(),
            name: name.to_ascii_lowercase(),
        }
    }

    /// The key of the resource group that it is in.
    #[must_use]
    pub fn of_group(&self) -> Key {
        Key { name: String::new(), ..self.clone() }
    }
}

/// A resource: its kind and where it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Id {
    /// The kind.
    pub kind: Kind,
    /// Where it is.
    pub key: Key,
}

impl Id {
    /// The id.
    #[must_use]
    pub fn new(kind: Kind, key: &Key) -> Id {
        Id { kind, key: key.clone() }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Key { subscription, group, name } = &self.key;
        write!(f, "/subscriptions/{subscription}/resourceGroups/{group}")?;
        match self.kind {
            Kind::Group => Ok(()),
            kind => write!(f, "/providers/Microsoft.Network/{}/{name}", kind.type_name()),
        }
    }
}

/// A reference to a resource of `Microsoft.Network`, or to a part of one, as somebody wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// What it refers to, or what that is a part of.
    pub id: Id,
    /// Type and name of the part, if it is one.
    pub part: Option<(String, String)>,
}

impl Reference {
    /// The form of an id, as a sentence.
    pub const RULE: &'static str = "a resource id has the form /subscriptions/{id}/resourceGroups/\
        {group}/providers/Microsoft.Network/{type}/{name}";

    /// Reads an id of a kind that adit has.
    #[must_use]
    pub fn parse(text: &str) -> Option<Reference> {
        let mut words = text.strip_prefix('/')?.split('/');
        let mut fixed = |word: &str| words.next().filter(|found| found.eq_ignore_ascii_case(word));
        fixed("subscriptions")?;
        let subscription = words.next()?;
        let mut fixed = |word: &str| words.next().filter(|found| found.eq_ignore_ascii_case(word));
        fixed("resourceGroups")?;
        let group = words.next()?;
        let mut fixed = |word: &str| words.next().filter(|found| found.eq_ignore_ascii_case(word));
        fixed("providers")?;
        fixed("Microsoft.Network")?;
        let kind = Kind::of_type(words.next()?)?;
        let name = words.next()?;
        let part = match (words.next(), words.next(), words.next()) {
            (None, _, _) => None,
            (Some(kind), Some(name), None) => Some((kind.to_owned(), name.to_owned())),
            _ => return None,
        };
        let all =
            [Some(subscription), Some(group), Some(name), part.as_ref().map(|p| p.1.as_str())];
        let is_whole = all.into_iter().flatten().all(|word| !word.is_empty());
        let id = Id { kind, key: Key::new(subscription, group, name) };
        is_whole.then_some(Reference { id, part })
    }

    /// The name of the part, if it is of this type.
    #[must_use]
    pub fn part_of(&self, type_name: &str) -> Option<&str> {
        let (kind, name) = self.part.as_ref()?;
        kind.eq_ignore_ascii_case(type_name).then_some(name)
    }
}
