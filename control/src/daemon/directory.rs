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
use crate::state::Registry;

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
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Directory(Mutex<Arc<Known>>);

impl Directory {
    /// Takes note of what is about to come into force.
    pub(super) fn learn(&self, registry: &Registry) {
        let known = self.read();
        let is_known = |(_, link): (_, LinkId)| known.connections.contains_key(&link);
        if known.networks.len() == registry.scope_count() && registry.connections().all(is_known) {
            return;
        }
        let mut known = Known::clone(&known);
        if known.connections.len() >= KEPT_MAX {
            known.connections.clear();
        }
        for (name, connection) in registry.all() {
            let ends = || Ends {
                endpoint: name.as_str().into(),
                service: connection.service().as_str().into(),
            };
            known.connections.entry(connection.link).or_insert_with(ends);
        }
        let scopes = (0..registry.scope_count()).filter_map(|at| u16::try_from(at).ok());
        for scope in scopes.map(ScopeId) {
            let name = || network_name(registry, scope).into();
            known.networks.entry(scope).or_insert_with(name);
        }
        *self.0.lock() = Arc::new(known);
    }

    /// What is known now.
    pub(super) fn read(&self) -> Arc<Known> {
        Arc::clone(&self.0.lock())
    }
}
