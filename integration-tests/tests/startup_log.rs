//! Warnings about settings reach somebody: the subscriber, whenever it comes, or standard error.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use integration_tests::nobody::Nobody;
use retrace_local::Server;

/// Only a process that hangs takes so long.
const LIMIT: Duration = Duration::from_secs(120);
const TRANSPORT: &str = "RETRACE_TRANSPORT=\"pigeon\" is ignored";
const RATE: &str = "RETRACE_SAMPLE_RATE=\"half\" is ignored";
const PROPAGATORS: &str = "OTEL_PROPAGATORS: \"b3\" is ignored";
const CAPTURE: &str = "RETRACE_CAPTURE_CONTENT=\"offf\" is neither on nor off";
const WARNINGS: [&str; 4] = [TRANSPORT, RATE, PROPAGATORS, CAPTURE];
const NOTICE: &str = "runs are sent to http://127.0.0.1:";

/// Settings that cannot be read, one for each builder that reads any.
const BROKEN: [(&str, &str); 4] = [
    ("RETRACE_TRANSPORT", "pigeon"),
    ("RETRACE_SAMPLE_RATE", "half"),
    ("OTEL_PROPAGATORS", "b3"),
    ("RETRACE_CAPTURE_CONTENT", "offf"),
];

/// A `logging-agent`. Killed when dropped, so that a test that fails leaves no process behind.
struct Agent {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
    lines: Vec<String>,
}

impl Agent {
    fn start(how: &str, subscriber: &str, url: &str, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_logging-agent"));
        command.args([how, subscriber]).env_clear();
        command.env("RETRACE_BASE_URL", url).env("RETRACE_API_KEY", "rt_local").envs(settings.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (out, err) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
        Self { child, out, err, lines: Vec::new() }
    }

    /// Reads standard output until the subscriber has written a line of this crate with this text.
    fn wait_for(&mut self, text: &str) {
        while count(&logged(&self.lines), text) == 0 {
            let line = self.out.recv_timeout(LIMIT);
            self.lines.push(line.unwrap_or_else(|error| panic!("{text}: {error} in {:#?}", self.lines)));
        }
    }

    /// Has it shut down; returns standard output and standard error.
    fn end(self) -> (Vec<String>, Vec<String>) {
        let (lines, errors, is_success) = self.end_somehow();
        assert!(is_success, "{lines:#?} {errors:#?}");
        (lines, errors)
    }

    /// The same, and whether its shutdown succeeded.
    fn end_somehow(mut self) -> (Vec<String>, Vec<String>, bool) {
        drop(self.child.stdin.take());
        let mut lines = std::mem::take(&mut self.lines);
        lines.extend(rest(&self.out));
        let errors: Vec<String> = rest(&self.err).collect();
        (lines, errors, self.child.wait().unwrap().success())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let _ = sender.send(line.unwrap());
        }
    });
    receiver
}

/// The lines until the stream ends.
fn rest(lines: &Receiver<String>) -> impl Iterator<Item = String> {
    std::iter::from_fn(|| match lines.recv_timeout(LIMIT) {
        Ok(line) => Some(line),
        Err(error) => {
            assert_eq!(error, std::sync::mpsc::RecvTimeoutError::Disconnected, "the process hangs");
            None
        }
    })
}

/// The lines of the subscriber that this crate wrote.
fn logged(lines: &[String]) -> Vec<&str> {
    lines.iter().map(String::as_str).filter(|line| line.contains("opentelemetry-retrace")).collect()
}

fn count(lines: &[impl AsRef<str>], text: &str) -> usize {
    lines.iter().filter(|line| line.as_ref().contains(text)).count()
}

/// `warnings()` of the handle returns all of them, and no notice.
fn assert_returned(lines: &[String], expected: &[&str]) {
    let returned: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("warning: ")).collect();
    assert_eq!(returned.len(), expected.len(), "{returned:#?}");
    assert!(expected.iter().all(|text| count(&returned, text) == 1), "{returned:#?}");
}

/// The provider is built, then the subscriber set up, then spans made.
#[test]
fn a_subscriber_that_comes_after_the_provider_gets_what_was_logged_before() {
    let server = Server::start().unwrap();
    for how in ["processor", "exporter", "install", "dropped", "two"] {
        let mut agent = Agent::start(how, "after", server.url(), &BROKEN);
        // While the application works, not when it ends.
        for text in WARNINGS.into_iter().chain([NOTICE]) {
            agent.wait_for(text);
        }
        let (lines, errors) = agent.end();
        let logged = logged(&lines);
        for text in WARNINGS.into_iter().chain([NOTICE]) {
            assert_eq!(count(&logged, text), 1, "{how}: {text} in {logged:#?}");
        }
        assert!(errors.is_empty(), "{how}: {errors:#?}");
        assert_returned(&lines, &WARNINGS);
        assert_eq!(count(&lines, "the model answers"), 1);
    }
}

#[test]
fn without_a_subscriber_standard_error_gets_the_warnings_once() {
    let server = Server::start().unwrap();
    for how in ["processor", "exporter", "install", "dropped", "unused", "two"] {
        let (lines, errors) = Agent::start(how, "none", server.url(), &BROKEN).end();
        // With two ways to one receiver, the second one meets the runs of the first.
        let is_conflict = |line: &&String| line.contains("409 Conflict");
        let conflicts = errors.iter().filter(is_conflict).count();
        assert_eq!(errors.len() - conflicts, WARNINGS.len() + 1, "{how}: {errors:#?}");
        assert!(conflicts == 0 || how == "two", "{how}: {errors:#?}");
        for text in WARNINGS.into_iter().chain([NOTICE]) {
            let line = format!("opentelemetry-retrace: {text}");
            assert_eq!(
                errors.iter().filter(|error| error.starts_with(&line)).count(),
                1,
                "{how}: {text} in {errors:#?}"
            );
        }
        assert!(logged(&lines).is_empty(), "{how}: {lines:#?}");
        assert_returned(&lines, &WARNINGS);
    }
}

#[test]
fn a_subscriber_that_is_there_first_gets_them_once() {
    let server = Server::start().unwrap();
    for how in ["processor", "exporter", "install", "dropped"] {
        let (lines, errors) = Agent::start(how, "first", server.url(), &BROKEN).end();
        let logged = logged(&lines);
        for text in WARNINGS.into_iter().chain([NOTICE]) {
            assert_eq!(count(&logged, text), 1, "{how}: {text} in {logged:#?}");
        }
        assert!(errors.is_empty(), "{how}: {errors:#?}");
        assert_returned(&lines, &WARNINGS);
    }
}

/// Its filter is for the level, or for the target of this crate.
#[test]
fn a_subscriber_that_filters_them_out_does_not_take_them() {
    let server = Server::start().unwrap();
    for subscriber in ["errors-only", "not-ours"] {
        let (lines, errors) = Agent::start("processor", subscriber, server.url(), &BROKEN).end();
        assert!(WARNINGS.iter().all(|text| count(&errors, text) == 1), "{subscriber}: {errors:#?}");
        assert!(logged(&lines).is_empty(), "{subscriber}: {lines:#?}");
        assert_returned(&lines, &WARNINGS);
    }
}

#[test]
fn settings_that_are_right_write_the_notice_where_there_is_no_subscriber() {
    let server = Server::start().unwrap();
    let right = [("RETRACE_TRANSPORT", "http"), ("RETRACE_SAMPLE_RATE", "100 %"), ("RETRACE_ENABLED", " On ")];
    for how in ["processor", "exporter", "install", "dropped"] {
        for subscriber in ["none", "not-ours"] {
            let (lines, errors) = Agent::start(how, subscriber, server.url(), &right).end();
            let expected = usize::from(subscriber == "none");
            assert_eq!((errors.len(), count(&errors, NOTICE)), (expected, expected), "{how} {subscriber}: {errors:#?}");
            assert_returned(&lines, &[]);
        }
    }
}

/// Fails closed, without a worker that could log it.
#[test]
fn a_switch_that_cannot_be_read_switches_off_and_its_warning_arrives() {
    const ENABLED: &str = "RETRACE_ENABLED=\"offf\" is neither on nor off, which switches it off";
    let server = Server::start().unwrap();
    let broken = [("RETRACE_ENABLED", "offf"), ("RETRACE_SAMPLE_RATE", "half")];
    for how in ["processor", "exporter", "dropped"] {
        let mut agent = Agent::start(how, "after", server.url(), &broken);
        agent.wait_for(ENABLED);
        agent.wait_for(RATE);
        let (lines, errors) = agent.end();
        assert!([ENABLED, RATE].iter().all(|text| count(&logged(&lines), text) == 1), "{how}: {lines:#?}");
        assert!(errors.is_empty(), "{how}: {errors:#?}");
        assert_returned(&lines, &[ENABLED, RATE]);
    }
    for how in ["processor", "exporter", "install", "dropped", "unused"] {
        let (lines, errors) = Agent::start(how, "none", server.url(), &broken).end();
        assert!([ENABLED, RATE].iter().all(|text| count(&errors, text) == 1), "{how}: {errors:#?}");
        assert_returned(&lines, &[ENABLED, RATE]);
    }
    // There is no provider that could see spans, so the shutdown brings it.
    let (lines, errors) = Agent::start("install", "after", server.url(), &broken).end();
    assert!([ENABLED, RATE].iter().all(|text| count(&logged(&lines), text) == 1), "{lines:#?}");
    assert!(errors.is_empty(), "{errors:#?}");
    assert!(server.traces(&retrace_local::TraceQuery::default()).unwrap().traces.is_empty(), "something was sent");
}

#[test]
fn off_by_any_word_for_it_sends_nothing_and_is_silent() {
    let server = Server::start().unwrap();
    for off in ["off", "Disabled", " n ", "0", "FALSE", "no"] {
        let (lines, errors) = Agent::start("exporter", "none", server.url(), &[("RETRACE_ENABLED", off)]).end();
        assert!(errors.is_empty(), "{off}: {errors:#?}");
        assert_eq!(count(&lines, "accepted 0 delivered 0"), 1, "{off}: {lines:#?}");
    }
    assert!(server.traces(&retrace_local::TraceQuery::default()).unwrap().traces.is_empty(), "something was sent");
}

/// What was lost and why is in the log of a subscriber, else on standard error, once.
#[test]
fn losses_reach_the_subscriber_or_standard_error() {
    const UNREACHABLE: &str = "Connection refused";
    const LOST: &str = "4 spans lost: the receiver was never reached before the shutdown";
    let nobody = Nobody::new();
    for how in ["processor", "exporter", "install", "dropped"] {
        // A subscriber keeps the provider, so that a drop of it needs one that has none.
        let subscribers = [("none", false), ("errors-only", false), ("first", true)];
        let subscribers = if how == "dropped" { &subscribers[..1] } else { &subscribers };
        for (subscriber, is_logged) in subscribers.iter().copied() {
            let (lines, errors, _) = Agent::start(how, subscriber, &nobody.url(), &[]).end_somehow();
            let (logged, errors) = (logged(&lines), lines_of_ours(&errors));
            for text in [UNREACHABLE, LOST] {
                let found = (count(&errors, text), logged.iter().filter(|line| is_warning_of(line, text)).count());
                let expected = if is_logged { (0, 1) } else { (1, 0) };
                assert_eq!(found, expected, "{how} {subscriber}: {text} in {errors:#?} {logged:#?}");
            }
        }
    }
}

fn lines_of_ours(errors: &[String]) -> Vec<&str> {
    errors.iter().filter_map(|line| line.strip_prefix("opentelemetry-retrace: ")).collect()
}

fn is_warning_of(line: &str, text: &str) -> bool {
    line.contains("WARN") && line.contains(text)
}
