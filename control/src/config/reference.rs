//! The reference of the configuration file, written from the list that the parser reads by.

use std::fmt::Write;

use super::keys::{Absent, FILE, Form, Key, Keys, Range};

const HEAD: &str = "\
# Configuration

Made by `adit reference` from the list of keys that the parser itself reads by, and written here by
`cargo xtask reference`. A commented example is in
[control/adit.example.toml](../control/adit.example.toml), and `adit check FILE` says everything
that is wrong with a file, with its line and a cure.

The file is TOML. Names are Azure's, in snake case. Words are matched without case. A duration is a
whole number and `ms`, `s`, `m` or `h`, in quotes. `adit reload` puts a changed file in force, whole
or not at all, and `adit plan` says before what that would do.
";

/// The page, in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    for key in FILE.list {
        if let Some(keys) = inner(key) {
            write(&mut page, keys, 2);
        }
    }
    page
}

fn inner(key: &Key) -> Option<&'static Keys> {
    match key.form {
        Form::Table(keys) | Form::Tables(keys) | Form::TextsOr(keys) => Some(keys),
        Form::Text | Form::Number | Form::Flag | Form::NumberOrText => None,
        Form::Texts | Form::TextOrTexts => None,
    }
}

fn write(page: &mut String, keys: &Keys, level: usize) {
    // Writing to a string cannot fail.
    let _ = write!(page, "\n{} `{}`\n\n{}\n\n", "#".repeat(level), keys.title, keys.about);
    page.push_str("| key | type | values | if it is missing | example | what it does |\n");
    page.push_str("|---|---|---|---|---|---|\n");
    for key in keys.list {
        let Key { name, example, about, .. } = key;
        let (form, range, absent) = (form(key), range(&key.range), absent(&key.absent));
        let _ =
            writeln!(page, "| `{name}` | {form} | {range} | {absent} | `{example}` | {about} |");
    }
    for key in keys.list {
        if let Some(keys) = inner(key) {
            write(page, keys, level + 1);
        }
    }
}

fn form(key: &Key) -> &'static str {
    match key.form {
        Form::Text => "text",
        Form::Number => "number",
        Form::Flag => "true or false",
        Form::NumberOrText => "number or text",
        Form::Texts => "list of texts",
        Form::TextOrTexts => "text or list of texts",
        Form::TextsOr(_) => "list of texts or tables",
        Form::Table(_) => "table",
        Form::Tables(_) => "list of tables",
    }
}

fn range(range: &Range) -> String {
    match range {
        Range::Numbers(from, to) => format!("{from} to {to}"),
        Range::Words(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            words.join(", ")
        }
        Range::Durations(from, to) => format!("{from} to {to}"),
        Range::Said(words) => (*words).to_owned(),
    }
}

fn absent(absent: &Absent) -> String {
    match absent {
        Absent::Refused => "**refused**".to_owned(),
        Absent::Same(value) => format!("`{value}`"),
        Absent::Said(words) => (*words).to_owned(),
    }
}

#[cfg(test)]
mod tests;
