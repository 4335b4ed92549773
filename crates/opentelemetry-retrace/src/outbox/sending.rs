//! A request to make, and its outcome.

use std::time::Duration;

use http::StatusCode;
use retrace_protocol::Id;

use crate::outbox::body::Body;

/// Request to make now.
#[derive(Clone, Debug)]
pub(crate) struct Sending {
    /// Number by which the outcome is reported.
    pub serial: u64,
    pub id: Id,
    pub method: Method,
    pub body: Body,
}

/// Kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// `POST` of a whole run.
    Create,
    /// `PATCH` of a run that the receiver has.
    Patch,
}

/// Outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The receiver answered.
    Status { status: StatusCode, retry_after: Option<Duration>, words: Option<String> },
    /// The request was not sent, because no connection was established.
    NotSent { cause: String },
    /// The request was sent at least in part, and no response came.
    Broken { cause: String },
}
