//! Requests over HTTP (PROTOCOL.md sections 2 and 9).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use retrace_protocol::endpoint::{self, CLIENT_HEADER, KEY_HEADER};
use serde::Deserialize;

use crate::config::{BaseUrl, BuildError, Config};
use crate::outbox::{Answer, Method, Sending};
use crate::secret::ApiKey;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept; shorter than what common servers and proxies allow.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// Most bytes of an answer that are read.
const ANSWER_BYTES: usize = 4 * 1024;
/// Most characters of a receiver's words that are passed on (what the official SDK shows).
const WORDS_CHARS: usize = 300;
const USER_AGENT: &str = concat!("opentelemetry-retrace/", env!("CARGO_PKG_VERSION"));

/// The client.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    client: Client,
    base_url: BaseUrl,
    api_key: ApiKey,
}

impl Http {
    /// Makes the client. Nothing is connected yet, and no runtime is needed.
    pub(crate) fn new(config: &Config) -> Result<Self, BuildError> {
        let mut builder = Client::builder()
            .user_agent(USER_AGENT)
            .default_headers(headers(config)?)
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .retry(reqwest::retry::never())
            .tcp_nodelay(true);
        if let Some(timeout) = config.timeout {
            builder = builder.timeout(timeout);
        }
        if config.base_url.is_loopback() {
            // What stays on this machine goes through no proxy.
            builder = builder.no_proxy();
        }
        builder = tls(builder, config)?;
        // Built without TLS while another crate of the graph asks the same client for it, the client panics.
        let client = catch_unwind(AssertUnwindSafe(|| builder.build()))
            .map_err(|_| BuildError::Client { problem: "no TLS provider is configured".to_owned() })?
            .map_err(|error| BuildError::Client { problem: cause(&error) })?;
        Ok(Self { client, base_url: config.base_url.clone(), api_key: config.api_key.clone() })
    }

    /// Makes one request and reads its answer.
    pub(crate) async fn send(&self, sending: Sending) -> Answer {
        let request = match sending.method {
            Method::Create => self.client.post(self.base_url.join(endpoint::TRACES)),
            Method::Patch => self.client.patch(self.base_url.join(&endpoint::trace(&sending.id))),
        };
        match request.body(reqwest::Body::wrap(sending.body)).send().await {
            Ok(response) => self.answer(response).await,
            Err(error) if error.is_connect() => Answer::NotSent { cause: cause(&error) },
            Err(error) => Answer::Broken { cause: cause(&error) },
        }
    }

    async fn answer(&self, mut response: Response) -> Answer {
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| pause(value, SystemTime::now()));
        let mut body = Vec::new();
        // Reading the answer to its end lets the connection serve the next request; a long one is not worth that.
        while let Ok(Some(piece)) = response.chunk().await {
            body.extend_from_slice(&piece);
            if body.len() >= ANSWER_BYTES {
                break;
            }
        }
        let words = if status.is_success() { None } else { reason(&body).map(|text| self.api_key.remove_from(&text)) };
        Answer::Status { status, retry_after, words }
    }
}

fn headers(config: &Config) -> Result<HeaderMap, BuildError> {
    let mut headers = config.headers.clone();
    let mut key = HeaderValue::from_str(config.api_key.expose())
        .map_err(|_| BuildError::Client { problem: "the API key fits into no header".to_owned() })?;
    key.set_sensitive(true);
    headers.insert(KEY_HEADER, key);
    headers.insert(CLIENT_HEADER, HeaderValue::from_static(USER_AGENT));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(headers)
}

#[cfg(feature = "_rustls")]
fn tls(builder: reqwest::ClientBuilder, config: &Config) -> Result<reqwest::ClientBuilder, BuildError> {
    if !config.base_url.is_secure() {
        // Named here too: without one the client looks for the process's provider, and panics when there is none.
        return Ok(builder.tls_backend_preconfigured(crate::transport::tls::trusting_nobody()?));
    }
    let certificate = config.certificate.as_ref().map(|(path, source_name)| (path.as_path(), *source_name));
    Ok(builder.tls_backend_preconfigured(crate::transport::tls::client(certificate)?).https_only(true))
}

#[cfg(not(feature = "_rustls"))]
fn tls(builder: reqwest::ClientBuilder, config: &Config) -> Result<reqwest::ClientBuilder, BuildError> {
    if config.base_url.is_secure() {
        return Err(BuildError::NoTls { url: config.base_url.as_str().to_owned() });
    }
    Ok(builder)
}

/// How long a `Retry-After` asks to wait: whole seconds, or until a date.
fn pause(value: &HeaderValue, now: SystemTime) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    Some(until.duration_since(now).unwrap_or(Duration::ZERO))
}

/// What a receiver gives as its reason, when it does so in JSON.
fn reason(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Refusal {
        #[serde(alias = "message")]
        error: String,
    }
    let refusal: Refusal = serde_json::from_slice(body).ok()?;
    Some(refusal.error.chars().filter(|c| !c.is_control()).take(WORDS_CHARS).collect())
}

/// An error and its causes in one line, without the URL.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut causes = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = match error.downcast_ref::<reqwest::Error>() {
            Some(error) if error.is_timeout() => "timed out".to_owned(),
            Some(error) if error.is_connect() => "no connection".to_owned(),
            Some(_) => "no answer".to_owned(),
            None => error.to_string(),
        };
        if causes.last() != Some(&text) {
            causes.push(text);
        }
        next = error.source();
    }
    causes.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_asks_for_seconds_or_for_a_date() {
        let now = httpdate::parse_http_date("Sun, 22 Nov 2026 11:00:00 GMT").unwrap();
        for (text, expected) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Sun, 22 Nov 2026 11:01:30 GMT", Some(90)),
            ("Sun, 22 Nov 2026 10:00:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
        ] {
            let value = HeaderValue::from_str(text).unwrap();
            assert_eq!(pause(&value, now), expected.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn only_a_reason_in_json_is_passed_on_and_not_much_of_it() {
        assert_eq!(reason(br#"{"error":"no\nway"}"#).as_deref(), Some("noway"));
        assert_eq!(reason(br#"{"message":"m","x":1}"#).as_deref(), Some("m"));
        assert_eq!(reason(format!(r#"{{"error":"{}"}}"#, "é".repeat(1_000)).as_bytes()).unwrap().chars().count(), 300);
        for other in [&b"<html>"[..], b"", b"{}", b"\xff"] {
            assert_eq!(reason(other), None);
        }
    }
}
