//! Where things are sent, and under which header names (PROTOCOL.md sections 1 and 2).

/// The hosted API.
pub const DEFAULT_BASE_URL: &str = "https://api.retraceai.tech";

/// The WebSocket of live events, below the base URL with its scheme replaced.
pub const STREAM: &str = "/ws/v1/stream";
/// `POST` a whole trace; `GET` a list of traces.
pub const TRACES: &str = "/api/v1/traces";
/// `POST` anonymous SDK telemetry.
pub const TELEMETRY: &str = "/api/v1/internal/logs";
/// `POST` a question to the server-side circuit breaker.
pub const ENFORCEMENT_CHECK: &str = "/api/v1/enforcement/check";

/// `PATCH` the end of a trace, `GET` or `DELETE` it.
#[must_use]
pub fn trace(id: &crate::Id) -> String {
    format!("{TRACES}/{id}")
}

/// `POST` a [`crate::golden::GoldenMark`].
#[must_use]
pub fn golden(id: &crate::Id) -> String {
    format!("{TRACES}/{id}/golden")
}

/// `POST` a [`crate::command::ForkClaim`].
#[must_use]
pub fn fork_claim(fork_id: &str) -> String {
    format!("/api/v1/forks/{fork_id}/replay/claim")
}

/// `GET` what became of a hold.
#[must_use]
pub fn enforcement_hold(hold_id: &str) -> String {
    format!("/api/v1/enforcement/holds/{hold_id}")
}

/// The header that carries the API key.
pub const KEY_HEADER: &str = "x-retrace-key";
/// The header that names the client: `<name>/<version>`.
pub const CLIENT_HEADER: &str = "x-retrace-client";
