//! The workspace as text: every file by its path, read once, so that rules are pure functions.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Larger files (captures, results) are known by name only.
const MAX_TEXT_BYTES: u64 = 1 << 20;

/// Every file of the workspace: its path from the root, with `/`, and its text. The text is empty
/// where no rule reads it.
#[derive(Default)]
pub(crate) struct Tree {
    files: BTreeMap<String, String>,
}

impl Tree {
    /// Reads the workspace under `root`, without version control and build output.
    pub(crate) fn read(root: &Path) -> io::Result<Self> {
        let mut tree = Self::default();
        tree.read_dir(root, "")?;
        Ok(tree)
    }

    fn read_dir(&mut self, dir: &Path, prefix: &str) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            if entry.file_type()?.is_dir() {
                let output = name == "target" || name.starts_with("target-");
                if name != ".git" && !output {
                    self.read_dir(&entry.path(), &format!("{path}/"))?;
                }
            } else {
                let text = read_text(&entry.path(), &path);
                self.files.insert(path, text);
            }
        }
        Ok(())
    }

    /// A tree made of texts, for tests of rules.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        Self { files: files.collect() }
    }

    /// The text of a file.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Whether a path names a file.
    pub(crate) fn has_file(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// Whether a path names a folder.
    pub(crate) fn has_dir(&self, path: &str) -> bool {
        let prefix = format!("{path}/");
        let next = self.files.range(prefix.clone()..).next();
        path.is_empty() || next.is_some_and(|(first, _)| first.starts_with(&prefix))
    }

    /// Files whose path ends with `ending`, in order.
    pub(crate) fn ending<'a>(
        &'a self,
        ending: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.all().filter(move |(path, _)| path.ends_with(ending))
    }

    /// Every file, in order.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }
}

fn read_text(path: &Path, name: &str) -> String {
    let extension = path.extension().unwrap_or_default().to_string_lossy().into_owned();
    let wanted = ["rs", "toml", "md"].contains(&extension.as_str()) || name.starts_with("tests/");
    let small = fs::metadata(path).is_ok_and(|metadata| metadata.len() <= MAX_TEXT_BYTES);
    if !wanted && name != "tools/xtask/ratchet.txt" || !small {
        return String::new();
    }
    // A file that another program removed meanwhile is no finding of ours.
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The root of the workspace that this program was started for.
pub(crate) fn workspace_root() -> PathBuf {
    // Cargo tells at run time; what was true at build time serves a program started by hand.
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.ancestors().nth(2).unwrap_or(&package).to_path_buf()
}

/// The folder of a path; empty at the root.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// Joins a relative path to a folder and resolves `.` and `..`; none if it leaves the root.
pub(crate) fn join(dir: &str, relative: &str) -> Option<String> {
    let mut parts: Vec<&str> = dir.split('/').filter(|part| !part.is_empty()).collect();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_known_by_their_files() {
        let tree = Tree::of(&[("a/b/c.rs", ""), ("a/b-d.rs", "")]);
        assert!(tree.has_dir("a/b") && tree.has_dir("a") && tree.has_dir(""));
        assert!(!tree.has_dir("a/b/c.rs") && !tree.has_dir("a/b-d"));
    }

    #[test]
    fn paths_join_within_the_root() {
        assert_eq!(join("docs/decisions", "../../README.md").as_deref(), Some("README.md"));
        assert_eq!(join("", "./a//b").as_deref(), Some("a/b"));
        assert_eq!(join("docs", "../../x"), None);
        assert_eq!(parent("a/b.rs"), "a");
        assert_eq!(parent("b.rs"), "");
    }
}
