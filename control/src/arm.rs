//! Azure's management API for Private Link, as its own clients speak it: over TLS, with bearer
//! tokens of a local issuer.
//!
//! [`Desk`] answers one request after the other and knows no socket; `serve` brings them to it.
//! Whatever a request holds, it is answered, and a change is made whole or not at all.

mod actions;
mod call;
mod desk;
mod directory;
mod lists;
mod operations;
mod parts;
mod policy;
mod route;
pub mod serve;
mod tls;
mod token;

pub use call::{Call, Reply};
pub use desk::{Backend, Desk, Planner, Sources};
pub use policy::{Policy, Role};
pub use tls::Authority;
pub use token::Issuer;

/// What programs need to reach the API.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Access {
    /// Its URL.
    pub endpoint: String,
    /// A token of it.
    pub token: String,
    /// Path of the certificate that its own is signed by.
    pub ca: String,
    /// The subscription in which the file's resources are.
    pub subscription: String,
    /// The resource group in which they are.
    pub resource_group: String,
    /// The tenant.
    pub tenant: String,
}

#[cfg(test)]
mod tests;
