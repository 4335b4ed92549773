//! Time of lists, filters and searches in a large database, and the time to fill it.
//!
//! `cargo bench --package benchmarks --bench viewer` fills a file with 100,000 runs of 20 spans each and asks the API as the page
//! does; `-- --quick` takes a twentieth of the runs.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::indexing_slicing, clippy::panic)]

mod client;
#[path = "../stream/machine.rs"]
mod machine;
mod runs;

use std::time::{Duration, Instant};

use retrace_local::Server;

use crate::client::Client;

const RUNS: u64 = 100_000;
/// Requests of each kind.
const REPEATS: usize = 60;
/// Clients that fill the database side by side.
const SENDERS: u64 = 2;
/// Longest wait for the index after the last run.
const INDEXED_WITHIN: Duration = Duration::from_secs(3_600);

/// Requests that are measured: the name in the table, and the path below the API, in which `#` is replaced by a number that
/// differs each time.
const REQUESTS: [(&str, &str); 16] = [
    ("list, first page", "traces?limit=50"),
    ("list, page 100", "traces?limit=50&offset=5000"),
    ("failed", "traces?limit=50&status=failed"),
    ("with errors", "traces?limit=50&has_error=true"),
    ("model", "traces?limit=50&model=model-#"),
    ("tool and user", "traces?limit=50&tool=tool-#&user=user-#"),
    ("session", "traces?limit=50&session=session-#"),
    ("cost and duration", "traces?limit=50&min_cost=0.01&max_ms=5000"),
    ("by cost", "traces?limit=50&sort=cost"),
    ("by duration, filtered", "traces?limit=50&sort=duration&has_error=true"),
    ("search, a rare word", "traces?limit=50&q=needle#"),
    ("search, a word of all runs", "traces?limit=50&q=weather"),
    ("search, two words and a model", "traces?limit=50&q=weather+lisbon&model=model-#"),
    ("search, the beginning of a word", "traces?limit=50&q=need"),
    ("sessions", "sessions?limit=50"),
    ("numbers", "numbers"),
];

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let count = if quick { RUNS / 20 } else { RUNS };
    println!("{}\n", machine::facts());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("runs.db");
    let server = Server::builder().with_db(&file).start().unwrap();

    let began = Instant::now();
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let addr = server.addr();
            scope.spawn(move || {
                let mut client = Client::connect(addr);
                for at in (sender..count).step_by(usize::try_from(SENDERS).unwrap()) {
                    assert_eq!(client.post("/api/v1/traces", &runs::run(at)), 201);
                }
            });
        }
    });
    let filled = began.elapsed();
    let mut client = Client::connect(server.addr());
    let deadline = Instant::now() + INDEXED_WITHIN;
    loop {
        let (status, page) = client.get("/api/v1/traces?q=weather&limit=1");
        assert_eq!(status, 200, "{page}");
        if !page.contains("\"incomplete\":true") {
            break;
        }
        assert!(Instant::now() < deadline, "the index is not complete");
    }
    let indexed = began.elapsed();
    let spans = count * runs::SPANS;
    println!(
        "{count} runs, {spans} spans: {:.0} s to send and store them ({:.0} spans/s), all of them found {:.0} s after the beginning; {} MB.\n",
        filled.as_secs_f64(),
        f64::from(u32::try_from(spans).unwrap()) / filled.as_secs_f64(),
        indexed.as_secs_f64(),
        std::fs::metadata(&file).unwrap().len() / 1_000_000,
    );
    println!("| request | p50 ms | p95 ms |");
    println!("|---|---|---|");
    for (words, path) in REQUESTS {
        let mut times: Vec<f64> = (0..REPEATS)
            .map(|at| {
                let path = format!("/api/v1/{}", path.replace('#', &(at % 20).to_string()));
                let began = Instant::now();
                let (status, answer) = client.get(&path);
                assert_eq!(status, 200, "{path}: {answer}");
                began.elapsed().as_secs_f64() * 1000.0
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!("| {words} | {:.1} | {:.1} |", times[REPEATS / 2], times[REPEATS * 95 / 100]);
    }
    println!("\nLoad at the end: {}", machine::load());
}
