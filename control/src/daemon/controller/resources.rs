//! Changes of resources, and what outlives the process.

use super::super::audit::Changed;
use super::{Controller, log};
use crate::api::{ErrorCode, Failure};
use crate::config::{Config, ConfigErrors, Name};
use crate::daemon::publisher::Step as Advance;
use crate::edit::Edit;
use crate::resource::change::{Before, Change, Outcome, Whole, follow};
use crate::resource::compose::Clash;
use crate::resource::estate::View;
use crate::resource::{Estate, Fault, Home, Resources, Step};
use crate::state::{Connection, Registry};
use crate::store::{Batch, Store, StoreError};

/// What an earlier run has left.
#[derive(Default)]
pub(in crate::daemon) struct Memory {
    resources: Resources,
    registry: Registry,
    store: Option<Store>,
}

impl Memory {
    /// What a store holds.
    pub(in crate::daemon) fn of(store: Store) -> Result<Memory, StoreError> {
        let (resources, registry) = store.load()?;
        Ok(Memory { resources, registry, store: Some(store) })
    }

    pub(super) fn estate(&self, file: &Config) -> Estate {
        Estate { own: self.resources.clone(), ..Estate::new(Home::default(), file) }
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The store, with the connections that the file has made since.
    pub(super) fn into_store(self, registry: &Registry) -> Result<Option<Store>, ConfigErrors> {
        if let Some(store) = &self.store {
            let connections = registry.changes(&self.registry);
            let batch = Batch { steps: &[], connections, next_link: registry.link_counter() };
            store.commit(&batch).map_err(|error| {
                ConfigErrors::whole(error.to_string(), "make room for it, and start again")
            })?;
        }
        Ok(self.store)
    }
}

/// What is about to come into force.
pub(super) struct Next {
    pub(super) difference: Difference,
    /// Resources that changed, and how that is taken back.
    pub(super) steps: Vec<Step>,
    pub(super) undo: Vec<Step>,
}

/// How it differs from what is in force.
pub(super) enum Difference {
    /// In one endpoint.
    One(Box<Edit>),
    /// It is all anew; the configuration only if it is another.
    Whole(Box<Registry>, Option<Box<Config>>),
}

impl Next {
    /// Without a change of resources.
    pub(super) fn of(registry: Registry, config: Option<Config>) -> Next {
        let difference = Difference::Whole(Box::new(registry), config.map(Box::new));
        Next { difference, steps: Vec::new(), undo: Vec::new() }
    }

    /// With a change of one endpoint, and of no resource.
    pub(super) fn one(edit: Edit) -> Next {
        Next { difference: Difference::One(Box::new(edit)), steps: Vec::new(), undo: Vec::new() }
    }

    /// Connections that are not as `old` has them; `None` for those that are gone.
    pub(super) fn connections<'n>(
        &'n self,
        old: &'n Registry,
    ) -> Vec<(&'n Name, Option<&'n Connection>)> {
        match &self.difference {
            Difference::One(edit) => vec![edit.connection()],
            Difference::Whole(registry, _) => registry.changes(old),
        }
    }

    /// The link id after all that are given out.
    pub(super) fn link_counter(&self) -> u32 {
        match &self.difference {
            Difference::One(edit) => edit.link_counter(),
            Difference::Whole(registry, _) => registry.link_counter(),
        }
    }
}

/// As the fault of a file.
pub(super) fn of_clash(clash: Clash) -> ConfigErrors {
    ConfigErrors::whole(clash.problem, clash.cure)
}

impl Controller {
    /// How things are.
    pub(in crate::daemon) fn view(&self) -> View<'_> {
        View { estate: &self.estate, registry: &self.registry }
    }

    /// Makes a change of resources and connections, whole or not at all.
    pub(in crate::daemon) fn change(
        &mut self,
        plan: &mut dyn FnMut(View<'_>) -> Result<Change, Fault>,
    ) -> Result<(), Fault> {
        let change = plan(self.view())?;
        if change.steps.is_empty() && change.wishes.is_empty() {
            return Ok(());
        }
        let undo = self.estate.apply(change.steps.clone());
        let done = self.follow(&change, &undo);
        match done {
            Ok(()) => {}
            // What is in force stays, though the client does not learn so.
            Err(ref fault) if fault.code == IN_FORCE => {}
            Err(_) => drop(self.estate.apply(undo)),
        }
        done
    }

    fn follow(&mut self, change: &Change, undo: &[Step]) -> Result<(), Fault> {
        if !change.moves_packets() {
            let (steps, next_link) = (change.steps.as_slice(), self.registry.link_counter());
            let batch = Batch { steps, connections: Vec::new(), next_link };
            self.keep(&batch).map_err(|failure| of(&failure))?;
            let changes = change.steps.iter().map(|step| Changed::resource(step, undo));
            self.changes.extend(changes);
            return Ok(());
        }
        let before = Before {
            file: &self.file,
            config: &self.config,
            registry: &self.registry,
            snapshot: &self.publisher.current().snapshot,
            uptime: self.uptime(),
        };
        let (step, next) = match follow(&self.estate, before, change, undo)? {
            Outcome::One(edit) => (Advance::Patch(*edit.patch()), Next::one(*edit)),
            Outcome::Whole(whole) => {
                let Whole { config, snapshot, registry } = *whole;
                (Advance::To(Box::new(snapshot)), Next::of(registry, Some(config)))
            }
        };
        let next = Next { steps: change.steps.clone(), undo: undo.to_vec(), ..next };
        let generation = self.put_in_force(step, next).map_err(|failure| of(&failure))?;
        for step in &change.steps {
            let verb = if step.new.is_some() { "put" } else { "deleted" };
            log(format_args!("{} {verb}, generation {generation}", step.id));
        }
        for (name, wish) in &change.wishes {
            log(format_args!("endpoint {name}: {}, generation {generation}", wish.state));
        }
        Ok(())
    }

    /// Writes a change down before it comes into force.
    pub(super) fn keep(&self, batch: &Batch<'_>) -> Result<(), Failure> {
        let Some(store) = &self.store else { return Ok(()) };
        store.commit(batch).map_err(|error| {
            log(&error);
            let cure = "nothing was changed; make room where the state is kept, and try again";
            Failure::new(ErrorCode::Internal, error.to_string(), cure)
        })
    }
}

/// The code of a change that is in force, but not adopted by every worker in time.
const IN_FORCE: &str = "AdoptionTimeout";

fn of(failure: &Failure) -> Fault {
    let (status, code) = match failure.code {
        ErrorCode::Timeout => (500, IN_FORCE),
        ErrorCode::Refused => (503, "ServiceUnavailable"),
        _ => (500, "InternalServerError"),
    };
    Fault::new(status, code, format!("{}; {}", failure.message, failure.cure))
}
