//! A change of one endpoint, or of its connection, as what differs: worked out from what is in
//! force, without a copy of it, and made when the data path works with it.
//!
//! What comes of it is what the whole would be, to the order of endpoints in the data path.

use std::sync::Arc;

use dataplane::snapshot::{Patch, Snapshot};

use crate::compile;
use crate::config::{Config, Name, PrivateEndpoint};
use crate::resource::connection::Wish;
use crate::state::{Connection, ConnectionState, Exhausted, Registry};

/// What becomes of an endpoint in the configuration. Positions are those of its list.
#[derive(Clone, Debug)]
pub enum Move {
    /// It stays as it is.
    Stay,
    /// It comes, at this place.
    Come(usize, PrivateEndpoint),
    /// It is another, at its place.
    Change(usize, PrivateEndpoint),
    /// It goes from this place.
    Go(usize),
}

impl Move {
    /// The endpoint afterwards, if it is not what it was.
    fn endpoint(&self) -> Option<&PrivateEndpoint> {
        match self {
            Move::Come(_, endpoint) | Move::Change(_, endpoint) => Some(endpoint),
            Move::Stay | Move::Go(_) => None,
        }
    }
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Edit {
    name: Name,
    place: Move,
    connection: Option<Arc<Connection>>,
    /// The next link id afterwards.
    link_counter: u32,
    patch: Patch,
}

impl Edit {
    /// The endpoint `name` moves. A new connection begins in `initial`; what is wished of it is
    /// done at the same time.
    ///
    /// # Errors
    /// The run has used up its numbers for something.
    pub fn of_endpoint(
        (config, registry): (&Config, &Registry),
        (name, place): (Name, Move),
        initial: Option<(ConnectionState, &str)>,
        wish: Option<&Wish>,
    ) -> Result<Edit, Exhausted> {
        let old = registry.connection(&name);
        let gone = old.map(|old| old.link);
        let mut link_counter = registry.link_counter();
        let mut connection = None;
        if let Some(endpoint) = place.endpoint() {
            let made = registry.connect(config, endpoint, &mut link_counter)?;
            let initial = initial.filter(|_| old.is_none());
            let made = match initial {
                Some((state, why)) => Arc::new(made.with(state, why.to_owned())),
                None => made,
            };
            connection = Some(wished(made, wish));
        }
        let new = place.endpoint().zip(connection.as_deref()).map(|(endpoint, connection)| {
            let new = compile::endpoint(config, registry, endpoint, connection);
            new.ok_or(Exhausted("names"))
        });
        let patch = Patch { gone, new: new.transpose()? };
        Ok(Edit { name, place, connection, link_counter, patch })
    }

    /// Somebody has decided on the connection of an endpoint, or said more about it. `None` if
    /// there is no such.
    #[must_use]
    pub fn of_decision(
        (snapshot, registry): (&Snapshot, &Registry),
        name: &Name,
        wish: &Wish,
    ) -> Option<Edit> {
        let old = registry.shared(name)?;
        Some(Edit {
            name: name.clone(),
            place: Move::Stay,
            patch: Patch::gate(snapshot, old.link, wish.state.gate()),
            connection: Some(wished(Arc::clone(old), Some(wish))),
            link_counter: registry.link_counter(),
        })
    }

    /// What differs for the data path.
    #[must_use]
    pub fn patch(&self) -> &Patch {
        &self.patch
    }

    /// Which endpoint's connection is another, and which it is.
    #[must_use]
    pub fn connection(&self) -> (&Name, Option<&Connection>) {
        (&self.name, self.connection.as_deref())
    }

    /// The next link id afterwards, or 0 when all are used.
    #[must_use]
    pub fn link_counter(&self) -> u32 {
        self.link_counter
    }

    /// Makes it.
    pub fn make(self, config: &mut Config, registry: &mut Registry) {
        match self.place {
            Move::Stay => {}
            Move::Come(at, endpoint) => config.endpoints.insert(at, endpoint),
            Move::Change(at, endpoint) => config.endpoints[at] = endpoint,
            Move::Go(at) => drop(config.endpoints.remove(at)),
        }
        registry.put(&self.name, self.connection, self.link_counter);
    }
}

fn wished(connection: Arc<Connection>, wish: Option<&Wish>) -> Arc<Connection> {
    let Some(wish) = wish else { return connection };
    let Wish { state, description, actions_required } = wish.clone();
    let mut connection = connection.with(state, description);
    connection.actions_required = actions_required;
    Arc::new(connection)
}
