//! Base URL of the receiver, checked before anything is sent there.

use http::Uri;
use retrace_protocol::endpoint;

use crate::config::error::BuildError;
use crate::config::{NOT_UTF_8, Value};

/// Base URL that the API key may be sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BaseUrl {
    text: String,
    traces: Uri,
    secure: bool,
    loopback: bool,
}

impl BaseUrl {
    /// Checks a URL (PROTOCOL.md section 2): `https`, or `http` to this machine or to a host in `cleartext_hosts`, each
    /// `host[:port]`. A path is kept, a trailing slash is not.
    pub(crate) fn parse(url: &str, source_name: &'static str, cleartext_hosts: &[String]) -> Result<Self, BuildError> {
        let invalid = |problem| BuildError::InvalidBaseUrl { source_name, url: without_credentials(url), problem };
        let uri: Uri = url.parse().map_err(|_| invalid("is not a URL"))?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) => return Err(invalid("has a scheme other than https")),
            None => return Err(invalid("has no scheme")),
        };
        let Some(authority) = uri.authority() else { return Err(invalid("has no host")) };
        if authority.as_str().contains('@') {
            return Err(invalid("has credentials in it; the API key is a setting of its own"));
        }
        if uri.query().is_some() || url.contains('#') {
            return Err(invalid("has a query or a fragment"));
        }
        let loopback = is_loopback(authority.host());
        let is_allowed = || cleartext_hosts.iter().any(|host| host.eq_ignore_ascii_case(authority.as_str()));
        if !secure && !loopback && !is_allowed() {
            let host = authority.as_str().to_owned();
            return Err(BuildError::CleartextUrl { source_name, url: url.to_owned(), host });
        }
        let text = url.trim_end_matches('/').to_owned();
        Ok(Self {
            traces: join(&text, endpoint::TRACES).parse().map_err(|_| invalid("is not a URL"))?,
            text,
            secure,
            loopback,
        })
    }

    /// Checks the value of a variable. A value that is not valid UTF-8 is an error: the default is another
    /// receiver.
    pub(crate) fn from_value(
        value: Value,
        source_name: &'static str,
        cleartext_hosts: &[String],
    ) -> Result<Self, BuildError> {
        match value {
            Value::Text(url) => Self::parse(&url, source_name, cleartext_hosts),
            Value::Unreadable => {
                Err(BuildError::InvalidBaseUrl { source_name, url: "…".to_owned(), problem: NOT_UTF_8 })
            }
        }
    }

    /// Returns the URL of a path of the API.
    pub(crate) fn join(&self, path: &str) -> String {
        join(&self.text, path)
    }

    /// Returns the URL at which runs are created.
    pub(crate) fn traces(&self) -> &Uri {
        &self.traces
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns true if the connection is encrypted.
    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }

    /// Returns true if the connection is in clear text to another machine, which a setting allows.
    pub(crate) fn is_cleartext_allowed(&self) -> bool {
        !self.secure && !self.loopback
    }

    /// Returns true if the receiver is on this machine.
    #[cfg(any(test, feature = "_rustls"))]
    pub(crate) fn is_loopback(&self) -> bool {
        self.loopback
    }
}

fn join(base: &str, path: &str) -> String {
    format!("{base}{path}")
}

fn is_loopback(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]") || host.ends_with(".localhost")
}

/// Returns the URL for a message, without the credentials before an `@`.
fn without_credentials(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            format!("{}://…{}", url.get(..scheme).unwrap_or_default(), url.get(at..).unwrap_or_default())
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<BaseUrl, BuildError> {
        BaseUrl::parse(url, "RETRACE_BASE_URL", &[])
    }

    #[test]
    fn the_path_is_kept_and_no_slash_doubled() {
        for (url, joined) in [
            ("https://api.retraceai.tech", "https://api.retraceai.tech/api/v1/traces"),
            ("https://proxy.example.org/retrace/", "https://proxy.example.org/retrace/api/v1/traces"),
            ("http://127.0.0.1:3001", "http://127.0.0.1:3001/api/v1/traces"),
        ] {
            assert_eq!(parse(url).unwrap().join("/api/v1/traces"), joined);
        }
    }

    #[test]
    fn clear_text_stays_on_this_machine() {
        for url in
            ["http://localhost:3001", "http://LOCALHOST", "http://127.0.0.1", "http://[::1]:80", "http://a.localhost"]
        {
            assert!(parse(url).unwrap().is_loopback(), "{url}");
        }
        for url in
            ["http://127.0.0.2", "http://0.0.0.0", "http://10.0.0.1", "http://localhost.evil.com", "http://example.org"]
        {
            assert!(matches!(parse(url), Err(BuildError::CleartextUrl { .. })), "{url}");
        }
    }

    #[test]
    fn a_host_is_allowed_in_clear_text_by_its_exact_name_and_port() {
        let allowed = ["receiver:3001".to_owned(), "Plain".to_owned()];
        let parse = |url| BaseUrl::parse(url, "RETRACE_BASE_URL", &allowed);
        for url in ["http://receiver:3001", "http://RECEIVER:3001/path", "http://plain"] {
            assert!(parse(url).unwrap().is_cleartext_allowed(), "{url}");
        }
        assert!(!parse("https://receiver:3001").unwrap().is_cleartext_allowed());
        for url in ["http://receiver", "http://receiver:3002", "http://receiver.evil:3001", "http://plain:80"] {
            let error = parse(url).unwrap_err().to_string();
            assert!(error.contains("RETRACE_ALLOW_CLEARTEXT_HOST="), "{error}");
        }
    }

    #[test]
    fn what_is_no_base_url_is_refused() {
        for url in
            ["", "api.retraceai.tech", "ftp://x", "wss://x", "https://", "https://h?x=1", "https://h/#f", "not a url"]
        {
            let error = parse(url).unwrap_err();
            assert!(matches!(error, BuildError::InvalidBaseUrl { .. }), "{url}: {error}");
            assert!(error.to_string().contains("RETRACE_BASE_URL"));
        }
    }

    #[test]
    fn credentials_are_refused_and_not_repeated() {
        let error = parse("https://user:secret@host").unwrap_err().to_string();
        assert!(!error.contains("secret") && error.contains("host"), "{error}");
    }
}
