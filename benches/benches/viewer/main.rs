//! Time of lists, filters and searches in a large database, and the time to fill it.
//!
//! `cargo bench --package benchmarks --bench viewer` fills a file with 100,000 runs of 20 spans each and sends the requests that
//! the page sends. `-- --quick` takes a twentieth of the runs, `-- --db FILE` keeps the file, and fills it only if it is new.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::indexing_slicing, clippy::panic)]

mod client;
#[path = "../stream/machine.rs"]
mod machine;
mod runs;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
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
const REQUESTS: [(&str, &str); 38] = [
    ("list, first page", "traces?limit=50"),
    ("list, page 100", "traces?limit=50&offset=5000"),
    ("status", "traces?limit=50&status=failed"),
    ("status and a failed span", "traces?limit=50&status=completed&failed_spans=true"),
    ("no failed span", "traces?limit=50&failed_spans=false"),
    ("with errors", "traces?limit=50&has_error=true"),
    ("without errors", "traces?limit=50&has_error=false"),
    ("a time", "traces?limit=50&from=2025-10-10T00:00:00Z&to=2025-10-20T00:00:00Z"),
    ("model", "traces?limit=50&model=model-#"),
    ("two models", "traces?limit=50&model=model-#&model=model-1"),
    ("tool", "traces?limit=50&tool=tool-#"),
    ("tool and user", "traces?limit=50&tool=tool-#&user=user-#"),
    ("agent of all runs", "traces?limit=50&agent=planner"),
    ("tag of all runs", "traces?limit=50&tag=nightly"),
    ("environment of all runs", "traces?limit=50&environment=staging"),
    ("session", "traces?limit=50&session=session-#"),
    ("cost and duration", "traces?limit=50&min_cost=0.01&max_ms=5000"),
    ("tokens and spans", "traces?limit=50&max_tokens=3000&min_spans=5"),
    ("golden", "traces?limit=50&golden=true"),
    ("not golden", "traces?limit=50&golden=false"),
    ("by cost", "traces?limit=50&sort=cost"),
    ("by tokens, ascending", "traces?limit=50&sort=tokens&order=asc"),
    ("by name", "traces?limit=50&sort=name"),
    ("by status", "traces?limit=50&sort=status"),
    ("by spans", "traces?limit=50&sort=spans"),
    ("by duration, filtered", "traces?limit=50&sort=duration&has_error=true"),
    ("by cost, page 100 of a tag", "traces?limit=50&sort=cost&tag=nightly&offset=5000"),
    ("search, a rare word", "traces?limit=50&q=needle#"),
    ("search, a word of all runs", "traces?limit=50&q=weather"),
    ("search, the same by cost", "traces?limit=50&q=weather&sort=cost"),
    ("search, two words and a model", "traces?limit=50&q=weather+lisbon&model=model-#"),
    ("search, the beginning of a word", "traces?limit=50&q=need"),
    ("sessions", "sessions?limit=50"),
    ("sessions of a model", "sessions?limit=50&model=model-#"),
    ("numbers", "numbers"),
    ("numbers of a model", "numbers?model=model-#"),
    ("numbers of a search", "numbers?q=weather"),
    ("values", "values"),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let count = if quick { RUNS / 20 } else { RUNS };
    println!("{}\n", machine::facts());
    let directory = tempfile::tempdir().unwrap();
    let kept = arguments.iter().position(|argument| argument == "--db").map(|at| PathBuf::from(&arguments[at + 1]));
    let file = kept.unwrap_or_else(|| directory.path().join("runs.db"));
    let is_new = !file.exists();
    let server = Server::builder().with_db(&file).start().unwrap();

    let began = Instant::now();
    if is_new {
        fill(server.addr(), count);
    }
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
        "{count} runs, {spans} spans{}: {:.0} s to send and store them ({:.0} spans/s), all of them found {:.0} s after the beginning; {} MB.\n",
        if is_new { "" } else { " of an earlier run" },
        filled.as_secs_f64(),
        f64::from(u32::try_from(spans).unwrap()) / filled.as_secs_f64(),
        indexed.as_secs_f64(),
        std::fs::metadata(&file).unwrap().len() / 1_000_000,
    );
    println!("| request | p50 ms | p95 ms | CPU ms |");
    println!("|---|---|---|---|");
    for (words, path) in REQUESTS {
        // Time of this process, which the load of the machine changes little: the receiver, and a client that costs next to nothing.
        let cpu = ProcessTime::now();
        let mut times: Vec<f64> = (0..REPEATS)
            .map(|at| {
                let path = format!("/api/v1/{}", path.replace('#', &(at % 20).to_string()));
                let began = Instant::now();
                let (status, answer) = client.get(&path);
                assert_eq!(status, 200, "{path}: {answer}");
                began.elapsed().as_secs_f64() * 1000.0
            })
            .collect();
        let cpu = cpu.elapsed().as_secs_f64() * 1000.0 / f64::from(u32::try_from(REPEATS).unwrap());
        times.sort_by(f64::total_cmp);
        println!("| {words} | {:.1} | {:.1} | {cpu:.1} |", times[REPEATS / 2], times[REPEATS * 95 / 100]);
    }
    println!("\nLoad at the end: {}", machine::load());
}

/// Sends this number of runs, by several clients side by side.
fn fill(addr: SocketAddr, count: u64) {
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            scope.spawn(move || {
                let mut client = Client::connect(addr);
                for at in (sender..count).step_by(usize::try_from(SENDERS).unwrap()) {
                    assert_eq!(client.post("/api/v1/traces", &runs::run(at)), 201);
                }
            });
        }
    });
}
