//! How many flows an endpoint may have, and how many it shall get whatever others do.

use alloc::boxed::Box;

use super::{Endpoint, Gate};
use crate::types::LinkId;

/// The bounds of one endpoint's flows, over all workers, backends and protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// So many find a port and a record whatever other endpoints have.
    pub reserved: u32,
    /// It never has more.
    pub most: u32,
}

impl Default for Quota {
    fn default() -> Self {
        Quota { reserved: 0, most: u32::MAX }
    }
}

/// What some endpoints shall get. Only approved ones can make use of it, so nothing is kept for
/// others.
#[derive(Clone, Debug, Default)]
pub struct Reserves {
    of: Box<[(LinkId, u32)]>,
    total: u64,
}

impl Reserves {
    /// Those of these endpoints.
    pub(super) fn of<'e>(endpoints: impl Iterator<Item = &'e Endpoint>) -> Reserves {
        let approved = endpoints.filter(|endpoint| endpoint.gate == Gate::Approved);
        let of = approved.map(|endpoint| (endpoint.link, endpoint.quota.reserved));
        let of: Box<[_]> = of.filter(|(_, reserved)| *reserved > 0).collect();
        Reserves { total: of.iter().map(|&(_, reserved)| u64::from(reserved)).sum(), of }
    }

    /// Whether nothing is reserved.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Whether so much room is more than what endpoints have not got yet of their reserves, given
    /// how many flows each has. Nobody is asked while there is room for all reserves in full; else
    /// those that have any are, once each (I8).
    #[must_use]
    pub fn leave(&self, room: usize, flows: impl Fn(LinkId) -> u32) -> bool {
        let room = room as u64;
        let open = |&(link, reserved): &(LinkId, u32)| reserved.saturating_sub(flows(link));
        room > self.total || room > self.of.iter().map(open).map(u64::from).sum()
    }
}
