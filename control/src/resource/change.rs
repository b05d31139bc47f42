//! Makes a change of resources and connections as a whole, up to the snapshot that would follow.

use std::time::Duration;

use dataplane::snapshot::Snapshot;

use super::compose::{Clash, compose, patch};
use super::connection::Wish;
use super::{Estate, Fault, Kind, Step};
use crate::compile;
use crate::config::{Config, ConfigErrors, Name};
use crate::state::{ConnectionState, Registry};

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
pub struct Outcome {
    /// The configuration of file and API together.
    pub config: Config,
    /// What the data path would work with.
    pub snapshot: Snapshot,
    /// The connections.
    pub registry: Registry,
}

/// What is in force before a change.
#[derive(Clone, Copy, Debug)]
pub struct Before<'b> {
    /// The configuration of the file.
    pub file: &'b Config,
    /// That of file and API together.
    pub config: &'b Config,
    /// The connections.
    pub registry: &'b Registry,
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
    let registry = before.registry;
    let (config, next) = match patch(estate, before.config, &change.steps, undo) {
        Some((config, endpoint)) => {
            let next = registry.with_endpoint(&config, &endpoint);
            (config, next)
        }
        None => {
            let config = compose(estate, before.file).map_err(of_clash)?;
            let replaced = registry.replace(before.config, &config, before.uptime);
            let next = replaced.next(&config);
            (config, next)
        }
    };
    let mut next = next.map_err(|exhausted| {
        let message = format!("this run of adit has used up its numbers for {}", exhausted.0);
        Fault::new(500, "InternalServerError", message + "; restart adit")
    })?;
    for step in &change.steps {
        let Some(super::model::Resource::Endpoint(endpoint)) = &step.new else { continue };
        let name = estate.name(&endpoint.head);
        if registry.connection(&name).is_none() {
            let description = match endpoint.initial {
                ConnectionState::Approved => "Auto-approved",
                _ => "Awaiting approval",
            };
            next.set_state(&name, endpoint.initial, description.to_owned());
        }
    }
    for (name, wish) in &change.wishes {
        next.set_state(name, wish.state, wish.description.clone());
        next.set_actions(name, wish.actions_required.clone());
    }
    let snapshot = compile::snapshot(&config, &next).map_err(|errors| of_errors(&errors))?;
    Ok(Outcome { config, snapshot, registry: next })
}

fn of_clash(clash: Clash) -> Fault {
    let Clash { problem, cure } = clash;
    Fault::conflict("ResourceConflict", format!("{problem}; {cure}"))
}

fn of_errors(errors: &ConfigErrors) -> Fault {
    Fault::conflict("ResourceConflict", errors.to_string().replace('\n', "; "))
}
