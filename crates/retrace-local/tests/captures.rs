//! Everything that the official client was seen to send over HTTP is taken, and read back as it was.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use retrace_local::Server;
use retrace_protocol::json::non_finite_to_null;
use retrace_protocol::{Trace, TracePatch, endpoint};
use serde_json::{Value, json};
use support::Client;

fn captures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../retrace-protocol/tests/captures");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|kind| kind == "jsonl")).collect()
}

/// The body as it was sent. The captures hold it parsed, or as text where it was no strict JSON.
fn body_of(line: &Value) -> String {
    line["raw"].as_str().map_or_else(|| line["body"].to_string(), str::to_owned)
}

#[test]
fn captured_traffic_is_taken_and_comes_back() {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for path in captures() {
        let server = Server::start().unwrap();
        let client = Client::of(&server).with_key("rt_capture_key");
        let mut stored: BTreeMap<String, Trace> = BTreeMap::new();
        for line in fs::read_to_string(&path).unwrap().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            if line["dir"] == "client" && line["frame"]["type"] == "trace_started" {
                // What went over a WebSocket before: here it arrives as an upload, so that a PATCH finds it.
                let started: Trace = serde_json::from_value(line["frame"]["data"].clone()).unwrap();
                if client.post(endpoint::TRACES, &line["frame"]["data"]).status == 201 {
                    let id = started.id.as_ref().unwrap().to_string();
                    stored.insert(id, Trace { spans: Some(Vec::new()), ..started });
                }
            }
            if line["dir"] != "client" || line["transport"] != "http" {
                continue;
            }
            let (method, to) = (line["method"].as_str().unwrap(), line["path"].as_str().unwrap());
            let body = body_of(&line);
            let answer = client.send(method, to, &[], Some(body.as_bytes()));
            let about = format!("{} {method} {to}: {} {}", path.display(), answer.status, answer.text);
            let strict = non_finite_to_null(&body);
            let kind = match (method, to.trim_start_matches("/api/v1/")) {
                ("POST", "traces") => {
                    let sent: Trace = serde_json::from_str(&strict).unwrap();
                    let Some(id) = sent.id.clone() else {
                        assert_eq!((answer.status, &answer.json["field"]), (400, &json!("id")), "{about}");
                        *seen.entry("without id").or_default() += 1;
                        continue;
                    };
                    if answer.status == 409 {
                        *seen.entry("known id").or_default() += 1;
                        continue;
                    }
                    assert_eq!((answer.status, &answer.json), (201, &json!({"id": id})), "{about}");
                    stored.insert(id.to_string(), sent);
                    "upload"
                }
                ("PATCH", rest) => {
                    assert_eq!((answer.status, &answer.json), (200, &json!({"ok": true})), "{about}");
                    let id = rest.trim_start_matches("traces/");
                    let end: TracePatch = serde_json::from_str(&strict).unwrap();
                    stored.get_mut(id).unwrap().apply(end.into_ended(id.into()));
                    "patch"
                }
                ("POST", rest) if rest.ends_with("/golden") => {
                    assert_eq!(answer.status, 200, "{about}");
                    "golden"
                }
                ("POST", "enforcement/check") => {
                    assert_eq!((answer.status, &answer.json), (200, &json!({"verdict": "allow"})), "{about}");
                    "check"
                }
                ("POST", "internal/logs") => {
                    assert_eq!((answer.status, &answer.json), (202, &json!({"ok": true})), "{about}");
                    "telemetry"
                }
                // The recorder played a hosted API that had requested a replay; a local receiver never does.
                ("POST", rest) if rest.ends_with("/replay/claim") => {
                    assert_eq!(answer.status, 404, "{about}");
                    "claim"
                }
                _ => panic!("{about}"),
            };
            *seen.entry(kind).or_default() += 1;
        }
        for (id, sent) in stored {
            // Compared as records: their contents must agree to the letter.
            let text = client.get(&endpoint::trace(&id.as_str().into())).text;
            assert_eq!(serde_json::from_str::<Trace>(&text).unwrap(), sent, "{}", path.display());
        }
    }
    // Guards against a reader that skips: these are what the captures hold, sixty bodies in all.
    let expected = [
        ("check", 1),
        ("claim", 3),
        ("golden", 2),
        ("known id", 1),
        ("patch", 2),
        ("telemetry", 4),
        ("upload", 46),
        ("without id", 1),
    ];
    assert_eq!(seen, BTreeMap::from(expected));
}
