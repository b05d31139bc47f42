//! Makes a change of resources and connections as a whole, up to the snapshot that would follow.

use std::time::Duration;

use dataplane::snapshot::Snapshot;

use super::compose::{Clash, compose, patch};
use super::connection::Wish;
use super::model::{Endpoint, Resource};
use super::{Estate, Fault, Kind, Step};
use crate::compile;
use crate::config::{Config, ConfigErrors, Name};
use crate::edit::{Edit, Move};
use crate::state::{ConnectionState, Exhausted, Registry};

/// What a request changes.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Resources.
    pub steps: Vec<Step>,
    /// Connections, by the names of their endpoints.
    pub wishes: Vec<(Name, Wish)>,
}

impl Change {
    /// A change of resources only.
    #[must_use]
    pub fn of(steps: Vec<Step>) -> Change {
        Change { steps, wishes: Vec::new() }
    }

    /// Whether it concerns the data path.
    #[must_use]
    pub fn moves_packets(&self) -> bool {
        let groups_only = self.steps.iter().all(|step| step.id.kind == Kind::Group);
        !(groups_only && self.wishes.is_empty())
    }
}

/// What follows from a change.
pub enum Outcome {
    /// One endpoint differs.
    One(Box<Edit>),
    /// All is anew.
    Whole(Box<Whole>),
}

/// Everything that is in force together.
pub struct Whole {
    /// The configuration of file and API together.
    pub config: Config,
    /// What the data path would work with.
    pub snapshot: Snapshot,
    /// The connections.
    pub registry: Registry,
}

/// What is in force before a change.
#[derive(Clone, Copy)]
pub struct Before<'b> {
    /// The configuration of the file.
    pub file: &'b Config,
    /// That of file and API together.
    pub config: &'b Config,
    /// The connections.
    pub registry: &'b Registry,
    /// What the data path works with.
    pub snapshot: &'b Snapshot,
    /// How long the process has run.
    pub uptime: Duration,
}

/// What follows from `change`, whose steps the estate has made already and `undo` would take back.
///
/// # Errors
/// The whole does not hold together.
pub fn follow(
    estate: &Estate,
    before: Before<'_>,
    change: &Change,
    undo: &[Step],
) -> Result<Outcome, Fault> {
    if let ([], [(name, wish)]) = (change.steps.as_slice(), change.wishes.as_slice()) {
        let edit = Edit::of_decision((before.snapshot, before.registry), name, wish);
        let edit = edit.ok_or_else(|| Fault::not_found(name.as_str()))?;
        return Ok(Outcome::One(Box::new(edit)));
    }
    let moved = patch(estate, before.config, &change.steps, undo);
    match moved.filter(|(name, _)| change.wishes.iter().all(|(of, _)| of == name)) {
        Some(moved) => one(before, change, moved),
        None => whole(estate, before, change),
    }
}

/// Without a look at the others.
fn one(before: Before<'_>, change: &Change, moved: (Name, Move)) -> Result<Outcome, Fault> {
    let new = change.steps.iter().find_map(endpoint);
    let wish = change.wishes.last().map(|(_, wish)| wish);
    let now = (before.config, before.registry);
    let edit = Edit::of_endpoint(now, moved, new.map(initial), wish);
    Ok(Outcome::One(Box::new(edit.map_err(|exhausted| of_exhausted(&exhausted))?)))
}

fn whole(estate: &Estate, before: Before<'_>, change: &Change) -> Result<Outcome, Fault> {
    let config = compose(estate, before.file).map_err(of_clash)?;
    let replaced = before.registry.replace(before.config, &config, before.uptime);
    let mut registry = replaced.next(&config).map_err(|exhausted| of_exhausted(&exhausted))?;
    for endpoint in change.steps.iter().filter_map(endpoint) {
        let name = estate.name(&endpoint.head);
        if before.registry.connection(&name).is_none() {
            let (state, description) = initial(endpoint);
            registry.set_state(&name, state, description.to_owned());
        }
    }
    for (name, wish) in &change.wishes {
        registry.set_state(name, wish.state, wish.description.clone());
        registry.set_actions(name, wish.actions_required.clone());
    }
    let snapshot = compile::snapshot(&config, &registry).map_err(|errors| of_errors(&errors))?;
    Ok(Outcome::Whole(Box::new(Whole { config, snapshot, registry })))
}

fn endpoint(step: &Step) -> Option<&Endpoint> {
    match step.new.as_ref()? {
        Resource::Endpoint(endpoint) => Some(endpoint),
        _ => None,
    }
}

/// How a new connection begins, and why.
fn initial(endpoint: &Endpoint) -> (ConnectionState, &'static str) {
    let description = match endpoint.initial {
        ConnectionState::Approved => "Auto-approved",
        _ => "Awaiting approval",
    };
    (endpoint.initial, description)
}

fn of_exhausted(exhausted: &Exhausted) -> Fault {
    let message = format!("this run of adit has used up its numbers for {}", exhausted.0);
    Fault::new(500, "InternalServerError", message + "; restart adit")
}

fn of_clash(clash: Clash) -> Fault {
    let Clash { problem, cure } = clash;
    Fault::conflict("ResourceConflict", format!("{problem}; {cure}"))
}

fn of_errors(errors: &ConfigErrors) -> Fault {
    Fault::conflict("ResourceConflict", errors.to_string().replace('\n', "; "))
}
