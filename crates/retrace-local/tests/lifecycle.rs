//! Starting, stopping and starting again: from anywhere, in good order, with nothing lost.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use retrace_local::{Server, StartError, TraceQuery};
use retrace_protocol::{Id, Status};
use serde_json::json;
use support::{Client, HANG, run};

fn is_closed(addr: SocketAddr) -> bool {
    TcpStream::connect(addr).is_err()
}

#[test]
fn it_starts_on_a_free_port_and_stops_when_dropped() {
    let (one, other) = (Server::start().unwrap(), Server::start().unwrap());
    assert_ne!(one.addr(), other.addr());
    assert!(one.addr().ip().is_loopback());
    assert_eq!(one.url(), format!("http://{}", one.addr()));
    Client::of(&one).upload(&run("t"));
    assert_eq!(other.traces(&TraceQuery::new()).unwrap().total, 0);
    let addr = one.addr();
    drop(one);
    assert!(is_closed(addr));
    assert_eq!(Client::of(&other).get("/api/v1/traces").status, 200);
    let addr = other.addr();
    other.stop();
    assert!(is_closed(addr));
}

#[test]
fn it_lives_inside_any_runtime_and_outside_of_all() {
    async fn live() {
        let server = Server::start().unwrap();
        let id = Id::from("t");
        assert!(server.trace(&id).unwrap().is_none());
        let client = Client::of(&server);
        client.upload(&run("t"));
        assert!(server.trace(&id).unwrap().is_some());
        assert!(server.wait_for_end(&id, HANG).unwrap().is_some());
        let addr = server.addr();
        drop(server);
        assert!(is_closed(addr));
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(live());
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap().block_on(live());
    // Handed over to another thread, and shared by several.
    let server = Server::start().unwrap();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| server.traces(&TraceQuery::new()).unwrap());
        }
    });
    thread::spawn(move || drop(server)).join().unwrap();
}

#[test]
fn what_was_answered_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("runs.db");
    let start = || Server::builder().with_db(&path).start().unwrap();
    let server = start();
    let client = Client::of(&server);
    for id in ["kept", "gone", "ended"] {
        client.upload(&run(id));
    }
    assert_eq!(client.post("/api/v1/traces/kept/golden", &json!({"golden": true})).status, 200);
    assert_eq!(client.delete("/api/v1/traces/gone").status, 204);
    assert_eq!(client.patch("/api/v1/traces/ended", &json!({"status": "failed"})).status, 200);
    server.stop();
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left, ["runs.db"], "the file alone is the whole of it");

    let server = start();
    let client = Client::of(&server);
    let mut kept = run("kept");
    kept["golden"] = json!(true);
    assert_eq!(client.get("/api/v1/traces/kept").json, kept);
    assert_eq!(client.get("/api/v1/traces/gone").status, 404);
    assert_eq!(server.trace(&"ended".into()).unwrap().unwrap().status, Some(Status::Failed));
    assert_eq!(client.post("/api/v1/traces", &run("kept")).status, 409);
}

#[test]
fn what_was_answered_is_there_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("runs.db");
    let server = Server::builder().with_db(&path).start().unwrap();
    Client::of(&server).upload(&run("t"));
    // As a killed process leaves them: the database and its log, copied while the server runs.
    let copy = dir.path().join("copy.db");
    for suffix in ["", "-wal"] {
        let from = dir.path().join(format!("runs.db{suffix}"));
        std::fs::copy(from, dir.path().join(format!("copy.db{suffix}"))).unwrap();
    }
    let copied = Server::builder().with_db(copy).start().unwrap();
    assert_eq!(Client::of(&copied).get("/api/v1/traces/t").json, run("t"));
}

#[test]
fn an_invalid_setting_is_an_error_with_its_remedy() {
    let taken = Server::start().unwrap();
    let error = Server::builder().with_addr(taken.addr()).start().unwrap_err();
    assert!(matches!(error, StartError::AddrInUse { .. }));
    assert!(
        error.to_string().contains(&taken.addr().to_string()) && error.to_string().contains("another port"),
        "{error}"
    );

    let error = Server::builder().with_addr("0.0.0.0:0".parse().unwrap()).start().unwrap_err();
    assert!(error.to_string().contains("other machines"), "{error}");
    let error =
        Server::builder().with_addr("192.0.2.1:0".parse().unwrap()).with_allow_remote(true).start().unwrap_err();
    assert!(matches!(error, StartError::Bind { .. }), "{error}");
    let error = Server::builder().with_api_key("").start().unwrap_err();
    assert!(error.to_string().contains("empty"), "{error}");
    let error = Server::builder().with_db(Path::new("/no/such/folder/runs.db")).start().unwrap_err();
    assert!(error.to_string().contains("/no/such/folder does not exist: create it"), "{error}");

    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("notes.txt");
    std::fs::write(&text, "not a database ".repeat(100)).unwrap();
    let error = Server::builder().with_db(&text).start().unwrap_err();
    assert!(error.to_string().contains("notes.txt") && error.to_string().contains("not a SQLite database"), "{error}");
    assert_eq!(std::fs::read_to_string(&text).unwrap(), "not a database ".repeat(100), "and it is left as it was");
}

#[test]
fn waiting_for_a_run_ends_with_the_run() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| server.wait_for_end(&"t".into(), HANG).unwrap().unwrap());
        let mut started = run("t");
        started["status"] = json!("running");
        client.upload(&started);
        client.upload(&run("another"));
        assert!(!waiting.is_finished(), "the run has not ended");
        assert_eq!(client.patch("/api/v1/traces/t", &json!({"status": "completed", "output": 5})).status, 200);
        let trace = waiting.join().unwrap();
        assert_eq!((trace.status, trace.output.unwrap().as_str()), (Some(Status::Completed), "5"));
        assert_eq!(trace.spans.unwrap().len(), 2);
    });
    let began = Instant::now();
    assert!(server.wait_for_end(&"nobody".into(), Duration::from_millis(30)).unwrap().is_none());
    assert!((Duration::from_millis(30)..HANG).contains(&began.elapsed()));
    assert!(server.wait_for_end(&"t".into(), Duration::MAX).unwrap().is_some());
}

#[test]
fn stopping_waits_for_nobody_for_long() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::builder().with_db(dir.path().join("runs.db")).with_patience(2 * HANG).start().unwrap();
    let client = Client::of(&server);
    assert_eq!(client.get("/api/v1/traces").status, 200);
    // One connection is idle, one has sent nothing, one stands in the middle of a body: it was given leave to send.
    let mut body = support::connect(&server);
    body.write_all(
        b"POST /api/v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\
          expect: 100-continue\r\n\r\n",
    )
    .unwrap();
    body.read_exact(&mut [0; 25]).unwrap();
    let silent = support::connect(&server);
    let began = Instant::now();
    let addr = server.addr();
    server.stop();
    assert!(is_closed(addr));
    // What closes the file, and takes away the log beside it, is the end of the server: it did not wait for the clients.
    while std::fs::read_dir(dir.path()).unwrap().count() > 1 {
        assert!(began.elapsed() < HANG, "the file is open");
        thread::yield_now();
    }
    drop((body, silent));
}

#[test]
fn a_request_that_has_begun_is_answered_before_the_end() {
    let server = Server::start().unwrap();
    let sent = run("t").to_string();
    let mut stream = support::connect(&server);
    let head = format!(
        "POST /api/v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         expect: 100-continue\r\n\r\n",
        sent.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.read_exact(&mut [0; 25]).unwrap();
    let addr = server.addr();
    thread::scope(|scope| {
        let stopping = scope.spawn(|| server.stop());
        // It takes no more connections, so it is stopping.
        let began = Instant::now();
        while !is_closed(addr) {
            assert!(began.elapsed() < HANG);
            thread::yield_now();
        }
        stream.write_all(sent.as_bytes()).unwrap();
        assert_eq!(support::answer(&mut stream).status, 201);
        stopping.join().unwrap();
    });
}

/// What a newer version has written is read, and left as it is.
#[tokio::test]
async fn a_database_of_a_newer_version_is_read_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("runs.db");
    let server = Server::builder().with_db(&path).start().unwrap();
    Client::of(&server).upload(&run("t"));
    server.stop();
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    let before = std::fs::read(&path).unwrap();

    let server = Server::builder().with_db(&path).start().unwrap();
    let reason = server.read_only().unwrap();
    assert!(reason.contains("schema 99") && reason.contains("nothing is written"), "{reason}");
    let client = Client::of(&server);
    assert_eq!(client.get("/api/v1/traces/t").json["spans"][0]["output"], "hello");
    assert_eq!(client.get("/api/v1/diff?a=t&b=t").json["same"], true);
    for refused in [
        client.post("/api/v1/traces", &run("u")),
        client.delete("/api/v1/traces/t"),
        client.post("/api/v1/forks", &json!({"trace_id": "t", "span_id": "a"})),
        client.post("/v1/traces", &json!({"resourceSpans": []})),
    ] {
        assert!(refused.status == 503 && refused.text.contains("schema 99"), "{refused:?}");
    }
    assert!(support::ws::connect(&server, &[]).await.is_err());
    server.stop();
    assert_eq!(std::fs::read(&path).unwrap(), before);

    // One whose runs cannot be read is refused.
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.execute_batch("ALTER TABLE traces RENAME TO runs").unwrap();
    drop(newer);
    let error = Server::builder().with_db(&path).start().unwrap_err().to_string();
    assert!(error.contains("newer retrace-local") && error.contains("another file"), "{error}");
}
