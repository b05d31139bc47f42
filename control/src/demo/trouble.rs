//! What keeps a step of the demo from going on, beside a claim that does not hold.

use std::fmt;
use std::io;
use std::path::Path;

use lab::LabError;

/// Why a step ended early.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The network, a client or a backend failed.
    Lab(LabError),
    /// adit failed or refused; in its words.
    Adit(String),
    /// A file of the demo could not be made or read.
    File(String),
    /// The user wants an end.
    Stopped,
}

impl Trouble {
    /// Makes an error of a file into one that names the file.
    pub(super) fn file(path: &Path) -> impl Fn(io::Error) -> Trouble {
        move |error| Trouble::File(format!("write {}: {error}", path.display()))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Lab(error) => write!(f, "{error}"),
            Trouble::Adit(words) | Trouble::File(words) => f.write_str(words),
            Trouble::Stopped => f.write_str("interrupted"),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::File(error.to_string())
    }
}

impl From<LabError> for Trouble {
    fn from(error: LabError) -> Trouble {
        Trouble::Lab(error)
    }
}
