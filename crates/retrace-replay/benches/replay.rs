//! CPU time of a replay, and the size of a cassette.
//!
//! `cargo bench -p retrace-replay` replays a run of 1,000 model calls whose requests and responses have 8 KB each, half of them
//! streamed, and prints the CPU time of the fastest of some rounds, and the bytes of the cassette for each byte on the wire. It
//! fails above 100 ms or 1.2.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

use std::hint::black_box;
use std::io::Cursor;

use cpu_time::ProcessTime;
use retrace_protocol::{Json, SpanType};
use retrace_replay::cassette::{Cassette, CassetteWriter, Effects, Entry, Header, Outcome};
use retrace_replay::replay::{Call, Decision, Options, Replay};
use retrace_replay::{Chunk, Fingerprint, Lane, Response, Secrets, redact};
use serde_json::{Value, json};

const CALLS: usize = 1000;
const BYTES: usize = 8 * 1024;
const ROUNDS: usize = 20;
/// Own CPU time of a replay, in milliseconds.
const MAX_MS: f64 = 100.0;
/// Bytes of the cassette for each byte on the wire.
const MAX_RATIO: f64 = 1.2;

/// Prose of so many bytes that differs for each call.
fn prose(call: usize, bytes: usize) -> String {
    let words = ["tide", "harbour", "spring", "neap", "\"moon\"", "rises\n", "falls", "six", "metres", "hour"];
    let mut text = format!("call {call}: ");
    for at in 0.. {
        if text.len() >= bytes {
            break;
        }
        text.push_str(words[(at * 7 + call) % words.len()]);
        text.push(' ');
    }
    text
}

fn request(call: usize) -> Value {
    let turns = (0..8).map(|turn| {
        let role = if turn % 2 == 0 { "user" } else { "assistant" };
        json!({"role": role, "content": prose(call + turn, BYTES / 9)})
    });
    let tools = json!([{"type": "function", "function": {"name": "tide", "parameters": {"type": "object"}}}]);
    json!({"model": "gpt-4o-mini", "temperature": 0.2, "messages": turns.collect::<Vec<_>>(), "tools": tools})
}

fn response(call: usize) -> Response {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    let mut chunks = Vec::new();
    if call.is_multiple_of(2) {
        let message = json!({"role": "assistant", "content": prose(call, BYTES - 400)});
        let choices = json!([{"index": 0, "message": message, "finish_reason": "stop"}]);
        let body = json!({"id": format!("chatcmpl-{call}"), "object": "chat.completion", "choices": choices});
        chunks.push(Chunk { ms: 900, bytes: serde_json::to_vec_pretty(&body).unwrap() });
    } else {
        let mut bytes = 0;
        for (at, word) in prose(call, BYTES).split_inclusive(' ').enumerate() {
            let delta = json!([{"index": 0, "delta": {"content": word}, "logprobs": null, "finish_reason": null}]);
            let event = json!({"id": format!("chatcmpl-{call}"), "object": "chat.completion.chunk", "created": 1_795_345_548,
                "model": "gpt-4o-mini-2024-07-18", "system_fingerprint": "fp_1", "choices": delta});
            let event = format!("data: {event}\n\n").into_bytes();
            bytes += event.len();
            chunks.push(Chunk { ms: 300 + at as u64 * 12, bytes: event });
            if bytes > BYTES {
                break;
            }
        }
        chunks.push(Chunk { ms: 2000, bytes: b"data: [DONE]\n\n".to_vec() });
    }
    Response { status: 200, headers, head_ms: 280, chunks, broken: None }
}

fn main() {
    let mut writer =
        CassetteWriter::begin("bench.jsonl", Vec::new(), &Header::new("bench"), Secrets::default()).unwrap();
    let lane = Lane::root().child("agent", 0);
    let mut wire = 0;
    for call in 0..CALLS {
        let mut body = request(call);
        let (sent, response) = (body.to_string().len(), response(call));
        // Bodies alone: what HTTP adds is not counted.
        wire += sent + response.body().len();
        redact(&mut body);
        let mut entry = Entry::new(SpanType::LlmCall, "chat", Json::from_serialize(&body));
        entry.lane = lane.clone();
        entry.model = Some("gpt-4o-mini".to_owned());
        entry.fingerprint = Fingerprint::of("chat", entry.model.as_deref(), &body);
        entry.endpoint = Some("POST https://api.openai.com/v1/chat/completions".to_owned());
        entry.outcome = Outcome::Response(response);
        writer.push(entry).unwrap();
    }
    let file = writer.finish().unwrap();
    let bodies: Vec<String> = (0..CALLS).map(|call| request(call).to_string()).collect();
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let began = ProcessTime::now();
        let cassette = Cassette::open("bench.jsonl", Cursor::new(file.clone())).unwrap();
        let mut replay = Replay::new(cassette, Options::default()).unwrap();
        let mut answered = 0;
        for body in &bodies {
            let call = Call {
                lane: &lane,
                span_type: SpanType::LlmCall,
                name: "chat",
                model: Some("gpt-4o-mini"),
                request: serde_json::from_str(body).unwrap(),
                effects: Effects::None,
                inner: None,
            };
            match replay.decide(call) {
                Decision::Answer(entry) => {
                    black_box(entry);
                    answered += 1;
                }
                other => panic!("not answered: {other:?}"),
            }
        }
        assert_eq!(answered, CALLS);
        best = best.min(began.elapsed().as_secs_f64() * 1000.0);
    }
    #[allow(clippy::cast_precision_loss)] // some megabytes
    let ratio = file.len() as f64 / wire as f64;
    println!(
        "replay of {CALLS} calls, {} KB each on the wire: {best:.1} ms of CPU (at most {MAX_MS})",
        wire / CALLS / 1024
    );
    println!("cassette: {} bytes for {wire} on the wire, {ratio:.3} (at most {MAX_RATIO})", file.len());
    assert!(best <= MAX_MS, "the replay takes {best:.1} ms");
    assert!(ratio <= MAX_RATIO, "the cassette is {ratio:.3} times what was on the wire");
}
