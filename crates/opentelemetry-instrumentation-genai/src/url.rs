//! Parts of a URL by which providers and APIs are identified.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Parts of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    host: Cow<'a, str>,
    port: Option<u16>,
    path: &'a str,
    query: &'a str,
}

impl<'a> Target<'a> {
    /// Parses an absolute URL, or a path alone, as a server receives it.
    #[must_use]
    pub fn of(url: &'a str) -> Self {
        let url = url.split('#').next().unwrap_or_default();
        let (url, query) = url.split_once('?').unwrap_or((url, ""));
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme, rest)) => (scheme, rest),
            None => ("", url),
        };
        let slash = if scheme.is_empty() { Some(0) } else { rest.find('/') };
        let (authority, path) = rest.split_at_checked(slash.unwrap_or(rest.len())).unwrap_or((rest, ""));
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let colon = authority.rfind(':').filter(|at| !authority.get(*at..).unwrap_or_default().contains(']'));
        let (host, port) = authority.split_at_checked(colon.unwrap_or(authority.len())).unwrap_or((authority, ""));
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let default = match scheme {
            "https" | "wss" => Some(443),
            "http" | "ws" => Some(80),
            _ => None,
        };
        let host = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(host)
        };
        Self { host, port: port.get(1..).and_then(|port| port.parse().ok()).or(default), path, query }
    }

    /// Returns the host in lower case; empty if the URL has none.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port; the default of the scheme if the URL has none.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Returns the path, undecoded.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.path
    }

    /// Returns the segments of the path from its end, undecoded: `["completions", "chat", "v1"]`.
    pub fn segments_from_end(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.path.trim_end_matches('/').rsplit('/').filter(|segment| !segment.is_empty())
    }

    /// Returns the segment at this index from the end, undecoded; 0 is the last one. Empty if there is none.
    #[must_use]
    pub fn from_end(&self, place: usize) -> &'a str {
        self.segments_from_end().nth(place).unwrap_or_default()
    }

    /// Returns the segment after this one, decoded: after `models` in `/models/a%3Ab:generate` it is `a:b:generate`.
    #[must_use]
    pub fn after(&self, segment: &str) -> Option<Cow<'a, str>> {
        let mut segments = self.path.split('/').skip_while(|each| *each != segment);
        segments.next()?;
        segments.next().filter(|next| !next.is_empty()).map(decoded)
    }

    /// Returns a parameter of the query, undecoded.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&'a str> {
        self.query
            .split('&')
            .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value))
    }
}

/// Decodes the percent signs of a segment.
pub(crate) fn decoded(segment: &str) -> Cow<'_, str> {
    percent_decode_str(segment).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let target = Target::of("https://User:pw@API.example.com/v1/chat/completions/?a=b&alt=sse#stream");
        assert_eq!((target.host(), target.port()), ("api.example.com", Some(443)));
        assert_eq!((target.from_end(0), target.from_end(1), target.from_end(3)), ("completions", "chat", ""));
        assert_eq!((target.parameter("alt"), target.parameter("b")), (Some("sse"), None));
        let target = Target::of("http://[::1]:11434");
        assert_eq!((target.host(), target.port(), target.path()), ("::1", Some(11434), ""));
        let target = Target::of("http://127.0.0.1:8080/model/a%3Ab%2Fc/converse");
        assert_eq!((target.after("model").as_deref(), target.port()), (Some("a:b/c"), Some(8080)));
        let target = Target::of("/v1/messages?beta=true");
        assert_eq!((target.host(), target.port(), target.path()), ("", None, "/v1/messages"));
    }

    #[test]
    fn anything_may_come() {
        for odd in ["", "://", "http://", "http://:", "é://ü?ö#ä", "http://[", "http://a:99999/", "//x"] {
            let target = Target::of(odd);
            assert!(target.from_end(7).is_empty(), "{odd}");
        }
        assert_eq!(Target::of("http://a:99999/").port(), Some(80));
    }
}
