//! The API key (PROTOCOL.md section 2).

use std::fmt;

use axum::http::{HeaderMap, HeaderValue, header};
use retrace_protocol::endpoint::KEY_HEADER;
use subtle::ConstantTimeEq as _;

/// The API key that clients must send. Opaque, and never printed.
#[derive(Clone)]
pub(crate) struct ApiKey(Box<[u8]>);

/// Error of a text that is not a valid key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("is empty")]
    Empty,
    #[error("holds a character other than visible ASCII, which no HTTP header can carry")]
    NotVisibleAscii,
}

/// Reason for which a request is unauthorized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denied {
    #[error("the API key is missing: send it as `{KEY_HEADER}`, or as `Authorization: Bearer`")]
    Missing,
    #[error("the API key is not the one that this receiver was started with")]
    Wrong,
}

impl ApiKey {
    pub(crate) fn new(text: &str) -> Result<Self, KeyError> {
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(KeyError::NotVisibleAscii);
        }
        Ok(Self(text.as_bytes().into()))
    }

    /// Checks that one of the headers has this key. The time of the comparison reveals at most the length of a wrong
    /// key.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<(), Denied> {
        let own = headers.get(KEY_HEADER).map(HeaderValue::as_bytes);
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
        if own.is_none() && bearer.is_none() {
            return Err(Denied::Missing);
        }
        let matches = |shown: Option<&[u8]>| shown.is_some_and(|shown| self.is(shown));
        if matches(own) | matches(bearer) { Ok(()) } else { Err(Denied::Wrong) }
    }

    /// Checks that the text of an `auth` frame is this key.
    pub(super) fn admit_text(&self, shown: &str) -> Result<(), Denied> {
        if self.is(shown.as_bytes()) { Ok(()) } else { Err(Denied::Wrong) }
    }

    fn is(&self, shown: &[u8]) -> bool {
        self.0.ct_eq(shown).into()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(headers: &[(&'static str, &'static str)]) -> Result<(), Denied> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        ApiKey::new("rt_right").unwrap().admit(&headers)
    }

    #[test]
    fn either_header_lets_in() {
        assert_eq!(shown(&[("x-retrace-key", "rt_right")]), Ok(()));
        assert_eq!(shown(&[("authorization", "bearer  rt_right")]), Ok(()));
        assert_eq!(shown(&[("x-retrace-key", "old"), ("authorization", "Bearer rt_right")]), Ok(()));
    }

    #[test]
    fn nothing_else_does() {
        assert_eq!(shown(&[]), Err(Denied::Missing));
        assert_eq!(shown(&[("authorization", "Basic rt_right")]), Err(Denied::Missing));
        for wrong in ["", "rt_righ", "rt_rightt", "RT_RIGHT", "rt_right,rt_right"] {
            assert_eq!(shown(&[("x-retrace-key", wrong)]), Err(Denied::Wrong), "{wrong}");
        }
        assert_eq!(shown(&[("authorization", "Bearer ")]), Err(Denied::Wrong));
    }

    #[test]
    fn a_key_is_something_a_header_can_carry_and_nothing_that_is_printed() {
        assert_eq!(ApiKey::new("").unwrap_err(), KeyError::Empty);
        for odd in ["a b", "ключ", "a\n", " a"] {
            assert_eq!(ApiKey::new(odd).unwrap_err(), KeyError::NotVisibleAscii, "{odd}");
        }
        assert!(!format!("{:?}", ApiKey::new("rt_secret").unwrap()).contains("secret"));
    }
}
