//! What the user should know, in words of ours and in words of the receiver.

use retrace_protocol::{Signal, SignalCode};

/// Something worth telling. The receiver's words go to the user's callback; log lines do without, because nobody knows
/// what a receiver repeats.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    pub code: SignalCode,
    /// Ours.
    pub text: String,
    /// The receiver's.
    words: Option<String>,
}

impl Notice {
    pub(crate) fn lost(text: String) -> Self {
        Self { code: SignalCode::SpansLost, text, words: None }
    }

    pub(crate) fn signal(&self) -> Signal {
        let message = match &self.words {
            Some(words) => format!("{}; it says: {words}", self.text),
            None => self.text.clone(),
        };
        Signal::new(self.code, message)
    }
}

/// Why an attempt did not succeed.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// Ours.
    pub text: String,
    /// The receiver's.
    pub words: Option<String>,
}

impl Said {
    pub(crate) fn by_us(text: String) -> Self {
        Self { text, words: None }
    }

    /// With what follows from it.
    pub(crate) fn notice(self, code: SignalCode, consequence: &str) -> Notice {
        Notice { code, text: format!("{}; {consequence}", self.text), words: self.words }
    }
}
