//! Which backend of a rule a hash falls on. Pure: no state, no bytes, no flows.

use crate::snapshot::{Backend, Rule, Snapshot};

/// The backend that `hash` falls on; `None` if the rule's pool is empty.
#[inline]
#[must_use]
pub fn choose<'a>(snapshot: &'a Snapshot, rule: &Rule, hash: u64) -> Option<&'a Backend> {
    let position = rule.table.as_ref()?.position(hash);
    snapshot.backend(*rule.backends.get(position)?)
}
