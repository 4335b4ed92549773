//! Errors of a configuration.

use std::io;
use std::path::PathBuf;

/// Error of a configuration: what is wrong, where, and what to do.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The file is no TOML.
    #[error("{place} is not TOML: {problem}")]
    Syntax {
        /// The file.
        place: String,
        /// The defect and its position.
        problem: String,
    },
    /// A key that does not exist.
    #[error("{place}: `{name}` is not a setting{}", suggestion(.nearest))]
    Unknown {
        /// The file or the environment.
        place: String,
        /// The name.
        name: String,
        /// The nearest name that exists.
        nearest: Option<String>,
    },
    /// A value that cannot be used.
    #[error("{name}: {problem}")]
    Value {
        /// The setting, with its table.
        name: String,
        /// The defect, and what is allowed.
        problem: String,
    },
}

/// The text of `Display`: a `main` that returns the error prints it with `Debug`.
impl std::fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

fn suggestion(nearest: &Option<String>) -> String {
    match nearest {
        Some(nearest) => format!(": did you mean `{nearest}`?"),
        None => ": `retrace-gateway --check` lists those that are".to_owned(),
    }
}

impl ConfigError {
    pub(crate) fn value(name: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Value { name: name.into(), problem: problem.into() }
    }
}
