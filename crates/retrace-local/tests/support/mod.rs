//! A plain HTTP client against a server on a real socket.

#![allow(dead_code, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::needless_pass_by_value)]

pub mod otlp;
pub mod ws;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use retrace_local::Server;
use retrace_protocol::endpoint::KEY_HEADER;
use serde_json::{Value, json};

/// Limit of every wait in the tests, far above what the slowest machine takes: a test that reaches it hangs.
pub const HANG: Duration = Duration::from_secs(120);

pub const AT: &str = "2026-01-02T03:04:05.678901Z";

/// An answer: its status, its headers, and its body as it is, as text and as JSON (`null` when it is none).
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub bytes: Vec<u8>,
    pub text: String,
    pub json: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(each, _)| each == name).map(|(_, value)| value.as_str())
    }

    /// The reason that stands in a refusal, with the status and the type of the answer checked.
    pub fn refusal(&self, status: u16) -> &str {
        assert_eq!((self.status, self.header("content-type")), (status, Some("application/json")), "{self:?}");
        self.json["error"].as_str().unwrap()
    }
}

pub struct Client {
    agent: ureq::Agent,
    base: String,
    key: Option<String>,
}

impl Client {
    pub fn of(server: &Server) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(HANG))
            .allow_non_standard_methods(true)
            .build();
        Self { agent: config.into(), base: server.url().to_owned(), key: None }
    }

    pub fn with_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// Sends a request; a body is sent as JSON unless the headers say something else.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Answer {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(key) = &self.key {
            request = request.header(KEY_HEADER, key);
        }
        if body.is_some() && headers.iter().all(|(name, _)| *name != "content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        let sent = match body {
            Some(body) => self.agent.run(request.body(body).unwrap()),
            None => self.agent.run(request.body(()).unwrap()),
        };
        let mut response = sent.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let headers = response.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        let bytes = response.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let json = serde_json::from_str(&text).unwrap_or_default();
        Answer { status: response.status().as_u16(), headers, bytes, text, json }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], None)
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[], Some(body.to_string().as_bytes()))
    }

    pub fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send("PATCH", path, &[], Some(body.to_string().as_bytes()))
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], None)
    }

    /// Uploads a run and expects it to be stored.
    pub fn upload(&self, run: &Value) {
        let answer = self.post("/api/v1/traces", run);
        assert_eq!((answer.status, &answer.json), (201, &json!({"id": run["id"]})), "{}", answer.text);
    }
}

/// A small run with two spans, the second below the first.
pub fn run(id: &str) -> Value {
    json!({
        "id": id, "status": "completed", "total_tokens": 24, "total_cost": 9.75e-5, "total_duration_ms": 52,
        "started_at": AT, "name": "agent", "input": {"args": ["Lisbon"]}, "metadata": {"environment": "test"},
        "session_id": "s-1", "project_id": "p-1", "ended_at": "2026-01-02T03:04:05.730901Z", "output": null,
        "span_count": 2,
        "spans": [
            {"id": "a", "trace_id": id, "parent_id": null, "span_type": "llm_call", "name": "chat", "started_at": AT,
             "model": "m", "input": [1, 2.5], "input_tokens": 7, "output_tokens": 17, "cost": 9.75e-5,
             "metadata": {"sampling": {}}, "ended_at": AT, "output": "hello", "duration_ms": 14},
            {"id": "b", "trace_id": id, "parent_id": "a", "span_type": "tool_call", "name": "", "started_at": AT,
             "ended_at": AT, "output": null, "duration_ms": 0, "error": "no"},
        ],
    })
}

/// A connection that does nothing by itself.
pub fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.addr()).unwrap();
    stream.set_read_timeout(Some(HANG)).unwrap();
    stream.set_write_timeout(Some(HANG)).unwrap();
    stream
}

/// Writes bytes, reads until the server closes, and parses the last answer.
pub fn raw(server: &Server, request: &[u8]) -> Answer {
    let mut stream = connect(server);
    stream.write_all(request).unwrap();
    answer(&mut stream)
}

/// Reads until the server closes, and parses the last answer.
pub fn answer(stream: &mut TcpStream) -> Answer {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    parse(&text)
}

pub fn parse(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|line| line.split_once(": ").unwrap()).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    let json = serde_json::from_str(body).unwrap_or_default();
    Answer { status, headers, bytes: body.into(), text: body.to_owned(), json }
}
