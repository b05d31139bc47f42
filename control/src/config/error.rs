//! What is wrong with a configuration: where, which rule, and what to write instead.
//!
//! A file is judged whole, so an answer is a list, in the order of the file's lines.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One fault of a configuration file; also the form of a warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigError {
    /// The value, as a path: `private_endpoint[1].private_ip_address`. Positions count from 0.
    /// Empty if the file as a whole is meant.
    pub path: String,
    /// The line that it stands on, from 1; 0 if the file as a whole is meant.
    pub line: usize,
    /// What is wrong, which is the rule that it breaks.
    pub problem: String,
    /// What to write instead.
    pub cure: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{}\n  {}", self.problem, self.cure)
    }
}

/// Everything that is wrong with a configuration, at least one fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// These faults, sorted by line.
    #[must_use]
    pub fn new(mut errors: Vec<ConfigError>) -> ConfigErrors {
        errors.sort_by(|a, b| (a.line, &a.path).cmp(&(b.line, &b.path)));
        ConfigErrors(errors)
    }

    /// One fault that concerns no line.
    #[must_use]
    pub fn whole(problem: impl Into<String>, cure: impl Into<String>) -> ConfigErrors {
        let (problem, cure) = (problem.into(), cure.into());
        ConfigErrors(vec![ConfigError { path: String::new(), line: 0, problem, cure }])
    }

    /// The faults.
    #[must_use]
    pub fn list(&self) -> &[ConfigError] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
