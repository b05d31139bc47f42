//! What is published to workers as one: a snapshot, and the tables beside it that outlive it (I7).
//!
//! The snapshot says what should be; the port pools and the next hops say what is, and are shared
//! by all workers and by successive generations, which also agree on where traffic is counted. All
//! of it changes together or not at all.

use alloc::sync::Arc;

use crate::account::Accounts;
use crate::hash::Keys;
use crate::nat::{Pools, Usages};
use crate::neighbor::Neighbors;
use crate::snapshot::{Patch, PlanError, Snapshot};
use crate::types::GenerationNumber;

/// One published configuration.
pub struct Generation {
    /// Its serial number, from 1.
    pub number: GenerationNumber,
    /// What should be.
    pub snapshot: Snapshot,
    /// Which ports are leased.
    pub pools: Pools,
    /// How many flows each connection has.
    pub usages: Usages,
    /// Where each connection's traffic is counted.
    pub accounts: Arc<Accounts>,
    /// Which station answers for each next hop.
    pub neighbors: Neighbors,
}

impl Generation {
    /// The first generation. `seed` makes the ports that will be leased unpredictable (RFC 6056).
    #[must_use]
    pub fn first(snapshot: Snapshot, seed: u64) -> Generation {
        Generation {
            number: GenerationNumber(1),
            pools: Pools::first(&snapshot, seed),
            usages: Usages::first(&snapshot),
            accounts: Arc::new(Accounts::first(&snapshot)),
            neighbors: Neighbors::first(&snapshot),
            snapshot,
        }
    }

    /// The generation after this one, with one endpoint as `patch` has it: what
    /// [`Generation::next`] would be, for the price of copying what lists endpoints.
    ///
    /// # Errors
    /// The new endpoint contradicts what is there.
    pub fn with(&self, patch: &Patch) -> Result<Generation, PlanError> {
        let snapshot = self.snapshot.with(patch)?;
        Ok(Generation {
            number: self.following(),
            pools: self.pools.clone(),
            usages: self.usages.with(patch),
            accounts: Arc::new(self.accounts.with(&snapshot, patch, &self.usages)),
            neighbors: self.neighbors.clone(),
            snapshot,
        })
    }

    /// Never 0, which records of no flow and of ended flows have.
    fn following(&self) -> GenerationNumber {
        GenerationNumber(self.number.0.wrapping_add(1).max(1))
    }

    /// The generation after this one: leases and resolved next hops carry over.
    #[must_use]
    pub fn next(&self, snapshot: Snapshot, seed: u64) -> Generation {
        let number = self.following();
        // A pool that comes back must not start where it started before: a late answer to a flow of
        // its former life would meet the first flow of the new one, perhaps another tenant's.
        let fresh_seed = Keys::new(seed).hash(u64::from(number.0), 0);
        Generation {
            number,
            pools: self.pools.next(&snapshot, fresh_seed),
            usages: self.usages.next(&self.snapshot, &snapshot),
            accounts: Arc::new(self.accounts.next(&self.snapshot, &snapshot, &self.usages)),
            neighbors: self.neighbors.next(&self.snapshot, &snapshot),
            snapshot,
        }
    }
}
