//! Peerings of virtual networks.

use serde::{Deserialize, Serialize};

use super::super::Key;

/// One side of a peering: a part of the network that says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peering {
    /// Its name, as first written.
    pub name: String,
    /// The other network.
    pub remote: Key,
    /// Id of the other network, as the request wrote it.
    pub remote_id: String,
    /// `allowVirtualNetworkAccess`: whether it carries anything.
    pub carries: bool,
    /// Whether the other side was there and is not any more: this one has to be put again.
    pub is_cut: bool,
}
