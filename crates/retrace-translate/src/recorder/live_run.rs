//! A run that is emitted while it happens.
//!
//! A span is emitted as far as it is known when it begins and when it ends. What other spans show later may change its parent, its
//! agents, whether its usage counts, the labels that it carries, and the tool call that it executes. When the run has ended it is
//! assembled as any other run is ([`super::assemble`]), and the spans whose records changed are emitted again. Therefore the run
//! keeps the content of emitted spans, of the latest ones if there is much ([`Sink::retained`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;
use retrace_protocol::{Id, Json, Trace};

use crate::dialect::Class;
use crate::options::{Options, SpanSelection};
use crate::recorder::assemble::{Assembled, RunAssembler, order};
use crate::recorder::emitted_runs::EmittedTrace;
use crate::recorder::infer_io::last_user_message;
use crate::recorder::node::{Body, Node};
use crate::recorder::open_calls::OpenCalls;
use crate::recorder::record::{RootFacts, RunIdentity, RunLabels, under_way};
use crate::recorder::remote_parent::RemoteParent;
use crate::recorder::run::{OpenRun, SpanContext};
use crate::recorder::run_name::RunName;
use crate::recorder::tools::{PlacedSpan, derived_id, result_span};
use crate::recorder::totals::{Totals, counts_so_far};
use crate::recorder::tree::{Tree, known_ancestors};
use crate::recorder::verdict::{RunFacts, Verdict};
use crate::recorder::{LiveEvent, LiveUpdate, Output, RecordedSpan};
use crate::resource::Resource;
use crate::span_reader::{SpanBuilder, SpanReader};
use crate::view::SpanView;

/// State of a live run: its emitted events, and the facts that its next events depend on.
#[derive(Debug)]
pub(crate) struct Live {
    pub origin: RunIdentity,
    /// The local root that began first, and its index once it is part of the run.
    pub root: [u8; 8],
    pub root_at: Option<usize>,
    /// Calls of tools, for spans that state none.
    pub calls: OpenCalls,
    /// Labels of the run as far as they are known; emitted spans omit labels equal to them.
    labels: RunLabels,
    /// Fingerprint of the last `RunStarted`; `None` while the run is not emitted.
    emitted_start: Option<Id>,
    /// Number of local roots that have not ended.
    open_roots: usize,
    /// Number of kept spans that have not ended.
    open_steps: usize,
    /// When the last of the local roots ended.
    pub over: Option<Duration>,
    /// Emitted results of tools by call id: start and fingerprint of the agents of the span that has it.
    results: HashMap<String, (u64, u64)>,
    /// Indexes of emitted spans whose content is kept, in the order of their ends.
    retained: VecDeque<usize>,
    /// Bytes of that content.
    retained_bytes: usize,
    /// Among the spans without content, the model call that began first and the one that ended last.
    first_call: Option<usize>,
    last_call: Option<usize>,
    weight: usize,
}

/// Sink of the events of a run, with their context.
#[derive(Debug)]
pub(crate) struct Sink<'r> {
    pub options: &'r Options,
    /// Emitted state of the trace before this run.
    pub before: Option<&'r EmittedTrace>,
    pub outputs: &'r mut VecDeque<Output>,
    /// Bytes of content of emitted spans that a run keeps.
    pub retained: usize,
}

impl Sink<'_> {
    pub(crate) fn emit(&mut self, run: &RunIdentity, event: LiveEvent) {
        self.outputs.push_back(Output::Live(Box::new(LiveUpdate { run: run.id.clone(), joined: run.joined, event })));
    }

    pub(crate) fn set_aside(&mut self, trace_id: [u8; 16], spans: u64) {
        if spans > 0 {
            self.outputs.push_back(Output::SetAside { trace_id, spans });
        }
    }
}

impl Live {
    fn new(origin: RunIdentity, root: [u8; 8]) -> Self {
        Self {
            origin,
            root,
            root_at: None,
            calls: OpenCalls::default(),
            labels: RunLabels::default(),
            emitted_start: None,
            open_roots: 0,
            open_steps: 0,
            over: None,
            results: HashMap::default(),
            retained: VecDeque::new(),
            retained_bytes: 0,
            first_call: None,
            last_call: None,
            weight: 0,
        }
    }

    /// Returns true if the run waits for nothing but late spans.
    pub(crate) fn only_lingers(&self) -> bool {
        self.emitted_start.is_none() || self.open_steps == 0
    }

    /// Returns true if the result of a tool span was emitted as it is.
    pub(crate) fn has_sent(&self, call_id: &str, span: PlacedSpan<'_>) -> bool {
        let sent = self.results.get(call_id);
        span.had_result || sent == Some(&(span.start, span.place.agents_fingerprint()))
    }

    /// Takes the labels of a span for the run, unless the run has others.
    fn adopt(&mut self, node: &Node, is_root: bool) {
        fn take<T: Clone>(label: &mut Option<T>, own: Option<&T>, is_root: bool) {
            if let Some(own) = own.filter(|_| is_root || label.is_none()) {
                *label = Some(own.clone());
            }
        }
        if !self.origin.joined {
            take(&mut self.labels.session, node.session.as_ref(), is_root);
            take(&mut self.labels.user, node.user.as_ref(), is_root);
            take(&mut self.labels.name, node.stated_trace_name(), is_root);
            take(&mut self.labels.tags, node.tags(), is_root);
        }
    }

    /// Emits what is left of the run, and that no more follows.
    pub(crate) fn emit_rest(&self, rest: Assembled, ended: bool, sink: &mut Sink<'_>) {
        let run_start = start_of(&self.origin, &rest.trace, sink.options);
        for span in rest.begun {
            sink.emit(&self.origin, LiveEvent::SpanStarted(span));
        }
        for span in rest.spans {
            sink.emit(&self.origin, LiveEvent::SpanEnded(span));
        }
        if self.emitted_start.as_ref() != Some(&fingerprint(&run_start)) {
            sink.emit(&self.origin, LiveEvent::RunStarted(run_start));
        }
        sink.emit(&self.origin, if ended { LiveEvent::RunEnded(rest.trace) } else { LiveEvent::RunAbandoned });
    }

    /// Approximate size in bytes beside the spans.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + self.weight + self.calls.weight() + self.retained.len() * size_of::<usize>()
    }
}

impl OpenRun {
    /// Creates a run whose local root `root` was seen to begin.
    pub(crate) fn begun(origin: RunIdentity, root: [u8; 8], resource: Arc<Resource>, now: Duration) -> Self {
        let mut run = Self::new(resource, now);
        run.live = Some(Box::new(Live::new(origin, root)));
        run
    }

    /// Takes a span that began.
    pub(crate) fn start<V: SpanView>(&mut self, span: &V, now: Duration, sink: &mut Sink<'_>) {
        self.last_seen = now;
        if self.find(&span.span_id()).is_some() {
            return;
        }
        let Some(live) = &mut self.live else { return };
        let reader = SpanReader::new(span);
        let selected = sink.options.selection.selects(&reader);
        let (starts_run, is_root) = (span.parent().is_local_root(), span.span_id() == live.root);
        let is_emitted = live.emitted_start.is_some();
        let kept = selected || (is_emitted && starts_run && live.origin.joined);
        if starts_run {
            live.open_roots += 1;
            live.over = None;
        }
        live.open_steps += usize::from(kept);
        self.genai |= selected;
        let is_stub = !is_root && (!kept || is_deferred(reader.class(), is_root, sink.options));
        let builder = (kept || starts_run).then(|| match is_stub {
            true => reader.build_stub(sink.options),
            false => reader.build(sink.options, &mut self.scope_cache, |_, _| {}),
        });
        let joined = RemoteParent::of(span, sink.options).map(Box::new);
        let node = Node { starts_run, joined, ..Node::new(span, &reader, builder, kept) };
        if let Some(call_id) = &node.executed_call {
            live.calls.state(call_id);
        }
        let Ok(at) = self.put(node) else { return };
        if is_root && let Some(live) = &mut self.live {
            live.root_at = Some(at);
        }
        if is_emitted {
            self.announce(at, sink);
        } else if selected {
            self.emit_run_start(sink);
        }
    }

    /// Takes a span that ended.
    pub(crate) fn end<V: SpanView>(
        &mut self,
        span: &V,
        context: SpanContext,
        resource: &Arc<Resource>,
        now: Duration,
        sink: &mut Sink<'_>,
    ) {
        let known = self.find(&span.span_id()).and_then(|at| self.nodes.get(at)).filter(|node| node.ended.is_none());
        let (was_step, was_root) = known.map_or((false, false), |node| (node.kept, node.starts_run));
        let placed = self.record(span, context, resource, sink.options, now);
        let Some(live) = &mut self.live else { return };
        live.open_steps -= usize::from(was_step);
        if was_root {
            live.open_roots -= 1;
            live.over = (live.open_roots == 0).then_some(now);
        }
        let (is_emitted, trace_id) = (live.emitted_start.is_some(), live.origin.trace_id);
        let Ok(at) = placed else {
            // The span came out already, or comes out with the one that it repeats.
            if let Some(node) = placed.err().and_then(|at| self.nodes.get_mut(at)).filter(|_| is_emitted) {
                node.sources -= 1;
                self.sources -= 1;
                sink.set_aside(trace_id, 1);
            }
            return;
        };
        let joined = live.origin.joined;
        if let Some(node) = self.nodes.get_mut(at) {
            if let Some(call_id) = &node.executed_call {
                live.calls.state(call_id);
            }
            // The root is kept from the start of the run on.
            node.kept |= is_emitted && joined && node.starts_run;
        }
        if is_emitted {
            self.announce(at, sink);
        } else if self.genai {
            self.emit_run_start(sink);
        }
    }

    /// Emits the start of the run, its root, and what else waited for it.
    fn emit_run_start(&mut self, sink: &mut Sink<'_>) {
        let Some(origin) = self.live.as_ref().map(|live| live.origin.clone()) else { return };
        let running = self.keep_tops(origin.joined);
        let (root, tree) = (self.root(), Tree::new(&self.nodes, self.root()));
        let has_ended = root.and_then(|at| self.nodes.get(at)).is_some_and(|node| node.ended.is_some());
        let assembler = assembler(&origin, sink, has_ended);
        let order = order(&self.nodes, &tree);
        let (trace, labels) = assembler.head(self, root, &tree, &order, Totals::default());
        let labels = self.joined().map_or(labels, RunLabels::of_caller);
        let run_start = start_of(&origin, &trace, sink.options);
        if let Some(live) = &mut self.live {
            live.open_steps += running;
            live.labels = labels;
            live.emitted_start = Some(fingerprint(&run_start));
        }
        sink.emit(&origin, LiveEvent::RunStarted(run_start));
        for at in 0..self.nodes.len() {
            self.announce(at, sink);
        }
    }

    /// Emits the start or the end of a span, unless it is not sent or its start is deferred.
    fn announce(&mut self, at: usize, sink: &mut Sink<'_>) {
        let root = self.root();
        let is_root = root == Some(at);
        let Some((node, live)) = self.nodes.get(at).zip(self.live.as_mut()) else { return };
        let has_ended = node.ended.is_some();
        if !node.kept {
            let spans = if has_ended { u64::from(node.sources) } else { 0 };
            self.sources -= spans;
            return sink.set_aside(live.origin.trace_id, spans);
        }
        if !has_ended && is_deferred(node.class, is_root, sink.options) {
            return;
        }
        let is_unmatched = node.is_unmatched_tool();
        let matched = if is_unmatched { live.calls.find(&self.tools, node) } else { None };
        live.adopt(node, is_root);
        // These stay whatever their size: they describe the run, or have a result that is emitted when its call is certain.
        let stays = is_root || (is_unmatched && has_ended) || node.builder().is_some_and(|builder| builder.is_run);
        let is_retained = !stays && has_ended && node.body_weight <= sink.retained;
        let path = known_ancestors(&self.nodes, |id| self.find(id), root, at);
        let counts = has_ended && counts_so_far(&mut self.nodes, at, &path);
        let parent = path.iter().find(|above| self.nodes.get(**above).is_some_and(|node| node.kept));
        if let Some(parent) = parent.and_then(|parent| self.nodes.get_mut(*parent)) {
            parent.has_emitted_child = true;
        }
        let builder = match stays || is_retained {
            true => self.nodes.get(at).and_then(Node::builder).map(|builder| Box::new(builder.clone())),
            false => self.drop_content(at),
        };
        let Some((mut builder, (node, live))) = builder.zip(self.nodes.get(at).zip(self.live.as_mut())) else { return };

        let place = assembler(&live.origin, sink, false).place(&self.nodes, at, &path.iter().copied());
        let mut result = None;
        if let Some(call_id) = node.executed_call.as_deref().filter(|_| has_ended) {
            let is_first = live.results.get(call_id).is_none_or(|(start, _)| *start <= node.start);
            let placed =
                PlacedSpan { span: &builder.span, start: node.start, place: &place, position: 0, had_result: false };
            result = result_span(&live.origin, call_id, placed).filter(|_| is_first);
            if result.is_some() {
                live.weight += call_id.len() + size_of::<(String, (u64, u64))>();
                live.results.insert(call_id.to_owned(), (node.start, place.agents_fingerprint()));
                let (freed, taken) = self.tools.settle(call_id);
                self.weight = self.weight - freed + taken;
            }
        }
        let verdict = Verdict { place, counts, matched_call: matched.as_deref(), labels: &live.labels };
        let emitted = if has_ended { verdict.fingerprint(node) } else { 0 };
        let facts = RunFacts { origin: &live.origin, resource: &self.resource, is_joined: live.origin.joined };
        let event = if has_ended {
            self.sources -= u64::from(node.sources);
            LiveEvent::SpanEnded(RecordedSpan {
                span: verdict.write(facts, node, is_root, builder),
                sources: node.sources,
            })
        } else {
            under_way(&mut builder);
            LiveEvent::SpanStarted(verdict.write(facts, node, is_root, builder))
        };
        sink.emit(&live.origin, event);
        if let Some(span) = result {
            sink.emit(&live.origin, LiveEvent::SpanEnded(RecordedSpan { span, sources: 0 }));
        }
        if is_retained {
            live.retained.push_back(at);
            live.retained_bytes += node.body_weight;
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.emitted = Some(emitted);
        }
        self.retain_at_most(sink.retained);
    }

    /// Drops the content of emitted spans beyond `most` bytes, of the one that ended first at first.
    pub(crate) fn retain_at_most(&mut self, most: usize) {
        while let Some(live) = self.live.as_mut().filter(|live| live.retained_bytes > most) {
            let Some(oldest) = live.retained.pop_front() else { break };
            live.retained_bytes -= self.nodes.get(oldest).map_or(0, |node| node.body_weight);
            self.drop_content(oldest);
        }
    }

    /// Takes the translation of a span, of which a summary stays. Input and output of the run may follow from it.
    fn drop_content(&mut self, at: usize) -> Option<Box<SpanBuilder>> {
        let live = self.live.as_mut()?;
        let node = self.nodes.get(at)?;
        let is_call = node.is_model_call() && node.ended.is_some();
        let beats = |other: Option<usize>, is_better: fn(&Node, &Node) -> bool| {
            is_call && other.and_then(|other| self.nodes.get(other)).is_none_or(|other| is_better(node, other))
        };
        let is_first = beats(live.first_call, |node, other| node.start < other.start);
        let is_last = beats(live.last_call, |node, other| node.end >= other.end);
        let before = [
            if is_first { live.first_call.replace(at) } else { None },
            if is_last { live.last_call.replace(at) } else { None },
        ];
        for (which, other) in before.into_iter().enumerate() {
            let Some(other) = other else { continue };
            self.change_body(other, |node| {
                if let Body::Summary(summary) = &mut node.body {
                    *(if which == 0 { &mut summary.input_message } else { &mut summary.output }) = None;
                }
            });
        }
        self.change_body(at, |node| {
            let builder = node.summarize()?;
            if let Body::Summary(summary) = &mut node.body {
                summary.input_message = if is_first { last_user_message(&builder) } else { None };
                summary.output = builder.span.output.clone().filter(|_| is_last);
            }
            Some(builder)
        })?
    }
}

/// Returns true for a running span that is emitted only when it has ended: a model call, and a span that may turn out to be one,
/// because a step whose start was emitted can no longer get a model.
fn is_deferred(class: Option<Class>, is_root: bool, options: &Options) -> bool {
    match class {
        Some(class) => class == Class::Model,
        None => !is_root && options.selection != SpanSelection::All,
    }
}

fn assembler<'r>(origin: &'r RunIdentity, sink: &Sink<'r>, ended: bool) -> RunAssembler<'r> {
    RunAssembler { origin, before: sink.before, ended, options: sink.options }
}

/// Returns the start of a trace: without its end and its sums.
fn start_of(origin: &RunIdentity, trace: &Trace, options: &Options) -> Trace {
    let (top, name, labels) = (RootFacts::default(), RunName::default(), RunLabels::default());
    let mut start = origin.trace(&top, &name, &labels, Totals::default(), options);
    start.started_at.clone_from(&trace.started_at);
    start.name.clone_from(&trace.name);
    start.input.clone_from(&trace.input);
    start.metadata.clone_from(&trace.metadata);
    start.session_id.clone_from(&trace.session_id);
    start
}

/// Returns a hash of a trace.
fn fingerprint(trace: &Trace) -> Id {
    derived_id(&[Json::from_serialize(trace).as_str().as_bytes()])
}
