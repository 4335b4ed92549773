//! `retrace-local replay` and `retrace-local cassette`, as processes.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use retrace_protocol::{Json, SpanType};
use retrace_replay::cassette::{CassetteWriter, Entry, Header, Outcome};
use retrace_replay::{Chunk, Fingerprint, Lane, Response, Secrets};
use serde_json::{Value, json};

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_retrace-local"));
    command.env_remove("RETRACE_API_KEY").env_remove("RETRACE_LOCAL_API_KEY");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a process and returns the URL that it prints.
fn start(arguments: &[&str]) -> (Running, String) {
    let mut running = Running(command().args(arguments).spawn().unwrap());
    let mut lines = BufReader::new(running.0.stdout.as_mut().unwrap()).lines().map(Result::unwrap);
    let first = lines.next().unwrap();
    let url = first.split(' ').find(|word| word.starts_with("http://")).unwrap().to_owned();
    lines.find(|line| line.contains("to stop"));
    (running, url)
}

#[cfg(unix)]
fn interrupt(mut running: Running) -> (bool, String, String) {
    let pid = running.0.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let status = running.0.wait().unwrap();
    let (mut out, mut error) = (String::new(), String::new());
    running.0.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    running.0.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    (status.success(), out, error)
}

fn failure(arguments: &[&str]) -> String {
    let output = command().args(arguments).output().unwrap();
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

const CHUNKS: [&[u8]; 3] = [
    b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Gr\xc3",
    b"\xb6\xc3\x9fe\"}}]}\n\ndata: ",
    b"[DONE]\n\n",
];

fn request(text: &str, stream: bool) -> Value {
    json!({ "model": "m", "stream": stream, "messages": [{ "role": "user", "content": text }] })
}

fn entry(lane: &str, request: &Value, response: Response) -> Entry {
    let mut entry = Entry::new(SpanType::LlmCall, "chat", Json::from_serialize(request));
    entry.lane = Lane::parse(lane);
    entry.model = Some("m".into());
    entry.fingerprint = Fingerprint::of("chat", Some("m"), request);
    entry.outcome = Outcome::Response(response);
    entry
}

/// A cassette with a stream, a failure and a body that broke off, in lanes of their own.
fn cassette(dir: &Path) -> PathBuf {
    let response = |status: u16, chunks: &[&[u8]]| Response {
        status,
        headers: vec![("content-type".into(), "text/event-stream".into()), ("x-request-id".into(), "req_1".into())],
        chunks: chunks.iter().map(|bytes| Chunk { ms: 900, bytes: bytes.to_vec() }).collect(),
        ..Response::default()
    };
    let file = dir.join("tape.jsonl");
    let name = file.display().to_string();
    let mut writer =
        CassetteWriter::begin(&name, fs::File::create(&file).unwrap(), &Header::new("run"), Secrets::default())
            .unwrap();
    writer.push(entry("plan", &request("stream", true), response(200, &CHUNKS))).unwrap();
    writer
        .push(Entry {
            outcome: Outcome::Value(Json::text("six")),
            ..Entry::new(SpanType::ToolCall, "tide", Json::null())
        })
        .unwrap();
    writer
        .push(entry("plan/act#1", &request("fail", false), response(429, &[br#"{"error":{"message":"Slow down."}}"#])))
        .unwrap();
    let broken = Response { broken: Some("timeout".into()), ..response(200, &CHUNKS[..1]) };
    writer.push(entry("", &request("break", true), broken)).unwrap();
    writer.finish().unwrap();
    file
}

/// Sends a request, and returns the head and the body as they come on the wire.
fn send(url: &str, method: &str, path: &str, body: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    (String::from_utf8(answer[..end].to_vec()).unwrap(), answer[end..].to_vec())
}

/// The chunks of a chunked body; false if its end is missing.
fn chunks(mut body: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut chunks = Vec::new();
    while let Some(line) = body.windows(2).position(|window| window == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&body[..line]).unwrap(), 16).unwrap();
        if length == 0 {
            return (chunks, true);
        }
        chunks.push(body[line + 2..line + 2 + length].to_vec());
        body = &body[line + 4 + length..];
    }
    (chunks, false)
}

const CHAT: &str = "/v1/chat/completions";

#[cfg(unix)]
#[test]
fn it_answers_what_was_recorded_chunk_by_chunk_and_reports() {
    let dir = tempfile::tempdir().unwrap();
    let file = cassette(dir.path());
    let (running, url) = start(&["replay", "--listen", "127.0.0.1:0", file.to_str().unwrap()]);

    let (head, body) = send(&url, "POST", CHAT, &request("break", true).to_string());
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(chunks(&body), (vec![CHUNKS[0].to_vec()], false), "the connection breaks off where it did");
    let (head, body) = send(&url, "POST", CHAT, &request("fail", false).to_string());
    assert!(head.starts_with("HTTP/1.1 429") && head.contains("x-request-id: req_1"), "{head}");
    assert_eq!(body, br#"{"error":{"message":"Slow down."}}"#);
    let (head, body) = send(&url, "POST", CHAT, &request("stream", true).to_string());
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-type: text/event-stream"), "{head}");
    assert_eq!(chunks(&body), (CHUNKS.map(<[u8]>::to_vec).to_vec(), true));

    let (head, body) = send(&url, "GET", "/v1/models", "");
    assert!(head.starts_with("HTTP/1.1 404") && String::from_utf8(body).unwrap().contains("unknown_path"), "{head}");
    let (_, report) = send(&url, "GET", "/retrace/report", "");
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!((&report["refusal"], &report["answered"]), (&Value::Null, &json!(3)), "{report:#}");

    // Each entry answers once.
    let (head, body) = send(&url, "POST", CHAT, &request("stream", true).to_string());
    assert!(head.starts_with("HTTP/1.1 422") && head.contains("x-should-retry: false"), "{head}");
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["error"]["type"], "replay_nothing_left", "{body:#}");
    let (success, out, error) = interrupt(running);
    assert!(!success && error.contains("a call was refused") && out.contains("tape.jsonl"), "{out}{error}");
}

#[test]
fn web_pages_do_not_get_in() {
    let dir = tempfile::tempdir().unwrap();
    let file = cassette(dir.path());
    let (_running, url) = start(&["replay", "--listen", "127.0.0.1:0", file.to_str().unwrap()]);
    let host = url.strip_prefix("http://").unwrap();
    let ask = |host: &str, more: &str| {
        let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
        let head = format!("GET /retrace/report HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{more}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(ask(host, ""), "200");
    assert_eq!(ask(host, "origin: https://evil.example\r\n"), "403");
    assert_eq!(ask("evil.example", ""), "403");
}

#[cfg(unix)]
#[test]
fn a_reset_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let file = cassette(dir.path());
    let (running, url) = start(&["replay", "--listen", "127.0.0.1:0", "--pace", "0.001", file.to_str().unwrap()]);
    for _ in 0..2 {
        for (text, stream) in [("stream", true), ("fail", false), ("break", true)] {
            let (head, _) = send(&url, "POST", CHAT, &request(text, stream).to_string());
            assert!(!head.starts_with("HTTP/1.1 422"), "{head}");
        }
        let (head, _) = send(&url, "POST", "/retrace/reset", "");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    }
    let (success, _, error) = interrupt(running);
    assert!(success, "{error}");
}

#[test]
fn cassettes_that_cannot_be_used_are_named_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let whole = fs::read_to_string(cassette(dir.path())).unwrap();
    let write = |name: &str, text: &str| {
        let file = dir.path().join(name);
        fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    let lines: Vec<&str> = whole.lines().collect();
    let cut = write("cut.jsonl", &whole[..whole.len() * 2 / 3]);
    let newer = write("newer.jsonl", &whole.replacen("\"1.0\"", "\"9.0\"", 1));
    let other = write("other.jsonl", "{\"traces\":[]}\n");
    let broken = write("broken.jsonl", &format!("{}\n{{]\n{}\n", lines[0], lines[4]));
    let missing = dir.path().join("missing.jsonl").display().to_string();
    let folder = dir.path().display().to_string();
    for (file, expected) in [
        (&cut, "line 4"),
        (&newer, "9.0"),
        (&other, "record"),
        (&broken, "line 2"),
        (&missing, "record it first"),
        (&folder, "directory"),
    ] {
        let error = failure(&["replay", "--listen", "127.0.0.1:0", file]);
        assert!(error.contains(&**file) && error.contains(expected), "{file}: {error}");
    }
    let error = failure(&["replay", "--listen", "0.0.0.0:0", &cut]);
    assert!(error.contains("reached from other machines"), "{error}");
}

const RUN: &str = "0af76519-16cd-43dd-8448-eb211c80319c";

/// A run with a model call, a tool and a call for embeddings.
fn run() -> Value {
    let span = |id: u64, kind: &str, name: &str, parent: Value, rest: Value| {
        let mut span = json!({ "id": format!("00000000-0000-4000-8000-{id:012}"), "trace_id": RUN, "parent_id": parent, "span_type": kind, "name": name,
            "started_at": format!("2026-11-22T11:05:4{id}Z"), "ended_at": format!("2026-11-22T11:05:4{id}Z") });
        span.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        span
    };
    let input = json!({ "messages": [{ "role": "user", "content": "When?" }] });
    let step = format!("00000000-0000-4000-8000-{:012}", 0);
    json!({ "id": RUN, "name": "harbour", "status": "completed", "started_at": "2026-11-22T11:05:40Z", "ended_at": "2026-11-22T11:05:49Z", "spans": [
        span(0, "reasoning", "plan", Value::Null, json!({})),
        span(1, "llm_call", "chat m", json!(step), json!({ "model": "m", "input": input, "output": "At six.", "input_tokens": 3, "output_tokens": 2,
            "metadata": { "operation": "chat", "provider": "openai", "response_id": "r-1", "finish_reasons": ["stop"] } })),
        span(2, "tool_call", "tide", json!(step), json!({ "input": { "harbour": "Oslo" }, "output": "six" })),
        span(3, "llm_call", "embeddings m", Value::Null, json!({ "model": "m", "input": input, "metadata": { "operation": "embeddings", "provider": "openai" } })),
    ] })
}

#[cfg(unix)]
#[test]
fn a_stored_run_becomes_a_cassette_that_answers() {
    let dir = tempfile::tempdir().unwrap();
    let (db, out) = (dir.path().join("runs.db"), dir.path().join("run.jsonl"));
    let (receiver, url) = start(&["serve", "--addr", "127.0.0.1:0", "--db", db.to_str().unwrap()]);
    let (head, _) = send(&url, "POST", "/api/v1/traces", &run().to_string());
    assert!(head.starts_with("HTTP/1.1 201"), "{head}");

    let export = |arguments: &[&str]| {
        let mut all = vec!["cassette", RUN, "--out", out.to_str().unwrap()];
        all.extend(arguments);
        let output = command().args(all).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (success, printed, error) = export(&["--url", &url]);
    assert!(success, "{error}");
    for line in [
        "llm_call plan/chat  rebuilt",
        "tool_call plan/tide  exact",
        "llm_call embeddings  not replayable: the vectors are not recorded",
        "1 exact, 1 rebuilt, 1 not replayable",
    ] {
        assert!(printed.contains(line), "{line} of {printed}");
    }
    // An existing file stays.
    let before = fs::read(&out).unwrap();
    let (success, _, error) = export(&["--url", &url]);
    let expected = format!(
        "retrace-local: {} exists and stays as it is: name another file with --out, or give --overwrite\n",
        out.display()
    );
    assert!(!success && error == expected, "{error}");
    assert_eq!(fs::read(&out).unwrap(), before);
    assert!(export(&["--url", &url, "--overwrite"]).0);
    let error = failure(&["cassette", "another-run", "--url", &url]);
    assert!(error.contains("another-run") && error.contains("has no run"), "{error}");
    assert!(interrupt(receiver).0);

    // The same from the file of the receiver, and from what it answers.
    let (success, _, error) = export(&["--db", db.to_str().unwrap(), "--overwrite"]);
    assert!(success, "{error}");
    assert_eq!(fs::read(&out).unwrap(), before);
    let json = dir.path().join("run.json");
    fs::write(&json, run().to_string()).unwrap();
    let (success, _, error) = export(&["--file", json.to_str().unwrap(), "--overwrite"]);
    assert!(success, "{error}");

    let (provider, url) = start(&["replay", "--listen", "127.0.0.1:0", out.to_str().unwrap()]);
    let (head, body) = send(
        &url,
        "POST",
        CHAT,
        &json!({ "model": "m", "temperature": 1, "messages": [{ "role": "user", "content": "When?" }] }).to_string(),
    );
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(
        (&body["choices"][0]["message"]["content"], &body["usage"]["total_tokens"]),
        (&json!("At six."), &json!(5))
    );
    assert!(interrupt(provider).0);
}

#[test]
fn runs_that_cannot_be_exported_are_named_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run.jsonl");
    let export = |arguments: &[&str]| {
        let mut all = vec!["cassette", RUN, "--out", out.to_str().unwrap()];
        all.extend(arguments);
        let error = failure(&all);
        assert!(!out.exists());
        error
    };
    let folder = dir.path().to_str().unwrap().to_owned();
    let missing = dir.path().join("missing.db").display().to_string();
    let cut = dir.path().join("cut.json");
    fs::write(&cut, &run().to_string()[..300]).unwrap();
    assert!(export(&["--db", &missing]).contains("there is no such file"));
    assert!(export(&["--db", &folder]).contains("is a directory"));
    assert!(export(&["--url", "https://api.example.com"]).contains("--file"));
    let error = export(&["--file", cut.to_str().unwrap()]);
    assert!(error.contains("cut.json, line 1"), "{error}");
    let error = failure(&["cassette", RUN, "--file", "-", "--out", &folder]);
    assert!(error.contains("line 1"), "{error}");
    let whole = dir.path().join("run.json");
    fs::write(&whole, run().to_string()).unwrap();
    let error = failure(&["cassette", RUN, "--file", whole.to_str().unwrap(), "--out", &folder]);
    assert!(error.contains("directory"), "{error}");
    let error = failure(&["cassette", "another", "--file", whole.to_str().unwrap()]);
    assert!(error.contains("is not another"), "{error}");
    let error = failure(&["cassette", RUN, "--file", whole.to_str().unwrap(), "--out", "/nowhere/at/all/run.jsonl"]);
    assert!(error.contains("/nowhere/at/all/run.jsonl"), "{error}");
}
