//! The one error of this crate past the sandbox: which operation failed, on what, and why.

use std::fmt;
use std::io;

/// An operation on a namespace, a link, a process or a socket that failed.
///
/// Displayed as `operation subject: source`, for example
/// `set mtu of eth0 in client: Invalid argument (os error 22)`.
#[derive(Debug)]
pub struct LabError {
    /// What was being done, as a verb: `create namespace`, `connect`.
    pub operation: &'static str,
    /// The thing it was done to, by the name its user gave it.
    pub subject: String,
    /// What the operating system answered.
    pub source: io::Error,
}

impl LabError {
    /// An error of `operation` on `subject`.
    pub fn new(operation: &'static str, subject: impl Into<String>, source: io::Error) -> Self {
        Self { operation, subject: subject.into(), source }
    }

    /// The kind of the source. A timeout is always [`io::ErrorKind::TimedOut`].
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

impl fmt::Display for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.operation, self.subject, self.source)
    }
}

impl std::error::Error for LabError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Names the operation and its subject where an [`io::Error`] turns into a [`LabError`].
pub(crate) trait Context<T> {
    fn context(
        self,
        operation: &'static str,
        subject: impl FnOnce() -> String,
    ) -> Result<T, LabError>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(
        self,
        operation: &'static str,
        subject: impl FnOnce() -> String,
    ) -> Result<T, LabError> {
        self.map_err(|source| LabError::new(operation, subject(), source))
    }
}
