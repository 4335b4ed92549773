//! Server-side circuit breaker and telemetry of the SDKs: small bodies that a receiver must be able to read (PROTOCOL.md
//! section 20).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Timestamp;

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

/// A call that waits for an approval. Clients read `status` and `reason`; the rest is for those who decide.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnforcementHold {
    /// Its id, as in [`EnforcementVerdict::hold_id`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `pending`, `approved`, `denied` or `expired`; anything else counts as `pending`.
    pub status: String,
    /// Reason of the policy, or of the decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The policy that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_id: Option<String>,
    /// The check that was held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<EnforcementCheck>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When it expires unless it is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// The answer to `GET /api/v1/enforcement/holds`. This project's receiver has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnforcementHolds {
    /// In the order in which they were made.
    pub holds: Vec<EnforcementHold>,
}

/// The body of `POST /api/v1/enforcement/holds/:id`. This project's receiver takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldDecision {
    /// Whether the call may go out.
    pub decision: Decision,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A decision on a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The call may go out.
    Approve,
    /// It may not.
    Deny,
}

/// The body of `POST /api/v1/internal/logs`: anonymous telemetry of the official SDKs. This project never sends it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TelemetryReport {
    /// Name of the SDK, such as `sdk-python`.
    pub service: String,
    /// Reported events.
    pub events: Vec<Map<String, Value>>,
}
