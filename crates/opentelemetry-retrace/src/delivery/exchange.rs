//! Messages between the ledger and the transport: requests with their outcomes, and ends of connections.

use std::time::Duration;

use http::StatusCode;
use retrace_protocol::Id;

use crate::delivery::body::Body;

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
    Status { status: StatusCode, retry_after: Option<Duration>, peer_message: Option<String> },
    /// A web page with a success status. A proxy or a web server answered: no receiver sends one.
    WebPage { status: StatusCode },
    /// The request was not sent, because no connection was established.
    NotSent { cause: String },
    /// The request was sent at least in part, and no response came.
    Broken { cause: String },
}

/// End of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    pub reason: CloseReason,
    /// Cause, as a text of this crate.
    pub cause: String,
    /// Text of the receiver, without the key and cut to a maximum length.
    pub peer_message: Option<String>,
}

/// Meaning of the end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The API key was rejected: closed with 4001. Final.
    Unauthorized,
    /// There is no stream, or none for this client: the upgrade was answered by a redirect, 404, 426 or
    /// another permanent failure, or the connection was closed with 4003. Final.
    NoStream,
    /// The connection was not established in time, or the key was not accepted in time.
    NotConnected,
    /// An open connection was lost: closed by the receiver, reset, silent or stuck for too long.
    Lost,
    /// This client closed it.
    Ended,
}

impl Closed {
    pub(crate) fn new(reason: CloseReason, cause: impl Into<String>) -> Self {
        Self { reason, cause: cause.into(), peer_message: None }
    }
}
