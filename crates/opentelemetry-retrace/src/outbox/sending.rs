//! A request to make, and its answer.

use std::time::Duration;

use http::StatusCode;
use retrace_protocol::Id;

use crate::outbox::body::Body;

/// A request to make now.
#[derive(Clone, Debug)]
pub(crate) struct Sending {
    /// To say later what became of it.
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
    /// `PATCH` of a run that it has.
    Patch,
}

/// Outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The receiver answered.
    Status { status: StatusCode, retry_after: Option<Duration>, words: Option<String> },
    /// Nothing was sent: no connection came about.
    NotSent { cause: String },
    /// Something was sent and no answer came.
    Broken { cause: String },
}
