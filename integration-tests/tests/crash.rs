//! Processes that are killed, and panics that unwind through spans.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;

use integration_tests::wait::{HANG, until};
use integration_tests::workload::{self, Shape, Stored};
use opentelemetry::trace::{TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_retrace::{RetraceSpanProcessor, Transport};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanProcessor as _};
use retrace_local::{Server, TraceQuery};
use retrace_protocol::{Id, Status, Trace};
use tracing_subscriber::layer::SubscriberExt as _;

/// Killed when dropped, so that a test that fails leaves nothing behind.
struct Mortal(Child, BufReader<ChildStdout>);

impl Mortal {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self(child, out)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.1.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// By SIGKILL; returns what it still said.
    fn kill(mut self) -> String {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        let mut rest = String::new();
        self.1.read_to_string(&mut rest).unwrap();
        rest
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn stored(server: &Server) -> Vec<Trace> {
    let page = server.traces(&TraceQuery::default()).unwrap();
    page.traces.iter().map(|trace| server.trace(trace.id.as_ref().unwrap()).unwrap().unwrap()).collect()
}

/// What the receiver says of a run that has not ended: whether anybody still tells it.
fn live(server: &Server, id: &Id) -> Option<bool> {
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    let head =
        format!("GET /api/v1/traces/{id}?content=false HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    serde_json::from_str::<serde_json::Value>(body).unwrap()["live"].as_bool()
}

#[test]
fn pain_31_what_a_killed_agent_was_confirmed_is_stored_and_its_run_is_interrupted() {
    let server = Server::start().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_endless-agent"));
    let mut agent = Mortal::start(command.env("RETRACE_BASE_URL", server.url()).env("RETRACE_API_KEY", "rt_local"));
    while agent.line().parse::<u64>().unwrap() < 300 {}
    let id = stored(&server)[0].id.clone().unwrap();
    assert_eq!(live(&server, &id), Some(true), "it is shown as running");

    let rest = agent.kill();
    let confirmed: usize = rest.lines().rev().find_map(|line| line.parse().ok()).unwrap_or(300);
    until("the end of its connection", || (live(&server, &id) == Some(false)).then_some(()));
    let run = &stored(&server)[0];
    assert_eq!((run.status, run.ended_at.as_ref(), run.span_count), (Some(Status::Running), None, None));
    let mut steps: Vec<usize> = Vec::new();
    for span in run.spans.as_ref().unwrap().iter().filter(|span| span.ended_at.is_some()) {
        let step = span.name.rsplit(' ').next().unwrap().parse().unwrap();
        assert_eq!(span.output.as_ref().unwrap().as_str(), format!("\"result {step}\""));
        steps.push(step);
    }
    assert!(steps.len() >= confirmed, "{} steps are stored, {confirmed} were confirmed", steps.len());
    steps.sort_unstable();
    assert_eq!(steps, (0..steps.len()).collect::<Vec<_>>(), "in the order of its work, and each once");
}

/// `in_span` and `set_attribute`, the usual way: the name of the span shows what it is before any attribute does.
#[test]
fn a_killed_agent_that_in_span_records_leaves_its_run() {
    let server = Server::start().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_endless-agent"));
    command.arg("in-span").env("RETRACE_BASE_URL", server.url()).env("RETRACE_API_KEY", "rt_local");
    let mut agent = Mortal::start(&mut command);
    assert_eq!(agent.line(), "begun");
    agent.kill();
    let runs = stored(&server);
    let [run] = &runs[..] else { panic!("{runs:?}") };
    assert_eq!((run.status, run.name.as_deref()), (Some(Status::Running), Some("invoke_agent endless")));
    let spans = run.spans.as_ref().unwrap();
    assert_eq!((spans.len(), spans[0].span_type.as_str(), &spans[0].ended_at), (1, "reasoning", &None));
    let id = run.id.clone().unwrap();
    until("the end of its connection", || (live(&server, &id) == Some(false)).then_some(()));
}

fn receiver(db: &Path, addr: &str) -> (Mortal, SocketAddr) {
    let mut receiver = Mortal::start(Command::new(env!("CARGO_BIN_EXE_mortal-receiver")).arg(db).arg(addr));
    let addr = receiver.line().parse().unwrap();
    (receiver, addr)
}

#[test]
fn a_receiver_that_is_killed_and_started_again_lacks_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("runs.db");
    for transport in [Transport::Ws, Transport::Auto] {
        let (first, addr) = receiver(&db, "127.0.0.1:0");
        let processor = RetraceSpanProcessor::builder()
            .with_api_key("rt_local")
            .with_base_url(format!("http://{addr}"))
            .with_transport(transport)
            .build()
            .unwrap();
        let provider = SdkTracerProvider::builder().with_span_processor(processor.clone()).build();
        let mut random = fastrand::Rng::with_seed(7);
        let mut first = Some(first);
        let mut second = None;
        let mut steps = 0;
        let made: Vec<_> = (0..4)
            .map(|_| {
                workload::make(&provider, &mut random, Shape { stragglers: false, spans: (200, 300) }, || {
                    steps += 1;
                    if steps == 300 {
                        until("the first confirmations", || (processor.stats().delivered >= 100).then_some(()));
                        first.take().unwrap().kill();
                    }
                    if steps == 500 {
                        second = Some(receiver(&db, &addr.to_string()));
                    }
                })
            })
            .collect();
        until("all that is left", || {
            let _ = processor.force_flush();
            (processor.stats().pending == 0).then_some(())
        });
        provider.shutdown_with_timeout(HANG).unwrap();
        let stats = processor.stats();
        assert_eq!((stats.lost.total(), stats.delivered), (0, stats.accepted), "{transport:?}");
        second.unwrap().0.kill();
        let again = Server::builder().with_db(&db).start().unwrap();
        let runs = stored(&again);
        let runs: Vec<Trace> =
            runs.into_iter().filter(|run| made.iter().any(|made| Some(&made.id) == run.id.as_ref())).collect();
        assert!(runs.iter().all(|run| run.status != Some(Status::Running) && run.lossy.is_none()));
        assert_eq!(Stored::new(runs).missing(&made), Ok(0), "{transport:?}");
    }
}

fn attributes(operation: &'static str) -> Vec<KeyValue> {
    vec![KeyValue::new("gen_ai.operation.name", operation)]
}

/// The run of an agent that panics in its tool, told by `work` on a thread of its own.
fn panicking(work: impl FnOnce(&SdkTracerProvider) + Send) -> Trace {
    let server = Server::start().unwrap();
    let processor = RetraceSpanProcessor::builder()
        .with_api_key("rt_local")
        .with_base_url(server.url())
        .with_transport(Transport::Ws)
        .build()
        .unwrap();
    let provider = SdkTracerProvider::builder().with_span_processor(processor.clone()).build();
    thread::scope(|scope| assert!(scope.spawn(|| work(&provider)).join().is_err()));
    provider.shutdown_with_timeout(HANG).unwrap();
    assert_eq!((processor.stats().accepted, processor.stats().delivered), (3, 3));
    stored(&server).remove(0)
}

/// The span that had ended before is none of its business.
fn check(run: &Trace) {
    assert_eq!((run.status, run.lossy, run.span_count), (Some(Status::Failed), None, Some(3)), "{run:?}");
    for span in run.spans.as_ref().unwrap() {
        assert!(span.ended_at.is_some());
        assert_eq!(span.error.is_some(), !span.name.contains("before"), "{span:?}");
    }
}

#[test]
fn a_panic_that_unwinds_through_spans_of_opentelemetry_fails_them() {
    check(&panicking(|provider| {
        let tracer = provider.tracer("t");
        let agent = tracer.span_builder("agent").with_attributes(attributes("invoke_agent")).start(&tracer);
        let agent = Context::new().with_span(agent);
        drop(
            tracer
                .span_builder("before")
                .with_attributes(attributes("execute_tool"))
                .start_with_context(&tracer, &agent),
        );
        let tool = tracer.span_builder("tool").with_attributes(attributes("execute_tool"));
        let _tool = agent.with_span(tool.start_with_context(&tracer, &agent)).attach();
        panic!("the tool broke");
    }));
}

#[test]
fn a_panic_that_unwinds_through_spans_of_tracing_fails_them() {
    check(&panicking(|provider| {
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("t"));
        let _default = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
        let _agent = tracing::info_span!("agent", gen_ai.operation.name = "invoke_agent").entered();
        drop(tracing::info_span!("before", gen_ai.operation.name = "execute_tool").entered());
        let _tool = tracing::info_span!("tool", gen_ai.operation.name = "execute_tool").entered();
        panic!("the tool broke");
    }));
}
