//! Error responses: a status and a JSON reason.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use retrace_protocol::read::Refusal;
use retrace_protocol::write;

/// Default delay after which a client may try again, in seconds.
const RETRY_AFTER: u32 = 1;

/// An error response.
#[derive(Debug)]
pub struct Rejection {
    status: StatusCode,
    refusal: Refusal,
    retry_after: u32,
}

impl Rejection {
    /// Creates a response with this status and reason.
    pub fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, refusal: Refusal { error: reason.into(), field: None }, retry_after: RETRY_AFTER }
    }

    /// Sets the field of the request that is invalid.
    #[must_use]
    pub fn with_field(mut self, field: &str) -> Self {
        self.refusal.field = Some(field.to_owned());
        self
    }

    /// Sets the delay after which the request may be repeated, in seconds; by default 1. It is sent with the statuses 429
    /// and 503.
    #[must_use]
    pub const fn with_retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = seconds;
        self
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The reason and the invalid field.
    #[must_use]
    pub const fn refusal(&self) -> &Refusal {
        &self.refusal
    }

    /// Delay after which the request may be repeated, in seconds.
    #[must_use]
    pub const fn retry_after(&self) -> u32 {
        self.retry_after
    }

    /// Creates a 404.
    pub fn not_found(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, reason)
    }

    /// Creates a 503, which clients repeat.
    pub fn busy(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, reason)
    }
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        Self { status: StatusCode::BAD_REQUEST, refusal, retry_after: RETRY_AFTER }
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        // Serialization of a refusal does not fail; if it did, only the status would remain.
        let body = write::to_string(&self.refusal).unwrap_or_default();
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(header::RETRY_AFTER, self.retry_after.into());
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            // The rest of these requests is not read, so the connection is closed.
            StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}
