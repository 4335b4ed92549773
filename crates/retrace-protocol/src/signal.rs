//! What a server tells the person who runs the agent (PROTOCOL.md section 8).

use std::fmt;

/// Something the user should know: said by the server, or found out about the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Signal {
    /// What happened.
    pub code: SignalCode,
    /// In words; never the API key, never content of a span.
    pub message: String,
    /// Doing the same again later may work.
    pub retryable: bool,
    /// Recording has stopped for good.
    pub fatal: bool,
}

/// The kinds of [`Signal`]. The first four are the protocol's, the rest are found out by the client itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignalCode {
    /// The server asked to stop recording.
    Halt,
    /// The account has used up its credits; recording goes on.
    CreditsExhausted,
    /// Too much at once; recording goes on.
    RateLimited,
    /// Any other error that the server names.
    Error,
    /// The server does not take the API key.
    Unauthorized,
    /// The server refused a run for good.
    Rejected,
    /// The server already has a run under the same id that is not ours.
    Conflict,
    /// A run was larger than the server takes; it was shortened or refused.
    TooLarge,
    /// The server cannot be reached, or fails; what is recorded waits.
    Unreachable,
    /// Spans were lost; the message says how many and why.
    SpansLost,
}

impl SignalCode {
    /// The name that Retrace's SDKs use for it.
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
    /// A signal of this code; whether it is retryable and fatal follows from the code.
    #[must_use]
    pub fn new(code: SignalCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retryable: matches!(code, SignalCode::RateLimited | SignalCode::Unreachable),
            fatal: matches!(code, SignalCode::Halt),
        }
    }

    /// The signal of a `halt` frame.
    #[must_use]
    pub fn from_halt(reason: Option<&str>) -> Self {
        Self::new(SignalCode::Halt, reason.filter(|r| !r.is_empty()).unwrap_or("Guardrail triggered"))
    }

    /// The signal of an `error` frame: told apart by what its text contains, case-sensitively, in this order.
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
    fn texts_are_told_apart_in_order() {
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
