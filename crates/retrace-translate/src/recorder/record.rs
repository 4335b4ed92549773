//! Records of a run: its trace and its spans, in both modes.

use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;

use foldhash::fast::FixedState;

use retrace_protocol::metadata::{TraceMetadata, TraceOrigin, Usage};
use retrace_protocol::{Id, Json, Span, Status, Timestamp, Trace};

use crate::json::hex;
use crate::options::Options;
use crate::price::without_noise;
use crate::recorder::emitted_runs::EmittedRun;
use crate::recorder::remote_parent::RemoteParent;
use crate::recorder::run_name::RunName;
use crate::recorder::tools::derived_id;
use crate::recorder::totals::Totals;
use crate::resource::Resource;
use crate::span_reader::{Agent, ENVIRONMENT, SpanBuilder};
use crate::view::Parent;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// Ids of a run.
#[derive(Clone, Debug)]
pub(crate) struct RunIdentity {
    /// Id of the OpenTelemetry trace.
    pub trace_id: [u8; 16],
    /// Id of the Retrace trace.
    pub id: Id,
    /// Number of runs of the same OpenTelemetry trace that were emitted before it.
    pub part: u32,
    /// The Retrace trace with the earlier spans.
    pub continues: Option<Id>,
    /// The run belongs to another process.
    pub joined: bool,
}

/// Facts about a span that follow from its position in the run.
#[derive(Clone, Debug)]
pub(crate) struct TreePosition {
    pub id: Id,
    pub parent: Option<Id>,
    pub agent_id: Option<Arc<str>>,
    pub agent_role: Option<Arc<str>>,
    pub parent_agent_id: Option<Arc<str>>,
    pub remote_parent: Option<String>,
}

/// Labels of a run. A span carries only those that differ.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunLabels {
    pub session: Option<String>,
    pub user: Option<String>,
    /// Name of the run, if a span states one.
    pub name: Option<String>,
    pub tags: Option<Json>,
}

/// Facts about a run that its root states.
#[derive(Clone, Debug, Default)]
pub(crate) struct RootFacts {
    start: u64,
    pub name: Option<String>,
    pub input: Option<Json>,
    pub user_metadata: serde_json::Map<String, serde_json::Value>,
    /// Environment that the run states.
    environment: Option<String>,
    /// Set if the run is emitted as ended.
    pub end: Option<RunEnd>,
}

/// End of a run.
#[derive(Clone, Debug)]
pub(crate) struct RunEnd {
    at: u64,
    pub output: Option<Json>,
    pub error: Option<String>,
}

impl TreePosition {
    /// Creates a position; `joined` is the remote parent of the topmost ancestor.
    pub(crate) fn new(
        id: Id,
        trace_id: [u8; 16],
        parent: Option<Id>,
        stated: Parent,
        agents: Option<(&Agent, Option<&Agent>)>,
        joined: Option<&RemoteParent>,
    ) -> Self {
        let outside = || joined?.parent.map(|span_id| Id::from_otel_span(trace_id, span_id));
        let parent = parent.or_else(outside);
        let calling = joined.and_then(|joined| joined.agent.as_ref());
        let (agent, parent_agent) = match agents {
            Some((own, above)) => (Some(own), above.or_else(|| calling.filter(|calling| calling.id != own.id))),
            None => (calling, None),
        };
        Self {
            id,
            agent_id: agent.map(|agent| agent.id.clone()),
            agent_role: agent.and_then(|agent| agent.role.clone()),
            parent_agent_id: agent
                .and_then(|agent| agent.parent.clone())
                .or_else(|| parent_agent.map(|agent| agent.id.clone())),
            remote_parent: match stated {
                Parent::Remote(id) if parent.is_none() => Some(hex(&id)),
                _ => None,
            },
            parent,
        }
    }

    /// Returns a hash of what may change: all but the id.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = FixedState::with_seed(self.agents_fingerprint()).build_hasher();
        let parent = self.parent.as_ref().and_then(Id::to_otel_trace);
        hasher.write_u128(parent.map_or(0, u128::from_be_bytes));
        hasher.write(self.remote_parent.as_deref().unwrap_or_default().as_bytes());
        hasher.finish()
    }

    /// Returns a hash of the agents: what may change of a span that is a child at this position.
    pub(crate) fn agents_fingerprint(&self) -> u64 {
        let mut hasher = FixedState::default().build_hasher();
        for text in [&self.agent_id, &self.agent_role, &self.parent_agent_id].map(Option::as_deref) {
            hasher.write(text.unwrap_or_default().as_bytes());
            hasher.write_u8(text.is_some().into());
        }
        hasher.finish()
    }

    /// Makes a span the child of the span at this position, with the same agents.
    pub(crate) fn apply_below(&self, span: &mut Span) {
        span.parent_id = Some(self.id.clone());
        span.agent_id.clone_from(&self.agent_id);
        span.agent_role.clone_from(&self.agent_role);
        span.parent_agent_id.clone_from(&self.parent_agent_id);
    }
}

/// Moves user metadata whose keys have a meaning in the protocol into an object of its own.
pub(crate) fn apart(
    metadata: serde_json::Map<String, serde_json::Value>,
    keys: &[&str],
) -> serde_json::Map<String, serde_json::Value> {
    let has_meaning = |key: &String| keys.contains(&key.as_str());
    let (taken, mut free): (serde_json::Map<_, _>, _) = metadata.into_iter().partition(|(key, _)| has_meaning(key));
    if !taken.is_empty() {
        free.insert("metadata".to_owned(), taken.into());
    }
    free
}

impl RunLabels {
    /// Returns the labels of a run of another process that its caller states.
    pub(crate) fn of_caller(caller: &RemoteParent) -> Self {
        Self { session: caller.session.clone(), ..Self::default() }
    }
}

/// Removes what is not known of a span while it is running.
pub(crate) fn under_way(builder: &mut SpanBuilder) {
    let span = &mut builder.span;
    (span.ended_at, span.duration_ms, span.output, span.error) = (None, None, None, None);
    (span.input_tokens, span.output_tokens, span.cost) = (None, None, None);
    builder.metadata.usage = Usage::default();
}

impl RootFacts {
    pub(crate) fn new(start: u64, builder: Option<&SpanBuilder>) -> Self {
        let mut user_metadata = builder.map(|builder| builder.user_metadata.clone()).unwrap_or_default();
        let environment = user_metadata.remove(ENVIRONMENT).and_then(|stated| stated.as_str().map(str::to_owned));
        let user_metadata = apart(user_metadata, &TraceMetadata::KEYS);
        Self {
            start,
            environment,
            name: builder
                .map(|builder| builder.trace_name.as_ref().unwrap_or(&builder.span.name).clone())
                .filter(|name| !name.is_empty()),
            input: builder.and_then(|builder| builder.span.input.clone()),
            user_metadata,
            end: None,
        }
    }

    /// Completes the facts of the root by those of a span below it that states that it is a run.
    pub(crate) fn or(mut self, run: Option<&Self>) -> Self {
        let Some(run) = run else { return self };
        self.input = self.input.or_else(|| run.input.clone());
        self.environment = self.environment.or_else(|| run.environment.clone());
        for (key, value) in &run.user_metadata {
            self.user_metadata.entry(key.clone()).or_insert_with(|| value.clone());
        }
        if let (Some(end), Some(of_run)) = (&mut self.end, &run.end) {
            end.output = end.output.take().or_else(|| of_run.output.clone());
            end.error = end.error.take().or_else(|| of_run.error.clone());
        }
        self
    }
}

impl RunEnd {
    pub(crate) fn new(at: u64, builder: Option<&SpanBuilder>) -> Self {
        Self {
            at,
            output: builder.and_then(|builder| builder.span.output.clone()),
            error: builder.and_then(|builder| builder.span.error.clone()),
        }
    }
}

impl RunIdentity {
    /// Returns the ids of the run that begins with the span `first`, after `before` was emitted of its trace; or of the run of
    /// another process that it `joins`, which accepts spans at any time.
    pub(crate) fn after(trace_id: [u8; 16], before: Option<&EmittedRun>, first: [u8; 8], joins: bool) -> Self {
        if joins {
            return Self { trace_id, id: Id::from_otel_trace(trace_id), part: 0, continues: None, joined: true };
        }
        let part = before.map_or(0, |before| before.part + 1);
        let id = match part {
            0 => Id::from_otel_trace(trace_id),
            part => derived_id(&[&trace_id, b"run:", &first, &part.to_be_bytes()]),
        };
        Self { trace_id, id, part, continues: before.map(|before| before.id.clone()), joined: false }
    }

    /// Returns the record of the trace, without its metadata and without what depends on its spans.
    pub(crate) fn trace(
        &self,
        top: &RootFacts,
        name: &RunName,
        labels: &RunLabels,
        totals: Totals,
        options: &Options,
    ) -> Trace {
        let mut trace = Trace::started(self.id.clone(), Timestamp::from_unix_nanos(top.start));
        trace.name.clone_from(&name.name);
        trace.session_id.clone_from(&labels.session);
        trace.project_id.clone_from(&options.project_id);
        trace.input.clone_from(&top.input);
        trace.total_tokens = Some(totals.tokens);
        trace.total_cost = Some(without_noise(totals.cost));
        if let Some(end) = &top.end {
            let at = end.at.max(top.start);
            trace.ended_at = Some(Timestamp::from_unix_nanos(at));
            trace.total_duration_ms = Some((at - top.start) / NANOS_PER_MILLI);
            trace.output = Some(end.output.clone().unwrap_or_else(Json::null));
            trace.error.clone_from(&end.error);
            trace.status = Some(if trace.error.is_some() { Status::Failed } else { Status::Completed });
        }
        trace
    }

    pub(crate) fn trace_metadata(
        &self,
        top: &RootFacts,
        name: &RunName,
        labels: &RunLabels,
        resource: &Resource,
        options: &Options,
    ) -> TraceMetadata {
        let mut other = top.user_metadata.clone();
        let stated = other.remove(ENVIRONMENT).and_then(|stated| stated.as_str().map(str::to_owned));
        TraceMetadata {
            environment: top
                .environment
                .clone()
                .or(stated)
                .or_else(|| options.environment.clone())
                .or_else(|| resource.environment.clone()),
            service: resource.service.clone(),
            user_id: labels.user.clone(),
            tags: labels.tags.clone(),
            inferred_io: false,
            entry_span: name.entry_span.clone(),
            kept_for_failure: false,
            replayed: false,
            otel: (self.id.to_otel_trace() != Some(self.trace_id)).then(|| TraceOrigin {
                trace_id: hex(&self.trace_id),
                continues: self.continues.clone(),
                joined: false,
            }),
            other,
        }
    }
}

/// Returns the id of a span whose start an earlier run of its trace emitted, because an id cannot be in two runs.
pub(crate) fn outlived_id(trace_id: [u8; 16], span_id: [u8; 8]) -> Id {
    derived_id(&[&trace_id, b"outlived:", &span_id])
}
