//! Clients that are slow, that lie, or that are none: they get an answer or an end, and others are served meanwhile.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use retrace_local::{Server, TraceQuery};
use serde_json::{Value, json};
use support::{AT, Client, HANG, answer, connect, parse, raw, run};

const SHORT: Duration = Duration::from_millis(300);
const POST: &str = "POST /api/v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";

fn impatient() -> Server {
    Server::builder().with_patience(SHORT).start().unwrap()
}

/// Everything that comes until the other side closes; that it closes at all is what most of these tests are about.
fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    match stream.read_to_string(&mut text) {
        Ok(_) => text,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => text,
        Err(error) => panic!("{error}"),
    }
}

/// The answer to a request of an impatient server. One that the machine keeps from writing it in time gets none: then another
/// tries.
fn patiently(server: &Server, request: &str, is_whole: impl Fn(&str) -> bool) -> String {
    let began = Instant::now();
    loop {
        let mut stream = connect(server);
        if stream.write_all(request.as_bytes()).is_ok() {
            let text = rest(&mut stream);
            if is_whole(&text) {
                return text;
            }
        }
        assert!(began.elapsed() < HANG, "no answer");
    }
}

/// Whether there is an answer at all.
fn is_answer(text: &str) -> bool {
    text.contains("\r\n\r\n")
}

/// A run whose upload has a body of so many bytes.
fn of_size(id: &str, bytes: usize) -> Value {
    let bare = json!({"id": id, "started_at": AT, "input": ""}).to_string();
    json!({"id": id, "started_at": AT, "input": "x".repeat(bytes - bare.len())})
}

#[test]
fn a_head_that_never_ends_is_not_waited_for() {
    let server = impatient();
    for beginning in ["", "G", "GET /api/v1/traces HTTP/1.1\r\nhost: localhost\r\nx-slow: "] {
        let mut stream = connect(&server);
        stream.write_all(beginning.as_bytes()).unwrap();
        rest(&mut stream);
    }
    let text = patiently(&server, "GET /api/v1/traces HTTP/1.1\r\nhost: localhost\r\n\r\n", is_answer);
    assert_eq!(parse(&text).status, 200);
}

#[test]
fn a_connection_that_is_idle_is_closed() {
    let server = impatient();
    let text = patiently(&server, "HEAD / HTTP/1.1\r\nhost: localhost\r\n\r\n", is_answer);
    assert_eq!(parse(&text).status, 200);
}

#[test]
fn a_body_that_never_ends_is_a_408() {
    let server = impatient();
    let began = Instant::now();
    let mut heads =
        vec!["content-length: 99999\r\n\r\n{\"id\":", "transfer-encoding: chunked\r\n\r\n6\r\n{\"id\":\r\n"];
    while let Some(beginning) = heads.last() {
        let mut stream = connect(&server);
        let _ = stream.write_all(format!("{POST}{beginning}").as_bytes());
        // A drop now and then does not help: the time is for the whole body.
        let mut drip = stream.try_clone().unwrap();
        let dripping = thread::spawn(move || {
            while drip.write_all(b"1\r\n \r\n").is_ok() {
                thread::sleep(SHORT / 10);
            }
        });
        let mut head = [0; 4096];
        let read = stream.read(&mut head).unwrap_or(0);
        // Nothing is read of who was too slow for the head; it is sent again.
        if read > 0 {
            let answer = parse(std::str::from_utf8(&head[..read]).unwrap());
            assert!(answer.refusal(408).contains("300ms"), "{answer:?}");
            assert_eq!(answer.header("connection"), Some("close"));
            heads.pop();
        }
        assert!(began.elapsed() < HANG, "no answer");
        drop(stream.shutdown(Shutdown::Both));
        dripping.join().unwrap();
    }
    assert_eq!(server.traces(&TraceQuery::new()).unwrap().total, 0);
}

#[test]
fn a_body_that_breaks_off_stores_nothing() {
    let server = Server::start().unwrap();
    let body = run("t").to_string();
    let mut stream = connect(&server);
    let sent = &body[..body.len() - 1];
    stream.write_all(format!("{POST}content-length: {}\r\n\r\n{sent}", body.len()).as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    rest(&mut stream);
    assert_eq!(server.traces(&TraceQuery::new()).unwrap().total, 0);
    Client::of(&server).upload(&run("t"));
}

#[test]
fn one_who_reads_only_after_having_sent_too_much_sees_why() {
    let server = Server::builder().with_max_body_bytes(1_000).with_api_key("rt_right").start().unwrap();
    let much = "x".repeat(20_000_000);
    let key = "x-retrace-key: rt_right\r\n";
    let body = format!("content-length: {}\r\n\r\n{much}", much.len());
    let chunked = format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{much}\r\n0\r\n\r\n", much.len());
    for (request, status) in [
        (format!("{POST}{key}{body}"), 413),
        (format!("{POST}{key}connection: close\r\n{chunked}"), 413),
        (format!("{POST}connection: close\r\n{body}"), 401),
        (format!("{}{key}connection: close\r\n{body}", POST.replace("json", "xml")), 415),
        (format!("{}{key}connection: close\r\n{body}", POST.replace("localhost", "evil.example")), 403),
        (format!("{}{key}connection: close\r\n{body}", POST.replace("traces", "elsewhere")), 404),
    ] {
        let answer = raw(&server, request.as_bytes());
        assert!(!answer.refusal(status).is_empty());
    }
}

#[test]
fn one_who_asks_before_sending_too_much_is_spared_it() {
    let server = Server::builder().with_max_body_bytes(1_000).start().unwrap();
    let ask =
        |bytes: usize| format!("{POST}expect: 100-continue\r\nconnection: close\r\ncontent-length: {bytes}\r\n\r\n");
    let text = rest_of(&server, &ask(1_001));
    assert!(text.starts_with("HTTP/1.1 413 "), "{text}");

    let body = run("t").to_string();
    let server = Server::start().unwrap();
    let mut stream = connect(&server);
    stream.write_all(ask(body.len()).as_bytes()).unwrap();
    let mut leave = [0; 25];
    stream.read_exact(&mut leave).unwrap();
    assert_eq!(&leave, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).unwrap();
    assert_eq!(answer(&mut stream).status, 201);
}

fn rest_of(server: &Server, request: &str) -> String {
    let mut stream = connect(server);
    stream.write_all(request.as_bytes()).unwrap();
    rest(&mut stream)
}

#[test]
fn what_is_no_http_ends_the_connection_and_nothing_else() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    for noise in [
        "\r\n\r\n\r\n\r\nhello\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0".to_owned() + &"\0".repeat(600),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        format!("{POST}content-length: many\r\n\r\n"),
        format!("{POST}content-length: 1\r\ncontent-length: 2\r\n\r\nab"),
        format!("{POST}transfer-encoding: chunked\r\n\r\nzz\r\n"),
        format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "a".repeat(100_000)),
        format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "a".repeat(1_000_000)),
        format!("GET / HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x: y\r\n".repeat(1_000)),
        "GET /%00%ff%2e%2e/api HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_owned(),
        "GET /api/v1/traces/%ff/spans/%fe HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_owned(),
        "GET * HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_owned(),
    ] {
        let mut stream = connect(&server);
        // It may be closed before all is written.
        let _ = stream.write_all(noise.as_bytes());
        let text = rest(&mut stream);
        let status = text.split(' ').nth(1).unwrap_or_default();
        assert!(text.is_empty() || status.starts_with('4'), "{}: {text}", &noise[..noise.len().min(40)]);
    }
    client.upload(&run("t"));
}

#[test]
fn large_bodies_wait_for_each_other_and_small_ones_for_nobody() {
    const LARGE: usize = 100_000;
    let server = Server::builder().with_max_body_bytes(LARGE as u64).with_patience(2 * HANG).start().unwrap();
    let client = Client::of(&server);
    let stalled: Vec<_> = ["a", "b"]
        .map(|id| {
            let body = of_size(id, LARGE).to_string();
            let mut stream = connect(&server);
            stream
                .write_all(format!("{POST}content-length: {LARGE}\r\n\r\n{}", &body[..LARGE / 2]).as_bytes())
                .unwrap();
            stream
        })
        .into();
    // The two take up all the room there is. A third has to wait; in the meantime small runs come and go.
    let third = {
        let client = Client::of(&server);
        thread::spawn(move || client.upload(&of_size("c", LARGE)))
    };
    for id in 0..20 {
        client.upload(&run(&format!("small-{id}")));
    }
    assert_eq!(client.get("/api/v1/traces/c").status, 404);
    drop(stalled);
    third.join().unwrap();
    assert_eq!(client.get("/api/v1/traces/c").status, 200);
    assert_eq!(server.traces(&TraceQuery::new()).unwrap().total, 21);
}

/// As many as may be answered at once ask for a large run, begin to read it, and stop.
fn stalled(server: &Server) -> Vec<TcpStream> {
    (0..4)
        .map(|_| {
            let mut stream = connect(server);
            // An impatient server may have given it up by then.
            let _ = stream.write_all(LARGE_RUN.as_bytes());
            let _ = stream.read_exact(&mut [0; 100]);
            stream
        })
        .collect()
}

const LARGE_RUN: &str = "GET /api/v1/traces/large HTTP/1.1\r\nhost: localhost\r\n\r\n";

#[test]
fn who_does_not_read_an_answer_is_given_up() {
    // To send and to store it takes longer than an impatient server waits.
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("runs.db");
    let server = Server::builder().with_db(&db).start().unwrap();
    Client::of(&server).upload(&of_size("large", 30_000_000));
    server.stop();
    let server = Server::builder().with_db(&db).with_patience(SHORT).start().unwrap();
    let _stalled = stalled(&server);
    // There is room for one more only when one of them is given up.
    patiently(&server, LARGE_RUN, |text| text.len() > 29_000_000);
}

#[test]
fn large_answers_wait_for_each_other_and_small_ones_for_nobody() {
    let server = Server::builder().with_patience(2 * HANG).start().unwrap();
    let client = Client::of(&server);
    client.upload(&of_size("large", 30_000_000));
    let mut stalled = stalled(&server);
    let fifth = {
        let client = Client::of(&server);
        thread::spawn(move || client.get("/api/v1/traces/large").text.len())
    };
    for _ in 0..300 {
        assert_eq!(client.get("/api/v1/traces").status, 200);
    }
    assert!(!fifth.is_finished());
    stalled.pop();
    assert!(fifth.join().unwrap() > 29_000_000);
}

#[test]
fn many_at_once_are_all_served() {
    let server = Server::start().unwrap();
    let threads: Vec<_> = (0..16)
        .map(|thread| {
            let client = Client::of(&server);
            thread::spawn(move || {
                for index in 0..25 {
                    let id = format!("{thread}-{index}");
                    client.upload(&run(&id));
                    assert_eq!(client.get(&format!("/api/v1/traces/{id}")).json, run(&id));
                    assert_eq!(client.post("/api/v1/traces", &run(&id)).status, 409);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(server.traces(&TraceQuery::new()).unwrap().total, 16 * 25);
}
