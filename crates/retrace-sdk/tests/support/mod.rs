//! A receiver, and a pipeline to it.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part")]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use retrace::{Configuration, Guard, Json, Span, Trace};
use retrace_local::{Server, TraceQuery};
use serde_json::Value;

/// The pipeline is global: one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Reached only by a hang.
pub const LIMIT: Duration = Duration::from_secs(60);

pub struct Recording {
    pub server: Server,
    pub guard: Option<Guard>,
    _alone: MutexGuard<'static, ()>,
}

/// Waits for other tests.
pub fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Records to a receiver of its own, over HTTP.
pub fn record() -> Recording {
    record_with(|configuration| configuration.with_transport("http"))
}

pub fn record_with(change: impl FnOnce(Configuration) -> Configuration) -> Recording {
    record_to(Server::start().unwrap(), change)
}

/// Records to this receiver.
pub fn record_to(server: Server, change: impl FnOnce(Configuration) -> Configuration) -> Recording {
    let alone = alone();
    let configuration = retrace::configure()
        .with_api_key("rt_local")
        .with_base_url(server.url())
        .with_flush_timeout(LIMIT)
        .with_linger(Duration::ZERO);
    let guard = change(configuration).install().unwrap();
    Recording { server, guard: Some(guard), _alone: alone }
}

impl Drop for Recording {
    /// Stops before the server does. The end of the guard ends every run of the process that is under way, those of other tests
    /// too: without a receiver it would wait for them until the flush timeout.
    fn drop(&mut self) {
        drop(self.guard.take());
    }
}

impl Recording {
    /// Stops, and reads all runs back, in the order in which they began.
    pub fn runs(mut self) -> Vec<Trace> {
        self.guard.take().unwrap().shutdown().unwrap();
        stored(&self.server)
    }

    /// Stops, and reads the only run back.
    pub fn run(self) -> Trace {
        let mut runs = self.runs();
        assert_eq!(runs.len(), 1, "{runs:#?}");
        runs.remove(0)
    }
}

pub fn stored(server: &Server) -> Vec<Trace> {
    let page = server.traces(&TraceQuery::new().with_limit(TraceQuery::MAX_LIMIT)).unwrap();
    let mut runs: Vec<Trace> =
        page.traces.iter().map(|trace| server.trace(trace.id.as_ref().unwrap()).unwrap().unwrap()).collect();
    runs.sort_by_key(|run| run.started_at.as_ref().map(retrace_protocol::Timestamp::unix_micros));
    runs
}

/// The only run of a name: other tests of the program may record at the same time.
pub fn named(runs: Vec<Trace>, name: &str) -> Trace {
    let mut named: Vec<Trace> = runs.into_iter().filter(|run| run.name.as_deref() == Some(name)).collect();
    assert_eq!(named.len(), 1, "{named:#?}");
    named.remove(0)
}

pub fn value(json: &Option<Json>) -> Value {
    json.as_ref().map_or(Value::Null, |json| json.to_value().unwrap())
}

pub fn metadata(run: &Trace, key: &str) -> Value {
    value(&run.metadata)[key].clone()
}

pub fn spans(run: &Trace) -> &[Span] {
    run.spans.as_deref().unwrap_or_default()
}

pub fn span<'a>(run: &'a Trace, name: &str) -> &'a Span {
    let mut named = spans(run).iter().filter(|span| span.name == name);
    let span = named.next().unwrap_or_else(|| panic!("no {name} in {run:#?}"));
    assert!(named.next().is_none(), "several {name} in {run:#?}");
    span
}

/// The name of the span above a span.
pub fn above<'a>(run: &'a Trace, name: &str) -> Option<&'a str> {
    let parent = span(run, name).parent_id.as_ref()?;
    spans(run).iter().find(|span| span.id == *parent).map(|span| span.name.as_str())
}
