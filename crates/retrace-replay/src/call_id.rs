//! Identification of calls in reports and refusals.

use std::fmt::{self, Display};

use serde::Serialize;

use crate::cassette::Entry;

/// Identification of a call, recorded or live.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CallId {
    /// Place in the recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<u64>,
    /// Enclosing steps.
    pub lane: String,
    /// Type of the span.
    pub span_type: &'static str,
    /// Name.
    pub name: String,
}

impl CallId {
    /// Returns the identification of an entry.
    #[must_use]
    pub fn of_entry(entry: &Entry) -> Self {
        Self {
            ordinal: Some(entry.ordinal),
            lane: entry.lane.to_string(),
            span_type: entry.span_type.as_str(),
            name: entry.name.clone(),
        }
    }
}

impl Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ordinal {
            Some(ordinal) => write!(f, "entry {ordinal} ({} `{}`", self.span_type, self.name)?,
            None => write!(f, "{} `{}`", self.span_type, self.name)?,
        }
        match (self.lane.is_empty(), self.ordinal) {
            (true, None) => Ok(()),
            (true, Some(_)) => f.write_str(")"),
            (false, None) => write!(f, " in {}", self.lane),
            (false, Some(_)) => write!(f, " in {})", self.lane),
        }
    }
}
