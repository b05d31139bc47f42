//! Changes of resources, and what outlives the process.

use super::super::audit::Changed;
use super::{Controller, log};
use crate::api::{ErrorCode, Failure};
use crate::config::{Config, ConfigErrors, Name};
use crate::daemon::publisher::Step as Advance;
use crate::resource::change::{Before, Change, follow};
use crate::resource::compose::Clash;
use crate::resource::connection::Wish;
use crate::resource::estate::View;
use crate::resource::{Estate, Fault, Home, Resources, Step};
use crate::state::Registry;
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
            store.commit(&Batch::new(&[], &self.registry, registry)).map_err(|error| {
                ConfigErrors::whole(error.to_string(), "make room for it, and start again")
            })?;
        }
        Ok(self.store)
    }
}

/// What is in force with a snapshot.
pub(super) struct Next {
    pub(super) registry: Registry,
    /// If it is another.
    pub(super) config: Option<Config>,
    /// Resources that changed, and how that is taken back.
    pub(super) steps: Vec<Step>,
    pub(super) undo: Vec<Step>,
}

impl Next {
    /// Without a change of resources.
    pub(super) fn of(registry: Registry, config: Option<Config>) -> Next {
        Next { registry, config, steps: Vec::new(), undo: Vec::new() }
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
            self.keep(&change.steps, &self.registry).map_err(|failure| of(&failure))?;
            let changes = change.steps.iter().map(|step| Changed::resource(step, undo));
            self.changes.extend(changes);
            return Ok(());
        }
        if let ([], [(name, wish)]) = (change.steps.as_slice(), change.wishes.as_slice()) {
            return self.grant(name, wish);
        }
        let before = Before {
            file: &self.file,
            config: &self.config,
            registry: &self.registry,
            uptime: self.uptime(),
        };
        let outcome = follow(&self.estate, before, change, undo)?;
        let next = Next {
            registry: outcome.registry,
            config: Some(outcome.config),
            steps: change.steps.clone(),
            undo: undo.to_vec(),
        };
        let generation = self
            .put_in_force(Advance::To(Box::new(outcome.snapshot)), next)
            .map_err(|failure| of(&failure))?;
        for step in &change.steps {
            let verb = if step.new.is_some() { "put" } else { "deleted" };
            log(format_args!("{} {verb}, generation {generation}", step.id));
        }
        for (name, wish) in &change.wishes {
            log(format_args!("endpoint {name}: {}, generation {generation}", wish.state));
        }
        Ok(())
    }

    /// Makes a decision on one connection, which concerns nothing else.
    fn grant(&mut self, name: &Name, wish: &Wish) -> Result<(), Fault> {
        let Some(link) = self.registry.connection(name).map(|connection| connection.link) else {
            return Err(Fault::not_found(name.as_str()));
        };
        let mut registry = self.registry.clone();
        registry.set_state(name, wish.state, wish.description.clone());
        registry.set_actions(name, wish.actions_required.clone());
        let step = Advance::Gate(link, wish.state.gate());
        let generation =
            self.put_in_force(step, Next::of(registry, None)).map_err(|failure| of(&failure))?;
        log(format_args!("endpoint {name}: {}, generation {generation}", wish.state));
        Ok(())
    }

    /// Writes a change down before it comes into force.
    pub(super) fn keep(&self, steps: &[Step], registry: &Registry) -> Result<(), Failure> {
        let Some(store) = &self.store else { return Ok(()) };
        let batch = Batch::new(steps, &self.registry, registry);
        store.commit(&batch).map_err(|error| {
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
