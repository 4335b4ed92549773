//! Server-side circuit breaker and telemetry of the SDKs: small bodies that a receiver must be able to read (PROTOCOL.md
//! section 20).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The body of `POST /api/v1/enforcement/check`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnforcementCheck {
    /// The run; its trace id.
    pub run_id: String,
    /// Tokens so far.
    pub proposed_tokens: u64,
    /// US dollars so far.
    pub proposed_usd: f64,
    /// The project, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
    /// The trace, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The span that was just added, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_id: Option<String>,
    /// The tool, when the span is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_name: Option<String>,
    /// The first 32 hex digits of SHA-256 over the tool's arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_args_hash: Option<String>,
}

/// The answer to a check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnforcementVerdict {
    /// `allow`, `block` or `hold`; anything else counts as `allow`.
    pub verdict: String,
    /// Reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The policy that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_id: Option<String>,
    /// Id to poll during a hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_id: Option<String>,
}

/// The body of `POST /api/v1/internal/logs`: anonymous telemetry of the official SDKs. This project never sends it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TelemetryReport {
    /// Name of the SDK, such as `sdk-python`.
    pub service: String,
    /// Reported events.
    pub events: Vec<Map<String, Value>>,
}
