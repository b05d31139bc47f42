//! Reads the JSON of a request, noting where each value stands.
//!
//! Names of properties are matched without case, `null` is as good as nothing, and what nobody asks
//! for is ignored: clients send back what they were given, read-only properties included.

use std::net::IpAddr;

use dataplane::types::Prefix;
use serde_json::{Map, Value};

use super::{Fault, Id, Kind, Reference};
use crate::config::Name;

/// Bytes of a text at most.
const TEXT_BYTES_MAX: usize = 4096;

/// An object of the request.
#[derive(Clone, Debug)]
pub struct Object<'v> {
    map: &'v Map<String, Value>,
    path: String,
}

/// An object without properties, in place of one that is not there.
static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);

impl<'v> Object<'v> {
    /// The request's body.
    ///
    /// # Errors
    /// It is no object.
    pub fn of(body: &'v Value) -> Result<Object<'v>, Fault> {
        let map = body.as_object();
        let map = map.ok_or_else(|| {
            let message = "the body is not a JSON object; send the resource as {\"location\": ...}";
            Fault::new(400, "InvalidRequestContent", message)
        })?;
        Ok(Object { map, path: String::new() })
    }

    /// An object without properties, of a request without a body.
    #[must_use]
    pub fn nothing() -> Object<'static> {
        Object { map: &EMPTY, path: "properties".to_owned() }
    }

    /// Where a property stands.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn get(&self, name: &str) -> Option<&'v Value> {
        let exact = self.map.get(name);
        let any = || self.map.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        exact.or_else(|| any().map(|(_, value)| value)).filter(|value| !value.is_null())
    }

    /// The names of its properties.
    pub fn names(&self) -> impl Iterator<Item = &'v str> + use<'v> {
        self.map.keys().map(String::as_str)
    }

    /// Whether a property is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// An object; an empty one if it is not there.
    ///
    /// # Errors
    /// It is of another type.
    pub fn object(&self, name: &str) -> Result<Object<'v>, Fault> {
        let path = self.path(name);
        match self.get(name) {
            None => Ok(Object { map: &EMPTY, path }),
            Some(Value::Object(map)) => Ok(Object { map, path }),
            Some(_) => Err(Fault::value(&path, "this is not an object", "write {...}")),
        }
    }

    /// A list of objects; an empty one if it is not there.
    ///
    /// # Errors
    /// It, or a member of it, is of another type.
    pub fn objects(&self, name: &str) -> Result<Vec<Object<'v>>, Fault> {
        let items = self.list(name)?.iter().enumerate();
        let items = items.map(|(at, item)| {
            let path = format!("{}[{at}]", self.path(name));
            match item {
                Value::Object(map) => Ok(Object { map, path }),
                _ => Err(Fault::value(&path, "this is not an object", "write {...}")),
            }
        });
        items.collect()
    }

    /// A list of texts; an empty one if it is not there.
    ///
    /// # Errors
    /// It, or a member of it, is of another type.
    pub fn texts(&self, name: &str) -> Result<Vec<&'v str>, Fault> {
        let items = self.list(name)?.iter().enumerate();
        let items = items.map(|(at, item)| text(&format!("{}[{at}]", self.path(name)), item));
        items.collect()
    }

    fn list(&self, name: &str) -> Result<&'v [Value], Fault> {
        match self.get(name) {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(Fault::value(&self.path(name), "this is not a list", "write [...]")),
        }
    }

    /// A text.
    ///
    /// # Errors
    /// It is of another type, too long, or has control characters.
    pub fn text(&self, name: &str) -> Result<Option<&'v str>, Fault> {
        self.get(name).map(|value| text(&self.path(name), value)).transpose()
    }

    /// A truth value.
    ///
    /// # Errors
    /// It is of another type.
    pub fn truth(&self, name: &str) -> Result<Option<bool>, Fault> {
        let read = |value: &Value| {
            let wrong =
                || Fault::value(&self.path(name), "not a truth value", "write true or false");
            value.as_bool().ok_or_else(wrong)
        };
        self.get(name).map(read).transpose()
    }

    /// A whole number within limits.
    ///
    /// # Errors
    /// It is of another type, or beyond them.
    pub fn number<T: TryFrom<u64>>(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<T>, Fault> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_u64().filter(|number| range.contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        let wrong = || {
            let cure = format!("write a number from {} to {}", range.start(), range.end());
            Fault::value(&self.path(name), "this is not a possible number", cure)
        };
        number.ok_or_else(wrong).map(Some)
    }

    /// One of several words, whatever its case.
    ///
    /// # Errors
    /// It is none of them.
    pub fn word<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, Fault> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        let wrong = || {
            let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let cure = format!("write one of {}", list.join(", "));
            Fault::value(&self.path(name), format!("{text:?} is not possible here"), cure)
        };
        found.map(|(_, value)| *value).ok_or_else(wrong).map(Some)
    }

    /// An IPv4 address; an empty text is none.
    ///
    /// # Errors
    /// It is no IPv4 address.
    pub fn address(&self, name: &str) -> Result<Option<IpAddr>, Fault> {
        let Some(text) = self.text(name)?.filter(|text| !text.is_empty()) else { return Ok(None) };
        let wrong = || {
            let rule = format!("{text:?} is not an IP address");
            let cure = "write \"10.0.0.5\" or \"fd00::5\"";
            Fault::rule("InvalidIPAddressFormat", &self.path(name), rule, cure)
        };
        let address = text.parse::<IpAddr>().map_err(|_| wrong())?;
        // One of IPv4 in the clothes of IPv6 would be taken for what it says.
        if address.to_canonical() != address {
            return Err(wrong());
        }
        Ok(Some(address))
    }

    /// The name of a part.
    ///
    /// # Errors
    /// It is not there, or not a name.
    pub fn name(&self) -> Result<String, Fault> {
        let Some(text) = self.text("name")? else {
            let rule = "the name is missing";
            return Err(Fault::value(&self.path("name"), rule, "name it: \"name\": \"first\""));
        };
        name(&self.path("name"), text)
    }

    /// The reference `{"id": ...}` to a resource of a kind or to a part of one.
    ///
    /// # Errors
    /// It is not one.
    pub fn reference(&self, name: &str, kind: Kind) -> Result<Option<Reference>, Fault> {
        if !self.has(name) {
            return Ok(None);
        }
        let object = self.object(name)?;
        object.reference_here(kind).map(Some)
    }

    /// The same, of this object itself.
    ///
    /// # Errors
    /// It is not one.
    pub fn reference_here(&self, kind: Kind) -> Result<Reference, Fault> {
        let path = self.path("id");
        let Some(text) = self.text("id")? else {
            return Err(Fault::value(&path, "the id is missing", Reference::RULE));
        };
        reference(&path, text, kind)
    }
}

/// A resource id of a kind.
///
/// # Errors
/// It is not one.
pub fn reference(path: &str, text: &str, kind: Kind) -> Result<Reference, Fault> {
    let wrong = |rule: String| Fault::rule("LinkedInvalidPropertyId", path, rule, Reference::RULE);
    let reference = Reference::parse(text);
    let reference = reference.ok_or_else(|| wrong(format!("{text:?} is not a resource id")))?;
    let Id { kind: found, .. } = reference.id;
    if found == kind {
        return Ok(reference);
    }
    let (found, wanted) = (found.type_name(), kind.type_name());
    Err(wrong(format!("the id is of type {found}, and {wanted} is wanted")))
}

fn text<'v>(path: &str, value: &'v Value) -> Result<&'v str, Fault> {
    let text = value.as_str();
    let text = text.ok_or_else(|| Fault::value(path, "this is not a text", "write \"...\""))?;
    if text.len() > TEXT_BYTES_MAX {
        let rule = format!("the text has {} bytes", text.len());
        return Err(Fault::value(path, rule, format!("{TEXT_BYTES_MAX} is the most")));
    }
    if text.chars().any(char::is_control) {
        let rule = "the text has a control character or a line break";
        return Err(Fault::value(path, rule, "write it on one line"));
    }
    Ok(text)
}

/// The name of a resource or of a part of one.
///
/// # Errors
/// It is not a name.
pub fn name(path: &str, text: &str) -> Result<String, Fault> {
    match Name::new(text) {
        Some(_) => Ok(text.to_owned()),
        None => {
            let rule = format!("{text:?} is not a valid name");
            Err(Fault::rule("InvalidResourceName", path, rule, Name::RULE))
        }
    }
}

/// A prefix such as `10.0.0.0/24`.
///
/// # Errors
/// It is not one.
pub fn prefix(path: &str, text: &str) -> Result<Prefix, Fault> {
    let parts = text.split_once('/');
    let parsed = parts.and_then(|(address, length)| {
        let address = address.parse::<IpAddr>().ok()?;
        Prefix::new(address, length.parse().ok()?).filter(|prefix| prefix.address() == address)
    });
    parsed.ok_or_else(|| {
        let rule = format!("{text:?} is not an IP prefix");
        let cure = "write its first address and its length: \"10.0.0.0/24\"";
        Fault::rule("InvalidAddressPrefixFormat", path, rule, cure)
    })
}
