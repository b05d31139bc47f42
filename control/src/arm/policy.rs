//! Who may do what: subscriptions with their tenants, identities, and their roles.
//!
//! Without a file there is one identity, the operator, who may do everything, and a subscription is
//! whatever it names. With one, what it does not allow is denied, and the operator's tokens, which
//! only the control socket gives out, stay.

use serde::Deserialize;

use crate::resource::{Id, Kind};

/// The identity that the control socket gives tokens for.
pub(super) const OPERATOR: &str = "operator";

/// The tenant of what no file gives one.
pub(super) const TENANT: &str = "00000000-0000-0000-0000-0000000000ad";

/// What an identity may do within a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Role {
    /// See.
    Reader,
    /// See and change.
    Contributor,
    /// See and change; as in Azure it could also give roles, which here the file does.
    Owner,
}

/// The file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Subscriptions; any, if there is none.
    #[serde(default)]
    subscription: Vec<Subscription>,
    /// Identities besides the operator.
    #[serde(default)]
    identity: Vec<Identity>,
    /// What they may do.
    #[serde(default)]
    role_assignment: Vec<Assignment>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subscription {
    id: String,
    #[serde(default)]
    name: Option<String>,
    tenant: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    /// Also the client id with which it asks for tokens.
    name: String,
    /// With which it proves itself at the token endpoint; without one only the control socket gives
    /// it tokens.
    #[serde(default)]
    secret: Option<String>,
    tenant: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Assignment {
    identity: String,
    role: Role,
    scope: String,
}

impl Policy {
    /// Reads a file's text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Policy, String> {
        let policy: Policy = toml::from_str(text).map_err(|error| error.to_string())?;
        for assignment in &policy.role_assignment {
            let known = policy.identity.iter().any(|identity| identity.name == assignment.identity);
            if !known {
                let name = &assignment.identity;
                return Err(format!("role_assignment: there is no identity {name:?}; add it"));
            }
            if !assignment.scope.starts_with('/') {
                let scope = &assignment.scope;
                return Err(format!("role_assignment: the scope {scope:?} does not begin with /"));
            }
        }
        if policy.identity.iter().any(|identity| identity.name == OPERATOR) {
            return Err("identity: \"operator\" is whoever has the control socket".to_owned());
        }
        Ok(policy)
    }

    /// Whether there is such an identity.
    pub(super) fn knows(&self, identity: &str) -> bool {
        identity == OPERATOR || self.identity(identity).is_some()
    }

    fn identity(&self, name: &str) -> Option<&Identity> {
        self.identity.iter().find(|identity| identity.name == name)
    }

    /// The secret of an identity, if it has one.
    pub(super) fn secret(&self, identity: &str) -> Option<&str> {
        self.identity(identity)?.secret.as_deref()
    }

    /// The tenant of an identity.
    pub(super) fn tenant_of(&self, identity: &str) -> &str {
        self.identity(identity).map_or(TENANT, |identity| identity.tenant.as_str())
    }

    /// The tenant of a subscription; `None` if there is no such subscription.
    pub(super) fn tenant(&self, subscription: &str) -> Option<&str> {
        if self.subscription.is_empty() {
            return Some(TENANT);
        }
        self.subscription(subscription).map(|found| found.tenant.as_str())
    }

    fn subscription(&self, id: &str) -> Option<&Subscription> {
        self.subscription.iter().find(|found| found.id.eq_ignore_ascii_case(id))
    }

    /// The subscriptions of the file.
    pub(super) fn subscriptions(&self) -> impl Iterator<Item = &str> {
        self.subscription.iter().map(|subscription| subscription.id.as_str())
    }

    /// What a subscription is called.
    pub(super) fn display_name<'n>(&'n self, id: &'n str) -> &'n str {
        self.subscription(id).and_then(|found| found.name.as_deref()).unwrap_or(id)
    }

    /// Whether an identity has one of these roles at a resource, or above it.
    pub(super) fn allows(&self, identity: &str, roles: &[Role], path: &str) -> bool {
        identity == OPERATOR
            || self.role_assignment.iter().any(|assignment| {
                assignment.identity == identity
                    && roles.contains(&assignment.role)
                    && covers(&assignment.scope, path)
            })
    }
}

/// Whether a scope is a path or above it.
fn covers(scope: &str, path: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        let words = text.split('/').filter(|word| !word.is_empty());
        words.map(str::to_ascii_lowercase).collect()
    };
    words(path).starts_with(&words(scope))
}

/// The path of a resource, for scopes.
pub(super) fn path_of(id: &Id) -> String {
    match id.kind {
        Kind::Group if id.key.group.is_empty() => format!("/subscriptions/{}", id.key.subscription),
        _ => id.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_cover_whole_names_below_them() {
        assert!(covers("/", "/subscriptions/a"));
        assert!(covers("/Subscriptions/A", "/subscriptions/a/resourceGroups/b"));
        assert!(!covers("/subscriptions/a", "/subscriptions/ab"));
        assert!(!covers("/subscriptions/a/resourceGroups/b", "/subscriptions/a"));
    }

    #[test]
    fn what_no_role_allows_is_denied() {
        let text = "[[subscription]]\nid = \"s\"\ntenant = \"t\"\n\
            [[identity]]\nname = \"ci\"\ntenant = \"t\"\n\
            [[role_assignment]]\nidentity = \"ci\"\nrole = \"Reader\"\n\
            scope = \"/subscriptions/s\"";
        let policy = Policy::read(text).unwrap();
        let writers = [Role::Contributor, Role::Owner];
        assert!(policy.allows("ci", &[Role::Reader], "/subscriptions/s/resourceGroups/g"));
        assert!(!policy.allows("ci", &writers, "/subscriptions/s/resourceGroups/g"));
        assert!(!policy.allows("ci", &[Role::Reader], "/subscriptions/other"));
        assert!(!policy.allows("nobody", &[Role::Reader], "/subscriptions/s"));
        assert!(policy.allows(OPERATOR, &writers, "/subscriptions/other"));
        assert_eq!((policy.tenant("S"), policy.tenant("x")), (Some("t"), None));
        assert!(
            Policy::read("[[role_assignment]]\nidentity = \"x\"\nrole = \"Owner\"\nscope = \"/\"")
                .is_err_and(|error| error.contains("no identity"))
        );
        assert!(Policy::read("[[identty]]").is_err());
    }
}
