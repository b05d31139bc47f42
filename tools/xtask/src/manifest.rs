//! Reads as much of a `Cargo.toml` as the rules need: sections, keys, and values on one line.

/// One `key = value` and where it stands.
pub(crate) struct Entry {
    /// The section's name, without brackets; empty before the first.
    pub(crate) section: String,
    /// The key, without quotes.
    pub(crate) key: String,
    /// The value as written.
    pub(crate) value: String,
    /// Its line, from 1.
    pub(crate) line: usize,
}

/// A dependency on a package.
pub(crate) struct Dependency {
    /// The package's name (after `package = …`).
    pub(crate) package: String,
    /// Its line, from 1.
    pub(crate) line: usize,
    /// Whether only tests, benches and examples have it.
    pub(crate) is_dev: bool,
}

/// The entries of a manifest, in order. Continued lines of an array are passed over.
pub(crate) fn entries(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut section = String::new();
    for (index, raw) in text.lines().enumerate() {
        let line = without_comment(raw).trim();
        if let Some(header) = line.strip_prefix('[') {
            let name = header.trim_start_matches('[').trim_end_matches(']');
            if line.ends_with(']') && !name.contains('=') && !name.starts_with('"') {
                section = name.trim().replace('"', "");
                // A section may be all there is of a dependency: `[dependencies.control]`.
                let (key, value, line) = (String::new(), String::new(), index + 1);
                entries.push(Entry { section: section.clone(), key, value, line });
            }
        } else if let Some((key, value)) = line.split_once('=') {
            entries.push(Entry {
                section: section.clone(),
                key: key.trim().replace('"', ""),
                value: value.trim().to_owned(),
                line: index + 1,
            });
        }
    }
    entries
}

fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    for (at, sign) in line.char_indices() {
        match sign {
            '"' => quoted = !quoted,
            '#' if !quoted => return &line[..at],
            _ => {}
        }
    }
    line
}

/// The string value of a key of a section.
pub(crate) fn string<'a>(entries: &'a [Entry], section: &str, key: &str) -> Option<&'a str> {
    let entry = entries.iter().find(|entry| entry.section == section && entry.key == key)?;
    entry.value.strip_prefix('"')?.strip_suffix('"')
}

/// Every dependency, of any kind and for any target.
pub(crate) fn dependencies(entries: &[Entry]) -> Vec<Dependency> {
    let mut found = Vec::new();
    for entry in entries {
        let (head, tail) = match entry.section.rsplit_once("dependencies.") {
            Some((head, name)) => (format!("{head}dependencies"), Some(name)),
            None => (entry.section.clone(), None),
        };
        if !head.ends_with("dependencies") || head.starts_with("workspace") {
            continue;
        }
        let package = match tail {
            Some(name) if entry.key.is_empty() => name.to_owned(),
            Some(_) if entry.key == "package" => entry.value.replace('"', ""),
            None if !entry.key.is_empty() => {
                let key = entry.key.split('.').next().unwrap_or_default();
                inline(&entry.value, "package").unwrap_or(key).to_owned()
            }
            _ => continue,
        };
        found.push(Dependency { package, line: entry.line, is_dev: head.contains("dev-") });
    }
    found
}

/// The string value of a key of an inline table.
fn inline<'a>(table: &'a str, key: &str) -> Option<&'a str> {
    let body = table.strip_prefix('{')?;
    for field in body.split(',') {
        let (name, value) = field.split_once('=')?;
        if name.trim() == key {
            return value.trim().trim_end_matches('}').trim().strip_prefix('"')?.strip_suffix('"');
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[package]\nname = \"dataplane\" # the engine\n\n[dependencies]\n\
        libc = { version = \"0.2\", optional = true }\ncontrol.workspace = true\n\
        renamed = { path = \"../x\", package = \"lab\" }\n\
        [target.'cfg(unix)'.dev-dependencies]\nhashbrown = \"1\"\n\
        [dev-dependencies.tools]\npackage = \"xtask\"\n\
        [workspace.dependencies]\nignored = \"1\"\n";

    #[test]
    fn strings_are_read_from_their_section() {
        let entries = entries(TEXT);
        assert_eq!(string(&entries, "package", "name"), Some("dataplane"));
        assert_eq!(string(&entries, "dependencies", "name"), None);
    }

    #[test]
    fn every_kind_of_dependency_is_seen() {
        let found = dependencies(&entries(TEXT));
        let names: Vec<&str> = found.iter().map(|found| found.package.as_str()).collect();
        assert_eq!(names, ["libc", "control", "lab", "hashbrown", "tools", "xtask"]);
        assert_eq!(found[1].line, 6);
    }
}
