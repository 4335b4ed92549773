//! Processes that end, stop and fork: what an agent said in them arrives.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use integration_tests::agent;
use integration_tests::nobody::Nobody;
use integration_tests::wait::{HANG, until};
use retrace_local::{Server, TraceQuery};
use retrace_protocol::{Status, Trace};

const TRANSPORTS: [&str; 3] = ["auto", "ws", "http"];
/// Seconds for a process to do what takes none on a machine that is idle, each tried when the one before was too short.
const BUDGETS: [u64; 6] = [2, 4, 8, 16, 32, 64];

fn agent(way: &str, url: impl AsRef<OsStr>, transport: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mortal-agent"));
    command.arg(way).env("RETRACE_BASE_URL", url).env("RETRACE_API_KEY", "rt_local");
    command.env("RETRACE_TRANSPORT", transport).env("RUST_BACKTRACE", "0");
    command.env("RETRACE_FLUSH_TIMEOUT", HANG.as_secs().to_string());
    command
}

/// Killed when dropped, so that a test that fails leaves nothing behind.
struct Running(Child);

impl Running {
    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.0.id().to_string()]).status().unwrap().success());
    }

    fn end(&mut self) -> ExitStatus {
        until("the process ends", || self.0.try_wait().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn stored(server: &Server) -> Vec<Trace> {
    let page = server.traces(&TraceQuery::default()).unwrap();
    page.traces.iter().map(|trace| server.trace(trace.id.as_ref().unwrap()).unwrap().unwrap()).collect()
}

fn is_whole(run: &Trace) -> bool {
    let spans = run.spans.as_deref().unwrap_or_default();
    run.status == Some(Status::Completed)
        && run.lossy.is_none()
        && spans.len() as u64 >= agent::SPANS
        && run.span_count == Some(spans.len() as u64)
        && spans.iter().all(|span| span.ended_at.is_some())
}

fn ends(way: &str, transport: &str) -> (Option<i32>, Vec<Trace>, String) {
    let server = Server::start().unwrap();
    let mut command = agent(way, server.url(), transport);
    let mut running = Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let status = running.end();
    let said = std::io::read_to_string(running.0.stderr.take().unwrap()).unwrap();
    (status.code(), stored(&server), said)
}

#[test]
fn pain_05_what_an_agent_said_right_before_its_end_arrives() {
    for transport in TRANSPORTS {
        for (way, code) in [("return", 0), ("panic", 101), ("exit", 1)] {
            let (ended, runs, said) = ends(way, transport);
            assert_eq!(ended, Some(code), "{way} {transport}: {said}");
            assert!(matches!(&runs[..], [run] if is_whole(run)), "{way} {transport}: {runs:?}\n{said}");
        }
    }
}

/// The receiver is away at the end, and there at the next start. The end of a process leaves the worker the flush timeout to
/// write into the spool; on a machine that is busy it may take a longer one.
#[test]
fn pain_05_with_a_spool_the_next_start_sends_what_the_end_could_not() {
    for (transport, way, code) in [("auto", "return", 0), ("ws", "panic", 101), ("http", "return", 0)] {
        let nobody = Nobody::new();
        let start = |way: &str, url: &str, dir: &Path, flush_timeout: u64| {
            let mut command = agent(way, url, transport);
            command.env("RETRACE_SPOOL_DIR", dir).env("RETRACE_FLUSH_TIMEOUT", flush_timeout.to_string());
            let mut running = Running(command.stderr(Stdio::piped()).spawn().unwrap());
            let ended = running.end().code();
            let said = std::io::read_to_string(running.0.stderr.take().unwrap()).unwrap();
            let mut spooled: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
            spooled.retain(|path| !path.ends_with("lock") && path.extension().is_none_or(|end| end != "tmp"));
            (ended, spooled, said)
        };
        let spools = BUDGETS.into_iter().find_map(|flush_timeout| {
            let dir = tempfile::tempdir().unwrap();
            let first = start(way, &nobody.url(), dir.path(), flush_timeout);
            (!first.1.is_empty()).then_some((dir, first))
        });
        let (dir, first) = spools.unwrap_or_else(|| panic!("{transport} {way}: nothing is spooled"));
        let server = Server::start().unwrap();
        let second = start(way, server.url(), dir.path(), HANG.as_secs());
        assert_eq!((first.0, second.0), (Some(code), Some(code)), "{transport} {way}");
        let runs = stored(&server);
        assert!(
            runs.len() == 2 && runs.iter().all(is_whole),
            "{transport} {way}: {first:?}, then {second:?}\n{} {runs:?}",
            runs.len()
        );
    }
}

/// Nothing can be promised of it but that it ends, and that what arrived is true.
#[test]
fn pain_05_an_exit_at_once_waits_for_nothing() {
    for transport in TRANSPORTS {
        let (ended, runs, said) = ends("exit-at-once", transport);
        assert_eq!(ended, Some(1), "{transport}: {said}");
        assert!(runs.len() <= 1 && runs.iter().all(|run| is_whole(run) || run.status == Some(Status::Running)));
    }
}

#[test]
fn pain_05_a_handler_of_sigterm_that_drops_the_guard_loses_nothing() {
    for transport in TRANSPORTS {
        let server = Server::start().unwrap();
        let mut child = agent("terminate", server.url(), transport).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut running = Running(child);
        out.read_line(&mut String::new()).unwrap();
        running.signal("-TERM");
        assert_eq!(running.end().code(), Some(143));
        assert!(matches!(&stored(&server)[..], [run] if is_whole(run)), "{transport}");
    }
}

/// The guard, and spans, in thread-local storage that is torn down after everything that they would like to use.
#[test]
fn pain_08_the_end_of_a_thread_is_no_panic() {
    for (way, transport) in [("thread-local", "auto"), ("thread-local", "http"), ("thread-local-exporter", "http")] {
        let (ended, runs, said) = ends(way, transport);
        assert_eq!(ended, Some(0), "{way} {transport}: {said}");
        let whole = runs.iter().filter(|run| is_whole(run)).count();
        assert_eq!((whole, runs.len()), (1, 2), "{way} {transport}: {runs:?}\n{said}");
        let late = runs.iter().find(|run| !is_whole(run)).unwrap();
        assert_eq!(late.spans.as_ref().unwrap().len(), 1, "{way} {transport}: the span that ended last");
    }
}

/// The parent has three runs, each child its own, none says anything of the other's, and nobody waits for a thread that is not
/// there. Each checks its own account.
#[test]
fn pain_07_the_child_of_a_fork_begins_afresh() {
    for transport in TRANSPORTS {
        let (ended, runs, said) = ends("fork", transport);
        assert_eq!(ended, Some(0), "{transport}: {said}");
        assert_eq!(runs.iter().filter(|run| is_whole(run)).count(), 5, "{transport}: {runs:?}");
        assert_eq!(runs.len(), 5, "{transport}");
    }
}

/// An agent that is told what to do.
struct Listening(Running, ChildStdin, BufReader<ChildStdout>);

impl Listening {
    /// Starts one that keeps a run for `keep` seconds, and waits for a flush as long.
    fn start(url: impl AsRef<OsStr>, transport: &str, keep: u64) -> Self {
        let mut command = agent("listen", url, transport);
        command.env("MORTAL_AGENT_KEEP", keep.to_string()).env("RETRACE_FLUSH_TIMEOUT", keep.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self(Running(child), to, from)
    }

    fn tell(&mut self, what: &str) -> String {
        writeln!(self.1, "{what}").unwrap();
        let mut line = String::new();
        self.2.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Stopped for so long. Real time, for it is that of the operating system that must not count.
    fn freeze(&self, time: Duration) {
        self.0.signal("-STOP");
        thread::sleep(time);
        self.0.signal("-CONT");
    }
}

#[test]
fn pain_06_a_process_that_is_stopped_between_two_flushes_goes_on() {
    for transport in ["ws", "http"] {
        let server = Server::start().unwrap();
        let mut agent = Listening::start(server.url(), transport, HANG.as_secs());
        agent.tell("work");
        assert_eq!(agent.tell("flush"), "flushed true accepted 4 delivered 4 lost 0");
        agent.freeze(Duration::from_millis(300));
        agent.tell("work");
        assert_eq!(agent.tell("flush"), "flushed true accepted 8 delivered 8 lost 0", "{transport}");
        let runs = stored(&server);
        assert!(runs.len() == 2 && runs.iter().all(is_whole), "{transport}: {runs:?}");
    }
}

/// It keeps a run for some seconds, and is stopped for longer: the run expires only if the agent ran for that long.
#[test]
fn pain_06_a_stopped_clock_expires_nothing() {
    for keep in BUDGETS {
        let nobody = Nobody::new();
        let mut agent = Listening::start(nobody.url(), "http", keep);
        let began = Instant::now();
        agent.tell("work");
        agent.freeze(Duration::from_secs(keep) * 5 / 4);
        let server = Server::builder().with_listener(nobody.arrives()).start().unwrap();
        let ended = until("the run is delivered or lost", || {
            Some(agent.tell("flush")).filter(|told| !told.ends_with("delivered 0 lost 0"))
        });
        let ran = began.elapsed() - Duration::from_secs(keep) * 5 / 4;
        if ended.ends_with("delivered 4 lost 0") {
            assert!(is_whole(&stored(&server)[0]));
            return;
        }
        assert!(ran > Duration::from_secs(keep), "{ended}, after {ran:?}");
    }
    panic!("the machine is too slow to tell");
}
