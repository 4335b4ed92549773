//! P39: a run of very many spans and a message of many megabytes are looked at without either taking the memory.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::string_slice)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::json;

const SPANS: usize = 50_000;
const MESSAGE: usize = 20_000_000;

/// The receiver in a process of its own, so that what is measured is what it takes.
struct Receiver(Child, String);

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Receiver {
    fn start(db: &std::path::Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mortal-receiver"));
        let command = command.arg(db).arg("127.0.0.1:0").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self(child, address.trim().to_owned())
    }

    /// Status and body.
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.1).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// KiB that it took at most since this was last asked.
    fn peak_kib(&self) -> u64 {
        let proc = format!("/proc/{}", self.0.id());
        let status = std::fs::read_to_string(format!("{proc}/status")).unwrap();
        std::fs::write(format!("{proc}/clear_refs"), "5").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

#[test]
fn pain_39_a_large_run_is_looked_at_in_bounded_memory() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(&dir.path().join("runs.db"));
    let at = "2026-01-02T03:04:05Z";
    let span = |run: &str, id: usize, output: &str| {
        json!({"id": format!("s{id}"), "trace_id": run, "parent_id": null, "name": "step", "span_type": "tool_call", "started_at": at,
               "ended_at": at, "input": {"question": "x".repeat(200)}, "output": output})
    };
    let wide: Vec<_> = (0..SPANS).map(|id| span("wide", id, "y")).collect();
    for (id, spans) in
        [("wide", wide), ("heavy", vec![span("heavy", 0, &"z".repeat(MESSAGE)), span("heavy", 1, "small")])]
    {
        let run =
            json!({"id": id, "name": id, "status": "completed", "started_at": at, "ended_at": at, "spans": spans});
        let (status, answer) = receiver.ask("POST", "/api/v1/traces", &run.to_string());
        assert_eq!(status, 201, "{answer}");
    }
    let stored = receiver.peak_kib();

    let (status, list) = receiver.ask("GET", "/api/v1/traces", "");
    assert!(status == 200 && list.len() < 10_000, "{status}, {} bytes", list.len());
    let (status, tree) = receiver.ask("GET", "/api/v1/traces/heavy?content=false", "");
    assert!(status == 200 && tree.len() < 10_000, "{status}, {} bytes", tree.len());
    let of_heavy = receiver.peak_kib();
    let (status, tree) = receiver.ask("GET", "/api/v1/traces/wide?content=false", "");
    assert_eq!((status, tree.matches(r#""step""#).count()), (200, SPANS), "the tree is whole");
    assert!(!tree.contains("xxxx"), "and without content");
    let of_wide = receiver.peak_kib();
    let (status, one) = receiver.ask("GET", "/api/v1/traces/heavy/spans/s1", "");
    assert!(status == 200 && one.contains("small") && one.len() < 10_000, "{status}: {one:.200}");
    let (status, one) = receiver.ask("GET", "/api/v1/traces/heavy/spans/s0", "");
    assert!(status == 200 && one.len() > MESSAGE, "content comes when it is asked for");
    let of_content = receiver.peak_kib();
    println!(
        "KiB at most: {stored} storing, {of_heavy} looking at heavy, {of_wide} at wide, {of_content} at its content"
    );
    for peak in [stored, of_heavy, of_wide, of_content] {
        assert!(peak < 512 * 1024, "{stored} {of_heavy} {of_wide} {of_content}");
    }
}
