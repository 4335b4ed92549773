//! Registry of the runs that this process records, read by propagators: the calling span, the session and the
//! agent of a run.
//!
//! Application threads write an entry where a span begins and ends, and read it where they call another
//! service. Each access takes a short lock on one of several shards, and nothing is kept before the first
//! reader registers.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use foldhash::HashMap;
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceId};
use opentelemetry_sdk::trace::SpanData;
use retrace_translate::{SpanSelection, quick_scan};

use crate::fork::PerProcess;
use crate::sampling::Rule;
use crate::sampling::sample_key::RootSpan;
use crate::span::view::{SdkSpan, value};
use crate::trace_context::RemoteRunContext;

/// Number of shards. Each has a lock of its own, so that threads seldom contend.
const PARTS: usize = 16;
/// Traces in one shard. Beyond these the oldest is removed and no longer announced.
const TRACES: usize = 1_024;
/// Spans of one trace. Calls made below further spans are announced under the root.
const SPANS: usize = 4_096;
/// Spans of all traces in one shard; 16 MiB in all shards together. Beyond these the oldest trace is removed.
const PART_SPANS: usize = 8_192;
/// Longest session or agent id that is kept; a longer id does not fit into a `tracestate` entry.
const ID_BYTES: usize = 128;

/// Announcers of the span processors of this process.
static REGISTERED: RwLock<Vec<Weak<RemoteRunRegistry>>> = RwLock::new(Vec::new());
/// True once a propagator of this process announces runs and needs the positions of spans.
static IS_ANNOUNCING: AtomicBool = AtomicBool::new(false);

/// Makes every span processor of this process keep the positions of its spans. Called when a propagator
/// announces runs.
pub(crate) fn watch_all() {
    IS_ANNOUNCING.store(true, Ordering::Relaxed);
    for announcer in REGISTERED.read().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade) {
        announcer.watch();
    }
}

/// Returns the position of the current span in the run that a span processor of this process records; `None`
/// if none has the span.
pub(crate) fn position(cx: &Context) -> Option<Position> {
    // A processor under construction holds the lock: then the span has no position, and is part of the run by
    // itself.
    REGISTERED.try_read().ok()?.iter().filter_map(Weak::upgrade).find_map(|announcer| announcer.position(cx))
}

/// Position of a span that calls another service, in the run of its process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// The nearest span that is sent, the session and the agent.
    pub run: RemoteRunContext,
    /// True once a span shows that the run is sent.
    pub is_sent: bool,
}

/// Runs under way, with what the next service needs of them.
#[derive(Debug)]
pub(crate) struct RemoteRunRegistry {
    is_used: AtomicBool,
    selection: SpanSelection,
    rule: Option<Rule>,
    /// The child of a fork starts with empty shards: locks that its parent's threads held stay locked in it.
    parts: PerProcess<[Mutex<Part>; PARTS]>,
}

#[derive(Debug, Default)]
struct Part {
    traces: HashMap<TraceId, Open>,
    order: VecDeque<TraceId>,
    spans: usize,
}

/// A trace with a local root in this process.
#[derive(Debug)]
struct Open {
    root: SpanId,
    /// Run context announced by the caller, whose run is joined.
    caller: Option<RemoteRunContext>,
    /// True once a span shows that the run is sent.
    is_sent: bool,
    session: Option<Arc<str>>,
    spans: HashMap<SpanId, Stand>,
}

/// Position below which calls of a span are placed.
#[derive(Clone, Debug)]
struct Stand {
    /// The nearest selected span, this one included.
    sent: SpanId,
    agent: Option<Arc<str>>,
}

impl RemoteRunRegistry {
    pub(crate) fn new(selection: SpanSelection, rule: Option<Rule>) -> Self {
        Self {
            is_used: AtomicBool::new(false),
            selection,
            rule,
            parts: PerProcess::new(<[Mutex<Part>; PARTS]>::default()),
        }
    }

    /// Makes the positions of its spans known to the propagators of this process.
    pub(crate) fn register(announcer: &Arc<Self>) {
        let mut registered = REGISTERED.write().unwrap_or_else(PoisonError::into_inner);
        registered.retain(|registered| registered.strong_count() > 0);
        registered.push(Arc::downgrade(announcer));
        if IS_ANNOUNCING.load(Ordering::Relaxed) {
            announcer.watch();
        }
    }

    /// Starts keeping positions.
    pub(crate) fn watch(&self) {
        self.is_used.store(true, Ordering::Relaxed);
    }

    /// Records that a span began.
    pub(crate) fn began(&self, span: &SpanData) {
        if !self.is_used.load(Ordering::Relaxed) || !span.span_context.is_sampled() {
            return;
        }
        let (trace_id, span_id) = (span.span_context.trace_id(), span.span_context.span_id());
        let is_root = span.parent_span_id == SpanId::INVALID || span.parent_span_is_remote;
        let seen = quick_scan(
            &span.name,
            span.instrumentation_scope.name(),
            span.attributes.iter().map(|pair| (pair.key.as_str(), || value(&pair.value))),
        );
        let label = |id: Option<String>| id.filter(|id| id.len() <= ID_BYTES).map(Arc::from);

        let mut part = self.part(trace_id);
        if is_root && !part.traces.contains_key(&trace_id) {
            let caller = RemoteRunContext::in_state(span.span_context.trace_state());
            let state = span.span_context.trace_state();
            let leaves_out = |rule: &Rule| rule.applies() && !rule.keeps(trace_id, &RootSpan::of(span), state);
            if caller.is_none() && self.rule.as_ref().is_some_and(leaves_out) {
                return;
            }
            part.begin(
                trace_id,
                Open { root: span_id, caller, is_sent: false, session: None, spans: HashMap::default() },
            );
        }
        let Some(open) = part.traces.get_mut(&trace_id) else { return };
        let is_selected = match &self.selection {
            SpanSelection::GenAi => seen.genai,
            SpanSelection::All => true,
            policy => policy.selects_span(&SdkSpan(span)),
        };
        let above = open.spans.get(&span.parent_span_id);
        let stand = Stand {
            sent: match above {
                Some(above) if !is_selected => above.sent,
                None if !is_selected && !is_root => open.root,
                _ => span_id,
            },
            agent: label(seen.agent_id).or_else(|| above.and_then(|above| above.agent.clone())),
        };
        open.is_sent |= is_selected;
        open.session = open.session.take().or_else(|| label(seen.session_id));
        part.stands(trace_id, span_id, stand);
    }

    /// Records that a span began below another span of this process, with no attributes that matter and not
    /// selected.
    pub(crate) fn began_unselected(&self, span: &SpanContext, parent: SpanId) {
        if !self.is_used.load(Ordering::Relaxed) || !span.is_sampled() {
            return;
        }
        let mut part = self.part(span.trace_id());
        let Some(open) = part.traces.get_mut(&span.trace_id()) else { return };
        let above = open.spans.get(&parent).cloned();
        let stand = above.unwrap_or(Stand { sent: open.root, agent: None });
        part.stands(span.trace_id(), span.span_id(), stand);
    }

    /// Records that a span has ended.
    pub(crate) fn ended(&self, span: &SpanData) {
        if !self.is_used.load(Ordering::Relaxed) {
            return;
        }
        let trace_id = span.span_context.trace_id();
        let mut part = self.part(trace_id);
        let Some(open) = part.traces.get_mut(&trace_id) else { return };
        let is_known = open.spans.remove(&span.span_context.span_id()).is_some();
        let is_over = open.spans.is_empty();
        part.spans -= usize::from(is_known);
        if is_over {
            part.traces.remove(&trace_id);
        }
    }

    /// Returns the run context to announce for the current span; `None` when its run is not sent, or not yet
    /// known to be.
    pub(crate) fn run(&self, cx: &Context) -> Option<RemoteRunContext> {
        let span = cx.span();
        let (trace_id, span_id) = (span.span_context().trace_id(), span.span_context().span_id());
        let part = self.part(trace_id);
        let open = part.traces.get(&trace_id).filter(|open| open.is_sent)?;
        Some(open.run(open.spans.get(&span_id)))
    }

    /// Returns the position of the current span if it belongs to this processor, even if its run is not yet
    /// known to be sent.
    fn position(&self, cx: &Context) -> Option<Position> {
        let span = cx.span();
        let (trace_id, span_id) = (span.span_context().trace_id(), span.span_context().span_id());
        let part = self.part(trace_id);
        let open = part.traces.get(&trace_id)?;
        let stand = open.spans.get(&span_id)?;
        Some(Position { run: open.run(Some(stand)), is_sent: open.is_sent })
    }

    fn part(&self, trace_id: TraceId) -> MutexGuard<'_, Part> {
        let [.., last] = trace_id.to_bytes();
        let parts = self.parts.here(|_| <[Mutex<Part>; PARTS]>::default());
        let [first, ..] = parts;
        let part = parts.get(usize::from(last) % PARTS).unwrap_or(first);
        // No code panics while it holds the lock; if it did, the guarded value would still be consistent.
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Run context for a span at that position, or for the root if the position is not known.
    fn run(&self, stand: Option<&Stand>) -> RemoteRunContext {
        let caller = self.caller.as_ref();
        let session = caller.and_then(RemoteRunContext::session_id).or(self.session.as_deref());
        let agent = stand.and_then(|stand| stand.agent.as_deref());
        let agent = agent.or_else(|| caller.and_then(RemoteRunContext::agent_id));
        let mut run = RemoteRunContext::new().with_span_id(stand.map_or(self.root, |stand| stand.sent));
        if let Some(session) = session {
            run = run.with_session_id(session);
        }
        if let Some(agent) = agent {
            run = run.with_agent_id(agent);
        }
        run
    }
}

impl Part {
    fn begin(&mut self, trace_id: TraceId, open: Open) {
        if self.order.len() >= 2 * TRACES {
            self.order.retain(|trace_id| self.traces.contains_key(trace_id));
        }
        while self.traces.len() >= TRACES {
            let Some(oldest) = self.order.pop_front() else { break };
            self.forget(oldest);
        }
        self.order.push_back(trace_id);
        self.traces.insert(trace_id, open);
    }

    fn stands(&mut self, trace_id: TraceId, span_id: SpanId, stand: Stand) {
        let open = self.traces.get_mut(&trace_id).filter(|open| open.spans.len() < SPANS);
        if open.is_some_and(|open| open.spans.insert(span_id, stand).is_none()) {
            self.spans += 1;
            self.make_room(trace_id);
        }
    }

    /// Removes the oldest traces until the shard is within its bound. The given trace stays: it alone never
    /// exceeds the bound.
    fn make_room(&mut self, trace_id: TraceId) {
        while self.spans > PART_SPANS {
            match self.order.pop_front() {
                None => break,
                Some(oldest) if oldest == trace_id => self.order.push_back(oldest),
                Some(oldest) => self.forget(oldest),
            }
        }
    }

    fn forget(&mut self, trace_id: TraceId) {
        self.spans -= self.traces.remove(&trace_id).map_or(0, |open| open.spans.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{chat, in_trace, span_data};
    use opentelemetry::KeyValue;

    fn registry_for(selection: SpanSelection, rule: Option<Rule>) -> RemoteRunRegistry {
        let announcer = RemoteRunRegistry::new(selection, rule);
        announcer.watch();
        announcer
    }

    fn position(announcer: &RemoteRunRegistry, span: &SpanData) -> Option<(u64, Option<String>, Option<String>)> {
        let cx = Context::new().with_remote_span_context(span.span_context.clone());
        let run = announcer.run(&cx)?;
        let span_id = u64::from_be_bytes(run.span_id()?.to_bytes());
        Some((span_id, run.session_id().map(str::to_owned), run.agent_id().map(str::to_owned)))
    }

    fn with(mut span: SpanData, key: &'static str, value: &'static str) -> SpanData {
        span.attributes.push(KeyValue::new(key, value));
        span
    }

    #[test]
    fn a_call_is_placed_under_the_nearest_span_that_is_sent() {
        let announcer = registry_for(SpanSelection::GenAi, None);
        let root = span_data(1, 0, "POST /ask");
        announcer.began(&root);
        assert_eq!(position(&announcer, &root), None, "nothing shows yet that it is sent");
        let agent = with(with(span_data(2, 1, "agent"), "gen_ai.agent.name", "planner"), "gen_ai.conversation.id", "s");
        announcer.began(&agent);
        let http = span_data(3, 2, "GET");
        announcer.began(&http);
        let of_agent = || (Some("s".to_owned()), Some("planner".to_owned()));
        assert_eq!(position(&announcer, &http), Some((2, of_agent().0, of_agent().1)));
        announcer.began(&chat(4, 2));
        announcer.began(&span_data(5, 4, "POST"));
        assert_eq!(position(&announcer, &span_data(5, 4, "POST")), Some((4, of_agent().0, of_agent().1)));
        let side = span_data(6, 1, "GET");
        announcer.began(&side);
        assert_eq!(position(&announcer, &side), Some((1, of_agent().0, None)));
    }

    #[test]
    fn what_is_not_selected_stands_where_it_would_if_it_were_read() {
        let announcer = registry_for(SpanSelection::GenAi, None);
        let unselected = |id, parent| {
            let span = span_data(id, parent, "");
            announcer.began_unselected(&span.span_context, span.parent_span_id);
            position(&announcer, &span)
        };
        assert_eq!(unselected(3, 2), None, "its trace is not known");
        announcer.began(&span_data(1, 0, "POST /ask"));
        let agent = with(with(span_data(2, 1, "agent"), "gen_ai.agent.name", "planner"), "gen_ai.conversation.id", "s");
        announcer.began(&agent);
        let agent = Some("planner".to_owned());
        assert_eq!(unselected(3, 2), Some((2, Some("s".to_owned()), agent.clone())));
        assert_eq!(unselected(4, 3), Some((2, Some("s".to_owned()), agent)));
        assert_eq!(unselected(5, 1), Some((1, Some("s".to_owned()), None)));
        (1..=5).for_each(|id| announcer.ended(&span_data(id, 0, "")));
        assert!(announcer.parts.present().unwrap().iter().all(|part| part.lock().unwrap().traces.is_empty()));
    }

    #[test]
    fn what_has_ended_is_forgotten_and_what_nobody_asks_for_is_not_kept() {
        let announcer = registry_for(SpanSelection::GenAi, None);
        announcer.began(&chat(1, 0));
        announcer.ended(&chat(1, 0));
        assert_eq!(position(&announcer, &chat(1, 0)), None);
        assert!(announcer.parts.present().unwrap().iter().all(|part| part.lock().unwrap().traces.is_empty()));
        let bare = RemoteRunRegistry::new(SpanSelection::All, None);
        bare.began(&chat(1, 0));
        assert_eq!(position(&bare, &chat(1, 0)), None);
    }

    #[test]
    fn a_run_that_is_not_sampled_here_is_not_announced_unless_a_caller_records_it() {
        let announcer = registry_for(SpanSelection::All, Some(Rule::new(0.0, None)));
        announcer.began(&chat(1, 0));
        assert_eq!(position(&announcer, &chat(1, 0)), None);
        let mut called = chat(1, 9);
        let context = called.span_context.clone();
        called.parent_span_is_remote = true;
        let state = "retrace=1;p:00000000000000aa;s:theirs;a:caller".parse().unwrap();
        called.span_context =
            SpanContext::new(context.trace_id(), context.span_id(), context.trace_flags(), false, state);
        announcer.began(&called);
        assert_eq!(position(&announcer, &called), Some((1, Some("theirs".into()), Some("caller".into()))));
    }

    #[test]
    fn a_policy_says_which_spans_are_sent() {
        let announcer = registry_for(SpanSelection::policy(|span| span.name == "step"), None);
        announcer.began(&chat(1, 0));
        assert_eq!(position(&announcer, &chat(1, 0)), None);
        announcer.began(&span_data(2, 1, "step"));
        assert_eq!(position(&announcer, &span_data(2, 1, "step")).map(|(span, ..)| span), Some(2));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let announcer = registry_for(SpanSelection::All, None);
        // All traces are in one shard, which the last byte of the id selects.
        for trace in 0..TRACES as u128 + 10 {
            announcer.began(&in_trace(chat(1, 0), (trace + 1) << 8));
        }
        assert_eq!(announcer.part(TraceId::from(0)).traces.len(), TRACES);
        assert_eq!(position(&announcer, &in_trace(chat(1, 0), 1 << 8)), None);
        for span in 2..SPANS as u64 + 10 {
            announcer.began(&in_trace(chat(span, 1), 1_000 << 8));
        }
        let last = in_trace(chat(SPANS as u64 + 9, 1), 1_000 << 8);
        assert_eq!(position(&announcer, &last).map(|(span, ..)| span), Some(1));
        // After two more traces of that size the first large one is removed, together with all the small
        // ones.
        for trace in [2_000_u128, 3_000] {
            for span in 1..SPANS as u64 + 1 {
                announcer.began(&in_trace(chat(span, 0), trace << 8));
            }
        }
        assert_eq!(position(&announcer, &last), None);
        let part = announcer.part(TraceId::from(0));
        let held: usize = part.traces.values().map(|open| open.spans.len()).sum();
        assert!(part.spans == held && held <= PART_SPANS && held > SPANS, "{held}");
    }
}
