//! The API as a part of the daemon: its backend, its keys, and the files that clients need.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use super::DaemonError;
use super::audit::{Entry, Who};
use super::controller::Memory;
use super::server::Daemon;
use crate::api::{ErrorCode, Failure};
use crate::arm::{Access, Authority, Backend, Desk, Issuer, Planner, Policy, Sources, serve};
use crate::config::CONTROL_SOCKET;
use crate::resource::Fault;
use crate::resource::estate::View;
use crate::store::{Store, StoreError};

/// The folder for state where the control socket is the usual one.
const STATE_DIRECTORY: &str = "/var/lib/adit";

/// Bytes of a file of roles at most.
const ROLES_BYTES_MAX: u64 = 1 << 20;

/// How the API is to be served.
#[derive(Clone, Debug, Default)]
pub struct ArmOptions {
    /// Where; not at all, if it is not said.
    pub listen: Option<SocketAddr>,
    /// The file of roles.
    pub roles: Option<PathBuf>,
    /// Whether what Azure refuses and adit could do is refused.
    pub is_strict: bool,
    /// The folder in which state is kept.
    pub state: Option<PathBuf>,
}

/// What the API needs before workers start.
pub(super) struct Prepared {
    listener: TcpListener,
    authority: Authority,
    issuer: Issuer,
    policy: Policy,
    ca: PathBuf,
    is_strict: bool,
}

/// Opens what state is kept, and prepares the API if it is wanted.
pub(super) fn prepare(
    options: &ArmOptions,
    socket: &Path,
) -> Result<(Memory, Option<Prepared>), DaemonError> {
    let directory = match (&options.state, options.listen) {
        (Some(directory), _) => directory.clone(),
        (None, Some(_)) if socket == Path::new(CONTROL_SOCKET) => STATE_DIRECTORY.into(),
        (None, Some(_)) => socket.with_extension("state"),
        (None, None) => return Ok((Memory::default(), None)),
    };
    let failed = |error: StoreError| {
        DaemonError::new(error.to_string(), "name a folder that adit may write: --state DIR")
    };
    let store = Store::open(&directory).map_err(failed)?;
    let prepared = match options.listen {
        Some(listen) => Some(prepare_api(options, listen, &store)?),
        None => None,
    };
    Ok((Memory::of(store).map_err(failed)?, prepared))
}

fn prepare_api(
    options: &ArmOptions,
    listen: SocketAddr,
    store: &Store,
) -> Result<Prepared, DaemonError> {
    let listener = TcpListener::bind(listen).map_err(|error| {
        let cure = "name another address: --arm 127.0.0.1:8443";
        DaemonError::new(format!("the API cannot listen at {listen}: {error}"), cure)
    })?;
    let policy = match &options.roles {
        None => Policy::default(),
        Some(path) => read_roles(path)?,
    };
    let failed = |error: StoreError| DaemonError::new(error.to_string(), "see --state");
    let authority = authority(store).map_err(failed)?;
    let issuer = Issuer::new(&secret(store).map_err(failed)?);
    let ca = std::path::absolute(store.directory()).unwrap_or_else(|_| store.directory().into());
    let ca = ca.join("arm-ca.pem");
    fs::write(&ca, authority.certificate()).map_err(|error| {
        let shown = ca.display();
        DaemonError::new(format!("{shown} cannot be written: {error}"), "see --state")
    })?;
    Ok(Prepared { listener, authority, issuer, policy, ca, is_strict: options.is_strict })
}

fn read_roles(path: &Path) -> Result<Policy, DaemonError> {
    let shown = path.display();
    let failed = |error: &dyn std::fmt::Display| {
        DaemonError::new(format!("{shown}: {error}"), "see docs/arm.md for how it is written")
    };
    let length = fs::metadata(path).map_err(|error| failed(&error))?.len();
    if length > ROLES_BYTES_MAX {
        return Err(failed(&"the file is too large"));
    }
    let text = fs::read_to_string(path).map_err(|error| failed(&error))?;
    Policy::read(&text).map_err(|error| failed(&error))
}

/// The authority that is kept, or a new one.
fn authority(store: &Store) -> Result<Authority, StoreError> {
    let failed = |error: rcgen::Error| StoreError::other("the API's key cannot be made", &error);
    let kept = (store.note("authority_key")?, store.note("authority_certificate")?);
    if let (Some(key), Some(certificate)) = kept
        && let Ok(certificate) = String::from_utf8(certificate)
    {
        return Authority::restore(&key, certificate).map_err(failed);
    }
    let authority = Authority::generate().map_err(failed)?;
    store.set_note("authority_key", &authority.key())?;
    store.set_note("authority_certificate", authority.certificate().as_bytes())?;
    Ok(authority)
}

fn secret(store: &Store) -> Result<Vec<u8>, StoreError> {
    if let Some(secret) = store.note("token_secret")? {
        return Ok(secret);
    }
    let mut secret = vec![0; 32];
    getrandom::fill(&mut secret)
        .map_err(|error| StoreError::other("the kernel gave no random number", &error))?;
    store.set_note("token_secret", &secret)?;
    Ok(secret)
}

/// Serves the API on a thread, and tells the control socket how to get in.
pub(super) fn serve(
    prepared: Prepared,
    daemon: &Arc<Daemon>,
) -> Result<JoinHandle<()>, DaemonError> {
    let failed =
        |error: String| DaemonError::new(format!("the API cannot be served: {error}"), "try again");
    let Prepared { listener, authority, issuer, policy, ca, is_strict } = prepared;
    let address = listener.local_addr().map_err(|error| failed(error.to_string()))?;
    let host = match address.ip() {
        ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    let url = format!("https://{}", SocketAddr::new(host, address.port()));
    let names = ["localhost".to_owned(), host.to_string(), Ipv4Addr::LOCALHOST.to_string()];
    let tls = authority.server(names.to_vec()).map_err(failed)?;
    let sources = Sources { now: Box::new(now), dice: Box::new(dice) };
    let backend = Arc::clone(daemon);
    let desk = Arc::new(Desk::new(backend, issuer, policy, sources, url.clone(), is_strict));
    let thread = serve::serve(listener, tls, Arc::clone(&desk));
    let thread = thread.map_err(|error| failed(error.to_string()))?;
    // Desk and daemon hold each other, and both live as long as the process.
    daemon.let_in(Box::new(move |identity| {
        let (token, tenant) = desk.token(identity).ok_or_else(|| {
            let message = format!("there is no identity {:?}", identity.unwrap_or_default());
            Failure::new(ErrorCode::NotFound, message, "add it to the file of roles: --arm-roles")
        })?;
        let home = desk.home();
        Ok(Access {
            endpoint: url.clone(),
            token,
            ca: ca.display().to_string(),
            subscription: home.subscription,
            resource_group: home.group,
            tenant,
        })
    }));
    Ok(thread)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Without random numbers ids would repeat; the kernel has them from its first minute on.
fn dice() -> u128 {
    let mut bytes = [0; 16];
    // Beyond the first minute this does not fail; then an id is refused as a duplicate at worst.
    let _ = getrandom::fill(&mut bytes);
    u128::from_be_bytes(bytes)
}

impl Backend for Arc<Daemon> {
    fn look(&self, look: &mut dyn FnMut(View<'_>)) {
        look(self.controller.lock().view());
    }

    fn change(&self, identity: &str, plan: Planner<'_>) -> Result<(), Fault> {
        let (result, changes, generation) = {
            let mut controller = self.controller.lock();
            let result = controller.change(plan);
            (result, controller.take_changes(), controller.number().0)
        };
        if result.is_ok() && changes.is_empty() {
            return result;
        }
        let entry = Entry::new(Who::Identity(identity.to_owned()), "change", generation);
        let error = result.as_ref().err().map(|fault| fault.message.clone());
        let written = self.audit.write(&entry.with(changes).failed(error));
        result?;
        written.map_err(|failure| {
            let message = format!("{}; {}", failure.message, failure.cure);
            Fault::new(500, "AuditFailed", message)
        })
    }
}
