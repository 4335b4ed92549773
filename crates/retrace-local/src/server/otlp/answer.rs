//! What exporters are answered: that all or a part was taken, or why nothing was.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message as _;
use serde_json::json;

use super::media_type;
use super::rpc_status::{BAD_REQUEST, RpcStatus};
use crate::otlp::Odd;
use crate::server::error::ApiError;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// What a request is written in, and so its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Encoding {
    Protobuf,
    /// Also what somebody is answered who sent neither.
    #[default]
    Json,
}

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Logs,
    Metrics,
}

impl Encoding {
    /// `None` for what OTLP is not written in.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let sent = media_type(headers);
        // The second is what protobuf is registered as, which some clients send.
        if sent.eq_ignore_ascii_case(PROTOBUF) || sent.eq_ignore_ascii_case("application/protobuf") {
            return Some(Self::Protobuf);
        }
        sent.eq_ignore_ascii_case(JSON).then_some(Self::Json)
    }

    /// All was taken, except spans that belong to nothing and records that cannot be read. A reason without any such record
    /// is a warning.
    pub(super) fn taken(self, signal: Signal, malformed: u64, odd: Odd) -> Response {
        let PartialSuccess { rejected, reason } = PartialSuccess::new(signal, malformed, odd);
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

    /// Nothing was taken: a `Status` in place of the reason that the other calls are answered with, and their headers.
    pub(super) fn refused(self, error: ApiError) -> Response {
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

/// What of a request was not taken.
pub(super) struct PartialSuccess {
    rejected: i64,
    /// Empty where all was taken. A reason without a rejected record is a warning.
    reason: String,
}

impl PartialSuccess {
    pub(super) fn new(signal: Signal, malformed: u64, odd: Odd) -> Self {
        // Log records that belong to nothing are lines of a log, and no error.
        let malformed = if signal == Signal::Traces { malformed } else { 0 };
        let rejected = i64::try_from(malformed.saturating_add(odd.count)).unwrap_or(i64::MAX);
        let ids = (malformed > 0).then(|| "their trace id or span id is missing or malformed".to_owned());
        let reason: Vec<_> = ids.into_iter().chain(odd.reason).collect();
        Self { rejected, reason: reason.join("; ") }
    }

    /// The response as protobuf; the responses of all signals have the same fields.
    pub(super) fn encode(self) -> Vec<u8> {
        let partial_success = (!self.reason.is_empty())
            .then_some(ExportTracePartialSuccess { rejected_spans: self.rejected, error_message: self.reason });
        ExportTraceServiceResponse { partial_success }.encode_to_vec()
    }
}
