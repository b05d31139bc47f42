//! The wall between the lab and the machine: a private network namespace for the whole process.
//!
//! Promise: after [`enter`] the process sees no interface of the machine and has the rights to
//! build networks of its own, as root and as an ordinary user. When it is refused, the process is
//! as it was before, and the error names what forbids it and the cure, so that a test can say
//! loudly that it did not run.
//!
//! As root it takes a network namespace (`CLONE_NEWNET`). As an ordinary user, or as a root that
//! lacks the capabilities (a plain container), it first becomes root of a new user namespace
//! (`CLONE_NEWUSER`, id maps of one line, see user_namespaces(7)). A user namespace can only be
//! entered by a process with a single thread, hence the rule to call it first in `main`. Inside,
//! [`check`] says [`Privilege::Root`].
//!
//! It does not hide files: /proc and /sys stay those of the machine. /proc/sys/net follows the
//! reading thread's namespace by itself; /sys/class/net does not and still lists the machine's.

use std::ffi::CString;
use std::fmt;
use std::fs;
use std::io;
use std::sync::OnceLock;

use crate::sys;
use crate::sys::{IdMaps, Separation, Step, StepRefused};

/// How the process came by its rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// It was root with the capabilities that it takes.
    Root,
    /// It became root of a user namespace of its own.
    UserNamespace,
}

/// Why the sandbox was not entered.
#[derive(Debug)]
pub enum SandboxError {
    /// The machine forbids it. Tests report this as `NOT RUN` with the cure, not as a failure.
    Forbidden {
        /// The step that was refused.
        operation: &'static str,
        /// What the owner of the machine can change to allow it.
        cure: String,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The caller already runs more than one thread: a mistake in the program.
    NotSingleThreaded {
        /// How many threads it runs.
        threads: usize,
    },
    /// The question could not even be asked: out of processes, memory or descriptors.
    Unavailable(io::Error),
}

impl fmt::Display for SandboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden { operation, cure, source } => {
                write!(f, "network namespaces are forbidden: {operation}: {source}; {cure}")
            }
            Self::NotSingleThreaded { threads } => write!(
                f,
                "the sandbox must be entered while the process has one thread, it has {threads}: \
                 call sandbox::enter first thing in main"
            ),
            Self::Unavailable(source) => write!(f, "cannot try to enter the sandbox: {source}"),
        }
    }
}

impl std::error::Error for SandboxError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Forbidden { source, .. } | Self::Unavailable(source) => Some(source),
            Self::NotSingleThreaded { .. } => None,
        }
    }
}

/// How this process entered, for the commands that let a person follow it by hand.
static ENTERED: OnceLock<Privilege> = OnceLock::new();

/// Moves the process into a network namespace of its own, with `lo` up and nothing else.
///
/// Call it first thing in `main`, while the process has a single thread.
///
/// # Errors
/// [`SandboxError::Forbidden`] where the machine does not allow it; the process is then unchanged.
pub fn enter() -> Result<Privilege, SandboxError> {
    let threads = count_threads().map_err(SandboxError::Unavailable)?;
    if threads != 1 {
        return Err(SandboxError::NotSingleThreaded { threads });
    }
    let privilege = check()?;
    sys::separate(&plan(privilege)).map_err(forbidden)?;
    // Best effort: where /proc/sys is read-only the interfaces stay quiet by their own setting.
    let _ = crate::namespace::disable_ipv6_here();
    // A sandbox within the sandbox: a person outside must still cross the first one.
    let _ = ENTERED.set(privilege);
    Ok(privilege)
}

/// Tells whether [`enter`] would be allowed, and how, by trying it in a child process.
///
/// # Errors
/// The error that [`enter`] would give, but for the rule of the single thread.
pub fn check() -> Result<Privilege, SandboxError> {
    let privilege =
        if has_root_capabilities() { Privilege::Root } else { Privilege::UserNamespace };
    sys::probe(&plan(privilege)).map_err(SandboxError::Unavailable)?.map_err(forbidden)?;
    Ok(privilege)
}

/// How the process entered; `None` before [`enter`].
pub fn entered() -> Option<Privilege> {
    ENTERED.get().copied()
}

fn plan(privilege: Privilege) -> Separation {
    let (uid, gid) = sys::effective_ids();
    // Digits and blanks hold no NUL byte, so the map is never the empty default.
    let line = |id: u32| CString::new(format!("0 {id} 1\n")).unwrap_or_default();
    let user_namespace = match privilege {
        Privilege::Root => None,
        Privilege::UserNamespace => Some(IdMaps { uid: line(uid), gid: line(gid) }),
    };
    Separation { user_namespace }
}

/// Threads of this process.
fn count_threads() -> io::Result<usize> {
    Ok(fs::read_dir("/proc/self/task")?.count())
}

/// Root alone is not enough: a container's root may lack what namespaces and raw sockets take.
fn has_root_capabilities() -> bool {
    // linux/capability.h: CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN.
    const NEEDED: u64 = 1 << 12 | 1 << 13 | 1 << 21;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    sys::effective_ids().0 == 0 && effective & NEEDED == NEEDED
}

fn forbidden(refused: StepRefused) -> SandboxError {
    let operation = match refused.step {
        Step::Unshare => "unshare(2)",
        Step::DenySetgroups => "write /proc/self/setgroups",
        Step::MapUid => "write /proc/self/uid_map",
        Step::MapGid => "write /proc/self/gid_map",
        Step::RaiseLoopback => "set lo up in the new namespace",
    };
    let cure = if refused.step == Step::MapUid && sys::effective_ids().0 == 0 {
        // user_namespaces(7): only who has CAP_SETFCAP may map the id 0 of its parent.
        "run as an ordinary user, or as root with CAP_SETFCAP or CAP_SYS_ADMIN and CAP_NET_ADMIN"
            .into()
    } else {
        cure(&refused.source, |path| fs::read_to_string(path).ok())
    };
    SandboxError::Forbidden { operation, cure, source: refused.source }
}

/// Looks for the switch that forbids, most specific first.
fn cure(source: &io::Error, read: impl Fn(&str) -> Option<String>) -> String {
    let is = |path: &str, value: &str| read(path).is_some_and(|text| text.trim() == value);
    let run = |setting: &str| format!("run as root, or allow it: sysctl -w {setting}");
    if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        return run("kernel.unprivileged_userns_clone=1");
    }
    if is("/proc/sys/user/max_user_namespaces", "0") {
        return run("user.max_user_namespaces=10000");
    }
    if is("/proc/sys/user/max_net_namespaces", "0") {
        return run("user.max_net_namespaces=10000");
    }
    if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        return run("kernel.apparmor_restrict_unprivileged_userns=0");
    }
    match source.raw_os_error() {
        Some(libc::ENOSPC | libc::EUSERS) => "too many namespaces exist: raise \
             user.max_user_namespaces and user.max_net_namespaces, or close some"
            .into(),
        Some(libc::EINVAL | libc::ENOSYS) => {
            "the kernel lacks CONFIG_USER_NS or CONFIG_NET_NS: run as root, or another kernel"
                .into()
        }
        _ => "run as root; in a container, give it CAP_SYS_ADMIN and CAP_NET_ADMIN and a seccomp \
              profile that allows unshare (docker: --privileged)"
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cure_names_the_switch_that_forbids() {
        let refused = io::Error::from_raw_os_error(libc::EPERM);
        for (path, value, setting) in [
            ("kernel/unprivileged_userns_clone", "0\n", "kernel.unprivileged_userns_clone=1"),
            ("user/max_user_namespaces", "0\n", "user.max_user_namespaces="),
            ("user/max_net_namespaces", "0\n", "user.max_net_namespaces="),
            (
                "kernel/apparmor_restrict_unprivileged_userns",
                "1\n",
                "kernel.apparmor_restrict_unprivileged_userns=0",
            ),
        ] {
            let read = |asked: &str| asked.ends_with(path).then(|| value.to_string());
            let cure = cure(&refused, read);
            assert!(cure.contains(setting), "{path}: {cure}");
        }
        assert!(cure(&refused, |_| None).contains("--privileged"));
    }

    #[test]
    fn entering_with_several_threads_is_a_mistake_of_the_program() {
        // The test runner itself has a second thread; this one makes sure of it.
        let outcome =
            std::thread::scope(|scope| scope.spawn(enter).join().unwrap_or(Ok(Privilege::Root)));
        assert!(matches!(outcome, Err(SandboxError::NotSingleThreaded { .. })));
    }
}
