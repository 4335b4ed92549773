//! Pipelines by tenant: opened by the first data, closed when they are idle, bounded in number.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opentelemetry_retrace::{BuildError, RetraceExporter, SpanSelection};
use retrace_otlp::{OtlpRequest, OtlpResource};

use crate::config::{self, Config};
use crate::metrics::{Totals, plus};
use crate::offsets::Partition;
use crate::pipeline::{Closed, Closing, HANDLES, Pipeline};
use crate::room::Room;
use crate::ticket::Ticket;

/// Wait for late spans after the root of a run. It is longer than any flush, and a flush ends the wait.
const LINGER: Duration = Duration::from_secs(60);
/// Timeout of a flush.
const FLUSH: Duration = Duration::from_secs(10);

/// All tenants.
#[derive(Debug)]
pub(crate) struct TenantPipelines {
    config: Arc<Config>,
    room: Arc<Room>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: HashMap<String, Arc<Pipeline>>,
    /// Pipelines that are closing, with their tenants.
    closing: Vec<(String, Arc<Pipeline>)>,
    /// Counts of pipelines that are closed.
    before: BTreeMap<String, Totals>,
    is_closed: bool,
}

/// Reason for which spans cannot be taken now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The buffer is full.
    Full,
    /// As many pipelines are open as may be, and all have work.
    TooManyPipelines,
    /// The gateway is stopping.
    Stopping,
    /// The pipeline cannot be built.
    Broken(String),
}

impl Refused {
    /// Returns the reason for clients and logs.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Full => "the gateway has more than it can deliver in time".to_owned(),
            Self::TooManyPipelines => "the gateway has as many open tenants as tenants.max_open allows".to_owned(),
            Self::Stopping => "the gateway is stopping".to_owned(),
            Self::Broken(problem) => format!("the pipeline of the tenant cannot be built: {problem}"),
        }
    }
}

/// A request by tenant.
#[derive(Debug)]
pub(crate) struct Routed {
    /// Spans and log records by tenant.
    pub(crate) parts: BTreeMap<String, OtlpRequest>,
    /// Number of spans and log records whose tenant is unknown.
    pub(crate) unknown: u64,
}

impl TenantPipelines {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        let room = Arc::new(Room::new(config.traces.buffer_bytes));
        Self { config, room, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn room(&self) -> &Room {
        &self.room
    }

    /// Returns the tenant that a topic names, if there is a pattern and the topic fits it.
    pub(crate) fn of_topic<'a>(&self, topic: &'a str) -> Option<&'a str> {
        let (before, after) = self.config.tenants.topic.as_ref()?;
        topic.strip_prefix(before.as_str())?.strip_suffix(after.as_str())
    }

    /// Divides a request by tenant. `named` is the tenant that the header or the topic names; without one it is by the
    /// attribute of each resource, then the default.
    pub(crate) fn route(&self, request: OtlpRequest, named: Option<&str>) -> Routed {
        let mut parts: BTreeMap<String, OtlpRequest> = BTreeMap::new();
        let mut unknown = 0;
        // The spans of a resource come one after another.
        let mut last: Option<(Arc<OtlpResource>, Option<String>)> = None;
        let mut tenant_of = |resource: &Arc<OtlpResource>| {
            if let Some((before, tenant)) = &last
                && Arc::ptr_eq(before, resource)
            {
                return tenant.clone();
            }
            let by_attribute = || self.config.tenants.attribute.as_ref().and_then(|key| resource.text(key));
            let default = || self.config.tenants.default.as_deref();
            let tenant = named.or_else(by_attribute).or_else(default);
            let tenant = tenant.filter(|name| self.config.tenant.contains_key(*name)).map(str::to_owned);
            last = Some((Arc::clone(resource), tenant.clone()));
            tenant
        };
        for span in request.spans {
            match tenant_of(span.resource()) {
                Some(tenant) => parts.entry(tenant).or_default().spans.push(span),
                None => unknown += 1,
            }
        }
        for event in request.events {
            match tenant_of(event.resource()) {
                Some(tenant) => parts.entry(tenant).or_default().events.push(event),
                None => unknown += 1,
            }
        }
        Routed { parts, unknown }
    }

    /// Returns true if a tenant exists.
    pub(crate) fn knows(&self, tenant: &str) -> bool {
        self.config.tenant.contains_key(tenant)
    }

    /// Adds a routed request: all of it, or nothing. Each trace of each part takes a ticket.
    pub(crate) fn add(
        &self,
        parts: BTreeMap<String, OtlpRequest>,
        mut ticket: impl FnMut() -> Option<Ticket>,
    ) -> Result<(), (Refused, BTreeMap<String, OtlpRequest>)> {
        let mut open = Vec::new();
        for tenant in parts.keys() {
            match self.open(tenant) {
                Ok(pipeline) => open.push(pipeline),
                Err(refused) => return Err((refused, parts)),
            }
        }
        let mut reserved = parts.values().map(OtlpRequest::weight).sum();
        if !self.room.reserve(reserved) {
            return Err((Refused::Full, parts));
        }
        for ((_, part), pipeline) in parts.into_iter().zip(open) {
            let weight = part.weight();
            if let Err(Closed) = pipeline.add(part, &mut ticket) {
                // The gateway stops: a pipeline that is merely idle is not closed while somebody has its handle.
                self.room.release(reserved);
                return Err((Refused::Stopping, BTreeMap::new()));
            }
            reserved -= weight;
        }
        Ok(())
    }

    /// Returns the pipeline of a tenant, which is opened if need be.
    fn open(&self, tenant: &str) -> Result<Arc<Pipeline>, Refused> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(Refused::Stopping);
        }
        if let Some(pipeline) = state.open.get(tenant) {
            return Ok(Arc::clone(pipeline));
        }
        if state.open.len() + state.closing.len() >= self.config.tenants.max_open {
            // The one that has been idle the longest makes room for the next request.
            let idle = state.open.iter().filter_map(|(name, pipeline)| Some((unused(pipeline)?, name.clone())));
            if let Some((_, name)) = idle.max() {
                begin_close(&mut state, &name, Closing::Deliver);
            }
            return Err(Refused::TooManyPipelines);
        }
        let exporter = self.build(tenant).map_err(|error| Refused::Broken(error.to_string()))?;
        let (retrace, traces) = (&self.config.retrace, self.config.traces);
        let pipeline = Pipeline::start(exporter, retrace.buffer_bytes, traces, Arc::clone(&self.room));
        state.open.insert(tenant.to_owned(), Arc::clone(&pipeline));
        tracing::info!(tenant, "a pipeline is open");
        Ok(pipeline)
    }

    fn build(&self, name: &str) -> Result<RetraceExporter, BuildError> {
        let config::Retrace { base_url, transport, cleartext_hosts, .. } = &self.config.retrace;
        let retrace = &self.config.retrace;
        let Some(tenant) = self.config.tenant.get(name) else { return Err(BuildError::MissingApiKey) };
        let mut builder = RetraceExporter::builder()
            .with_api_key(tenant.api_key.expose())
            .with_transport(transport.as_str())
            .with_span_selection(if retrace.all_spans { SpanSelection::All } else { SpanSelection::GenAi })
            .with_buffer_bytes(retrace.buffer_bytes)
            .with_retry_deadline(retrace.retry_deadline)
            .with_timeout(retrace.request_timeout)
            .with_flush_timeout(FLUSH)
            .with_linger(LINGER)
            // Every batch counts as full: its export waits for room, not for delivery.
            .with_max_export_batch_size(1);
        if let Some(capture_content) = retrace.capture_content {
            builder = builder.with_capture_content(capture_content);
        }
        for host in cleartext_hosts {
            builder = builder.with_cleartext_host(host);
        }
        if let Some(url) = tenant.base_url.as_ref().or(base_url.as_ref()) {
            builder = builder.with_base_url(url);
        }
        if let Some(project) = &tenant.project_id {
            builder = builder.with_project_id(project);
        }
        if let Some(environment) = &tenant.environment {
            builder = builder.with_environment(environment);
        }
        if let Some(dir) = &retrace.spool_dir {
            builder = builder.with_spool(dir.join(directory(name))).with_spool_bytes(retrace.spool_bytes);
        }
        builder.build()
    }

    /// Drops held traces of revoked partitions; returns their number.
    pub(crate) fn revoke(&self, partitions: &HashSet<Partition>) -> usize {
        let pipelines: Vec<_> = self.lock().open.values().cloned().collect();
        pipelines.iter().map(|pipeline| pipeline.revoke(partitions)).sum()
    }

    /// Closes the pipelines that have been idle for long. Returns those that are to be shut down.
    pub(crate) fn close_idle(&self) -> Vec<Arc<Pipeline>> {
        let mut state = self.lock();
        let idle = self.config.tenants.idle;
        let names = state.open.iter().filter(|(_, pipeline)| unused(pipeline).is_some_and(|since| since >= idle));
        let names: Vec<String> = names.map(|(name, _)| name.clone()).collect();
        for name in names {
            begin_close(&mut state, &name, Closing::Deliver);
        }
        state.closing.iter().map(|(_, pipeline)| Arc::clone(pipeline)).collect()
    }

    /// Forgets a pipeline that is shut down, and keeps its counts.
    pub(crate) fn forget(&self, pipeline: &Arc<Pipeline>) {
        let mut state = self.lock();
        let (over, rest) = state.closing.drain(..).partition(|(_, other)| Arc::ptr_eq(other, pipeline));
        state.closing = rest;
        let over: Vec<(String, Arc<Pipeline>)> = over;
        for (name, pipeline) in over {
            tracing::info!(tenant = name, "a pipeline is closed");
            plus(state.before.entry(name).or_default(), &pipeline.stats());
        }
    }

    /// Closes all pipelines, and takes no more spans. Returns them.
    pub(crate) fn close_all(&self, closing: Closing) -> Vec<Arc<Pipeline>> {
        let mut state = self.lock();
        state.is_closed = true;
        let names: Vec<String> = state.open.keys().cloned().collect();
        for name in names {
            begin_close(&mut state, &name, closing);
        }
        state.closing.iter().map(|(_, pipeline)| Arc::clone(pipeline)).collect()
    }

    /// Counts of all tenants.
    pub(crate) fn totals(&self) -> BTreeMap<String, Totals> {
        let state = self.lock();
        let mut totals = state.before.clone();
        let closing = state.closing.iter().map(|(name, pipeline)| (name, pipeline));
        for (name, pipeline) in state.open.iter().chain(closing) {
            let of_tenant = totals.entry(name.clone()).or_default();
            let stats = pipeline.stats();
            plus(of_tenant, &stats);
            of_tenant.pending += stats.pending;
            let (held, unsettled) = pipeline.traces();
            of_tenant.held_traces += held;
            of_tenant.unsettled_traces += unsettled;
        }
        totals
    }

    /// Number of pipelines.
    pub(crate) fn len(&self) -> usize {
        let state = self.lock();
        state.open.len() + state.closing.len()
    }
}

/// Returns how long nobody has used a pipeline; `None` if it has work, or if somebody is about to give it some.
fn unused(pipeline: &Arc<Pipeline>) -> Option<Duration> {
    if Arc::strong_count(pipeline) > HANDLES { None } else { pipeline.idle() }
}

fn begin_close(state: &mut State, name: &str, closing: Closing) {
    if let Some(pipeline) = state.open.remove(name) {
        pipeline.close(closing);
        state.closing.push((name.to_owned(), pipeline));
    }
}

/// Name of the spool's directory of a tenant: letters, digits and hyphens as they are, other bytes in hex.
fn directory(tenant: &str) -> PathBuf {
    let mut name = String::new();
    for byte in tenant.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => name.push(char::from(byte)),
            other => name.push_str(&format!("_{other:02x}")),
        }
    }
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_of_a_tenant_is_below_that_of_the_spool() {
        assert_eq!(directory("team-a"), PathBuf::from("team-a"));
        assert_eq!(directory("../x"), PathBuf::from("_2e_2e_2fx"));
        assert_ne!(directory("a/b"), directory("a_2fb"));
    }
}
