//! A request and its answer, as far as the API looks at them.

use serde_json::{Value, json};

use crate::resource::Fault;

/// A request.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// The method, in upper case.
    pub method: String,
    /// The path, as it was sent.
    pub path: String,
    /// What follows it behind a question mark.
    pub query: String,
    /// The header `Authorization`.
    pub authorization: Option<String>,
    /// The header `If-Match`.
    pub if_match: Option<String>,
    /// The header `If-None-Match`.
    pub if_none_match: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Call {
    /// A value of the query, by a name without case.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        let mut found = pairs.filter(|(key, _)| decode(key).eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| decode(value))
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn json(&self) -> Result<Value, Fault> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let message = format!("the body is not JSON: {error}; send the resource as an object");
            Fault::new(400, "InvalidRequestContent", message)
        })
    }
}

/// Text with `%20` and the like read; what is not such is left as it is.
#[must_use]
pub(super) fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        let digits = digits.filter(|_| byte == b'%');
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) => {
                plain.push(value);
                at += 3;
            }
            None => {
                plain.push(if byte == b'+' { b' ' } else { byte });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers but those of the body.
    pub headers: Vec<(&'static str, String)>,
    /// The body; `None` for none.
    pub body: Option<Value>,
}

impl Reply {
    /// An answer with a body.
    #[must_use]
    pub fn of(status: u16, body: Value) -> Reply {
        Reply { status, headers: Vec::new(), body: Some(body) }
    }

    /// One without.
    #[must_use]
    pub fn empty(status: u16) -> Reply {
        Reply { status, headers: Vec::new(), body: None }
    }

    /// A list.
    #[must_use]
    pub fn list(values: Vec<Value>) -> Reply {
        Reply::of(200, json!({ "value": Value::Array(values) }))
    }

    /// With a header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }

    /// A refusal.
    #[must_use]
    pub fn fault(fault: &Fault) -> Reply {
        let body = json!({ "error": {
            "code": fault.code, "message": fault.message, "details": [],
        }});
        let reply = Reply::of(fault.status, body);
        match fault.status {
            401 => reply.with("WWW-Authenticate", "Bearer"),
            _ => reply,
        }
    }
}
