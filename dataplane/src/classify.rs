//! Which side of adit a packet is for, by the virtual network that it came from and its destination
//! address, and by nothing else (I1).

use core::net::Ipv4Addr;

use crate::drop_reason::DropReason;
use crate::snapshot::{Local, Snapshot};
use crate::types::ScopeId;

/// What adit is under the packet's destination address.
///
/// # Errors
/// Nothing: the packet never leaves.
#[inline]
pub fn classify(
    snapshot: &Snapshot,
    scope: ScopeId,
    destination: Ipv4Addr,
) -> Result<Local, DropReason> {
    snapshot.local(scope, destination).ok_or(DropReason::NoEndpoint)
}

/// Whether a client may have this source address: inside the address space of its virtual network,
/// and not one of adit's own there (RFC 2827).
///
/// # Errors
/// It may not.
pub fn judge_source(
    snapshot: &Snapshot,
    scope: ScopeId,
    source: Ipv4Addr,
) -> Result<(), DropReason> {
    let legitimate =
        snapshot.in_address_space(scope, source) && snapshot.local(scope, source).is_none();
    if legitimate { Ok(()) } else { Err(DropReason::SourceSpoofed) }
}
