//! API key that no output prints.

use std::fmt;

/// Retrace API key.
///
/// Its text is in no `Debug` output, log line, error or panic message. It leaves the process only in the
/// header or the frame that the protocol defines for it, and only over a connection that is encrypted, stays
/// on this machine, or goes to a host that
/// [`Builder::with_cleartext_host`](crate::Builder::with_cleartext_host) names.
///
/// ```
/// use opentelemetry_retrace::ApiKey;
///
/// let key = ApiKey::from("rt_live_0123456789");
/// assert_eq!(format!("{key:?}"), "ApiKey(…)");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// Returns the key itself, to be sent.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the problem of the key; keys are opaque, so only characters that no header can carry are one.
    pub(crate) fn flaw(&self) -> Option<&'static str> {
        if self.0.is_empty() {
            Some("is empty")
        } else if !self.0.is_ascii() {
            Some("has characters outside ASCII")
        } else if self.0.bytes().any(|b| b.is_ascii_whitespace() || b.is_ascii_control()) {
            Some("has blanks or control characters in it, maybe from copying")
        } else if self.is_quoted() {
            Some("has quotes around it")
        } else {
            None
        }
    }

    /// Returns true if quotes of a shell or a file stand around the key.
    fn is_quoted(&self) -> bool {
        ['"', '\'', '`'].iter().any(|quote| self.0.len() > 1 && self.0.starts_with(*quote) && self.0.ends_with(*quote))
    }

    /// Removes the key from a text of a peer.
    pub(crate) fn remove_from(&self, text: &str) -> String {
        if self.0.is_empty() { text.to_owned() } else { text.replace(&self.0, "…") }
    }
}

impl From<&str> for ApiKey {
    fn from(key: &str) -> Self {
        Self(key.to_owned())
    }
}

impl From<String> for ApiKey {
    fn from(key: String) -> Self {
        Self(key)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_opaque_but_must_fit_into_a_header() {
        for good in ["rt_x", "rt_live_x", "rt_test_x", "sk-anything", "rt_'x", "\""] {
            assert_eq!(ApiKey::from(good).flaw(), None);
        }
        for bad in ["", "\"rt_x\"", "'rt_x'", " rt_x", "rt_x\n", "rt x", "rt_é", "rt\u{7f}"] {
            assert!(ApiKey::from(bad).flaw().is_some(), "{bad:?}");
        }
    }

    #[test]
    fn a_peer_that_repeats_the_key_is_not_quoted() {
        assert_eq!(ApiKey::from("rt_x").remove_from("bad key rt_x!"), "bad key …!");
        assert_eq!(ApiKey::from("").remove_from("text"), "text");
    }
}
