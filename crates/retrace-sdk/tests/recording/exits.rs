//! A process that ends with its guard alive.

use std::process::Command;

use retrace::SpanType;
use retrace_local::Server;
use retrace_protocol::Status;
use serde_json::json;

use crate::support::{span, spans, stored, value};

/// Address of the receiver, for the process that exits.
const RECEIVER: &str = "RETRACE_TEST_EXITS_TO";

/// Body of the process that exits.
#[test]
fn a_process_that_exits() {
    let Ok(url) = std::env::var(RECEIVER) else { return };
    let _guard = retrace::configure().with_api_key("rt_local").with_base_url(url).install().unwrap();
    retrace::run("first").in_scope(|run| run.output("done").end());
    let run = retrace::run("second").input("tides").start();
    let _step = run.step("wait", SpanType::Action).start();
    std::process::exit(7);
}

#[cfg(unix)]
#[test]
fn what_was_recorded_before_an_exit_is_delivered_and_what_was_open_has_failed() {
    for transport in ["http", "ws"] {
        let server = Server::start().unwrap();
        let mut process = Command::new(std::env::current_exe().unwrap());
        process.args(["--exact", "exits::a_process_that_exits", "--nocapture"]);
        process.env(RECEIVER, server.url()).env("RETRACE_TRANSPORT", transport);
        let status = process.status().unwrap();
        assert_eq!(status.code(), Some(7));
        let runs = stored(&server);
        let ends: Vec<_> = runs.iter().map(|run| (run.name.as_deref().unwrap(), run.status.unwrap())).collect();
        assert_eq!(ends, [("first", Status::Completed), ("second", Status::Failed)], "{transport}");
        assert_eq!((value(&runs[0].output), value(&runs[1].input)), (json!("done"), json!("tides")));
        assert_eq!(runs[1].error.as_deref(), Some("not ended when recording stopped"));
        assert!(span(&runs[1], "wait").ended_at.is_some());
        assert_eq!(spans(&runs[1]).len(), 2);
    }
}
