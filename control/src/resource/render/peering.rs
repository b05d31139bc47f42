//! Peerings as the API shows them.

use serde_json::{Value, json};

use super::super::estate::Estate;
use super::super::model::{Network, Peering};
use super::super::{Kind, peering};
use super::{etag, part};

/// One side of a peering.
pub(super) fn peering(estate: &Estate, network: &Network, of: &Peering) -> Value {
    let remote = estate.network(&of.remote);
    let prefixes = remote.into_iter().flat_map(|remote| &remote.address_space);
    let space = json!({ "addressPrefixes": prefixes.map(ToString::to_string).collect::<Vec<_>>() });
    let state = peering::state(estate, &network.head.key(), of);
    let properties = json!({
        "remoteVirtualNetwork": { "id": of.remote_id },
        "remoteAddressSpace": space,
        "remoteVirtualNetworkAddressSpace": space,
        "peeringState": state,
        "peeringSyncLevel": if state == "Connected" { "FullyInSync" } else { "RemoteNotInSync" },
        "allowVirtualNetworkAccess": of.carries,
        "allowForwardedTraffic": false,
        "allowGatewayTransit": false,
        "useRemoteGateways": false,
    });
    let mut value =
        part(&network.head.id(Kind::Network), "virtualNetworkPeerings", &of.name, properties);
    value["etag"] = etag(&network.head).into();
    value
}
