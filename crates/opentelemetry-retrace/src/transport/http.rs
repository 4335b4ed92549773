//! Requests over HTTP (PROTOCOL.md sections 2 and 9).

use std::time::{Duration, SystemTime};

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use retrace_protocol::command::ForkClaim;
use retrace_protocol::endpoint::{self, CLIENT_HEADER, KEY_HEADER};
use tokio::time::Instant;

use crate::config::secret::ApiKey;
use crate::config::{BaseUrl, BuildError, Config};
use crate::delivery::{Answer, Body, Method, Sending};
use crate::log;
use crate::remote::Claimed;
use crate::transport::client::{Client, Failure, GivenClient, ResponseBody};
use crate::transport::compress::Compressor;
use crate::transport::peer_message::{peer_message, reason};

/// Timeout of the claim of a fork (PROTOCOL.md section 11).
const CLAIM_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum bytes of a response that are read.
const ANSWER_BYTES: usize = 4 * 1024;
/// Maximum bytes of the response to a request that is not about delivery.
const CALL_BYTES: usize = 64 * 1024;
/// `User-Agent` of this client.
pub(super) const US: HeaderValue =
    HeaderValue::from_static(concat!("opentelemetry-retrace/", env!("CARGO_PKG_VERSION")));

/// Requests to one receiver.
#[derive(Debug)]
pub(crate) struct Http {
    client: Client,
    headers: HeaderMap,
    timeout: Option<Duration>,
    base_url: BaseUrl,
    api_key: ApiKey,
    compressor: Compressor,
}

impl Http {
    /// Creates the client, the built-in one unless `given` is one. It connects nowhere yet, and needs no runtime.
    pub(crate) fn new(config: &Config, given: Option<GivenClient>) -> Result<Self, BuildError> {
        Ok(Self {
            client: Client::new(config, given)?,
            headers: headers(config)?,
            timeout: config.timeout,
            base_url: config.base_url.clone(),
            api_key: config.api_key.clone(),
            compressor: Compressor::new(config.compression),
        })
    }

    /// Makes one request and reads its response. A body that is refused for its encoding is sent once more,
    /// uncompressed.
    pub(crate) async fn send(&self, sending: Sending) -> Answer {
        if let Some(packed) = self.compressor.pack(&sending.body).await {
            let encoding = Some(self.compressor.encoding());
            let answer = self.request(&Sending { body: packed, ..sending.clone() }, encoding).await;
            if !matches!(answer, Answer::Status { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, .. }) {
                return answer;
            }
            self.compressor.refused();
        }
        self.request(&sending, None).await
    }

    async fn request(&self, sending: &Sending, encoding: Option<HeaderValue>) -> Answer {
        let (method, url) = match sending.method {
            Method::Create => (http::Method::POST, Ok(self.base_url.traces().clone())),
            Method::Patch => (http::Method::PATCH, self.base_url.join(&endpoint::trace(&sending.id)).try_into()),
        };
        let mut request = Request::new(sending.body.clone());
        (*request.method_mut(), *request.headers_mut()) = (method, self.headers.clone());
        *request.uri_mut() = match url {
            Ok(url) => url,
            Err(error) => return Answer::NotSent { cause: http::uri::InvalidUri::to_string(&error) },
        };
        if let Some(encoding) = encoding {
            request.headers_mut().insert(CONTENT_ENCODING, encoding);
        }
        let deadline = self.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        match before(deadline, self.client.request(request)).await {
            Some(Ok(response)) => self.answer(response, deadline).await,
            Some(Err(Failure::NotSent(cause))) => Answer::NotSent { cause: self.without_key(&cause) },
            Some(Err(Failure::Broken(cause))) => Answer::Broken { cause: self.without_key(&cause) },
            None => Answer::Broken { cause: "timed out".to_owned() },
        }
    }

    /// Makes a request that is not about delivery. Returns the status and the body, up to a bound.
    pub(crate) async fn call(
        &self,
        method: http::Method,
        path: &str,
        body: Option<String>,
        within: Duration,
    ) -> Result<(StatusCode, Vec<u8>), String> {
        let deadline = Instant::now().checked_add(within);
        let mut sent = Body::default();
        let mut headers = self.headers.clone();
        headers.remove(CLIENT_HEADER);
        match body {
            Some(text) => sent.push(text.into()),
            None => drop(headers.remove(CONTENT_TYPE)),
        }
        let mut request = Request::new(sent);
        (*request.method_mut(), *request.headers_mut()) = (method, headers);
        *request.uri_mut() =
            self.base_url.join(path).try_into().map_err(|error: http::uri::InvalidUri| error.to_string())?;
        let timed_out = || "timed out".to_owned();
        let response = before(deadline, self.client.request(request)).await.ok_or_else(timed_out)?;
        let response = response.map_err(|failure| self.without_key(&failure.into_cause()))?;
        let (status, mut incoming) = (response.status(), response.into_body());
        let mut body = Vec::new();
        while let Some(piece) = before(deadline, incoming.next_piece()).await.ok_or_else(timed_out)? {
            body.extend_from_slice(&piece);
            if body.len() > CALL_BYTES {
                return Err(format!("the answer is longer than {CALL_BYTES} bytes"));
            }
        }
        Ok((status, body))
    }

    /// Claims a fork. Any response of the receiver except a 409 permits its execution (PROTOCOL.md section 19).
    pub(crate) async fn claim(&self, fork_id: &str, execution_id: &str) -> Claimed {
        let claim = ForkClaim { execution_id: execution_id.to_owned() };
        let body = serde_json::to_string(&claim).unwrap_or_default();
        match self.call(http::Method::POST, &endpoint::fork_claim(fork_id), Some(body), CLAIM_TIMEOUT).await {
            Ok((StatusCode::CONFLICT, _)) => Claimed::No,
            Ok((status, _)) if status.is_success() => Claimed::Yes,
            _ => {
                log::info("claim", "the receiver did not confirm the claim of a fork, which runs nevertheless");
                Claimed::Yes
            }
        }
    }

    /// Sanitizes an error text: that of an application's client may repeat the request.
    fn without_key(&self, cause: &str) -> String {
        peer_message(cause, &self.api_key).unwrap_or_else(|| "no reason is given".to_owned())
    }

    async fn answer(&self, response: Response<ResponseBody>, deadline: Option<Instant>) -> Answer {
        let status = response.status();
        let content_type = response.headers().get(CONTENT_TYPE).filter(|_| status.is_success()).cloned();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| pause(value, SystemTime::now()));
        let mut incoming = response.into_body();
        let mut body = Vec::new();
        // Reading the response to its end lets the connection serve the next request; a long one is not worth
        // that.
        while let Some(Some(piece)) = before(deadline, incoming.next_piece()).await {
            body.extend_from_slice(&piece);
            if body.len() >= ANSWER_BYTES {
                break;
            }
        }
        if content_type.is_some_and(|content_type| is_page(&content_type, &body)) {
            return Answer::WebPage { status };
        }
        let peer_message = if status.is_success() { None } else { reason(&body, &self.api_key) };
        Answer::Status { status, retry_after, peer_message }
    }
}

/// Returns the output of the future; `None` when the deadline comes first.
async fn before<T>(deadline: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}

fn headers(config: &Config) -> Result<HeaderMap, BuildError> {
    let mut headers = config.headers.clone();
    let mut key = HeaderValue::from_str(config.api_key.expose())
        .map_err(|_| BuildError::Client { problem: "the API key fits into no header".to_owned() })?;
    key.set_sensitive(true);
    headers.insert(KEY_HEADER, key);
    headers.insert(CLIENT_HEADER, US);
    headers.insert(USER_AGENT, US);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(headers)
}

/// Returns true for a web page. Frameworks give an empty answer or a word its content type too, and that may be a receiver's.
fn is_page(content_type: &HeaderValue, body: &[u8]) -> bool {
    const TYPES: [&str; 2] = ["text/html", "application/xhtml+xml"];
    const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
    let essence = content_type.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let is_html = TYPES.iter().any(|page| essence.eq_ignore_ascii_case(page.as_bytes()));
    is_html && body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body).trim_ascii_start().starts_with(b"<")
}

/// Parses the pause of a `Retry-After`: whole seconds, or until a date.
fn pause(value: &HeaderValue, now: SystemTime) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    Some(until.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_web_page_is_known_by_its_content_type_and_its_beginning() {
        for (text, expected) in [
            ("text/html", true),
            ("Text/HTML ; charset=utf-8", true),
            ("application/xhtml+xml", true),
            ("application/json", false),
            ("text/plain; charset=text/html", false),
            ("", false),
        ] {
            assert_eq!(is_page(&HeaderValue::from_static(text), b"<html>"), expected, "{text}");
        }
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        for (body, expected) in
            [("\r\n<!doctype html>", true), ("\u{feff}<html>", true), ("", false), ("OK", false), ("{}", false)]
        {
            assert_eq!(is_page(&html, body.as_bytes()), expected, "{body}");
        }
    }

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
}
