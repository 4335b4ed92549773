//! How a connection ended.

use http::StatusCode;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::secret::ApiKey;
use crate::transport::retry::{Verdict, verdict};
use crate::transport::words::{causes, reason, words};

/// The receiver does not take the key, or did not get it in time (PROTOCOL.md section 4).
const BAD_KEY: u16 = 4001;
/// The receiver does not take the `Origin`. We send none, so something on the way did.
const BAD_ORIGIN: u16 = 4003;

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    pub reason: CloseReason,
    /// In our words.
    pub cause: String,
    /// In the receiver's, without the key and not many.
    pub words: Option<String>,
}

/// What the end of a connection means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The key was rejected: closed with 4001. Final.
    Unauthorized,
    /// There is no stream, or none for us: the upgrade answered by a redirect, 404, 426 or whatever else will not pass, or
    /// closed with 4003. Final.
    NoStream,
    /// No connection came about in time, or the key was not taken in time.
    NotConnected,
    /// An open connection was lost: closed by the receiver, reset, silent or stuck for too long.
    Lost,
    /// We closed it.
    Ended,
}

impl Closed {
    pub(super) fn new(reason: CloseReason, cause: impl Into<String>) -> Self {
        Self { reason, cause: cause.into(), words: None }
    }

    pub(super) fn ended() -> Self {
        Self::new(CloseReason::Ended, "closed by us")
    }

    /// The upgrade failed.
    pub(super) fn refused(error: &Error, api_key: &ApiKey) -> Self {
        let Error::Http(response) = error else {
            return Self::new(CloseReason::NotConnected, format!("the upgrade failed: {}", causes(error)));
        };
        let status = response.status();
        let words = response.body().as_deref().and_then(|body| reason(body, api_key));
        Self { words, ..Self::new(meaning(status), format!("the upgrade was answered with {}", status.as_u16())) }
    }

    /// The receiver closed the connection; `otherwise` is what that means unless the code says more.
    pub(super) fn by_peer(frame: Option<&CloseFrame>, otherwise: CloseReason, api_key: &ApiKey) -> Self {
        let Some(frame) = frame else { return Self::new(otherwise, "the receiver closed the connection") };
        let code = u16::from(frame.code);
        let reason = match code {
            BAD_KEY => CloseReason::Unauthorized,
            BAD_ORIGIN => CloseReason::NoStream,
            _ => otherwise,
        };
        let cause = format!("the receiver closed the connection with {code}");
        Self { words: words(&frame.reason, api_key), ..Self::new(reason, cause) }
    }

    /// Nothing more can be read.
    pub(super) fn broken(error: Option<&Error>, reason: CloseReason) -> Self {
        let cause = match error {
            None | Some(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
                "the receiver ended the connection without a close frame".to_owned()
            }
            Some(Error::Capacity(CapacityError::MessageTooLong { size, max_size })) => {
                format!("the receiver sent a message of {size} bytes; {max_size} are read at most")
            }
            Some(Error::Io(error)) => format!("the connection broke: {error}"),
            Some(error) => format!("the receiver broke the rules of WebSockets: {error}"),
        };
        Self::new(reason, cause)
    }
}

/// The upgrade carries no key, so that no answer to it can mean one.
fn meaning(status: StatusCode) -> CloseReason {
    match verdict(status) {
        Verdict::Retry => CloseReason::NotConnected,
        _ => CloseReason::NoStream,
    }
}

/// What to tell a receiver whose bytes cannot be read on.
pub(super) fn complaint(error: &Error) -> Option<CloseCode> {
    match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some(CloseCode::Protocol),
        Error::Capacity(_) => Some(CloseCode::Size),
        Error::Utf8(_) => Some(CloseCode::Invalid),
        _ => None,
    }
}
