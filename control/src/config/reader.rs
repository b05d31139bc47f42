//! Reads values out of a TOML tree one by one, noting where each stands and everything that is
//! wrong, so that a file's faults are reported together and not one per attempt.
//!
//! A [`Section`] is one table. Its keys are taken by name and type, and only if the list of keys
//! has them (see `keys`); what nobody took when it is finished is unknown, and the error names the
//! nearest key of the list.

use std::cell::RefCell;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::keys::{FILE, Form, Key, Keys};
use super::plain::plain;
use super::suggest;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Place {
    /// Its path: `private_endpoint[1].name`.
    pub(super) path: String,
    /// Its line, from 1.
    pub(super) line: usize,
}

impl Place {
    /// A fault at this place.
    pub(super) fn error(&self, problem: impl Into<String>, cure: impl Into<String>) -> ConfigError {
        // Keys are the file's own, and a syntax error may quote it.
        let (path, problem) = (plain(&self.path), plain(&problem.into()));
        ConfigError { path, line: self.line, problem, cure: cure.into() }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Located<T> {
    /// The value.
    pub(super) value: T,
    /// Where it stands.
    pub(super) place: Place,
}

/// A type that a single TOML value can be read as.
pub(super) trait FromToml: Sized {
    /// What to call it in an error, with an article.
    const NAME: &'static str;

    fn from_toml(value: &DeValue<'_>) -> Option<Self>;
}

impl FromToml for String {
    const NAME: &'static str = "a string in quotes";

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl FromToml for bool {
    const NAME: &'static str = "true or false";

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        value.as_bool()
    }
}

impl FromToml for i64 {
    const NAME: &'static str = "a whole number";

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        let integer = value.as_integer()?;
        i64::from_str_radix(integer.as_str(), integer.radix()).ok()
    }
}

/// A number, or a word that stands for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NumberOrWord {
    Number(i64),
    Word(String),
}

impl FromToml for NumberOrWord {
    const NAME: &'static str = "a whole number, or a word in quotes";

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        let number = i64::from_toml(value).map(NumberOrWord::Number);
        number.or_else(|| String::from_toml(value).map(NumberOrWord::Word))
    }
}

/// Lines and faults of one file.
pub(super) struct Reader {
    /// Offsets at which lines begin.
    lines: Vec<usize>,
    errors: RefCell<Vec<ConfigError>>,
}

impl Reader {
    pub(super) fn new(text: &str) -> Reader {
        let breaks = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n');
        let lines = std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect();
        Reader { lines, errors: RefCell::default() }
    }

    pub(super) fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|&start| start <= offset)
    }

    /// The table at the top of the file.
    pub(super) fn top<'r, 't>(&'r self, table: DeTable<'t>) -> Section<'r, 't> {
        Section::new(self, Place { path: String::new(), line: 1 }, table, &FILE)
    }

    pub(super) fn into_errors(self) -> Vec<ConfigError> {
        self.errors.into_inner()
    }

    fn report(&self, error: ConfigError) {
        self.errors.borrow_mut().push(error);
    }
}

/// An item of a list of which some are text and others tables.
pub(super) enum Entry<'r, 't> {
    Text(Located<String>),
    Section(Section<'r, 't>),
}

/// A key of a table that nobody has taken yet.
struct Untaken<'t> {
    key: String,
    line: usize,
    value: Spanned<DeValue<'t>>,
}

/// One table of the file.
pub(super) struct Section<'r, 't> {
    pub(super) place: Place,
    reader: &'r Reader,
    entries: Vec<Untaken<'t>>,
    keys: &'static Keys,
}

impl<'r, 't> Section<'r, 't> {
    fn new(
        reader: &'r Reader,
        place: Place,
        table: DeTable<'t>,
        keys: &'static Keys,
    ) -> Section<'r, 't> {
        let entries = table.into_iter().map(|(key, value)| Untaken {
            line: reader.line(key.span().start),
            key: key.into_inner().into_owned(),
            value,
        });
        Section { place, reader, entries: entries.collect(), keys }
    }

    /// A value that must be there.
    pub(super) fn required<T: FromToml>(&mut self, key: &'static str) -> Option<Located<T>> {
        match self.take(key) {
            Some(entry) => self.read(&entry),
            None => {
                self.missing(key);
                None
            }
        }
    }

    /// A value that may be left out.
    pub(super) fn optional<T: FromToml>(&mut self, key: &'static str) -> Option<Located<T>> {
        let entry = self.take(key)?;
        self.read(&entry)
    }

    /// A list of values that must be there; `None` if any of it could not be read.
    pub(super) fn required_list<T: FromToml>(
        &mut self,
        key: &'static str,
    ) -> Option<Vec<Located<T>>> {
        if !self.has(key) {
            self.missing(key);
        }
        self.optional_list(key)
    }

    /// A list of values that may be left out; `None` if it is, or if any of it could not be read.
    pub(super) fn optional_list<T: FromToml>(
        &mut self,
        key: &'static str,
    ) -> Option<Vec<Located<T>>> {
        let (place, items) = self.array(key, &format!("a list: {}", self.example(key)))?;
        let items = items.into_iter().enumerate();
        let values = items.map(|(at, item)| {
            let place = self.item_place(&place, at, &item);
            self.value(place, item.get_ref())
        });
        // All are read, so that all faults are found, before any of them ends the list.
        values.collect::<Vec<_>>().into_iter().collect()
    }

    /// A list that must be there, of which each item is text or a table; `None` if any is neither.
    pub(super) fn required_entries(&mut self, key: &'static str) -> Option<Vec<Entry<'r, 't>>> {
        if !self.has(key) {
            self.missing(key);
        }
        let inner = self.inner(key)?;
        let (place, items) = self.array(key, &format!("a list: {}", self.example(key)))?;
        let items = items.into_iter().enumerate();
        let entries = items.map(|(at, item)| {
            let place = self.item_place(&place, at, &item);
            match item.into_inner() {
                DeValue::Table(table) => {
                    Some(Entry::Section(Section::new(self.reader, place, table, inner)))
                }
                DeValue::String(text) => {
                    Some(Entry::Text(Located { value: text.into_owned(), place }))
                }
                other => {
                    self.mistyped(&place, "a string in quotes, or a table { ... }", &other);
                    None
                }
            }
        });
        // As above.
        entries.collect::<Vec<_>>().into_iter().collect()
    }

    /// One text, or a list of one at least; `None` if it is left out, or if any of it could not be
    /// read.
    pub(super) fn optional_texts(&mut self, key: &'static str) -> Option<Vec<Located<String>>> {
        let entry = self.take(key)?;
        let place = self.entry_place(&entry);
        let items = match entry.value.into_inner() {
            DeValue::Array(items) => items,
            DeValue::String(text) => {
                return Some(vec![Located { value: text.into_owned(), place }]);
            }
            other => {
                self.mistyped(&place, "a string in quotes, or a list of them", &other);
                return None;
            }
        };
        if items.is_empty() {
            let cure = format!("write {}", self.example(key));
            self.reader.report(place.error("the list is empty", cure));
            return None;
        }
        let texts = items.into_iter().enumerate().map(|(at, item)| {
            let place = self.item_place(&place, at, &item);
            self.value(place, item.get_ref())
        });
        // All are read, so that all faults are found, before any of them ends the list.
        texts.collect::<Vec<_>>().into_iter().collect()
    }

    /// As [`Section::optional_texts`], for a key that must be there.
    pub(super) fn required_texts(&mut self, key: &'static str) -> Option<Vec<Located<String>>> {
        if !self.has(key) {
            self.missing(key);
        }
        self.optional_texts(key)
    }

    /// A list of tables, be it `[[key]]` or `key = [{ ... }]`; empty if it is left out.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Section<'r, 't>> {
        let form = if self.place.path.is_empty() {
            format!("a list of tables: [[{key}]] with double brackets")
        } else {
            format!("a list of tables: {key} = [{{ ... }}]")
        };
        let Some(inner) = self.inner(key) else { return Vec::new() };
        let Some((place, items)) = self.array(key, &form) else { return Vec::new() };
        let mut sections = Vec::new();
        for (at, item) in items.into_iter().enumerate() {
            let place = self.item_place(&place, at, &item);
            match item.into_inner() {
                DeValue::Table(table) => {
                    sections.push(Section::new(self.reader, place, table, inner));
                }
                other => self.mistyped(&place, &form, &other),
            }
        }
        sections
    }

    /// A single table that may be left out.
    pub(super) fn section(&mut self, key: &'static str) -> Option<Section<'r, 't>> {
        let inner = self.inner(key)?;
        let entry = self.take(key)?;
        let place = self.entry_place(&entry);
        match entry.value.into_inner() {
            DeValue::Table(table) => Some(Section::new(self.reader, place, table, inner)),
            other => {
                self.mistyped(&place, &format!("one table: [{key}] with single brackets"), &other);
                None
            }
        }
    }

    /// As [`Section::sections`], for a list that must be there; `None` if it is not.
    pub(super) fn required_sections(&mut self, key: &'static str) -> Option<Vec<Section<'r, 't>>> {
        if self.has(key) {
            return Some(self.sections(key));
        }
        self.missing(key);
        None
    }

    /// Reports that a key is missing.
    fn missing(&self, key: &str) {
        let place = Place { path: self.path_of(key), line: self.place.line };
        let cure = format!("add it: {key} = {}", self.example(key));
        self.reader.report(place.error("this key is missing", cure));
    }

    /// Reports every key that nobody took, and returns where the section stands.
    pub(super) fn finish(self) -> Place {
        for entry in &self.entries {
            let place = self.entry_place(entry);
            let known = self.keys.list.iter().map(|key| key.name);
            let cure = suggest::cure(&entry.key, known);
            self.reader.report(place.error(format!("unknown key \"{}\"", entry.key), cure));
        }
        self.place
    }

    /// What a value of this key could look like.
    fn example(&self, key: &str) -> &'static str {
        self.keys.find(key).map_or("", |key| key.example)
    }

    /// The keys of the tables that a key holds.
    fn inner(&self, key: &str) -> Option<&'static Keys> {
        match self.keys.find(key)? {
            Key { form: Form::Table(keys) | Form::Tables(keys) | Form::TextsOr(keys), .. } => {
                Some(keys)
            }
            _ => None,
        }
    }

    fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    fn take(&mut self, key: &'static str) -> Option<Untaken<'t>> {
        self.keys.find(key)?;
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.swap_remove(at))
    }

    fn array(&mut self, key: &'static str, form: &str) -> Option<(Place, Vec<Item<'t>>)> {
        let entry = self.take(key)?;
        let place = self.entry_place(&entry);
        match entry.value.into_inner() {
            DeValue::Array(items) => Some((place, items.into_iter().collect())),
            other => {
                self.mistyped(&place, form, &other);
                None
            }
        }
    }

    fn read<T: FromToml>(&self, entry: &Untaken<'t>) -> Option<Located<T>> {
        let place = self.entry_place(entry);
        self.value(place, entry.value.get_ref())
    }

    fn value<T: FromToml>(&self, place: Place, value: &DeValue<'_>) -> Option<Located<T>> {
        if let Some(value) = T::from_toml(value) {
            return Some(Located { value, place });
        }
        self.mistyped(&place, T::NAME, value);
        None
    }

    fn mistyped(&self, place: &Place, form: &str, found: &DeValue<'_>) {
        let problem = format!("this is of the wrong type: {}", found.type_str());
        self.reader.report(place.error(problem, format!("write {form}")));
    }

    fn path_of(&self, key: &str) -> String {
        match self.place.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    fn entry_place(&self, entry: &Untaken<'_>) -> Place {
        Place { path: self.path_of(&entry.key), line: entry.line }
    }

    fn item_place(&self, list: &Place, at: usize, item: &Item<'_>) -> Place {
        let line = self.reader.line(item.span().start);
        Place { path: format!("{}[{at}]", list.path), line }
    }
}

type Item<'t> = Spanned<DeValue<'t>>;
