//! End of a connection.

use http::StatusCode;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::config::secret::ApiKey;
use crate::delivery::{CloseReason, Closed, Verdict, verdict};
use crate::transport::peer_message::{causes, peer_message, reason};

/// The receiver rejects the API key, or did not get it in time (PROTOCOL.md section 4).
const BAD_KEY: u16 = 4001;
/// The receiver rejects the `Origin`. This client sends none, so an intermediary did.
const BAD_ORIGIN: u16 = 4003;

impl Closed {
    pub(super) fn ended() -> Self {
        Self::new(CloseReason::Ended, "closed by us")
    }

    /// Creates the end for a failed upgrade.
    pub(super) fn refused(error: &Error, api_key: &ApiKey) -> Self {
        let Error::Http(response) = error else {
            return Self::new(CloseReason::NotConnected, format!("the upgrade failed: {}", causes(error)));
        };
        let status = response.status();
        let peer_message = response.body().as_deref().and_then(|body| reason(body, api_key));
        Self {
            peer_message,
            ..Self::new(meaning(status), format!("the upgrade was answered with {}", status.as_u16()))
        }
    }

    /// Creates the end for a close frame of the receiver; `otherwise` is the reason unless the code is more
    /// specific.
    pub(super) fn by_peer(frame: Option<&CloseFrame>, otherwise: CloseReason, api_key: &ApiKey) -> Self {
        let Some(frame) = frame else { return Self::new(otherwise, "the receiver closed the connection") };
        let code = u16::from(frame.code);
        let reason = match code {
            BAD_KEY => CloseReason::Unauthorized,
            BAD_ORIGIN => CloseReason::NoStream,
            _ => otherwise,
        };
        let cause = format!("the receiver closed the connection with {code}");
        Self { peer_message: peer_message(&frame.reason, api_key), ..Self::new(reason, cause) }
    }

    /// Creates the end for a connection from which nothing more can be read.
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

/// Classifies the status of a failed upgrade. The upgrade carries no key, so no status refers to one.
fn meaning(status: StatusCode) -> CloseReason {
    match verdict(status) {
        Verdict::Retry => CloseReason::NotConnected,
        _ => CloseReason::NoStream,
    }
}

/// Close code for a receiver whose bytes cannot be parsed.
pub(super) fn complaint(error: &Error) -> Option<CloseCode> {
    match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some(CloseCode::Protocol),
        Error::Capacity(_) => Some(CloseCode::Size),
        Error::Utf8(_) => Some(CloseCode::Invalid),
        _ => None,
    }
}
