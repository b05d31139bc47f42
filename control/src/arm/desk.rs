//! The desk: one request in, one answer out.
//!
//! Who asks is settled first, then what; a change is planned and made under the backend's lock, so
//! that nothing comes between the look and the leap. No request ends the process: what is wrong
//! with one is its answer.

use serde_json::Value;

use super::call::{Call, Reply};
use super::operations::Operations;
use super::policy::{Policy, Role, path_of};
use super::route::{Place, Route, route};
use super::token::Issuer;
use super::{actions, directory, lists, parts};
use crate::resource::change::Change;
use crate::resource::estate::{Rights, View};
use crate::resource::{Fault, Home, Id, Key, Kind, render};

/// Plans a change, given how things are.
pub type Planner<'p> = &'p mut dyn FnMut(View<'_>) -> Result<Change, Fault>;

/// What keeps the resources.
pub trait Backend: Send + Sync {
    /// Shows how things are.
    fn look(&self, look: &mut dyn FnMut(View<'_>));

    /// Makes a change in somebody's name, whole or not at all, and returns when every worker works
    /// with it.
    ///
    /// # Errors
    /// The planner's, or what does not hold together; nothing changed then.
    fn change(&self, identity: &str, plan: Planner<'_>) -> Result<(), Fault>;
}

/// What comes from outside.
pub struct Sources {
    /// Seconds since 1970.
    pub now: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Numbers that nobody can guess.
    pub dice: Box<dyn Fn() -> u128 + Send + Sync>,
}

/// Answers requests.
pub struct Desk<B> {
    pub(super) backend: B,
    pub(super) issuer: Issuer,
    pub(super) policy: Policy,
    pub(super) sources: Sources,
    pub(super) operations: Operations,
    /// The URL at which clients reach it.
    pub(super) url: String,
    pub(super) is_strict: bool,
}

/// Who asks.
pub(super) struct Caller<'d> {
    pub(super) policy: &'d Policy,
    pub(super) identity: String,
    pub(super) is_strict: bool,
}

impl Caller<'_> {
    pub(super) fn may_read_path(&self, path: &str) -> bool {
        let roles = [Role::Reader, Role::Contributor, Role::Owner];
        self.policy.allows(&self.identity, &roles, path)
    }

    /// Refuses what the caller may not do.
    pub(super) fn require(&self, writes: bool, path: &str) -> Result<(), Fault> {
        let writers = [Role::Contributor, Role::Owner];
        let may = match writes {
            true => self.policy.allows(&self.identity, &writers, path),
            false => self.may_read_path(path),
        };
        if may {
            return Ok(());
        }
        let verb = if writes { "write" } else { "read" };
        let message = format!(
            "{} may not {verb} {path}; give it a role there in the file of roles",
            self.identity
        );
        Err(Fault::new(403, "AuthorizationFailed", message))
    }
}

impl Rights for Caller<'_> {
    fn may_read(&self, id: &Id) -> bool {
        self.may_read_path(&path_of(id))
    }

    fn may_write(&self, id: &Id) -> bool {
        self.require(true, &path_of(id)).is_ok()
    }

    fn tenant(&self, subscription: &str) -> String {
        self.policy.tenant(subscription).unwrap_or_default().to_owned()
    }

    fn is_strict(&self) -> bool {
        self.is_strict
    }
}

impl<B: Backend> Desk<B> {
    /// A desk in front of a backend, reached at `url`.
    pub fn new(
        backend: B,
        issuer: Issuer,
        policy: Policy,
        sources: Sources,
        url: String,
        is_strict: bool,
    ) -> Desk<B> {
        let operations = Operations::default();
        Desk { backend, issuer, policy, sources, operations, url, is_strict }
    }

    /// A token for an identity, if there is such.
    pub fn token(&self, identity: Option<&str>) -> Option<(String, String)> {
        let identity = identity.unwrap_or(super::policy::OPERATOR);
        if !self.policy.knows(identity) {
            return None;
        }
        let tenant = self.policy.tenant_of(identity);
        let token = self.issuer.mint(identity, tenant, (self.sources.now)());
        Some((token, tenant.to_owned()))
    }

    /// Where the file's resources are.
    pub fn home(&self) -> Home {
        let mut home = Home::default();
        self.backend.look(&mut |view| home = view.estate.home.clone());
        home
    }

    /// Answers a request.
    pub fn answer(&self, call: &Call) -> Reply {
        let reply = self.try_answer(call).unwrap_or_else(|fault| Reply::fault(&fault));
        let id = render::guid((self.sources.dice)());
        reply.with("x-ms-request-id", id)
    }

    fn try_answer(&self, call: &Call) -> Result<Reply, Fault> {
        let route = route(&call.path)?;
        match &route {
            Route::Metadata => return Ok(directory::metadata(&self.url)),
            Route::Directory { tenant, rest } => {
                return directory::answer(self, call, tenant, rest);
            }
            _ => {}
        }
        let caller = self.caller(call)?;
        version(call)?;
        self.known_subscription(&route)?;
        match route {
            Route::Unsupported(what) => {
                let message = format!("adit does not have {what} of Microsoft.Network; do without");
                Err(Fault::new(501, "NotImplemented", message))
            }
            Route::Group(place) => actions::group(self, call, &caller, &place),
            Route::One(place, kind, name) => match call.method.as_str() {
                "PUT" => actions::put(self, call, &caller, (&place, kind, &name)),
                "DELETE" => actions::delete(self, call, &caller, (&place, kind, &name)),
                "PATCH" => actions::tag(self, call, &caller, (&place, kind, &name)),
                _ => lists::one(self, call, &caller, (&place, kind, &name)),
            },
            Route::Part(place, kind, name, part, inner) => {
                let part = parts::Part { kind, name: &name, part: &part, inner: inner.as_deref() };
                parts::part(self, call, &caller, &place, part)
            }
            Route::PortMapping(place, balancer, pool) => {
                parts::port_mapping(self, call, &caller, &place, (&balancer, &pool))
            }
            Route::Location(place, location, what, name) => {
                let asked =
                    lists::Asked { location: &location, what: &what, name: name.as_deref() };
                lists::location(self, call, &caller, &place, asked)
            }
            other => lists::answer(self, call, &caller, &other),
        }
    }

    fn caller(&self, call: &Call) -> Result<Caller<'_>, Fault> {
        let header = call.authorization.as_deref().unwrap_or_default();
        let token = header.split_once(' ').filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
        let now = (self.sources.now)();
        let identity = token.and_then(|(_, token)| self.issuer.judge(token.trim(), now));
        let identity = identity.filter(|identity| self.policy.knows(identity));
        let identity = identity.ok_or_else(|| {
            let message =
                "no valid bearer token came with the request; take one from `adit arm env`";
            Fault::new(401, "AuthenticationFailed", message)
        })?;
        Ok(Caller { policy: &self.policy, identity, is_strict: self.is_strict })
    }

    fn known_subscription(&self, route: &Route) -> Result<(), Fault> {
        let subscription = match route {
            Route::Subscription(id) | Route::Providers(id, _) | Route::Groups(id) => id,
            Route::Group(place)
            | Route::All(place)
            | Route::List(place, _)
            | Route::One(place, ..)
            | Route::Part(place, ..)
            | Route::PortMapping(place, ..)
            | Route::Nic(place, _)
            | Route::Location(place, ..) => &place.subscription,
            _ => return Ok(()),
        };
        if self.policy.tenant(subscription).is_some() {
            return Ok(());
        }
        let message = format!("there is no subscription {subscription:?} in the file of roles");
        Err(Fault::new(404, "SubscriptionNotFound", message))
    }

    /// Looks at how things are, and says what of it is wanted.
    pub(super) fn see<T>(
        &self,
        look: impl FnOnce(View<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut look = Some(look);
        let mut seen = None;
        self.backend.look(&mut |view| seen = look.take().map(|look| look(view)));
        seen.unwrap_or_else(|| Err(Fault::new(500, "InternalServerError", "nothing was seen")))
    }
}

/// The version of the API that a request wants, as a date.
fn version(call: &Call) -> Result<(), Fault> {
    let Some(version) = call.parameter("api-version") else {
        let message = "the parameter api-version is missing; add ?api-version=2024-05-01";
        return Err(Fault::new(400, "MissingApiVersionParameter", message));
    };
    let date = version.strip_suffix("-preview").unwrap_or(&version);
    let digits = |text: &str, count: usize| {
        text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let parts: Vec<&str> = date.split('-').collect();
    let is_date = matches!(parts.as_slice(),
        [y, m, d] if digits(y, 4) && digits(m, 2) && digits(d, 2));
    // Resource groups and subscriptions have versions of their own, which are older.
    if is_date && date >= "2014-01-01" {
        return Ok(());
    }
    let message = format!("api-version {version:?} is no date such as 2024-05-01");
    Err(Fault::new(400, "InvalidApiVersionParameter", message))
}

/// The key of a resource, or of the group if the name is empty.
pub(super) fn key(place: &Place, name: &str) -> Key {
    Key::new(&place.subscription, place.group.as_deref().unwrap_or_default(), name)
}

/// The path at which roles are asked for.
pub(super) fn scope(place: &Place, kind: Kind, name: &str) -> String {
    path_of(&Id::new(kind, &key(place, name)))
}

/// The body as a value, and `null` as an empty object.
pub(super) fn body(call: &Call) -> Result<Value, Fault> {
    call.json()
}
