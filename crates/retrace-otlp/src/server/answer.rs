//! Responses to exporters: full success, partial success, or the error.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message as _;
use serde_json::json;

use super::http::media_type;
use super::rejection::Rejection;
use super::rpc_status::{BAD_REQUEST, RpcStatus};
use crate::Unreadable;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// Encoding of a request, and of its response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Encoding {
    Protobuf,
    /// Also the encoding of the response to a request in another media type.
    #[default]
    Json,
}

/// Kind of exported data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Logs,
    Metrics,
}

impl Encoding {
    /// Returns `None` if the content type is neither of OTLP's encodings.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let sent = media_type(headers);
        // Some clients send the registered media type of protobuf.
        if sent.eq_ignore_ascii_case(PROTOBUF) || sent.eq_ignore_ascii_case("application/protobuf") {
            return Some(Self::Protobuf);
        }
        sent.eq_ignore_ascii_case(JSON).then_some(Self::Json)
    }

    /// Responds that the request was accepted, except for spans with malformed ids and records that cannot be decoded.
    pub(super) fn accepted(self, signal: Signal, malformed: u64, unreadable: Unreadable) -> Response {
        let PartialSuccess { rejected, reason } = PartialSuccess::new(signal, malformed, unreadable);
        let is_partial = !reason.is_empty();
        let body = match self {
            Self::Protobuf => PartialSuccess { rejected, reason }.encode(),
            Self::Json if is_partial => {
                let count = if signal == Signal::Logs { "rejectedLogRecords" } else { "rejectedSpans" };
                json!({"partialSuccess": {count: rejected.to_string(), "errorMessage": reason}})
                    .to_string()
                    .into_bytes()
            }
            Self::Json => b"{}".to_vec(),
        };
        (StatusCode::OK, [(header::CONTENT_TYPE, self.content_type())], body).into_response()
    }

    /// Responds that the request was rejected: a `Status` in place of the JSON reason of the other endpoints, and the
    /// same headers.
    pub(super) fn rejected(self, error: Rejection) -> Response {
        let (status, message) = (error.status(), error.refusal().error.clone());
        let field = error.refusal().field.clone().unwrap_or_default();
        let bad = status == StatusCode::BAD_REQUEST;
        let body = match self {
            Self::Protobuf => {
                let status = RpcStatus::new(message);
                if bad { status.with_violation(field) } else { status }.encode_to_vec()
            }
            Self::Json if bad => {
                let violation = json!({"field": field, "description": message});
                let details = json!([{"@type": BAD_REQUEST, "fieldViolations": [violation]}]);
                json!({"message": message, "details": details}).to_string().into_bytes()
            }
            Self::Json => json!({"message": message}).to_string().into_bytes(),
        };
        let (parts, _) = error.into_response().into_parts();
        (parts.status, parts.headers, [(header::CONTENT_TYPE, self.content_type())], body).into_response()
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => PROTOBUF,
            Self::Json => JSON,
        }
    }
}

/// The rejected part of a request.
pub(super) struct PartialSuccess {
    rejected: i64,
    /// Empty if all records were accepted. A reason without a rejected record is a warning.
    reason: String,
}

impl PartialSuccess {
    pub(super) fn new(signal: Signal, malformed: u64, unreadable: Unreadable) -> Self {
        // Log records without a span are not an error.
        let malformed = if signal == Signal::Traces { malformed } else { 0 };
        let rejected = i64::try_from(malformed.saturating_add(unreadable.count)).unwrap_or(i64::MAX);
        let ids = (malformed > 0).then(|| "their trace id or span id is missing or malformed".to_owned());
        let reason: Vec<_> = ids.into_iter().chain(unreadable.reason).collect();
        Self { rejected, reason: reason.join("; ") }
    }

    /// Encodes the response as protobuf; the responses of all signals have the same fields.
    pub(super) fn encode(self) -> Vec<u8> {
        let partial_success = (!self.reason.is_empty())
            .then_some(ExportTracePartialSuccess { rejected_spans: self.rejected, error_message: self.reason });
        ExportTraceServiceResponse { partial_success }.encode_to_vec()
    }
}
