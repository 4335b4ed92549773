//! Notices to the user, with a text of this crate and a text of the receiver.

use retrace_protocol::{Signal, SignalCode};

/// Notice to the user. The receiver's text goes to the user's callback only; log lines omit it, because a
/// receiver may repeat content in it.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    pub code: SignalCode,
    /// Text of this crate.
    pub text: String,
    /// Number of lost spans and the reason, of a notice about nothing else.
    pub loss: Option<(u64, String)>,
    /// Text of the receiver.
    peer_message: Option<String>,
}

impl Notice {
    pub(crate) fn lost(spans: u64, why: &str) -> Self {
        let text = format!("{spans} spans lost: {why}");
        Self { code: SignalCode::SpansLost, text, loss: Some((spans, why.to_owned())), peer_message: None }
    }

    /// Returns true if the cause may pass without a loss.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self.code, SignalCode::Unreachable | SignalCode::RateLimited)
    }

    pub(crate) fn signal(&self) -> Signal {
        let message = match &self.peer_message {
            Some(peer_message) => format!("{}; it says: {peer_message}", self.text),
            None => self.text.clone(),
        };
        Signal::new(self.code, message)
    }
}

/// Reason why an attempt failed.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    /// Text of this crate.
    pub text: String,
    /// Text of the receiver.
    pub peer_message: Option<String>,
}

impl Cause {
    pub(crate) fn by_us(text: String) -> Self {
        Self { text, peer_message: None }
    }

    /// Creates a notice with a consequence.
    pub(crate) fn notice(self, code: SignalCode, consequence: &str) -> Notice {
        let text = format!("{}; {consequence}", self.text);
        Notice { code, text, loss: None, peer_message: self.peer_message }
    }
}
