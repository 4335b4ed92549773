//! Paths and header names (PROTOCOL.md sections 1 and 2).
//!
//! Ids are any text (section 3), so that those in a path are percent-encoded; a UUID stays unchanged.

use std::fmt::Write as _;

/// The hosted API.
pub const DEFAULT_BASE_URL: &str = "https://api.retraceai.tech";

/// The WebSocket of live events, below the base URL with its scheme replaced.
pub const STREAM: &str = "/ws/v1/stream";
/// `POST` a whole trace; `GET` a list of traces.
pub const TRACES: &str = "/api/v1/traces";
/// `POST` anonymous SDK telemetry.
pub const TELEMETRY: &str = "/api/v1/internal/logs";
/// `POST` a check of the server-side circuit breaker.
pub const ENFORCEMENT_CHECK: &str = "/api/v1/enforcement/check";
/// `GET` the calls that wait for an approval. This project's receiver has it.
pub const ENFORCEMENT_HOLDS: &str = "/api/v1/enforcement/holds";

/// `PATCH` the end of a trace, `GET` or `DELETE` it.
#[must_use]
pub fn trace(id: &crate::Id) -> String {
    format!("{TRACES}/{}", segment(&id.as_text()))
}

/// `GET` one span with its content. This project's receiver has it; it is not documented for the hosted API.
#[must_use]
pub fn span(trace_id: &crate::Id, id: &crate::Id) -> String {
    format!("{}/spans/{}", trace(trace_id), segment(&id.as_text()))
}

/// `GET` the changes of a trace, see [`crate::read::Changes`]. This project's receiver has it.
#[must_use]
pub fn changes(id: &crate::Id) -> String {
    format!("{}/changes", trace(id))
}

/// `POST` a [`crate::golden::GoldenMark`].
#[must_use]
pub fn golden(id: &crate::Id) -> String {
    format!("{}/golden", trace(id))
}

/// `POST` a [`crate::command::ForkClaim`].
#[must_use]
pub fn fork_claim(fork_id: &str) -> String {
    format!("/api/v1/forks/{}/replay/claim", segment(fork_id))
}

/// `GET` the state of a hold; `POST` a [`crate::enforcement::HoldDecision`], which this project's receiver takes.
#[must_use]
pub fn enforcement_hold(hold_id: &str) -> String {
    format!("{ENFORCEMENT_HOLDS}/{}", segment(hold_id))
}

/// The same paths for a router: `{…}` stands for an id.
pub mod route {
    /// See [`super::trace`].
    pub const TRACE: &str = "/api/v1/traces/{id}";
    /// See [`super::span`].
    pub const SPAN: &str = "/api/v1/traces/{id}/spans/{span_id}";
    /// See [`super::changes`].
    pub const CHANGES: &str = "/api/v1/traces/{id}/changes";
    /// See [`super::golden`].
    pub const GOLDEN: &str = "/api/v1/traces/{id}/golden";
    /// See [`super::fork_claim`].
    pub const FORK_CLAIM: &str = "/api/v1/forks/{id}/replay/claim";
    /// See [`super::enforcement_hold`].
    pub const ENFORCEMENT_HOLD: &str = "/api/v1/enforcement/holds/{id}";
}

/// The header that carries the API key.
pub const KEY_HEADER: &str = "x-retrace-key";
/// The header that names the client: `<name>/<version>`.
pub const CLIENT_HEADER: &str = "x-retrace-client";

/// Encodes `text` as one segment of a path: all but the unreserved characters of RFC 3986 become `%xx`.
fn segment(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stays_one_segment_of_the_path() {
        assert_eq!(
            trace(&"0af76519-16cd-43dd-8448-eb211c80319c".into()),
            "/api/v1/traces/0af76519-16cd-43dd-8448-eb211c80319c"
        );
        assert_eq!(golden(&"a/b?c#d %é".into()), "/api/v1/traces/a%2Fb%3Fc%23d%20%25%C3%A9/golden");
        assert_eq!(span(&"t".into(), &"s/1".into()), "/api/v1/traces/t/spans/s%2F1");
        assert_eq!(fork_claim("f 1"), "/api/v1/forks/f%201/replay/claim");
    }

    #[test]
    fn a_route_is_the_path_with_the_ids_taken_out() {
        for (route, path) in [
            (route::TRACE, trace(&"x".into())),
            (route::SPAN, span(&"x".into(), &"y".into())),
            (route::CHANGES, changes(&"x".into())),
            (route::GOLDEN, golden(&"x".into())),
            (route::FORK_CLAIM, fork_claim("x")),
            (route::ENFORCEMENT_HOLD, enforcement_hold("x")),
        ] {
            assert_eq!(route.replace("{id}", "x").replace("{span_id}", "y"), path);
        }
    }
}
