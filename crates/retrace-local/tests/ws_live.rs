//! Runs begun over a WebSocket: live or interrupted, completed over HTTP, watched while they run, and kept through crashes.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use retrace_local::Server;
use rusqlite::Connection;
use serde_json::{Value, json};
use support::ws::{Ws, ack, span_ended, span_started, trace_ended, trace_started};
use support::{AT, Client, HANG, run};
use tokio_tungstenite::tungstenite::Message;

/// Time after which a watch is answered that nothing wakes.
const UNWOKEN: Duration = Duration::from_secs(25);

/// The number to ask after next, and what has changed.
fn changes(client: &Client, after: u64, live: Option<bool>) -> (u64, Value) {
    let live = live.map_or(String::new(), |live| format!("&live={live}"));
    let answer = client.get(&format!("/api/v1/traces/t/changes?after={after}{live}"));
    assert_eq!(answer.status, 200, "{}", answer.text);
    (answer.json["version"].as_u64().unwrap(), answer.json)
}

fn ids(changed: &Value) -> Vec<&str> {
    changed["spans"].as_array().unwrap().iter().map(|span| span["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_run_is_live_while_its_client_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let start = || Server::builder().with_db(dir.path().join("runs.db")).start().unwrap();
    let server = start();
    let client = Client::of(&server);
    let live = |path: &str, client: &Client| client.get(path).json["live"].clone();
    let paths = ["/api/v1/traces/t", "/api/v1/traces/t?content=false", "/api/v1/traces/t?spans=false"];

    let mut ws = Ws::open(&server).await;
    ws.send_acked(&[trace_started(1, "t")]).await;
    let mut other = Ws::open(&server).await;
    for path in paths {
        assert_eq!(live(path, &client), true, "{path}");
    }
    assert_eq!(client.get("/api/v1/traces").json["traces"][0]["live"], true);
    let (version, _) = changes(&client, 0, None);

    // Gone without a word: interrupted, not ended.
    ws.leave().await;
    let (_, changed) = changes(&client, version, Some(true));
    assert_eq!((&changed["live"], &changed["status"]), (&json!(false), &json!("running")));
    assert_eq!(client.get("/api/v1/traces?status=running").json["traces"][0]["live"], false);

    // It goes on through another connection.
    other.send_acked(&[span_started(2, "t", "a")]).await;
    assert_eq!(live(paths[0], &client), true);

    drop(server);
    let server = start();
    let client = Client::of(&server);
    assert_eq!(live(paths[0], &client), false, "after a restart nobody is connected");
    let mut ws = Ws::open(&server).await;
    ws.send_acked(&[trace_ended(3, "t")]).await;
    assert_eq!(live(paths[0], &client), Value::Null, "what has ended is neither");

    // What was uploaded whole is neither, ended or not.
    client.upload(&json!({"id": "http", "status": "running", "started_at": AT, "spans": []}));
    assert_eq!(live("/api/v1/traces/http", &client), Value::Null);
}

/// A watch that nothing wakes is answered after 25 seconds. On a machine that is busy one that is woken may take as long, but
/// not each of several.
#[tokio::test]
async fn a_watch_is_woken_by_the_end_of_a_connection() {
    let server = Server::start().unwrap();
    for _ in 0..5 {
        let client = Client::of(&server);
        let mut ws = Ws::open(&server).await;
        ws.send_acked(&[trace_started(1, "t")]).await;
        let (version, _) = changes(&client, 0, None);
        let began = Instant::now();
        let watching = thread::spawn(move || changes(&client, version, Some(true)));
        ws.leave().await;
        let (_, changed) = tokio::task::spawn_blocking(move || watching.join().unwrap()).await.unwrap();
        assert_eq!(changed["live"], json!(false));
        if began.elapsed() < UNWOKEN / 2 {
            return;
        }
    }
    panic!("every watch lasts until its end");
}

#[tokio::test]
async fn a_run_that_has_not_ended_is_completed_by_upload_or_patch() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    let mut ws = Ws::open(&server).await;
    ws.send_acked(&[trace_started(1, "t"), span_started(2, "t", "a"), span_ended(3, "t", "z", json!("early"))]).await;

    let mut upload = run("t");
    upload["spans"].as_array_mut().unwrap().push(span_started(0, "t", "z")["data"].clone());
    let answer = client.post("/api/v1/traces", &upload);
    assert_eq!((answer.status, &answer.json), (200, &json!({"id": "t"})), "{}", answer.text);
    let trace = client.get("/api/v1/traces/t").json;
    let expected = |name: &str| match name {
        "spans" => None,
        name => Some((&trace[name], &upload[name])),
    };
    for (name, _) in upload.as_object().unwrap() {
        if let Some((stored, sent)) = expected(name) {
            assert_eq!(stored, sent, "{name}");
        }
    }
    assert_eq!(ids(&trace), ["a", "b", "z"]);
    assert_eq!((&trace["spans"][0]["output"], &trace["spans"][0]["input"]), (&json!("hello"), &json!([1, 2.5])));
    assert_eq!(trace["spans"][2]["output"], "early");

    // Now it has ended: another upload is refused, and frames that come late reset nothing.
    assert_eq!(client.post("/api/v1/traces", &upload).status, 409);
    ws.send_acked(&[trace_started(1, "t"), span_started(2, "t", "a")]).await;
    let mut late = client.get("/api/v1/traces/t").json;
    assert_eq!(late["status"], "completed");
    late["name"] = trace["name"].clone();
    assert_eq!(late["ended_at"], trace["ended_at"]);
    assert_eq!(late["spans"][0]["output"], "hello");

    ws.send_acked(&[trace_started(4, "patched")]).await;
    assert_eq!(client.patch("/api/v1/traces/patched", &json!({"status": "failed", "lossy": true})).status, 200);
    assert_eq!(client.post("/api/v1/traces", &run("patched")).status, 409, "a patch may end it too");

    // An upload that does not end it leaves it open.
    ws.send_acked(&[trace_started(5, "open")]).await;
    let open = json!({"id": "open", "status": "running", "started_at": AT, "name": "later", "spans": []});
    for _ in 0..2 {
        assert_eq!(client.post("/api/v1/traces", &open).status, 200);
    }
    let stored = client.get("/api/v1/traces/open").json;
    assert_eq!(
        (&stored["status"], &stored["name"], &stored["live"]),
        (&json!("running"), &json!("later"), &json!(true))
    );
    ws.send_acked(&[trace_ended(6, "open")]).await;
    assert_eq!(client.post("/api/v1/traces", &open).status, 409);

    // Begun over HTTP: the first upload has it, ended or not.
    let begun = json!({"id": "http", "status": "running", "started_at": AT, "spans": []});
    client.upload(&begun);
    ws.send_acked(&[trace_started(7, "http")]).await;
    assert_eq!(client.post("/api/v1/traces", &begun).status, 409);
}

#[tokio::test]
async fn a_subscriber_receives_changes_only() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    assert_eq!(client.get("/api/v1/traces/t/changes").status, 404);
    let mut ws = Ws::open(&server).await;
    ws.send_acked(&[trace_started(1, "t"), span_started(3, "t", "b"), span_started(2, "t", "a")]).await;
    let (first, whole) = changes(&client, 0, None);
    assert_eq!(ids(&whole), ["a", "b"], "in the order they started");
    assert!(whole["spans"][0].get("input").is_none() && whole["spans"][0]["content_bytes"]["input"].is_u64());

    // Someone waits; the answer comes with the event, and holds what it changed.
    let url = server.url().to_owned();
    let watching = thread::spawn(move || {
        let agent = ureq::Agent::new_with_defaults();
        let mut answer = agent.get(format!("{url}/api/v1/traces/t/changes?after={first}&live=true")).call().unwrap();
        serde_json::from_str::<Value>(&answer.body_mut().read_to_string().unwrap()).unwrap()
    });
    ws.send_acked(&[span_ended(4, "t", "b", json!(1))]).await;
    let changed = tokio::task::spawn_blocking(move || watching.join().unwrap()).await.unwrap();
    assert_eq!(ids(&changed), ["b"]);
    assert_eq!(changed["spans"][0]["ended_at"], AT);
    let second = changed["version"].as_u64().unwrap();
    assert!(second > first);

    ws.send_acked(&[trace_ended(5, "t")]).await;
    let (third, changed) = changes(&client, second, Some(true));
    assert_eq!((ids(&changed).len(), &changed["status"]), (0, &json!("completed")));
    // An event without news changes nothing; a mark does.
    ws.send_acked(&[trace_ended(5, "t"), span_ended(4, "t", "b", json!(1))]).await;
    assert_eq!(client.post("/api/v1/traces/t/golden", &json!({"golden": true})).status, 200);
    let (fourth, changed) = changes(&client, third, None);
    assert_eq!((ids(&changed).len(), &changed["golden"]), (0, &json!(true)));
    // A number of another database: all of it.
    assert_eq!(ids(&changes(&client, fourth + 1, None).1), ["a", "b"]);
    assert_eq!(client.get("/api/v1/traces/t/changes?after=x").status, 400);
}

#[tokio::test]
async fn stopping_lets_go_of_those_who_watch() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    Ws::open(&server).await.send_acked(&[trace_started(1, "t"), trace_ended(2, "t")]).await;
    let (version, _) = changes(&client, 0, None);
    let mut watch = support::connect(&server);
    let request = format!("GET /api/v1/traces/t/changes?after={version} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    std::io::Write::write_all(&mut watch, request.as_bytes()).unwrap();
    // This comes after that, and is answered: so that is waiting now.
    assert_eq!(client.get("/api/v1/traces").status, 200);
    drop(server);
    assert!(support::answer(&mut watch).refusal(503).contains("stopping"));
}

/// Takes the right to write to a database away from its server until it is dropped.
fn hold(path: &Path) -> Connection {
    let other = Connection::open(path).unwrap();
    other.busy_timeout(HANG).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

#[tokio::test]
async fn an_ack_comes_after_the_commit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("runs.db");
    let server = Server::builder().with_db(&path).start().unwrap();
    let mut ws = Ws::open(&server).await;
    let held = hold(&path);
    ws.send(&trace_started(1, "t")).await;
    for _ in 0..20 {
        // Everything else is answered meanwhile.
        ws.read_up_to_here().await;
    }
    assert!(server.trace(&"t".into()).unwrap().is_none());
    // What waits together is committed together, and acked in order.
    let waiting: Vec<Value> = (2..500).map(|seq| span_started(seq, "t", &seq.to_string())).collect();
    for frame in &waiting {
        ws.send(frame).await;
    }
    ws.read_up_to_here().await;
    held.execute_batch("COMMIT").unwrap();
    assert_eq!(ws.next().await, ack(&trace_started(1, "t")));
    assert!(server.trace(&"t".into()).unwrap().is_some());
    for frame in &waiting {
        assert_eq!(ws.next().await, ack(frame));
    }
    assert_eq!(server.trace(&"t".into()).unwrap().unwrap().spans.unwrap().len(), waiting.len());
}

#[tokio::test]
async fn a_frame_that_cannot_be_stored_is_not_acked_and_its_client_reconnects() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("runs.db");
    let server = Server::builder().with_db(&path).start().unwrap();
    let mut ws = Ws::open(&server).await;
    ws.send_acked(&[trace_started(1, "t")]).await;
    let other = Connection::open(&path).unwrap();
    let refuse = "CREATE TRIGGER full BEFORE INSERT ON spans BEGIN SELECT raise(ABORT, 'full'); END";
    other.execute_batch(refuse).unwrap();
    ws.send(&span_started(2, "t", "a")).await;
    assert_eq!(ws.closed().await.0, 1011);
    other.execute_batch("DROP TRIGGER full").unwrap();
    Ws::open(&server).await.send_acked(&[span_started(2, "t", "a"), trace_ended(3, "t")]).await;
    assert_eq!(server.trace(&"t".into()).unwrap().unwrap().spans.unwrap().len(), 1);
}

#[cfg(feature = "cli")]
#[tokio::test]
async fn what_was_acked_survives_the_death_of_the_receiver() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("runs.db");
    let mut receiver = Command::new(env!("CARGO_BIN_EXE_retrace-local"))
        .args(["serve", "--addr", "127.0.0.1:0", "--db"])
        .arg(&path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(receiver.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let addr = first.trim().rsplit("//").next().unwrap().to_owned();
    let mut ws = Ws::open_at(addr.parse().unwrap()).await;
    ws.send(&trace_started(1, "t")).await;
    for seq in 2..2_000 {
        ws.send(&span_started(seq, "t", &seq.to_string())).await;
    }
    let mut acked = Vec::new();
    while acked.len() < 700 {
        let ack = ws.next().await;
        acked.push(ack["id"].as_str().unwrap().to_owned());
    }
    receiver.kill().unwrap();
    receiver.wait().unwrap();
    while let Some(Ok(Message::Text(text))) = ws.message().await {
        let ack: Value = serde_json::from_str(&text).unwrap();
        acked.push(ack["id"].as_str().unwrap().to_owned());
    }
    let server = Server::builder().with_db(&path).start().unwrap();
    let trace = Client::of(&server).get("/api/v1/traces/t").json;
    assert_eq!((&trace["status"], &trace["live"]), (&json!("running"), &json!(false)));
    let stored: std::collections::HashSet<&str> = ids(&trace).into_iter().collect();
    let lost: Vec<_> = acked.iter().skip(1).filter(|id| !stored.contains(id.as_str())).collect();
    assert!(lost.is_empty(), "{} of {} acked: {lost:?}", lost.len(), acked.len());
}
