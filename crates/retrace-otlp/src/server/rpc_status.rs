//! `google.rpc.Status`, the error body of OTLP
//! (<https://github.com/googleapis/googleapis/blob/master/google/rpc/status.proto>).

pub(super) const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";
#[cfg(feature = "grpc")]
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RpcStatus {
    /// gRPC status code. OTLP over HTTP omits it.
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Any {
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

/// `google.rpc.RetryInfo`.
#[cfg(feature = "grpc")]
#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[cfg(feature = "grpc")]
#[derive(Clone, PartialEq, prost::Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

impl RpcStatus {
    pub(super) fn new(message: String) -> Self {
        Self { code: 0, message, details: Vec::new() }
    }

    /// Adds the invalid field.
    pub(super) fn with_violation(self, field: String) -> Self {
        let violation = FieldViolation { field, description: self.message.clone() };
        self.with(BAD_REQUEST, &BadRequest { field_violations: vec![violation] })
    }

    /// Adds the delay after which the request may be repeated.
    #[cfg(feature = "grpc")]
    pub(super) fn with_retry_after(self, seconds: i64) -> Self {
        self.with(RETRY_INFO, &RetryInfo { retry_delay: Some(Delay { seconds }) })
    }

    fn with(mut self, type_url: &str, detail: &impl prost::Message) -> Self {
        self.details.push(Any { type_url: type_url.to_owned(), value: detail.encode_to_vec() });
        self
    }
}
