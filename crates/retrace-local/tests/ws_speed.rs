//! How fast events are stored and acked through one connection. Not run with the others; prints what it finds:
//! `cargo test --release -p retrace-local --test ws_speed -- --ignored --nocapture`

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use retrace_local::Server;
use serde_json::json;
use support::ws::{Ws, span_ended, span_started, trace_ended, trace_started};
use tokio_tungstenite::tungstenite::Message;

const SPANS: u64 = 20_000;
const ALONE: u64 = 2_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "a measurement"]
async fn events_acked_through_one_connection() {
    let dir = tempfile::tempdir().unwrap();
    for (kind, server) in [
        ("in memory", Server::start().unwrap()),
        ("in a file", Server::builder().with_db(dir.path().join("runs.db")).start().unwrap()),
    ] {
        let mut frames = vec![trace_started(1, "0af76519-16cd-43dd-8448-eb211c80319c")];
        for span in 0..SPANS {
            let (trace_id, id) =
                ("0af76519-16cd-43dd-8448-eb211c80319c", format!("{span:08x}-16cd-43dd-8448-eb211c80319c"));
            frames.push(span_started(2 * span + 2, trace_id, &id));
            frames.push(span_ended(2 * span + 3, trace_id, &id, json!({"temp_c": 4})));
        }
        frames.push(trace_ended(2 * SPANS + 2, "0af76519-16cd-43dd-8448-eb211c80319c"));
        let texts: Vec<String> = frames.iter().map(ToString::to_string).collect();
        let events = texts.len();

        let ws = Ws::open(&server).await;
        let (mut sink, mut stream) = ws.socket.split();
        let began = Instant::now();
        let acks = tokio::spawn(async move {
            for _ in 0..events {
                stream.next().await.unwrap().unwrap();
            }
            began.elapsed()
        });
        for text in texts {
            sink.feed(Message::text(text)).await.unwrap();
        }
        sink.flush().await.unwrap();
        let took = acks.await.unwrap();
        let rate = events as f64 / took.as_secs_f64();
        println!("{kind}: {events} events acked in {took:.2?}, {rate:.0} a second");

        let mut ws = Ws::open(&server).await;
        let mut times: Vec<Duration> = Vec::new();
        for seq in 0..ALONE {
            let began = Instant::now();
            ws.tell(&[span_started(seq, "t", &seq.to_string())]).await;
            times.push(began.elapsed());
        }
        times.sort();
        let at = |part: usize| times[times.len() * part / 100];
        println!("{kind}: sent to acked, one at a time: p50 {:.0?}, p99 {:.0?}", at(50), at(99));
    }
}
