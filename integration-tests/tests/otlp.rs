//! The corpus, sent over OTLP: the receiver stores what `translate` makes of it.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use integration_tests::corpus::scenarios;
use integration_tests::wait::{HANG, until};
use retrace_local::{Server, translate};
use retrace_protocol::Trace;
use retrace_translate::Options;

#[test]
fn the_corpus_gives_the_runs_that_translate_gives() {
    let server = Server::start().unwrap();
    let scenarios = scenarios();
    for scenario in &scenarios {
        // Log records first, then the spans: what comes first waits for the rest.
        if let Some(logs) = &scenario.logs {
            assert_eq!(post(&server, "/v1/logs", &std::fs::read(logs).unwrap()), 200);
        }
        assert_eq!(post(&server, "/v1/traces", &std::fs::read(&scenario.spans).unwrap()), 200);
    }
    let mut runs = 0;
    for scenario in &scenarios {
        let spans = std::fs::read(&scenario.spans).unwrap();
        let logs = scenario.logs.as_ref().map(|logs| std::fs::read(logs).unwrap());
        let inputs = [Some(spans), logs].into_iter().flatten().collect::<Vec<_>>();
        for expected in translate(inputs.iter().map(Vec::as_slice), Options::default()).unwrap().traces {
            let stored = stored(&server, &expected);
            assert_eq!(stored, expected, "{}/{}", scenario.variant, scenario.name);
            runs += 1;
        }
    }
    assert!(runs >= scenarios.len(), "{runs} runs: the corpus was not read");
}

/// The run once it has come. One whose root never ended does not end.
fn stored(server: &Server, expected: &Trace) -> Trace {
    let id = expected.id.as_ref().unwrap();
    if expected.ended_at.is_some() {
        return server.wait_for_end(id, HANG).unwrap().unwrap_or_else(|| panic!("{id} did not end"));
    }
    until("the run is stored", || server.trace(id).unwrap().filter(|stored| stored == expected))
}

/// Sends a request of OTLP's JSON, again while the receiver has more than it can store; the status of the answer.
fn post(server: &Server, path: &str, json: &[u8]) -> u16 {
    until("the receiver has room", || Some(post_once(server, path, json)).filter(|status| *status != 429))
}

fn post_once(server: &Server, path: &str, json: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n",
        json.len()
    )
    .unwrap();
    write!(stream, "content-type: application/json\r\n\r\n").unwrap();
    stream.write_all(json).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}
