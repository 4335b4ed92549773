//! Processes that a signal ends, with the handler of the README of `retrace-sdk` and without one.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

use std::env;
use std::future::pending;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use integration_tests::wait::{HANG, until};
use retrace::{Guard, SpanType, Trace};
use retrace_local::{Server, TraceQuery};
use retrace_protocol::Status;
use signal_hook::consts::SIGINT;
use signal_hook::flag::register_conditional_default;
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};

/// Address of the receiver, for the program that a signal ends.
const RECEIVER: &str = "SIGNALS_TEST_RECEIVER";
/// States that the program has a handler.
const HANDLER: &str = "SIGNALS_TEST_HANDLER";
const READY: &str = "the program is ready";

fn install() -> Guard {
    let url = env::var(RECEIVER).unwrap();
    retrace::configure().with_api_key("rt_local").with_base_url(url).with_flush_timeout(HANG).install().unwrap()
}

/// Records one run, and then one that does not end.
#[retrace::record(name = "under way")]
async fn serve(retrace: &Guard) {
    retrace::step("search", SpanType::ToolCall).in_scope(|step| {
        step.output("found");
    });
    retrace.flush_async().await.unwrap();
    println!("{READY}");
    pending::<()>().await;
}

/// The program.
#[test]
fn a_program_that_serves() {
    if env::var(RECEIVER).is_err() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let retrace = install();
        retrace::run("finished").start().output("done");
        let background = retrace::run("background").open();
        tokio::spawn(async move {
            let _background = background;
            pending::<()>().await;
        });
        if env::var(HANDLER).is_err() {
            // A shell starts its background jobs with SIGINT ignored, and children inherit that. This restores the default action.
            register_conditional_default(SIGINT, Arc::new(AtomicBool::new(true))).unwrap();
            serve(&retrace).await;
            return;
        }
        let mut terminate = signal(SignalKind::terminate()).unwrap();
        tokio::select! {
            () = serve(&retrace) => {}
            _ = terminate.recv() => {}
            _ = ctrl_c() => {}
        }
        retrace.shutdown().unwrap();
    });
}

/// Killed when dropped, so that a test that fails leaves nothing behind.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the program until it is ready, and sends it the signal; gives how it ended and what is stored then.
fn ended_by(signal: &str, transport: &str, has_handler: bool) -> (ExitStatus, Vec<Trace>) {
    let server = Server::start().unwrap();
    let mut program = Command::new(env::current_exe().unwrap());
    program.args(["--exact", "a_program_that_serves", "--nocapture"]).stdout(Stdio::piped());
    program.env(RECEIVER, server.url()).env("RETRACE_TRANSPORT", transport).env_remove(HANDLER);
    if has_handler {
        program.env(HANDLER, "yes");
    }
    let mut program = Running(program.spawn().unwrap());
    let mut lines = BufReader::new(program.0.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains(READY)), "{signal} {transport}");
    assert!(Command::new("kill").args([signal, &program.0.id().to_string()]).status().unwrap().success());
    let status = until("the program ends", || program.0.try_wait().unwrap());
    let heads = server.traces(&TraceQuery::default()).unwrap().traces;
    (status, heads.iter().map(|head| server.trace(head.id.as_ref().unwrap()).unwrap().unwrap()).collect())
}

fn named<'a>(runs: &'a [Trace], name: &str) -> Option<&'a Trace> {
    runs.iter().find(|run| run.name.as_deref() == Some(name))
}

#[test]
fn with_a_handler_everything_arrives() {
    for (signal, transport) in [("-TERM", "ws"), ("-TERM", "http"), ("-INT", "ws"), ("-INT", "http")] {
        let (status, runs) = ended_by(signal, transport, true);
        assert!(status.success(), "{signal} {transport}: {status}");
        assert_eq!(named(&runs, "finished").unwrap().status, Some(Status::Completed));
        let run = named(&runs, "under way").unwrap_or_else(|| panic!("{signal} {transport}: {runs:#?}"));
        assert_eq!(
            (run.status, run.error.as_deref()),
            (Some(Status::Failed), Some("cancelled")),
            "{signal} {transport}"
        );
        let other = named(&runs, "background").unwrap();
        assert_eq!(other.error.as_deref(), Some("not ended when recording stopped"), "{signal} {transport}");
        let spans = run.spans.as_deref().unwrap();
        assert!(spans.iter().any(|span| span.name == "search" && span.output.is_some()), "{signal} {transport}");
        assert!(spans.iter().all(|span| span.ended_at.is_some()), "{signal} {transport}");
    }
}

#[test]
fn without_a_handler_what_was_confirmed_stays() {
    for (signal, number) in [("-TERM", 15), ("-INT", 2)] {
        let (status, runs) = ended_by(signal, "ws", false);
        assert_eq!(status.signal(), Some(number));
        assert_eq!(named(&runs, "finished").unwrap().status, Some(Status::Completed));
        let run = named(&runs, "under way").unwrap();
        assert_ne!(run.status, Some(Status::Completed));
        assert!(run.spans.as_deref().unwrap().iter().any(|span| span.name == "search" && span.output.is_some()));

        let (status, runs) = ended_by(signal, "http", false);
        assert_eq!(status.signal(), Some(number));
        assert_eq!(named(&runs, "finished").unwrap().status, Some(Status::Completed));
        assert!(named(&runs, "under way").is_none(), "over HTTP a run is sent when it has ended: {runs:#?}");
    }
}

/// The statements of the README that handle signals are those of the program.
#[test]
fn the_readme_has_the_handler() {
    let readme = include_str!("../../crates/retrace-sdk/README.md");
    let (_, section) = readme.split_once("## When the process ends").unwrap();
    let (_, handler) = section.split_once("let mut terminate = ").unwrap();
    let (handler, _) = handler.split_once("retrace.shutdown()").unwrap();
    let squeezed = |text: &str| text.split_whitespace().collect::<String>();
    let handler = squeezed(handler).replace("?;", ".unwrap();").replace("serve()", "serve(&retrace)");
    assert!(squeezed(include_str!("signals.rs")).contains(&handler), "{handler}");
}
