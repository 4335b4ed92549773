//! Entries of a cassette.

use retrace_protocol::{Json, SpanType};
use serde::{Deserialize, Serialize};

use crate::{Fingerprint, Lane, Response};

/// Effects of a step on the world, which decide if it may run again after a fork.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effects {
    /// It changes nothing.
    None,
    /// Running it again changes nothing more.
    Idempotent,
    /// Running it again does it again.
    #[default]
    #[serde(other)]
    External,
}

/// Tokens of a model call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenCount {
    /// Tokens of the request.
    #[serde(default)]
    pub input: u64,
    /// Tokens of the response.
    #[serde(default)]
    pub output: u64,
}

/// End of a recorded call.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// With an HTTP response of any status.
    Response(Response),
    /// With a value, as JSON.
    Value(Json),
    /// With an error of the client or of the step, as text.
    Error(String),
    /// It cannot be replayed, for this reason.
    NotReplayable(String),
    /// It marks a place and has no result.
    Mark,
}

/// One recorded call.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Place in the run, from 0, in the order in which the calls began.
    pub ordinal: u64,
    /// Enclosing steps.
    pub lane: Lane,
    /// Ordinal of a step among those of its name in its lane. What happened inside of it has the lane `lane/name#step`.
    pub step: Option<u32>,
    /// Type of the span.
    pub span_type: SpanType,
    /// Name: the operation of a model call, such as `chat`; else the name of the step.
    pub name: String,
    /// Fingerprint of the request.
    pub fingerprint: Fingerprint,
    /// Method and URL of an HTTP call, without credentials: `POST https://api.openai.com/v1/chat/completions`.
    pub endpoint: Option<String>,
    /// Model that was requested.
    pub model: Option<String>,
    /// Request after redaction: the body of a model call, the arguments of a step.
    pub request: Json,
    /// How it ended.
    pub outcome: Outcome,
    /// Effects of a step.
    pub effects: Option<Effects>,
    /// Tokens, where the response states them.
    pub tokens: Option<TokenCount>,
    /// Cost in US dollars, where it is known.
    pub cost_usd: Option<f64>,
    /// Ids of the response's tokens, where the provider sent them.
    pub token_ids: Vec<u64>,
    /// Id of the span in Retrace, where it has one.
    pub span_id: Option<String>,
    /// True if an equal call of the lane was under way when it began: which of them is which is not known.
    pub concurrent: bool,
    /// True if redaction changed the response: its bytes are not those of the provider.
    pub redacted: bool,
}

impl Entry {
    /// Makes an entry outside of all steps, with an outcome that marks nothing yet.
    #[must_use]
    pub fn new(span_type: SpanType, name: impl Into<String>, request: Json) -> Self {
        let name = name.into();
        let fingerprint = Fingerprint::of(&name, None, &request.to_value().unwrap_or_default());
        Self::with_fingerprint(span_type, name, request, fingerprint)
    }

    /// [`Entry::new`] with a fingerprint that is known: nothing is parsed.
    #[must_use]
    pub fn with_fingerprint(
        span_type: SpanType,
        name: impl Into<String>,
        request: Json,
        fingerprint: Fingerprint,
    ) -> Self {
        Self {
            ordinal: 0,
            lane: Lane::root(),
            step: None,
            span_type,
            name: name.into(),
            fingerprint,
            endpoint: None,
            model: None,
            request,
            outcome: Outcome::Mark,
            effects: None,
            tokens: None,
            cost_usd: None,
            token_ids: Vec::new(),
            span_id: None,
            concurrent: false,
            redacted: false,
        }
    }
}
