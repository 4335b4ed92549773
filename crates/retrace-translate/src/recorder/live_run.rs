//! A run that is emitted while it happens.

use std::sync::Arc;
use std::time::Duration;

use retrace_protocol::metadata::{SpanMetadata, TraceMetadata, Usage};
use retrace_protocol::{Id, Json, Span, SpanType, Trace};

use crate::dialect::Class;
use crate::options::Options;
use crate::options::SpanSelection;
use crate::recorder::emitted_runs::{EmittedRun, EmittedTrace};
use crate::recorder::first_wins::{Rank, RunLabelClaims};
use crate::recorder::infer_io::{infer_io, last_user_message};
use crate::recorder::live_step::{LiveSink, Step};
use crate::recorder::live_tools::{LiveTools, weight_without_content, without_content};
use crate::recorder::live_totals::LiveTotals;
use crate::recorder::live_tree::{LiveTree, ROOT};
use crate::recorder::record::{RootFacts, RunEnd, RunIdentity, RunLabels, SpanDetails, TreePosition};
use crate::recorder::remote_parent::RemoteParent;
use crate::recorder::run_name::{FirstCall, RunName};
use crate::recorder::tools::{SourceCall, derived_id};
use crate::recorder::totals::{Totals, move_usage_to_metadata};
use crate::recorder::{LiveEvent, Output, RecordedSpan};
use crate::resource::Resource;
use crate::span_reader::ScopeCache;
use crate::span_reader::{SpanBuilder, SpanReader};
use crate::view::{Kind, SpanView};

/// A run whose local root was seen to begin.
#[derive(Debug)]
pub(crate) struct LiveRun {
    origin: RunIdentity,
    resource: Arc<Resource>,
    tree: LiveTree,
    claims: RunLabelClaims,
    top: RootFacts,
    /// True if the root is a server span that names no run.
    is_entry: bool,
    first_call: FirstCall,
    /// Facts of the span below the root that states that it is a run.
    stated_run: Option<(Rank, RootFacts)>,
    /// The root, while it is undecided whether the run is emitted.
    root: Option<Step>,
    tools: LiveTools,
    scope_cache: ScopeCache,
    totals: LiveTotals,
    /// Input of the model call that began first.
    first_input: Option<(CallRank, Option<Json>)>,
    /// Output of the model call that ended last.
    last_output: Option<(u64, CallRank, Option<Json>)>,
    /// Fingerprint of the last `RunStarted`; `None` while the run is not emitted.
    emitted_start: Option<Id>,
    /// Number of emitted spans.
    emitted_spans: u64,
    /// Number of ended spans that wait for the decision on the run, without the root.
    unselected: u64,
    /// Number of local roots that have not ended.
    open_roots: usize,
    /// Number of kept spans that have not ended.
    open_steps: usize,
    /// When the last of the local roots ended.
    pub over: Option<Duration>,
    pub last_seen: Duration,
    /// True if spans of the run were lost.
    pub lossy: bool,
}

/// Start, depth and index of a model call.
type CallRank = (u64, usize, usize);

impl LiveRun {
    pub(crate) fn new(origin: RunIdentity, resource: Arc<Resource>, now: Duration) -> Self {
        Self {
            origin,
            resource,
            tree: LiveTree::default(),
            claims: RunLabelClaims::default(),
            top: RootFacts::default(),
            is_entry: false,
            first_call: FirstCall::default(),
            stated_run: None,
            root: None,
            tools: LiveTools::default(),
            scope_cache: ScopeCache::default(),
            totals: LiveTotals::default(),
            first_input: None,
            last_output: None,
            emitted_start: None,
            emitted_spans: 0,
            unselected: 0,
            open_roots: 0,
            open_steps: 0,
            over: None,
            last_seen: now,
            lossy: false,
        }
    }

    /// Takes a span that began.
    pub(crate) fn start<V: SpanView>(&mut self, span: &V, now: Duration, sink: &mut LiveSink<'_>) {
        self.last_seen = now;
        if self.tree.find(&span.span_id()).is_some() {
            return;
        }
        let reader = SpanReader::new(span);
        let at = self.add(span, sink);
        let starts_run = span.parent().is_local_root();
        if starts_run {
            self.open_roots += 1;
            self.over = None;
        }
        let selected = self.update_node(at, &reader, sink.options);
        let Some(node) = self.tree.get_mut(at) else { return };
        node.is_open_root = starts_run;
        node.is_open = true;
        let kept = node.kept;
        self.open_steps += usize::from(kept);
        // A model call is emitted when it ends, and so is a span that may turn out to be one: a step whose start was emitted
        // can no longer get a model.
        let is_held = match reader.class() {
            Some(class) => class == Class::Model,
            None => sink.options.selection != SpanSelection::All,
        };
        let builder = (kept || starts_run).then(|| match at != ROOT && (is_held || !kept) {
            true => reader.build_stub(sink.options),
            false => reader.build(sink.options, &mut self.scope_cache, |_, _| {}),
        });
        self.offer_labels(at, &reader, builder.as_deref());
        self.note_stated_run(at, span, builder.as_deref(), false);
        self.note_name(at, span, &reader, builder.as_deref());

        let mut step = builder.filter(|_| kept).map(|builder| Step::new(&reader, builder, false));
        if at == ROOT {
            self.top = RootFacts::new(span.start_unix_nanos(), step.as_ref().map(|step| &*step.builder));
            self.root = step.take();
        }
        if selected {
            self.emit_run_start(sink);
        }
        let Some(mut step) = step else { return };
        self.match_call(at, &mut step);
        match is_held {
            true => self.defer(at, step),
            false => self.emit_span_start(at, step, sink),
        }
    }

    /// Takes a span that ended.
    pub(crate) fn end<V: SpanView>(&mut self, span: &V, now: Duration, sink: &mut LiveSink<'_>) {
        self.last_seen = now;
        let reader = SpanReader::new(span);
        let at = match self.tree.find(&span.span_id()) {
            Some(at) => at,
            None => self.add(span, sink),
        };
        let Some(node) = self.tree.get_mut(at) else { return };
        if node.has_ended {
            // The span was emitted already.
            return sink.set_aside(1);
        }
        node.has_ended = true;
        let freed = node.deferred.take().map_or(0, |deferred| weight_without_content(&deferred));
        let was_open_root = std::mem::take(&mut node.is_open_root);
        self.open_steps -= usize::from(std::mem::take(&mut node.is_open) && node.kept);
        self.tree.lighten(freed);
        if was_open_root {
            self.open_roots -= 1;
            self.over = (self.open_roots == 0).then_some(now);
        }

        let selected = self.update_node(at, &reader, sink.options);
        let kept = self.tree.get(at).is_some_and(|node| node.kept);
        let mut shows_tools = false;
        let builder = (kept || span.parent().is_local_root()).then(|| {
            let by = SourceCall { span_id: span.span_id(), start: span.start_unix_nanos() };
            let capture = sink.options.capture_content;
            let (tools, scope_cache) = (&mut self.tools, &mut self.scope_cache);
            reader.build(sink.options, scope_cache, |tool, at| shows_tools |= tools.note(&tool, by, at, capture))
        });
        self.offer_labels(at, &reader, builder.as_deref());
        self.note_stated_run(at, span, builder.as_deref(), true);
        self.note_name(at, span, &reader, builder.as_deref());
        let Some(builder) = builder.filter(|_| kept) else {
            if self.emitted_start.is_some() {
                sink.set_aside(1);
            } else {
                self.unselected += 1;
            }
            return;
        };
        if at == ROOT {
            self.top = RootFacts::new(span.start_unix_nanos(), Some(&builder));
            self.top.end = Some(RunEnd::new(span.end_unix_nanos(), Some(&builder)));
            self.root = None;
        }
        let mut step = Step::new(&reader, builder, shows_tools);
        self.match_call(at, &mut step);
        self.tools.forget_match(span.span_id());
        if selected || self.emitted_start.is_some() {
            self.emit_run_start(sink);
            self.emit_span_end(at, step, sink);
        } else {
            self.root = Some(step);
        }
    }

    /// Finds the call of a tool span that states none.
    fn match_call(&mut self, at: usize, step: &mut Step) {
        if step.executed_call.is_none()
            && step.builder.span.span_type == SpanType::ToolCall
            && let Some(node) = self.tree.get(at)
        {
            step.executed_call = self.tools.match_call(node.span_id, &step.builder.span);
            step.builder.metadata.tool_call_id.clone_from(&step.executed_call);
        }
    }

    fn add<V: SpanView>(&mut self, span: &V, sink: &LiveSink<'_>) -> usize {
        let is_outlived = sink.before.is_some_and(|before| before.has_begun(&span.span_id()));
        let at = self.tree.add(span.span_id(), span.parent(), span.start_unix_nanos(), is_outlived);
        if let Some(joined) = RemoteParent::of(span, sink.options) {
            self.tree.weigh(joined.weight());
            if let Some(node) = self.tree.get_mut(at) {
                // The run is emitted: its entry into this process is a step of it.
                node.kept |= self.origin.joined && self.emitted_start.is_some();
                node.joined = Some(Box::new(joined));
            }
        }
        at
    }

    /// Updates the node of a span; returns true if the span is selected.
    fn update_node<V: SpanView>(&mut self, at: usize, reader: &SpanReader<'_, V>, options: &Options) -> bool {
        let selected = options.selection.selects(reader);
        let Some(node) = self.tree.get_mut(at) else { return selected };
        let before = node.label_weight();
        node.kept |= selected;
        node.start = reader.view.start_unix_nanos();
        node.class = reader.class();
        node.agent = reader.agent();
        node.operation = reader.operation();
        let after = node.label_weight();
        self.tree.weigh(after);
        self.tree.lighten(before);
        selected
    }

    /// Offers the labels that a span states for its run.
    fn offer_labels<V: SpanView>(&mut self, at: usize, reader: &SpanReader<'_, V>, builder: Option<&SpanBuilder>) {
        let labels = RunLabels {
            session: reader.session(),
            user: reader.user(),
            name: builder.and_then(|builder| builder.stated_trace_name.clone()),
            tags: builder.and_then(|builder| builder.tags.clone()),
        };
        if !labels.is_empty() {
            let (depth, start) = (self.tree.depth(at), reader.view.start_unix_nanos());
            self.claims.offer(Rank { is_below_root: at != ROOT, depth, start, at }, labels);
        }
    }

    /// Keeps the facts of a span below the root that states that it is a run, of several that of the one nearest to the root.
    fn note_stated_run<V: SpanView>(&mut self, at: usize, span: &V, builder: Option<&SpanBuilder>, has_ended: bool) {
        let Some(builder) = builder.filter(|builder| builder.is_run && at != ROOT) else { return };
        let rank = Rank { is_below_root: true, depth: self.tree.depth(at), start: span.start_unix_nanos(), at };
        if self.stated_run.as_ref().is_some_and(|(held, _)| *held < rank && held.at != at) {
            return;
        }
        let mut top = RootFacts::new(span.start_unix_nanos(), Some(builder));
        top.end = has_ended.then(|| RunEnd::new(span.end_unix_nanos(), Some(builder)));
        self.stated_run = Some((rank, top));
    }

    /// Notes what may name the run.
    fn note_name<V: SpanView>(
        &mut self,
        at: usize,
        span: &V,
        reader: &SpanReader<'_, V>,
        builder: Option<&SpanBuilder>,
    ) {
        let is_genai = reader.class().is_some();
        if at == ROOT {
            let has_trace_name = builder.is_some_and(|builder| builder.trace_name.is_some());
            self.is_entry = span.kind() == Kind::Server && !is_genai && !has_trace_name;
        } else if let Some(builder) = builder.filter(|_| is_genai) {
            self.first_call.note((span.start_unix_nanos(), self.tree.depth(at), at), builder);
        }
    }

    /// Emits the start of the run and its root, unless that has happened.
    fn emit_run_start(&mut self, sink: &mut LiveSink<'_>) {
        if self.emitted_start.is_some() {
            return;
        }
        sink.set_aside(std::mem::take(&mut self.unselected));
        self.claims.freeze();
        let (run_start, _) = self.trace(sink.options);
        self.emitted_start = Some(fingerprint(&run_start));
        sink.emit(&self.origin, LiveEvent::RunStarted(run_start));
        match self.root.take() {
            Some(root) if self.top.end.is_some() => self.emit_span_end(ROOT, root, sink),
            Some(root) if root.builder.class == Some(Class::Model) => self.defer(ROOT, root),
            Some(root) => self.emit_span_start(ROOT, root, sink),
            None => {}
        }
    }

    /// Keeps a placeholder for a step that is emitted at its end.
    fn defer(&mut self, at: usize, mut step: Step) {
        step.builder.span = without_content(&step.builder.span);
        step.builder.metadata = SpanMetadata::default();
        let deferred = Box::new(self.under_way(at, step));
        self.tree.weigh(weight_without_content(&deferred));
        if let Some(node) = self.tree.get_mut(at) {
            node.deferred = Some(deferred);
        }
    }

    fn emit_span_start(&mut self, at: usize, step: Step, sink: &mut LiveSink<'_>) {
        let executed_call = step.executed_call.clone();
        let span = self.under_way(at, step);
        if let Some(call_id) = executed_call {
            self.tools.begun(&call_id, &span);
        }
        self.mark_emitted(at);
        sink.emit(&self.origin, LiveEvent::SpanStarted(span));
    }

    /// Returns the record of a span that has not ended.
    fn under_way(&mut self, at: usize, mut step: Step) -> Span {
        let span = &mut step.builder.span;
        (span.ended_at, span.duration_ms, span.output, span.error) = (None, None, None, None);
        (span.input_tokens, span.output_tokens, span.cost) = (None, None, None);
        step.builder.metadata.usage = Usage::default();
        let path = self.tree.path(at);
        let place = self.tree.place(self.origin.trace_id, at, &path);
        self.span(at, step, place)
    }

    fn emit_span_end(&mut self, at: usize, mut step: Step, sink: &mut LiveSink<'_>) {
        let path = self.tree.path(at);
        let call = step.identity(self.tree.get(at).and_then(|node| node.operation.clone()));
        if !self.totals.take(&mut self.tree, at, &path, call, &step.builder.span, step.end) {
            move_usage_to_metadata(&mut step.builder);
        }
        self.note_call(at, path.len(), &step);
        let place = self.tree.place(self.origin.trace_id, at, &path);
        let (executed_call, shows_tools) = (step.executed_call.clone(), step.shows_tools);
        let span = self.span(at, step, place);
        self.mark_emitted(at);
        if shows_tools && let Some(node) = self.tree.get(at) {
            self.tools.shown_by(node.span_id, &span);
        }
        let result = executed_call.and_then(|call_id| self.tools.ended(self.origin.trace_id, &call_id, &span));
        sink.emit(&self.origin, LiveEvent::SpanEnded(RecordedSpan { span, sources: 1 }));
        self.emit_synthesized(result, sink);
    }

    fn emit_synthesized(&mut self, synthesized: impl IntoIterator<Item = Span>, sink: &mut LiveSink<'_>) {
        for span in synthesized {
            self.emitted_spans += 1;
            sink.emit(&self.origin, LiveEvent::SpanEnded(RecordedSpan { span, sources: 0 }));
        }
    }

    fn span(&self, at: usize, step: Step, place: TreePosition) -> Span {
        let is_root = at == ROOT;
        let labels = match self.joined() {
            // Labels of a run of another process are known only as far as its caller states them.
            Some(joined) => RunLabels { session: joined.session.clone(), ..RunLabels::default() },
            // The trace will carry the current labels of the root.
            None if is_root => self.claims.current(),
            None => self.claims.frozen(),
        };
        let node = self.tree.get(at);
        let joins = self.origin.joined && node.is_some_and(|node| node.joined.is_some());
        let own = SpanDetails {
            span_id: node.map(|node| node.span_id).unwrap_or_default(),
            is_root,
            joins,
            service: joins.then_some(&self.resource.service),
            session: step.session.as_deref(),
            user: step.user.as_deref(),
        };
        self.origin.span(*step.builder, own, place, &labels)
    }

    /// Returns the parent in another process, if the run belongs to that process.
    fn joined(&self) -> Option<&RemoteParent> {
        self.tree.get(ROOT)?.joined.as_deref().filter(|_| self.origin.joined)
    }

    fn mark_emitted(&mut self, at: usize) {
        let Some(node) = self.tree.get_mut(at) else { return };
        self.emitted_spans += u64::from(!std::mem::replace(&mut node.is_emitted, true));
        if let Some(parent) = self.tree.placed_under(at).and_then(|parent| self.tree.get_mut(parent)) {
            parent.has_emitted_child = true;
        }
    }

    /// Keeps candidates for the input and output of the run.
    fn note_call(&mut self, at: usize, depth: usize, step: &Step) {
        let Some(node) = self.tree.get(at).filter(|_| step.builder.span.span_type == SpanType::LlmCall) else { return };
        let rank = (node.start, depth, at);
        if self.first_input.as_ref().is_none_or(|(first, _)| rank < *first) {
            self.first_input = Some((rank, last_user_message(&step.builder)));
        }
        if self.last_output.as_ref().is_none_or(|(end, last, _)| (*end, *last) < (step.end, rank)) {
            self.last_output = Some((step.end, rank, step.builder.span.output.clone()));
        }
    }

    /// Returns the trace at its start, and with its end as far as that is known.
    fn trace(&self, options: &Options) -> (Trace, Trace) {
        let labels = self.claims.current();
        let stated = self.stated_run.as_ref().map(|(_, top)| self.top.clone().or(Some(top)));
        let top = stated.as_ref().unwrap_or(&self.top);
        let name = RunName::new(labels.name.as_deref(), top.name.as_deref(), self.is_entry, &self.first_call);
        let mut ended = self.origin.trace(top, &name, &labels, self.totals.sum, options);
        let mut metadata = self.origin.trace_metadata(top, &name, &labels, &self.resource, options);
        metadata.inferred_io = infer_io(
            &mut ended,
            || self.first_input.as_ref().and_then(|(_, first_input)| first_input.clone()),
            || self.last_output.as_ref().and_then(|(.., last_output)| last_output.clone()),
        );
        ended.metadata = (metadata != TraceMetadata::default()).then(|| Json::from_serialize(&metadata));
        ended.lossy = self.lossy.then_some(true);
        ended.span_count = Some(self.emitted_spans);
        let mut run_start = self.origin.trace(
            &RootFacts::default(),
            &RunName::default(),
            &RunLabels::default(),
            Totals::default(),
            options,
        );
        run_start.started_at.clone_from(&ended.started_at);
        run_start.name.clone_from(&ended.name);
        run_start.input.clone_from(&ended.input);
        run_start.metadata.clone_from(&ended.metadata);
        run_start.session_id.clone_from(&ended.session_id);
        (run_start, ended)
    }

    /// Closes the run: emits its end if its local roots have ended, else only what would be forgotten.
    pub(crate) fn close(mut self, sink: &mut LiveSink<'_>) -> EmittedTrace {
        let ids = |of: fn(&crate::recorder::live_tree::LiveNode) -> bool, tree: &LiveTree| {
            tree.nodes().iter().filter(|node| of(node)).map(|node| node.span_id).collect::<Vec<_>>()
        };
        if self.emitted_start.is_none() {
            sink.set_aside(self.sources());
            let emitted = sink.before.and_then(|before| before.run.clone());
            return EmittedTrace::set_aside(emitted, ids(|node| node.has_ended, &self.tree), self.lossy, sink.outputs);
        }
        let ended = self.over.is_some();
        if !ended {
            self.top.end = None;
        }
        self.emit_deferred(sink);
        let synthesized = self.tools.synthesize_missing(self.origin.trace_id);
        self.emit_synthesized(synthesized, sink);
        let (run_start, trace) = self.trace(sink.options);
        let before = sink.before.and_then(|before| before.run.as_ref());
        if let Some(correction) = before.and_then(|before| before.corrected_by(&trace)) {
            sink.outputs.push_back(Output::Correction(Box::new(correction)));
        }
        if self.emitted_start.as_ref() != Some(&fingerprint(&run_start)) {
            sink.emit(&self.origin, LiveEvent::RunStarted(run_start));
        }
        let emitted = EmittedRun {
            id: self.origin.id.clone(),
            part: self.origin.part,
            ended,
            trace_tokens: trace.total_tokens,
            trace_cost: trace.total_cost,
            joined: self.joined().cloned(),
        };
        if ended {
            sink.emit(&self.origin, LiveEvent::RunEnded(trace));
        } else {
            sink.emit(&self.origin, LiveEvent::RunAbandoned);
            if self.lossy {
                sink.outputs.push_back(emitted.not_all());
            }
        }
        EmittedTrace::new(Some(emitted), ids(|node| node.has_ended, &self.tree))
            .with_begun(ids(|node| node.is_emitted && !node.has_ended, &self.tree))
    }

    /// Emits the placeholders of steps that have emitted children, outermost first.
    fn emit_deferred(&mut self, sink: &mut LiveSink<'_>) {
        let holding =
            self.tree.nodes().iter().enumerate().filter(|(_, node)| node.has_emitted_child && node.deferred.is_some());
        for at in holding.map(|(at, _)| at).collect::<Vec<_>>() {
            let above = |at: &usize| self.tree.placed_under(*at);
            let leftover = |at: &usize| self.tree.get(*at).is_some_and(|node| node.deferred.is_some());
            let chain: Vec<usize> = std::iter::successors(Some(at), above).take_while(leftover).collect();
            for at in chain.into_iter().rev() {
                let Some(deferred) = self.tree.get_mut(at).and_then(|node| node.deferred.take()) else { continue };
                self.mark_emitted(at);
                sink.emit(&self.origin, LiveEvent::SpanStarted(*deferred));
            }
        }
    }

    /// Returns true if the run waits for nothing but the linger.
    pub(crate) fn only_lingers(&self) -> bool {
        self.emitted_start.is_none() || self.open_steps == 0
    }

    /// Number of spans.
    pub(crate) fn spans(&self) -> usize {
        self.tree.nodes().len()
    }

    /// Number of accepted spans that have not come out.
    pub(crate) fn sources(&self) -> u64 {
        self.unselected + u64::from(self.root.is_some() && self.top.end.is_some())
    }

    /// Approximate size in bytes.
    pub(crate) fn weight(&self) -> usize {
        let json = |json: &Option<Json>| json.as_ref().map_or(0, |json| json.as_str().len());
        size_of::<Self>()
            + self.tree.weight()
            + self.tools.weight()
            + self.totals.weight()
            + self.claims.weight()
            + self.top.weight()
            + self.first_call.weight()
            + self.stated_run.as_ref().map_or(0, |(_, top)| top.weight())
            + self.root.as_ref().map_or(0, |root| root.builder.weight())
            + self.first_input.as_ref().map_or(0, |(_, first_input)| json(first_input))
            + self.last_output.as_ref().map_or(0, |(.., last_output)| json(last_output))
    }
}

/// Returns a hash of a trace.
fn fingerprint(trace: &Trace) -> Id {
    derived_id(&[Json::from_serialize(trace).as_str().as_bytes()])
}
