//! Programs the workers as the daemon does: configuration text to a valid configuration, with the
//! registry of the run to a snapshot, the next generation, and into the cell. The code is
//! `control`'s; only its threads and sockets are left out.

use std::sync::Arc;

use control::compile;
use control::config::{self, Config, Name};
use control::state::{Decision, Registry};
use dataplane::generation::Generation;
use dataplane::publish::Cell;
use dataplane::snapshot::{Patch, Snapshot};

/// What is in force, and how to change it.
pub(super) struct Program {
    config: Config,
    registry: Registry,
    seed: u64,
    pub(super) cell: Arc<Cell>,
    pub(super) current: Arc<Generation>,
    /// Generations that workers may still use: none of them is freed by a worker.
    retired: Vec<Arc<Generation>>,
}

impl Program {
    pub(super) fn new(text: &str, seed: u64) -> Program {
        let config = config::check(text).unwrap_or_else(|errors| panic!("{errors}\n{text}")).config;
        let (snapshot, registry) = compile::compile(&config, &Registry::default()).unwrap();
        let current = Arc::new(Generation::first(snapshot, seed));
        let cell = Arc::new(Cell::new(Arc::clone(&current)));
        Program { config, registry, seed, cell, current, retired: Vec::new() }
    }

    /// Puts a text in force, whole or not at all; says whether it did.
    pub(super) fn reload(&mut self, text: &str) -> Result<(), String> {
        let checked = config::check(text).map_err(|errors| errors.to_string())?;
        let compiled = compile::compile(&checked.config, &self.registry);
        let (snapshot, registry) = compiled.map_err(|errors| errors.to_string())?;
        self.config = checked.config;
        self.registry = registry;
        self.publish(snapshot);
        Ok(())
    }

    /// Puts a text in force of which only endpoints are others: each by itself, patched into what
    /// is in force, as the API's changes are.
    pub(super) fn patch(&mut self, text: &str) -> Result<(), String> {
        let checked = config::check(text).map_err(|errors| errors.to_string())?;
        let compiled = compile::compile(&checked.config, &self.registry);
        let (snapshot, registry) = compiled.map_err(|errors| errors.to_string())?;
        self.config = checked.config;
        self.registry = registry;
        self.publish_patches(&snapshot);
        Ok(())
    }

    fn publish_patches(&mut self, snapshot: &Snapshot) {
        for patch in patches(&self.current.snapshot, snapshot) {
            let next = self.current.with(&patch).expect("the whole is consistent");
            self.install(next);
        }
    }

    /// A provider decides about a connection; the decision is patched into what is in force, as
    /// control does, or what is in force is built anew.
    pub(super) fn decide(&mut self, endpoint: &str, decision: Decision, is_patch: bool) {
        let names: Vec<Name> = self.registry.connections().map(|(name, _)| name.clone()).collect();
        let name = names.into_iter().find(|name| name.as_str() == endpoint);
        let name = name.expect("the endpoint is configured");
        let before = self.registry.connection(&name).expect("it has a connection").state;
        let state = before.decide(decision).expect("nobody disconnects here");
        if state != before {
            self.registry.set_state(&name, state, String::new());
            let snapshot = compile::snapshot(&self.config, &self.registry);
            let snapshot = snapshot.expect("a decision changes no size");
            match is_patch {
                true => self.publish_patches(&snapshot),
                false => self.publish(snapshot),
            }
        }
    }

    fn publish(&mut self, snapshot: Snapshot) {
        self.install(self.current.next(snapshot, self.seed));
    }

    fn install(&mut self, next: Generation) {
        let next = Arc::new(next);
        self.retired.push(self.cell.publish(Arc::clone(&next)));
        self.current = next;
    }

    /// Frees generations that no worker uses any more, and says how many are left.
    pub(super) fn reap(&mut self) -> usize {
        self.retired.retain(|generation| Arc::strong_count(generation) > 1);
        self.retired.len()
    }
}

/// What makes the endpoints of one snapshot those of another, one at a time: first those that go,
/// whose addresses others may have.
fn patches(old: &Snapshot, new: &Snapshot) -> Vec<Patch> {
    let gone = old.endpoints().iter().map(|endpoint| endpoint.link);
    let gone = gone.filter(|&link| new.endpoint_of_link(link).is_none());
    let gone = gone.map(|link| Patch { gone: Some(link), new: None });
    let changed = new.endpoints().iter().filter_map(|endpoint| {
        let before = old.endpoint_of_link(endpoint.link);
        let gone = before.map(|before| before.link);
        (before != Some(endpoint)).then_some(Patch { gone, new: Some(*endpoint) })
    });
    gone.chain(changed).collect()
}
