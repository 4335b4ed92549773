//! Secrets: API keys, tokens and passwords, which are never printed.

use std::fmt;

/// An API key, a token or a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Compares in a time that depends on the length alone.
    pub(crate) fn is(&self, other: &[u8]) -> bool {
        let own = self.0.as_bytes();
        own.len() == other.len() && own.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b)) == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_compared_and_not_printed() {
        let secret = Secret::new("rt_live_1");
        assert!(secret.is(b"rt_live_1"));
        assert!(!secret.is(b"rt_live_2") && !secret.is(b"rt_live_") && !secret.is(b""));
        assert_eq!(format!("{secret:?}"), "…");
    }
}
