//! Messages of a server to the user of an agent (PROTOCOL.md section 8).

use std::fmt;

/// A condition that the user should know about, reported by the server or detected by the client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Signal {
    /// Kind of the condition.
    pub code: SignalCode,
    /// Description; never contains the API key or content of a span.
    pub message: String,
    /// True if a repetition may succeed.
    pub retryable: bool,
    /// True if recording has stopped for good.
    pub fatal: bool,
}

/// Kinds of [`Signal`]. The first four are defined by the protocol, the others are detected by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignalCode {
    /// The server requests to stop recording.
    Halt,
    /// The account has used up its credits; recording goes on.
    CreditsExhausted,
    /// The rate limit is exceeded; recording goes on.
    RateLimited,
    /// Any other error from the server.
    Error,
    /// The server rejects the API key.
    Unauthorized,
    /// The server rejected a run for good.
    Rejected,
    /// The server already has a run of another client under the same id.
    Conflict,
    /// A run exceeded the size limit of the server; it was shortened or rejected.
    TooLarge,
    /// The server is unreachable or fails; recorded data waits.
    Unreachable,
    /// Spans were lost; the message has their number and the reason.
    SpansLost,
}

impl SignalCode {
    /// Returns the name in Retrace's SDKs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Halt => "halt",
            Self::CreditsExhausted => "credits_exhausted",
            Self::RateLimited => "rate_limited",
            Self::Error => "error",
            Self::Unauthorized => "unauthorized",
            Self::Rejected => "rejected",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::Unreachable => "unreachable",
            Self::SpansLost => "spans_lost",
        }
    }
}

impl fmt::Display for SignalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl Signal {
    /// Creates a signal; its code determines whether it is retryable and fatal.
    #[must_use]
    pub fn new(code: SignalCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retryable: matches!(code, SignalCode::RateLimited | SignalCode::Unreachable),
            fatal: matches!(code, SignalCode::Halt),
        }
    }

    /// Returns the signal of a `halt` frame.
    #[must_use]
    pub fn from_halt(reason: Option<&str>) -> Self {
        Self::new(SignalCode::Halt, reason.filter(|r| !r.is_empty()).unwrap_or("Guardrail triggered"))
    }

    /// Returns the signal of an `error` frame, by the text that it contains, case-sensitively, in this order.
    #[must_use]
    pub fn from_error(text: Option<&str>) -> Self {
        let message = text.filter(|t| !t.is_empty()).unwrap_or("Server error");
        let code = if message.contains("limit reached") {
            SignalCode::CreditsExhausted
        } else if message.contains("Rate limit") {
            SignalCode::RateLimited
        } else {
            SignalCode::Error
        };
        Self::new(code, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_matched_in_order() {
        for (text, code, retryable) in [
            (Some("Monthly run limit reached. Rate limit next."), SignalCode::CreditsExhausted, false),
            (Some("Rate limit exceeded"), SignalCode::RateLimited, true),
            (Some("rate limit exceeded"), SignalCode::Error, false),
            (Some(""), SignalCode::Error, false),
            (None, SignalCode::Error, false),
        ] {
            let signal = Signal::from_error(text);
            assert_eq!((signal.code, signal.retryable, signal.fatal), (code, retryable, false), "{text:?}");
        }
        assert_eq!(Signal::from_error(None).to_string(), "error: Server error");
    }

    #[test]
    fn a_halt_is_fatal_and_always_has_a_reason() {
        assert!(Signal::from_halt(Some("stop")).fatal);
        assert_eq!(Signal::from_halt(Some("")).message, "Guardrail triggered");
        assert_eq!(Signal::from_halt(None).message, "Guardrail triggered");
    }
}
