//! The audit log: one line of JSON for each decision, reload, kill and change by the API, also for
//! those that were refused: who, what, from what to what, when.
//!
//! Whoever asked is answered when the line is on the disk, or is told that it could not be put
//! there; then the line stands with what the daemon says, and is counted. Without a file of its own
//! every line stands there.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Value, json};

use super::recorder::{LineFile, now};
use super::{DaemonError, log};
use crate::api::{self, ErrorCode, Failure};
use crate::config::Name;
use crate::resource::Step;
use crate::resource::model::Resource;
use crate::state::{Connection, Registry};

/// Who asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Who {
    /// A user of this machine, by the control socket; nobody knows, if the kernel does not say.
    UnixUid(Option<u32>),
    /// A subject of the API.
    Identity(String),
    /// Whoever looks at the web page.
    Page,
    /// Whoever may send signals.
    Signal,
}

/// One thing that changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Changed {
    object: String,
    /// `null`: it was not there, or is no more.
    before: Value,
    after: Value,
}

impl Changed {
    /// Connections that differ from what they were.
    pub(super) fn connections(
        before: &Registry,
        changes: &[(&Name, Option<&Connection>)],
    ) -> Vec<Changed> {
        let said = |connection: Option<&Connection>| {
            let said = connection.map(|connection| {
                let Connection { link, state, description, .. } = connection;
                json!({ "state": state, "description": description, "link_id": link.0 })
            });
            said.unwrap_or_default()
        };
        let changes = changes.iter().map(|&(name, connection)| Changed {
            object: format!("private_endpoint {name}"),
            before: said(before.connection(name)),
            after: said(connection),
        });
        changes.filter(|change| change.before != change.after).collect()
    }

    /// A flow that was ended.
    pub(super) fn session(session: &api::Session) -> Changed {
        let before = serde_json::to_value(session).unwrap_or_default();
        Changed { object: format!("session {}", session.id), before, after: Value::Null }
    }

    /// A resource of the API, by its revisions.
    pub(super) fn resource(step: &Step, undo: &[Step]) -> Changed {
        let revision = |step: &Step| {
            let head = step.new.as_ref().map(Resource::head);
            head.map_or(Value::Null, |head| json!({ "revision": head.revision }))
        };
        let old = undo.iter().find(|old| old.id == step.id);
        let before = old.map_or(Value::Null, revision);
        Changed { object: step.id.to_string(), before, after: revision(step) }
    }
}

/// What somebody asked, and what became of it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Entry {
    time: String,
    who: Who,
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    generation: u32,
    changes: Vec<Changed>,
}

impl Entry {
    pub(super) fn new(who: Who, action: &'static str, generation: u32) -> Entry {
        Entry {
            time: now().rfc3339(),
            who,
            action,
            target: None,
            message: None,
            outcome: "done",
            error: None,
            generation,
            changes: Vec::new(),
        }
    }

    /// Of one thing, with the words of whoever asked.
    pub(super) fn about(self, target: Option<String>, message: Option<String>) -> Entry {
        Entry { target, message, ..self }
    }

    pub(super) fn with(self, changes: Vec<Changed>) -> Entry {
        Entry { changes, ..self }
    }

    /// It was refused, or failed.
    pub(super) fn failed(self, error: Option<String>) -> Entry {
        let outcome = if error.is_some() { "refused" } else { self.outcome };
        Entry { outcome, error, ..self }
    }
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Audit {
    file: Option<(PathBuf, Mutex<Option<LineFile>>)>,
    written: AtomicU64,
    lost: AtomicU64,
}

impl Audit {
    /// Opens the file, if it has one.
    pub(super) fn open(path: Option<&Path>) -> Result<Audit, DaemonError> {
        let open = |path: &Path| {
            let file = LineFile::open(path).map_err(|error| {
                let problem =
                    format!("the audit log {} cannot be written: {error}", path.display());
                DaemonError::new(problem, "make its folder, or let adit write there")
            })?;
            Ok((path.to_owned(), Mutex::new(Some(file))))
        };
        let file = path.map(open).transpose()?;
        Ok(Audit { file, written: AtomicU64::new(0), lost: AtomicU64::new(0) })
    }

    /// Writes an entry down, and returns when it is there.
    pub(super) fn write(&self, entry: &Entry) -> Result<(), Failure> {
        // Texts and numbers always become text.
        let line = serde_json::to_string(entry).unwrap_or_default();
        let Some((path, file)) = &self.file else {
            log(format_args!("audit {line}"));
            self.written.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        };
        let Err(error) = append(path, &mut file.lock(), &line) else {
            self.written.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        };
        self.lost.fetch_add(1, Ordering::Relaxed);
        let path = path.display();
        log(format_args!("the audit log {path} cannot be written: {error}; it lacks {line}"));
        let done = if entry.error.is_some() { "refused" } else { "done" };
        let message =
            format!("it was {done}, but the audit log {path} could not be written: {error}");
        let cure = "make room for the audit log; what it lacks stands in the daemon's log";
        Err(Failure::new(ErrorCode::NotRecorded, message, cure))
    }

    pub(super) fn status(&self) -> api::AuditLog {
        api::AuditLog {
            file: self.file.as_ref().map(|(path, _)| path.display().to_string()),
            written: self.written.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
        }
    }
}

/// One that was put aside meanwhile is made anew.
fn append(path: &Path, slot: &mut Option<LineFile>, line: &str) -> io::Result<()> {
    let file = match slot.take().filter(|file| file.is_at(path)) {
        Some(file) => file,
        None => LineFile::open(path)?,
    };
    let file = slot.insert(file);
    file.append(format!("{line}\n").as_bytes())?;
    file.sync()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn entry() -> Entry {
        let changed = Changed {
            object: "private_endpoint pe-a".to_owned(),
            before: json!({ "state": "Pending" }),
            after: json!({ "state": "Approved" }),
        };
        let entry = Entry::new(Who::UnixUid(Some(7)), "approve", 3);
        let message = Some("line\nbreak".to_owned());
        entry.about(Some("pe-a".to_owned()), message).with(vec![changed])
    }

    #[test]
    fn an_entry_is_a_line_that_says_who_what_and_from_what_to_what() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit");
        let audit = Audit::open(Some(&path)).unwrap();
        audit.write(&entry()).unwrap();
        let refused = Entry::new(Who::Identity("ci".to_owned()), "change", 3);
        audit.write(&refused.failed(Some("no".to_owned()))).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["who"], json!({ "unix_uid": 7 }));
        assert_eq!(lines[0]["changes"][0]["after"]["state"], "Approved");
        assert_eq!(
            (&lines[0]["outcome"], &lines[0]["message"]),
            (&json!("done"), &json!("line\nbreak"))
        );
        assert_eq!(lines[1]["who"], json!({ "identity": "ci" }));
        assert_eq!((&lines[1]["outcome"], &lines[1]["error"]), (&json!("refused"), &json!("no")));
        fs::rename(&path, folder.path().join("audit.1")).unwrap();
        audit.write(&entry()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1, "made anew");
        assert_eq!(audit.status().written, 3);
    }

    #[test]
    fn whoever_asked_is_told_that_it_could_not_be_written_down() {
        let audit = Audit::open(Some(Path::new("/dev/full"))).unwrap();
        let failure = audit.write(&entry()).unwrap_err();
        assert_eq!(failure.code, ErrorCode::NotRecorded);
        assert!(failure.message.starts_with("it was done, but"), "{}", failure.message);
        assert_eq!((audit.status().written, audit.status().lost), (0, 1));
        assert!(Audit::open(Some(Path::new("/nowhere/at/all"))).is_err());
        let plain = Audit::open(None).unwrap();
        plain.write(&entry()).unwrap();
        assert_eq!(plain.status().written, 1);
    }
}
