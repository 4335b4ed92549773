//! CPU time of a run that is recorded into a cassette, over that of one that is not.
//!
//! `cargo bench -p retrace-sdk --features reqwest --bench recording` makes 400 model calls by `clients::reqwest`, with requests and
//! responses of 8 KB each, half of the responses streamed, to a scripted server in a process of its own, so that its time is not
//! counted. Runs that are recorded and runs that are not take turns; the medians of the CPU times of this process are compared.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

use cpu_time::ProcessTime;
use serde_json::{Value, json};

const CALLS: usize = 400;
const ROUNDS: usize = 15;
const BYTES: usize = 8 * 1024;
/// Variable that makes this program the server.
const SERVER: &str = "RETRACE_BENCH_SERVER";

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

fn request(call: usize, streamed: bool) -> String {
    let turns = (0..8).map(|turn| {
        let role = if turn % 2 == 0 { "user" } else { "assistant" };
        json!({"role": role, "content": prose(call + turn, BYTES / 9)})
    });
    json!({"model": "gpt-4o-mini", "stream": streamed, "messages": turns.collect::<Vec<_>>()}).to_string()
}

/// Answers requests on one connection after the other, with the same bytes.
fn serve() {
    let message = json!({"role": "assistant", "content": prose(1, BYTES - 400)});
    let choices = json!([{"index": 0, "message": message, "finish_reason": "stop"}]);
    let usage = json!({"prompt_tokens": 2000, "completion_tokens": 1900, "total_tokens": 3900});
    let whole = json!({"id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-4o-mini", "choices": choices, "usage": usage});
    let whole = whole.to_string();
    let head = "HTTP/1.1 200 OK\r\ncontent-type:";
    let whole = format!("{head} application/json\r\ncontent-length: {}\r\n\r\n{whole}", whole.len());
    let mut streamed = format!("{head} text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
    let mut bytes = 0;
    for word in prose(2, BYTES).split_inclusive(' ') {
        let delta = json!([{"index": 0, "delta": {"content": word}, "logprobs": null, "finish_reason": null}]);
        let event =
            format!("data: {}\n\n", json!({"id": "chatcmpl-2", "object": "chat.completion.chunk", "choices": delta}));
        streamed += &format!("{:x}\r\n{event}\r\n", event.len());
        bytes += event.len();
        if bytes > BYTES {
            break;
        }
    }
    streamed.push_str("e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    for connection in listener.incoming() {
        let (connection, whole, streamed) = (connection.unwrap(), whole.clone(), streamed.clone());
        std::thread::spawn(move || answer(connection, &whole, &streamed));
    }
}

fn answer(mut connection: TcpStream, whole: &str, streamed: &str) {
    connection.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    loop {
        let (mut length, mut line) = (0, String::new());
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let is_streamed = body.windows(13).any(|window| window == b"\"stream\":true");
        connection.write_all(if is_streamed { streamed } else { whole }.as_bytes()).unwrap();
    }
}

/// A run: an agent that parses what it receives.
async fn agent(url: &str, bodies: &[String]) -> usize {
    let client = retrace::clients::reqwest::client(reqwest::Client::new());
    let mut received = 0;
    for body in bodies {
        let request = client.post(format!("{url}/v1/chat/completions")).header("content-type", "application/json");
        let response = request.body(body.clone()).send().await.unwrap();
        let bytes = response.bytes().await.unwrap();
        received += bytes.len();
        if bytes.starts_with(b"{") {
            let answer: Value = serde_json::from_slice(&bytes).unwrap();
            assert!(answer["choices"][0]["message"]["content"].is_string());
        } else {
            let events = bytes.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data: "));
            let events = events.filter_map(|event| serde_json::from_slice::<Value>(event).ok());
            assert!(events.count() > 10);
        }
    }
    received
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn main() {
    if std::env::var_os(SERVER).is_some() {
        return serve();
    }
    let mut server =
        Command::new(std::env::current_exe().unwrap()).env(SERVER, "1").stdout(Stdio::piped()).spawn().unwrap();
    let mut addr = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut addr).unwrap();
    let url = format!("http://{}", addr.trim());
    let bodies: Vec<String> = (0..CALLS).map(|call| request(call, call % 2 == 1)).collect();
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut plain, mut recorded, mut wire) = (Vec::new(), Vec::new(), 0);
    // Removed before each round: on a virtual machine, memory that nothing has used before costs more than what is written to it.
    let file = directory.path().join("recorded.jsonl");
    for round in 0..=ROUNDS {
        let began = ProcessTime::now();
        let received = runtime.block_on(agent(&url, &bodies));
        let without = began.elapsed().as_secs_f64();
        let _ = std::fs::remove_file(&file);
        let began = ProcessTime::now();
        let recording = retrace::record_cassette(&file).run(agent(&url, &bodies));
        assert_eq!(runtime.block_on(recording).unwrap().value, received);
        let with = began.elapsed().as_secs_f64();
        wire = received + bodies.iter().map(String::len).sum::<usize>();
        // The first round warms up.
        if round > 0 {
            plain.push(without);
            recorded.push(with);
        }
    }
    let _ = server.kill();
    let _ = server.wait();
    let (plain, recorded) = (median(plain), median(recorded));
    let per_call = |seconds: f64| seconds * 1e6 / CALLS as f64;
    println!("a call: {:.0} us of CPU, {:.0} us where it is recorded", per_call(plain), per_call(recorded));
    println!("recording costs {:.1} % of the CPU of a run", (recorded / plain - 1.0) * 100.0);
    let size = std::fs::metadata(&file).unwrap().len();
    println!("cassette: {size} bytes for {wire} on the wire, {:.3}", size as f64 / wire as f64);
}
