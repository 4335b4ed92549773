//! What is removed because it is old, or because there is too much, in the database of a running server.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use retrace_local::{Server, ServerBuilder};
use serde_json::{Value, json};
use support::{Client, HANG};

/// A run that began this many seconds ago, with an input of this many bytes.
fn run(id: &str, seconds_ago: u64, bytes: usize) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let began = u64::try_from(now.as_micros()).unwrap() - seconds_ago * 1_000_000;
    let began = retrace_protocol::Timestamp::from_unix_micros(began).as_text().into_owned();
    json!({"id": id, "status": "completed", "name": id, "started_at": began, "ended_at": began, "input": "x".repeat(bytes), "spans": []})
}

fn ids(client: &Client) -> Vec<String> {
    let page = client.get("/api/v1/traces?limit=1000").json;
    page["traces"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap().to_owned()).collect()
}

/// Waits until these are what is stored.
fn wait_for(client: &Client, expected: impl Fn(&[String]) -> bool) -> Vec<String> {
    let deadline = Instant::now() + HANG;
    loop {
        let found = ids(client);
        if expected(&found) || Instant::now() > deadline {
            return found;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn start(file: &Path, settings: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Server {
    settings(Server::builder().with_db(file)).start().unwrap()
}

#[test]
fn what_is_older_than_it_may_be_goes_and_what_is_golden_stays() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("runs.db");
    let server = start(&file, |server| server);
    let client = Client::of(&server);
    for (id, age) in [("ancient", 9_000), ("golden", 8_000), ("old", 4_000), ("young", 60)] {
        client.upload(&run(id, age, 10));
    }
    client.post("/api/v1/traces/golden/golden", &json!({"golden": true}));
    server.stop();
    let server = start(&file, |server| server.with_keep(Duration::from_secs(3_600)));
    let client = Client::of(&server);
    let left = wait_for(&client, |ids| ids.len() == 2);
    assert_eq!(left, ["young", "golden"]);
    assert_eq!(client.get("/api/v1/traces?q=old").json["total"], 0);
}

#[test]
fn the_oldest_go_while_there_is_too_much_and_the_space_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("runs.db");
    let server = start(&file, |server| server);
    let client = Client::of(&server);
    for at in 0..200_u64 {
        client.upload(&run(&format!("{at:03}"), 10_000 - at, 100_000));
    }
    client.post("/api/v1/traces/000/golden", &json!({"golden": true}));
    server.stop();
    let before = std::fs::metadata(&file).unwrap().len();
    assert!(before > 20_000_000, "{before}");

    let server = start(&file, |server| server.with_max_db_bytes(8_000_000));
    let client = Client::of(&server);
    let left = wait_for(&client, |ids| ids.len() < 80);
    assert!(left.len() > 10, "{left:?}");
    // The space is given back after the last of them is gone.
    let database = rusqlite::Connection::open(&file).unwrap();
    let free = || database.pragma_query_value(None, "freelist_count", |row| row.get::<_, i64>(0)).unwrap();
    let deadline = Instant::now() + HANG;
    while free() > 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(database);
    let left = ids(&client);
    assert_eq!((left[0].as_str(), left.last().unwrap().as_str()), ("199", "000"), "the newest and the golden one stay");
    server.stop();
    let after = std::fs::metadata(&file).unwrap().len();
    assert!(after < 12_000_000, "{before} before, {after} after");
}
