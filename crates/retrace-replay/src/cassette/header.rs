//! First line of a cassette.

use serde::{Deserialize, Serialize};

/// Major version of the format that this crate writes, and the newest that it reads.
pub const FORMAT_MAJOR: u32 = 1;
/// Minor version of the format that this crate writes. A reader ignores what a newer minor version adds.
pub const FORMAT_MINOR: u32 = 0;

/// Source of the responses of a cassette.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Recorded as bytes, at the HTTP client.
    #[default]
    Tape,
    /// Rebuilt from a run that a receiver stores.
    Run,
    /// Something that a newer version knows.
    #[serde(other)]
    Other,
}

/// First line of a cassette: what it is and how it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the format, `major.minor`.
    #[serde(rename = "retrace_cassette")]
    pub version: String,
    /// Name of the run.
    #[serde(default)]
    pub name: String,
    /// Id of the run in Retrace, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// Time of the recording, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_at: Option<String>,
    /// Crate that wrote it, with its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorder: Option<String>,
    /// Where the responses come from.
    #[serde(default)]
    pub origin: Origin,
    /// Redaction rules that were applied before writing, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redaction: Vec<String>,
    /// True if fingerprints were computed through the application's `normalize`; a reader computes them anew then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub normalized: bool,
}

impl Header {
    /// Makes the header of a cassette of this format version.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            version: format!("{FORMAT_MAJOR}.{FORMAT_MINOR}"),
            name: name.into(),
            run_id: None,
            recorded_at: None,
            recorder: None,
            origin: Origin::Tape,
            redaction: vec!["genai-redact".to_owned()],
            normalized: false,
        }
    }

    /// Returns the major version, if the version is `major.minor`.
    #[must_use]
    pub fn major(&self) -> Option<u32> {
        self.version.split('.').next()?.parse().ok()
    }
}
