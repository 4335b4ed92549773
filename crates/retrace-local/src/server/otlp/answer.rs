//! What exporters are answered: that all or a part was taken, or why nothing was.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message as _;
use serde_json::json;

use super::media_type;
use crate::otlp::Odd;
use crate::server::error::ApiError;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";

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

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.BadRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    field_violations: Vec<FieldViolation>,
}

/// `google.rpc.BadRequest.FieldViolation`.
#[derive(Clone, PartialEq, prost::Message)]
struct FieldViolation {
    #[prost(string, tag = "1")]
    field: String,
    #[prost(string, tag = "2")]
    description: String,
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
        // Log records that belong to nothing are lines of a log, and no error.
        let malformed = if signal == Signal::Traces { malformed } else { 0 };
        let rejected = i64::try_from(malformed.saturating_add(odd.count)).unwrap_or(i64::MAX);
        let ids = (malformed > 0).then(|| "their trace id or span id is missing or malformed".to_owned());
        let reason: Vec<_> = ids.into_iter().chain(odd.reason).collect();
        let is_partial = !reason.is_empty();
        let reason = reason.join("; ");
        let body = match self {
            // The answers of all signals have the same fields.
            Self::Protobuf => ExportTraceServiceResponse {
                partial_success: is_partial
                    .then_some(ExportTracePartialSuccess { rejected_spans: rejected, error_message: reason }),
            }
            .encode_to_vec(),
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
                let details = bad.then(|| Any {
                    type_url: BAD_REQUEST.into(),
                    value: BadRequest {
                        field_violations: vec![FieldViolation { field, description: message.clone() }],
                    }
                    .encode_to_vec(),
                });
                Status { message, details: details.into_iter().collect() }.encode_to_vec()
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
