//! Why a request on a resource failed, in Azure's form.

use std::fmt;

/// A refusal: HTTP status, Azure's error code, and a message with the field, the rule and the cure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// HTTP status.
    pub status: u16,
    /// Azure's code.
    pub code: &'static str,
    /// What is wrong, and what to do about it.
    pub message: String,
}

impl Fault {
    /// A fault of any kind.
    #[must_use]
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Fault {
        Fault { status, code, message: crate::config::plain(&message.into()) }
    }

    /// A value that breaks a rule: the field, the rule, and the cure.
    #[must_use]
    pub fn value(field: &str, rule: impl fmt::Display, cure: impl fmt::Display) -> Fault {
        Fault::rule("InvalidRequestFormat", field, rule, cure)
    }

    /// As [`Fault::value`], with a code of its own.
    #[must_use]
    pub fn rule(
        code: &'static str,
        field: &str,
        rule: impl fmt::Display,
        cure: impl fmt::Display,
    ) -> Fault {
        Fault::new(400, code, format!("{field}: {rule}; {cure}"))
    }

    /// What the present state does not allow.
    #[must_use]
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Fault {
        Fault::new(409, code, message)
    }

    /// There is no such resource.
    #[must_use]
    pub fn not_found(what: &str) -> Fault {
        let message =
            format!("the resource {what} was not found; create it, or list what there is");
        Fault::new(404, "ResourceNotFound", message)
    }

    /// A reference to a resource that is not there, or that the caller may not see.
    #[must_use]
    pub fn reference(field: &str, what: &str) -> Fault {
        let message = format!(
            "{field}: the referenced resource {what} was not found; create it first, or mend the id"
        );
        Fault::new(400, "InvalidResourceReference", message)
    }

    /// Something of Azure that adit does not do.
    #[must_use]
    pub fn unsupported(field: &str, what: impl fmt::Display) -> Fault {
        let message = format!("{field}: adit does not support {what}; leave it out");
        Fault::new(400, "NotImplemented", message)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Fault {}
