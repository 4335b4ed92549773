//! Faults of processes: each counts runs and spans at the sink.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/process.rs"]
mod process;
mod support;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
use std::time::{Duration, SystemTime};

use process::{PROGRAM, Process};
use retrace_local::Server;
use support::kafka::{Broker, missing};
use support::{counts, post_blocking, request, run_id, runs, runtime, until, whole};

fn write(dir: &Path, base_url: &str, more: &str) -> PathBuf {
    let file = dir.join("gateway.toml");
    let head = "traces.wait_seconds = 0.3\ntraces.wait_without_root_seconds = 5\notlp.http = \"127.0.0.1:0\"\notlp.grpc = \"\"\nadmin.listen = \"\"";
    fs::write(&file, format!("{head}\nretrace.base_url = \"{base_url}\"\n{more}")).unwrap();
    file
}

#[test]
fn a_gateway_that_is_killed_under_load_loses_and_doubles_nothing() {
    runtime().block_on(async {
        let (broker, sink) = (Broker::start(6), Server::start().unwrap());
        let dir = tempfile::tempdir().unwrap();
        let file = write(dir.path(), sink.url(), &broker.config(""));
        let mut gateways: Vec<Process> = (0..3).map(|_| Process::start(&file)).collect();
        let (traces, calls) = (1_500, 3);
        for trace in 0..traces {
            broker.send_trace(trace, calls);
            if trace % 100 == 99 {
                broker.flush();
            }
            // The first is killed while the load goes on, once runs of it have arrived.
            if trace == traces / 2 {
                until("some runs have arrived", || runs(&sink) > 50).await;
                let mut killed = gateways.remove(0);
                killed.child.kill().unwrap();
                killed.child.wait().unwrap();
            }
        }
        broker.flush();
        until("all runs are whole", || runs(&sink) >= traces && missing(&sink, traces, calls + 1).is_empty()).await;
        assert_eq!(counts(&sink, traces), (traces, traces * (calls + 1)));
        for gateway in &mut gateways {
            assert!(gateway.terminate().success());
        }
        let (committed, ends) = broker.committed("retrace-gateway");
        assert_eq!((committed, ends), (2 * i64::try_from(traces).unwrap(), 2 * i64::try_from(traces).unwrap()));
        assert_eq!(counts(&sink, traces), (traces, traces * (calls + 1)), "what came last doubles nothing");
    });
}

/// The wall clock of the process jumps two days ahead, four days back and ahead again, while spans arrive over OTLP and from Kafka.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn jumps_of_the_clock_lose_nothing_and_double_nothing() {
    const DAY: i64 = 86_400;
    let dir = tempfile::tempdir().unwrap();
    let (shim, offset) = (dir.path().join("clock.so"), dir.path().join("offset"));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/clock.c");
    assert!(Command::new("cc").args(["-shared", "-fPIC", source, "-o"]).arg(&shim).status().unwrap().success());
    let set_clock = |seconds: i64| {
        // A file that is written in place could be read while it is empty.
        let next = dir.path().join("next");
        fs::write(&next, seconds.to_string()).unwrap();
        fs::rename(next, &offset).unwrap();
    };
    set_clock(0);
    runtime().block_on(async {
        let (broker, sink) = (Broker::start(2), Server::start().unwrap());
        let file = write(dir.path(), sink.url(), &broker.config(""));
        let mut command = Command::new(PROGRAM);
        command.arg("--config").arg(&file).env("LD_PRELOAD", &shim).env("CLOCK_OFFSET", &offset);
        let mut gateway = Process::spawn(command);
        let (calls, each, jumps) = (3, 40, [0, 2 * DAY, -2 * DAY, 2 * DAY]);
        for (round, jump) in (0_u64..).zip(jumps) {
            set_clock(jump);
            for trace in round * each..(round + 1) * each {
                if trace % 2 == 0 {
                    broker.send_trace(trace, calls);
                } else {
                    let body = request("front", &whole(trace, calls)).to_string();
                    assert_eq!(post_blocking(&format!("http://{}/v1/traces", gateway.http), &[], &body).status, 200);
                }
                // Half of the traces of a round are under way when the clock jumps.
                if trace == round * each + each / 2 {
                    broker.flush();
                    let first = [round * each, round * each + 1];
                    let what = format!("one trace each way in round {round}");
                    until(&what, || first.iter().all(|n| sink.trace(&run_id(*n)).unwrap().is_some())).await;
                }
            }
        }
        broker.flush();
        let traces = each * 4;
        until("all runs are whole", || runs(&sink) >= traces && missing(&sink, traces, calls + 1).is_empty()).await;
        assert_eq!(counts(&sink, traces), (traces, traces * (calls + 1)));
        assert!(gateway.terminate().success());
        let event = gateway.event("spans of a tenant");
        assert_eq!(event["fields"]["lost"].as_u64(), Some(0), "{event}");
        let written = humantime::parse_rfc3339(event["timestamp"].as_str().unwrap()).unwrap();
        assert!(
            written > SystemTime::now() + Duration::from_secs(DAY.unsigned_abs()),
            "the clock did not jump: {event}"
        );
        let (committed, ends) = broker.committed("retrace-gateway");
        assert_eq!(committed, ends);
    });
}

/// A disk that takes no file of more than 16 KiB, by a limit of the process: the larger runs find no room.
#[test]
fn a_spool_on_a_full_disk_counts_what_it_loses() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let spool = dir.path().join("spool");
    let more =
        format!("[retrace]\nspool_dir = \"{}\"\nrequest_timeout_seconds = 1\nbase_url = \"{url}\"", spool.display());
    let file = dir.path().join("gateway.toml");
    let head =
        "otlp = { http = \"127.0.0.1:0\", grpc = \"\" }\nadmin = { listen = \"\" }\ntraces = { wait_seconds = 0.1 }";
    fs::write(&file, format!("{head}\n{more}")).unwrap();
    let mut command = Command::new("bash");
    command
        .args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$0\" --drain-seconds 2 --config \"$1\"", PROGRAM])
        .arg(&file);
    let mut gateway = Process::spawn(command);
    let traces = 40;
    for trace in 0..traces {
        let mut spans = whole(trace, 3);
        if trace % 2 == 0 {
            let text =
                serde_json::json!({"key": "gen_ai.tool.call.arguments", "value": {"stringValue": "x".repeat(30_000)}});
            spans[0]["attributes"].as_array_mut().unwrap().push(text);
        }
        let body = request("front", &spans).to_string();
        assert_eq!(post_blocking(&format!("http://{}/v1/traces", gateway.http), &[], &body).status, 200);
    }
    assert!(gateway.terminate().success());
    let totals = gateway.line("spans of a tenant");
    let count = |name: &str| totals[name].as_u64().unwrap();
    assert_eq!(count("accepted"), traces * 4, "{totals}");
    assert_eq!(count("delivered") + count("lost") + count("spooled") + count("pending"), traces * 4, "{totals}");
    assert!(count("lost") > 0, "{totals}");
    drop(listener);
}
