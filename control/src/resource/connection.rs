//! Connections: one object, which the provider sees at its service, the consumer at its endpoint.

use std::sync::Arc;

use super::body::Object;
use super::estate::View;
use super::model::{Endpoint, Service};
use super::{Fault, limits};
use crate::state::{ConnectionState, Decision};

/// What a request wants of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The state that it asks for.
    pub state: ConnectionState,
    /// Why, in the provider's words.
    pub description: String,
    /// What the consumer should do.
    pub actions_required: String,
}

/// The endpoint whose connection has this name at a service.
///
/// # Errors
/// There is none: a provider cannot make one.
pub fn find<'s>(view: View<'s>, service: &Service, name: &str) -> Result<&'s Arc<Endpoint>, Fault> {
    let mut endpoints = view.estate.endpoints_of_service(&service.head.key());
    let found = endpoints.find(|endpoint| endpoint.connection().eq_ignore_ascii_case(name));
    let is_there =
        |endpoint: &&Arc<Endpoint>| view.state(endpoint) != ConnectionState::Disconnected;
    let found = found.filter(is_there);
    found.ok_or_else(|| Fault::not_found(&format!("privateEndpointConnections/{name}")))
}

/// Reads what a provider decides.
///
/// # Errors
/// The request breaks a rule, or the state does not allow it.
pub fn wish(body: &Object<'_>, now: ConnectionState) -> Result<Wish, Fault> {
    let properties = body.object("properties")?;
    let state = properties.object("privateLinkServiceConnectionState")?;
    let field = state.path("status");
    let words = [
        ("Approved", Some(ConnectionState::Approved)),
        ("Rejected", Some(ConnectionState::Rejected)),
        ("Pending", Some(ConnectionState::Pending)),
        ("Disconnected", Some(ConnectionState::Disconnected)),
        ("Removed", None),
    ];
    let wanted = match state.word("status", &words)? {
        None => {
            return Err(Fault::value(
                &field,
                "the status is missing",
                "write Approved or Rejected",
            ));
        }
        // Clients send all of a connection back, and may mean only its description.
        Some(Some(same)) if same == now => same,
        Some(Some(ConnectionState::Approved)) => decide(now, Decision::Approve)?,
        Some(Some(ConnectionState::Rejected)) => decide(now, Decision::Reject)?,
        Some(_) => {
            let rule = format!("a provider cannot make a connection of state {now} that");
            let cure = "write Approved or Rejected, or delete the connection";
            let code = "PrivateEndpointConnectionStatusInvalid";
            return Err(Fault::rule(code, &field, rule, cure));
        }
    };
    let description = state.text("description")?.unwrap_or_default().to_owned();
    let field = state.path("description");
    limits::REQUEST_MESSAGE.check(&field, description.chars().count())?;
    let actions = state.text("actionsRequired")?.unwrap_or("None").to_owned();
    Ok(Wish { state: wanted, description, actions_required: actions })
}

fn decide(now: ConnectionState, decision: Decision) -> Result<ConnectionState, Fault> {
    now.decide(decision).map_err(|_| {
        let message = "the connection was removed; the consumer deletes its endpoint and asks anew";
        Fault::conflict("PrivateEndpointConnectionIsDisconnected", message)
    })
}
