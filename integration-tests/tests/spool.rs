//! What could not be delivered survives the process, and is delivered by the next one.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::channel;

use integration_tests::agent;
use integration_tests::nobody::Nobody;
use integration_tests::wait::{HANG, SPENT, settled, until};
use opentelemetry_retrace::{LossReason, RetraceSpanProcessor, RetraceSpanProcessorBuilder, Stats, Transport};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanProcessor as _};
use retrace_local::{Server, TraceQuery};
use retrace_protocol::{Status, Trace};

const TRANSPORTS: [Transport; 3] = [Transport::Auto, Transport::Ws, Transport::Http];
/// Room for four runs of the longest outage.
const SMALL: usize = 256 * 1024;

fn builder(url: impl Into<String>, transport: Transport, dir: &Path) -> RetraceSpanProcessorBuilder {
    RetraceSpanProcessor::builder()
        .with_api_key("rt_local")
        .with_base_url(url)
        .with_transport(transport)
        .with_spool(dir.join("spool"))
}

fn nobody() -> String {
    static NOBODY: LazyLock<Nobody> = LazyLock::new(Nobody::new);
    NOBODY.url()
}

fn check(stats: &Stats) {
    assert_eq!(stats.delivered + stats.lost.total() + stats.pending + stats.spooled, stats.accepted, "{stats:?}");
}

/// Runs the agent while nobody is there, and shuts down.
fn in_vain(builder: RetraceSpanProcessorBuilder, runs: usize) -> Stats {
    let processor = builder.build().unwrap();
    let provider = SdkTracerProvider::builder().with_span_processor(processor.clone()).build();
    for _ in 0..runs {
        agent::run(&provider);
    }
    stop(&provider, &processor)
}

/// Gives up soon. The worker may be slower to write than whoever waits for it is ready to wait.
fn stop(provider: &SdkTracerProvider, processor: &RetraceSpanProcessor) -> Stats {
    let _ = provider.shutdown_with_timeout(SPENT);
    let stats = settled(|| processor.stats());
    check(&stats);
    stats
}

/// Waits until `processors` have settled so many spans of earlier processes between them.
fn settle(processors: &[&RetraceSpanProcessor], spans: u64) {
    let ended = |processor: &&RetraceSpanProcessor| {
        let stats = processor.stats();
        check(&stats);
        stats.delivered + stats.lost.total()
    };
    until("the spans of earlier processes are settled", || {
        (processors.iter().map(ended).sum::<u64>() >= spans).then_some(())
    });
}

fn stored(server: &Server) -> Vec<Trace> {
    let page = server.traces(&TraceQuery::default().with_limit(TraceQuery::MAX_LIMIT)).unwrap();
    page.traces.iter().map(|trace| server.trace(trace.id.as_ref().unwrap()).unwrap().unwrap()).collect()
}

fn all_whole(runs: &[Trace]) -> bool {
    runs.iter().all(|run| {
        let spans = run.spans.as_deref().unwrap_or_default();
        run.status == Some(Status::Completed) && run.lossy.is_none() && run.span_count == Some(spans.len() as u64)
    })
}

/// What is in the spool, beside its lock; nothing before there is one.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join("spool")).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.filter(|path| !path.ends_with("lock")).collect()
}

/// The records that are whole.
fn records(dir: &Path) -> Vec<PathBuf> {
    let mut records = files(dir);
    records.retain(|path| path.extension().is_none_or(|end| end != "tmp"));
    records.sort();
    records
}

/// An agent in a process of its own, which does what it is told and keeps what is not delivered for three seconds. Killed
/// when dropped.
struct Agent(Child);

impl Agent {
    fn start(command: &mut Command, url: &str, dir: &Path) -> Self {
        command.env("RETRACE_BASE_URL", url).env("RETRACE_API_KEY", "rt_local").env("RETRACE_TRANSPORT", "http");
        command.env("RETRACE_SPOOL_DIR", dir.join("spool")).stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    fn is_told(&mut self, line: &str) {
        writeln!(self.0.stdin.as_mut().unwrap(), "{line}").unwrap();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn listening() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mortal-agent"));
    command.arg("listen");
    command
}

#[test]
fn pain_14_what_nobody_took_is_delivered_by_the_next_start() {
    for transport in TRANSPORTS {
        let dir = tempfile::tempdir().unwrap();
        let stats = in_vain(builder(nobody(), transport, dir.path()), 3);
        assert_eq!((stats.spooled, stats.lost.total(), stats.pending), (12, 0, 0), "{transport:?}: {stats:?}");
        assert_eq!(records(dir.path()).len(), 3);

        let server = Server::start().unwrap();
        let processor = builder(server.url(), transport, dir.path()).build().unwrap();
        settle(&[&processor], 12);
        processor.shutdown_with_timeout(HANG).unwrap();
        let stats = processor.stats();
        assert_eq!((stats.recovered, stats.accepted, stats.delivered), (12, 12, 12), "{transport:?}");
        let runs = stored(&server);
        assert!(runs.len() == 3 && all_whole(&runs), "{transport:?}: {runs:?}");
        assert!(records(dir.path()).is_empty());
    }
}

#[test]
fn pain_14_of_two_that_start_at_once_one_delivers() {
    let dir = tempfile::tempdir().unwrap();
    in_vain(builder(nobody(), Transport::Http, dir.path()), 10);
    let server = Server::start().unwrap();
    let processors: Vec<_> = std::thread::scope(|scope| {
        let start = || builder(server.url(), Transport::Http, dir.path()).build().unwrap();
        let starting: Vec<_> = (0..2).map(|_| scope.spawn(start)).collect();
        starting.into_iter().map(|starting| starting.join().unwrap()).collect()
    });
    settle(&[&processors[0], &processors[1]], 40);
    let mut recovered = [0, 1].map(|at| processors[at].stats().recovered);
    recovered.sort_unstable();
    assert_eq!(recovered, [0, 40]);
    assert!(stored(&server).len() == 10 && all_whole(&stored(&server)));
}

#[test]
fn pain_14_a_damaged_record_costs_itself_and_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    in_vain(builder(nobody(), Transport::Http, dir.path()), 3);
    let records = records(dir.path());
    let mut bytes = std::fs::read(&records[1]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&records[1], bytes).unwrap();
    let server = Server::start().unwrap();
    let processor = builder(server.url(), Transport::Http, dir.path()).build().unwrap();
    settle(&[&processor], 12);
    let stats = processor.stats();
    assert_eq!((stats.delivered, stats.lost.by(LossReason::Damaged), stats.recovered), (8, 4, 12));
    assert!(stored(&server).len() == 2 && all_whole(&stored(&server)));
}

#[test]
fn pain_14_an_outage_longer_than_memory_loses_nothing() {
    for transport in TRANSPORTS {
        let dir = tempfile::tempdir().unwrap();
        let (failing, failed) = channel();
        let processor = builder(nobody(), transport, dir.path())
            .with_buffer_bytes(SMALL)
            .with_flush_timeout(HANG)
            .with_on_error(move |signal| failing.send(signal.code).unwrap_or_default())
            .build()
            .unwrap();
        let provider = SdkTracerProvider::builder().with_span_processor(processor.clone()).build();
        let text = serde_json::json!({ "text": "x".repeat(10_000) }).to_string();
        for run in 0..30 {
            agent::run_reading(&provider, &text);
            // Once attempts fail, a flush ends with the next that does, and the worker has taken in what came before it.
            if run == 0 {
                failed.recv_timeout(HANG).unwrap();
            }
            processor.force_flush().unwrap_err();
            check(&processor.stats());
        }
        let stats = stop(&provider, &processor);
        assert_eq!((stats.spooled, stats.lost.total()), (120, 0), "{transport:?}: {stats:?}");

        let server = Server::start().unwrap();
        let next = builder(server.url(), transport, dir.path()).with_buffer_bytes(SMALL).build().unwrap();
        settle(&[&next], 120);
        assert_eq!(next.stats().delivered, 120, "{transport:?}: {:?}", next.stats());
        assert!(stored(&server).len() == 30 && all_whole(&stored(&server)), "{transport:?}");
    }
}

#[test]
fn a_disk_that_takes_nothing_costs_what_was_to_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let processor = builder(nobody(), Transport::Http, dir.path()).build().unwrap();
    // The worker has looked for records of earlier processes, and does not write before there is something to write.
    until("the worker holds the lock", || dir.path().join("spool/lock").exists().then_some(()));
    std::fs::remove_dir_all(dir.path().join("spool")).unwrap();
    std::fs::write(dir.path().join("spool"), b"no directory").unwrap();
    let provider = SdkTracerProvider::builder().with_span_processor(processor.clone()).build();
    agent::run(&provider);
    let stats = stop(&provider, &processor);
    assert_eq!((stats.lost.by(LossReason::Shutdown), stats.spooled), (4, 0));
}

#[test]
fn a_spool_that_cannot_be_written_is_an_error_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("spool"), b"no directory").unwrap();
    let error = builder(nobody(), Transport::Http, dir.path()).build().unwrap_err().to_string();
    assert!(error.contains("with_spool") && error.contains("spool\"") && error.contains("cannot be used"), "{error}");
    std::fs::remove_file(dir.path().join("spool")).unwrap();
    let built = builder(nobody(), Transport::Http, dir.path()).build();
    assert!(built.is_ok() && dir.path().join("spool").is_dir(), "{built:?}");
}

/// By SIGKILL: one while it writes, the next one while it sends.
#[cfg(unix)]
#[test]
fn pain_14_what_is_on_the_disk_survives_that_processes_are_killed() {
    const RUNS: usize = 400;
    let dir = tempfile::tempdir().unwrap();
    let mut first = Agent::start(&mut listening(), &nobody(), dir.path());
    for _ in 0..RUNS {
        first.is_told("work");
    }
    until("records are written", || (records(dir.path()).len() >= RUNS / 8).then_some(()));
    drop(first);
    let left = records(dir.path()).len();

    let server = Server::start().unwrap();
    let count = || server.traces(&TraceQuery::default()).unwrap().total;
    let second = Agent::start(&mut listening(), server.url(), dir.path());
    until("records are sent", || (count() >= RUNS as u64 / 16).then_some(()));
    drop(second);
    let unsettled = records(dir.path()).len();

    let third = builder(server.url(), Transport::Http, dir.path()).build().unwrap();
    until("the rest is sent", || records(dir.path()).is_empty().then_some(()));
    third.shutdown_with_timeout(HANG).unwrap();
    let stats = third.stats();
    check(&stats);
    assert_eq!((stats.recovered, stats.lost.total()), (unsettled as u64 * 4, 0), "{stats:?}");
    assert_eq!(count(), left as u64, "{unsettled} of {RUNS} were left to the last");
    assert!(all_whole(&stored(&server)));
}

/// The disk takes the beginning of a record and no more of it.
#[cfg(unix)]
#[test]
fn a_disk_that_is_full_costs_what_was_to_be_written_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    // The kernel refuses what makes a file longer than this; the signal that comes with it is not for us.
    let mut command = Command::new("sh");
    command.args(["-c", r#"trap "" XFSZ; ulimit -f 1; exec "$0" listen"#, env!("CARGO_BIN_EXE_mortal-agent")]);
    let mut agent = Agent::start(&mut command, &nobody(), dir.path());
    let mut said = BufReader::new(agent.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    for _ in 0..3 {
        agent.is_told("work");
        assert_eq!(said.next().unwrap(), "worked");
    }
    until("the spans are lost", || {
        agent.is_told("flush");
        said.next().unwrap().ends_with(" accepted 12 delivered 0 lost 12").then_some(())
    });
    assert_eq!(files(dir.path()), [] as [PathBuf; 0], "what was begun is taken away again");
    agent.is_told("work");
    assert_eq!(said.next().unwrap(), "worked");
    agent.is_told("end");
    assert!(agent.0.wait().unwrap().success());
}
