//! Names for the numbers in records of flows, which may be of a configuration that is gone: whoever
//! reads them takes no lock that a change holds.
//!
//! Bounds: names of connections that are gone are kept until there are [`KEPT_MAX`] names. A link
//! id is never another connection's in the same run.

use std::collections::HashMap;
use std::sync::Arc;

use dataplane::types::{LinkId, ScopeId};
use parking_lot::Mutex;

use super::view::network_name;
use crate::config::Name;
use crate::state::{Connection, Registry};

/// Connections whose names are known at most, unless there are more.
const KEPT_MAX: usize = 1 << 16;

/// The ends of a connection.
#[derive(Clone, Debug)]
pub(super) struct Ends {
    pub(super) endpoint: Arc<str>,
    pub(super) service: Arc<str>,
}

/// Everything that is known.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    networks: HashMap<ScopeId, Arc<str>>,
    connections: HashMap<LinkId, Ends>,
}

impl Known {
    /// A virtual network.
    pub(super) fn network(&self, scope: ScopeId) -> Arc<str> {
        self.networks.get(&scope).cloned().unwrap_or_else(|| "".into())
    }

    /// A connection, also one that is gone.
    pub(super) fn connection(&self, link: LinkId) -> Option<&Ends> {
        self.connections.get(&link)
    }

    /// Makes room, if there are too many names; says whether it did.
    fn forget(&mut self) -> bool {
        let is_full = self.connections.len() >= KEPT_MAX;
        if is_full {
            self.connections.clear();
        }
        is_full
    }

    fn note(&mut self, name: &Name, connection: &Connection) {
        let ends = || Ends {
            endpoint: name.as_str().into(),
            service: connection.service().as_str().into(),
        };
        self.connections.entry(connection.link).or_insert_with(ends);
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Directory(Mutex<Arc<Known>>);

impl Directory {
    /// Takes note of what is about to come into force.
    pub(super) fn learn(&self, registry: &Registry) {
        let mut known = self.0.lock();
        let is_known = |(_, link): (_, LinkId)| known.connections.contains_key(&link);
        if known.networks.len() == registry.scope_count() && registry.connections().all(is_known) {
            return;
        }
        // Whoever reads it now keeps what it has.
        let known = Arc::make_mut(&mut known);
        known.forget();
        registry.all().for_each(|(name, connection)| known.note(name, connection));
        let scopes = (0..registry.scope_count()).filter_map(|at| u16::try_from(at).ok());
        for scope in scopes.map(ScopeId) {
            let name = || network_name(registry, scope).into();
            known.networks.entry(scope).or_insert_with(name);
        }
    }

    /// The same of one connection beside those of `registry`.
    pub(super) fn learn_one(&self, registry: &Registry, name: &Name, connection: &Connection) {
        let mut known = self.0.lock();
        if known.connections.contains_key(&connection.link) {
            return;
        }
        let known = Arc::make_mut(&mut known);
        if known.forget() {
            registry.all().for_each(|(name, connection)| known.note(name, connection));
        }
        known.note(name, connection);
    }

    /// What is known now.
    pub(super) fn read(&self) -> Arc<Known> {
        Arc::clone(&self.0.lock())
    }
}
