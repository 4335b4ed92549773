//! A run that is told while it happens.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use retrace_protocol::metadata::{SpanMetadata, TraceMetadata, Usage};
use retrace_protocol::{Id, Json, Span, SpanType, Trace};

use crate::dialect::Class;
use crate::options::Options;
use crate::options::SpanSelection;
use crate::recorder::emitted_runs::{Told, ToldRun};
use crate::recorder::first_wins::{Claims, Rank};
use crate::recorder::infer_io::last_user_message;
use crate::recorder::live_tools::{LiveTools, light, light_weight};
use crate::recorder::live_totals::LiveTotals;
use crate::recorder::live_tree::{LiveTree, ROOT};
use crate::recorder::record::{End, Origin, Own, Place, Said, Top, infer_io};
use crate::recorder::remote_parent::Joined;
use crate::recorder::run_name::{FirstCall, RunName};
use crate::recorder::same_call::CallIdentity;
use crate::recorder::tools::{Shower, derived_id};
use crate::recorder::totals::{Totals, set_apart};
use crate::recorder::{Live, LiveEvent, Output, Recorded};
use crate::resource::Resource;
use crate::span_reader::Scopes;
use crate::span_reader::{Draft, Reading};
use crate::view::{Kind, SpanView};

/// A run whose local root was seen to begin.
#[derive(Debug)]
pub(crate) struct LiveRun {
    origin: Origin,
    resource: Arc<Resource>,
    tree: LiveTree,
    claims: Claims,
    top: Top,
    /// The root is the span of a server that names no run.
    is_entry: bool,
    first_call: FirstCall,
    /// Facts of the span that states to be a run, where it is not the root.
    stated_run: Option<(Rank, Top)>,
    /// The root, while it is not known whether the run will be told.
    root: Option<Step>,
    tools: LiveTools,
    scopes: Scopes,
    totals: LiveTotals,
    /// What the model call that began first was asked.
    asked: Option<(CallRank, Option<Json>)>,
    /// What the model call that ended last answered.
    answered: Option<(u64, CallRank, Option<Json>)>,
    /// What `Began` said last, as a hash; nothing while the run is not told.
    began: Option<Id>,
    /// Spans that were told.
    told_spans: u64,
    /// Spans that ended and wait for the run to be told, or not; the root apart.
    unselected: u64,
    /// Local roots that are under way.
    open_roots: usize,
    /// Spans under way that are told, or will be.
    open_steps: usize,
    /// When the last of the local roots ended.
    pub over: Option<Duration>,
    pub last_seen: Duration,
    /// Spans of it were lost before they came here.
    pub lossy: bool,
}

/// When a model call began, how deep it stands, and its place.
type CallRank = (u64, usize, usize);

/// A span that is told, or held until it can be.
#[derive(Debug)]
struct Step {
    draft: Box<Draft>,
    session: Option<String>,
    user: Option<String>,
    response_id: Option<String>,
    request_id: Option<String>,
    is_server: bool,
    executed_call: Option<String>,
    end: u64,
    /// Its messages showed tools that were not known.
    showed: bool,
}

/// Where a run is told, and what there is to know for that.
#[derive(Debug)]
pub(crate) struct Voice<'r> {
    pub options: &'r Options,
    /// What was told of the trace before.
    pub before: Option<&'r ToldRun>,
    pub outputs: &'r mut VecDeque<Output>,
}

impl Voice<'_> {
    fn say(&mut self, run: &Origin, event: LiveEvent) {
        self.outputs.push_back(Output::Live(Box::new(Live { run: run.id.clone(), joined: run.joined, event })));
    }

    fn set_aside(&mut self, spans: u64) {
        if spans > 0 {
            self.outputs.push_back(Output::SetAside { spans });
        }
    }
}

impl Step {
    fn new<V: SpanView>(reading: &Reading<'_, V>, draft: Box<Draft>, showed: bool) -> Self {
        Self {
            session: reading.session(),
            user: reading.user(),
            response_id: reading.response_id(),
            request_id: reading.request_id(),
            is_server: reading.view.kind() == Kind::Server,
            executed_call: reading.executed_call(),
            end: reading.view.end_unix_nanos(),
            draft,
            showed,
        }
    }

    /// The features by which it is compared with a span above or below it.
    fn identity(&self, operation: Option<Cow<'static, str>>) -> CallIdentity<'_> {
        let Draft { span, metadata, .. } = &*self.draft;
        CallIdentity {
            is_server: self.is_server,
            ids: [self.response_id.as_deref(), self.request_id.as_deref()].map(|text| text.map(Cow::Borrowed)),
            models: [span.model.as_deref(), metadata.request_model.as_deref()].map(|text| text.map(Cow::Borrowed)),
            operation,
            tokens: [span.input_tokens, span.output_tokens],
        }
    }
}

impl LiveRun {
    pub(crate) fn new(origin: Origin, resource: Arc<Resource>, now: Duration) -> Self {
        Self {
            origin,
            resource,
            tree: LiveTree::default(),
            claims: Claims::default(),
            top: Top::default(),
            is_entry: false,
            first_call: FirstCall::default(),
            stated_run: None,
            root: None,
            tools: LiveTools::default(),
            scopes: Scopes::default(),
            totals: LiveTotals::default(),
            asked: None,
            answered: None,
            began: None,
            told_spans: 0,
            unselected: 0,
            open_roots: 0,
            open_steps: 0,
            over: None,
            last_seen: now,
            lossy: false,
        }
    }

    /// Takes note of a span that began.
    pub(crate) fn start<V: SpanView>(&mut self, span: &V, now: Duration, voice: &mut Voice<'_>) {
        self.last_seen = now;
        if self.tree.find(&span.span_id()).is_some() {
            return;
        }
        let reading = Reading::new(span);
        let at = self.add(span, voice);
        let begins = span.parent().is_local_root();
        if begins {
            self.open_roots += 1;
            self.over = None;
        }
        let selected = self.know(at, &reading, voice.options);
        let Some(node) = self.tree.get_mut(at) else { return };
        node.is_open_root = begins;
        node.is_open = true;
        let kept = node.kept;
        self.open_steps += usize::from(kept);
        // A model call is told when it ends, and so is what may turn out to be one: a step that was told as begun takes
        // no model any more.
        let is_held = match reading.class() {
            Some(class) => class == Class::Model,
            None => voice.options.selection != SpanSelection::All,
        };
        let draft = (kept || begins).then(|| match at != ROOT && (is_held || !kept) {
            true => reading.sketch(voice.options),
            false => reading.draft(voice.options, &mut self.scopes, |_, _| {}),
        });
        self.hear(at, &reading, draft.as_deref());
        self.hear_run(at, span, draft.as_deref(), false);
        self.hear_name(at, span, &reading, draft.as_deref());

        let mut step = draft.filter(|_| kept).map(|draft| Step::new(&reading, draft, false));
        if at == ROOT {
            self.top = Top::new(span.start_unix_nanos(), step.as_ref().map(|step| &*step.draft));
            self.root = step.take();
        }
        if selected {
            self.announce(voice);
        }
        let Some(mut step) = step else { return };
        self.tie(at, &mut step);
        match is_held {
            true => self.hold(at, step),
            false => self.tell_begin(at, step, voice),
        }
    }

    /// Takes a span that has ended.
    pub(crate) fn end<V: SpanView>(&mut self, span: &V, now: Duration, voice: &mut Voice<'_>) {
        self.last_seen = now;
        let reading = Reading::new(span);
        let at = match self.tree.find(&span.span_id()) {
            Some(at) => at,
            None => self.add(span, voice),
        };
        let Some(node) = self.tree.get_mut(at) else { return };
        if node.has_ended {
            // Once more what was told already.
            return voice.set_aside(1);
        }
        node.has_ended = true;
        let freed = node.waiting.take().map_or(0, |waiting| light_weight(&waiting));
        let was_open_root = std::mem::take(&mut node.is_open_root);
        self.open_steps -= usize::from(std::mem::take(&mut node.is_open) && node.kept);
        self.tree.lighten(freed);
        if was_open_root {
            self.open_roots -= 1;
            self.over = (self.open_roots == 0).then_some(now);
        }

        let selected = self.know(at, &reading, voice.options);
        let kept = self.tree.get(at).is_some_and(|node| node.kept);
        let mut showed = false;
        let draft = (kept || span.parent().is_local_root()).then(|| {
            let by = Shower { span_id: span.span_id(), start: span.start_unix_nanos() };
            let capture = voice.options.capture_content;
            let (tools, scopes) = (&mut self.tools, &mut self.scopes);
            reading.draft(voice.options, scopes, |tool, at| showed |= tools.note(&tool, by, at, capture))
        });
        self.hear(at, &reading, draft.as_deref());
        self.hear_run(at, span, draft.as_deref(), true);
        self.hear_name(at, span, &reading, draft.as_deref());
        let Some(draft) = draft.filter(|_| kept) else {
            if self.began.is_some() {
                voice.set_aside(1);
            } else {
                self.unselected += 1;
            }
            return;
        };
        if at == ROOT {
            self.top = Top::new(span.start_unix_nanos(), Some(&draft));
            self.top.end = Some(End::new(span.end_unix_nanos(), Some(&draft)));
            self.root = None;
        }
        let mut step = Step::new(&reading, draft, showed);
        self.tie(at, &mut step);
        self.tools.untie(span.span_id());
        if selected || self.began.is_some() {
            self.announce(voice);
            self.tell_end(at, step, voice);
        } else {
            self.root = Some(step);
        }
    }

    /// Finds the call of a tool span that states none.
    fn tie(&mut self, at: usize, step: &mut Step) {
        if step.executed_call.is_none()
            && step.draft.span.span_type == SpanType::ToolCall
            && let Some(node) = self.tree.get(at)
        {
            step.executed_call = self.tools.tie(node.span_id, &step.draft.span);
            step.draft.metadata.tool_call_id.clone_from(&step.executed_call);
        }
    }

    fn add<V: SpanView>(&mut self, span: &V, voice: &Voice<'_>) -> usize {
        let is_outlived = voice.before.is_some_and(|before| before.has_begun(&span.span_id()));
        let at = self.tree.add(span.span_id(), span.parent(), span.start_unix_nanos(), is_outlived);
        if let Some(joined) = Joined::of(span, voice.options) {
            self.tree.weigh(joined.weight());
            if let Some(node) = self.tree.get_mut(at) {
                // Its run is told: the place where this process takes over is a step of it.
                node.kept |= self.origin.joined && self.began.is_some();
                node.joined = Some(Box::new(joined));
            }
        }
        at
    }

    /// Takes what a span says of itself into its node; tells whether it shows that the run is to be told.
    fn know<V: SpanView>(&mut self, at: usize, reading: &Reading<'_, V>, options: &Options) -> bool {
        let selected = options.selection.selects(reading);
        let Some(node) = self.tree.get_mut(at) else { return selected };
        let before = node.label_weight();
        node.kept |= selected;
        node.start = reading.view.start_unix_nanos();
        node.class = reading.class();
        node.agent = reading.agent();
        node.operation = reading.operation();
        let after = node.label_weight();
        self.tree.weigh(after);
        self.tree.lighten(before);
        selected
    }

    /// Hears what a span says for the whole run.
    fn hear<V: SpanView>(&mut self, at: usize, reading: &Reading<'_, V>, draft: Option<&Draft>) {
        let said = Said {
            session: reading.session(),
            user: reading.user(),
            name: draft.and_then(|draft| draft.stated_trace_name.clone()),
            tags: draft.and_then(|draft| draft.tags.clone()),
        };
        if !said.is_empty() {
            let (depth, start) = (self.tree.depth(at), reading.view.start_unix_nanos());
            self.claims.hear(Rank { is_below_root: at != ROOT, depth, start, at }, said);
        }
    }

    /// Keeps the facts of a span below the root that states to be a run; of several the one nearest to the root.
    fn hear_run<V: SpanView>(&mut self, at: usize, span: &V, draft: Option<&Draft>, has_ended: bool) {
        let Some(draft) = draft.filter(|draft| draft.is_run && at != ROOT) else { return };
        let rank = Rank { is_below_root: true, depth: self.tree.depth(at), start: span.start_unix_nanos(), at };
        if self.stated_run.as_ref().is_some_and(|(held, _)| *held < rank && held.at != at) {
            return;
        }
        let mut top = Top::new(span.start_unix_nanos(), Some(draft));
        top.end = has_ended.then(|| End::new(span.end_unix_nanos(), Some(draft)));
        self.stated_run = Some((rank, top));
    }

    /// Takes note of what may name the run.
    fn hear_name<V: SpanView>(&mut self, at: usize, span: &V, reading: &Reading<'_, V>, draft: Option<&Draft>) {
        let is_genai = reading.class().is_some();
        if at == ROOT {
            let has_trace_name = draft.is_some_and(|draft| draft.trace_name.is_some());
            self.is_entry = span.kind() == Kind::Server && !is_genai && !has_trace_name;
        } else if let Some(draft) = draft.filter(|_| is_genai) {
            self.first_call.note((span.start_unix_nanos(), self.tree.depth(at), at), draft);
        }
    }

    /// Tells that there is such a run, unless that was told: what it began with, and its root.
    fn announce(&mut self, voice: &mut Voice<'_>) {
        if self.began.is_some() {
            return;
        }
        voice.set_aside(std::mem::take(&mut self.unselected));
        self.claims.tell();
        let (began, _) = self.trace(voice.options);
        self.began = Some(fingerprint(&began));
        voice.say(&self.origin, LiveEvent::Began(began));
        match self.root.take() {
            Some(root) if self.top.end.is_some() => self.tell_end(ROOT, root, voice),
            Some(root) if root.draft.class == Some(Class::Model) => self.hold(ROOT, root),
            Some(root) => self.tell_begin(ROOT, root, voice),
            None => {}
        }
    }

    /// Keeps of a step that is told when it ends what is told if it never does.
    fn hold(&mut self, at: usize, mut step: Step) {
        step.draft.span = light(&step.draft.span);
        step.draft.metadata = SpanMetadata::default();
        let waiting = Box::new(self.under_way(at, step));
        self.tree.weigh(light_weight(&waiting));
        if let Some(node) = self.tree.get_mut(at) {
            node.waiting = Some(waiting);
        }
    }

    fn tell_begin(&mut self, at: usize, step: Step, voice: &mut Voice<'_>) {
        let executed_call = step.executed_call.clone();
        let span = self.under_way(at, step);
        if let Some(call_id) = executed_call {
            self.tools.begun(&call_id, &span);
        }
        self.mark_told(at);
        voice.say(&self.origin, LiveEvent::SpanBegan(span));
    }

    /// The record of a span that has not ended.
    fn under_way(&mut self, at: usize, mut step: Step) -> Span {
        let span = &mut step.draft.span;
        (span.ended_at, span.duration_ms, span.output, span.error) = (None, None, None, None);
        (span.input_tokens, span.output_tokens, span.cost) = (None, None, None);
        step.draft.metadata.usage = Usage::default();
        let path = self.tree.path(at);
        let place = self.tree.place(self.origin.trace_id, at, &path);
        self.span(at, step, place)
    }

    fn tell_end(&mut self, at: usize, mut step: Step, voice: &mut Voice<'_>) {
        let path = self.tree.path(at);
        let call = step.identity(self.tree.get(at).and_then(|node| node.operation.clone()));
        if !self.totals.take(&mut self.tree, at, &path, call, &step.draft.span, step.end) {
            set_apart(&mut step.draft);
        }
        self.note_call(at, path.len(), &step);
        let place = self.tree.place(self.origin.trace_id, at, &path);
        let (executed_call, showed) = (step.executed_call.clone(), step.showed);
        let span = self.span(at, step, place);
        self.mark_told(at);
        if showed && let Some(node) = self.tree.get(at) {
            self.tools.shown_by(node.span_id, &span);
        }
        let result = executed_call.and_then(|call_id| self.tools.ended(self.origin.trace_id, &call_id, &span));
        voice.say(&self.origin, LiveEvent::SpanEnded(Recorded { span, sources: 1 }));
        self.tell_made(result, voice);
    }

    fn tell_made(&mut self, made: impl IntoIterator<Item = Span>, voice: &mut Voice<'_>) {
        for span in made {
            self.told_spans += 1;
            voice.say(&self.origin, LiveEvent::SpanEnded(Recorded { span, sources: 0 }));
        }
    }

    fn span(&self, at: usize, step: Step, place: Place) -> Span {
        let is_root = at == ROOT;
        let said = match self.joined() {
            // Of a run of another process it is known what the caller said.
            Some(joined) => Said { session: joined.session.clone(), ..Said::default() },
            // What the root says now, the trace will say.
            None if is_root => self.claims.current(),
            None => self.claims.told(),
        };
        let node = self.tree.get(at);
        let joins = self.origin.joined && node.is_some_and(|node| node.joined.is_some());
        let own = Own {
            span_id: node.map(|node| node.span_id).unwrap_or_default(),
            is_root,
            joins,
            service: joins.then_some(&self.resource.service),
            session: step.session.as_deref(),
            user: step.user.as_deref(),
        };
        self.origin.span(*step.draft, own, place, &said)
    }

    /// The run of another process that it belongs to.
    fn joined(&self) -> Option<&Joined> {
        self.tree.get(ROOT)?.joined.as_deref().filter(|_| self.origin.joined)
    }

    fn mark_told(&mut self, at: usize) {
        let Some(node) = self.tree.get_mut(at) else { return };
        self.told_spans += u64::from(!std::mem::replace(&mut node.is_told, true));
        if let Some(parent) = self.tree.placed_under(at).and_then(|parent| self.tree.get_mut(parent)) {
            parent.holds = true;
        }
    }

    /// Keeps what the run may have been asked, and what it may have answered.
    fn note_call(&mut self, at: usize, depth: usize, step: &Step) {
        let Some(node) = self.tree.get(at).filter(|_| step.draft.span.span_type == SpanType::LlmCall) else { return };
        let rank = (node.start, depth, at);
        if self.asked.as_ref().is_none_or(|(first, _)| rank < *first) {
            self.asked = Some((rank, last_user_message(&step.draft)));
        }
        if self.answered.as_ref().is_none_or(|(end, last, _)| (*end, *last) < (step.end, rank)) {
            self.answered = Some((step.end, rank, step.draft.span.output.clone()));
        }
    }

    /// What the run began with, and the same with its end as far as it is known.
    fn trace(&self, options: &Options) -> (Trace, Trace) {
        let said = self.claims.current();
        let stated = self.stated_run.as_ref().map(|(_, top)| self.top.clone().or(Some(top)));
        let top = stated.as_ref().unwrap_or(&self.top);
        let name = RunName::new(said.name.as_deref(), top.name.as_deref(), self.is_entry, &self.first_call);
        let mut ended = self.origin.trace(top, &name, &said, self.totals.sum, options);
        let mut metadata = self.origin.trace_metadata(top, &name, &said, &self.resource, options);
        metadata.inferred_io = infer_io(
            &mut ended,
            || self.asked.as_ref().and_then(|(_, asked)| asked.clone()),
            || self.answered.as_ref().and_then(|(.., answered)| answered.clone()),
        );
        ended.metadata = (metadata != TraceMetadata::default()).then(|| Json::from_serialize(&metadata));
        ended.lossy = self.lossy.then_some(true);
        ended.span_count = Some(self.told_spans);
        let mut began =
            self.origin.trace(&Top::default(), &RunName::default(), &Said::default(), Totals::default(), options);
        began.started_at.clone_from(&ended.started_at);
        began.name.clone_from(&ended.name);
        began.input.clone_from(&ended.input);
        began.metadata.clone_from(&ended.metadata);
        began.session_id.clone_from(&ended.session_id);
        (began, ended)
    }

    /// Tells the rest: the end of the run if its local roots have ended, else only what would be forgotten with it.
    pub(crate) fn close(mut self, voice: &mut Voice<'_>) -> ToldRun {
        let ids = |of: fn(&crate::recorder::live_tree::LiveNode) -> bool, tree: &LiveTree| {
            tree.nodes().iter().filter(|node| of(node)).map(|node| node.span_id).collect::<Vec<_>>()
        };
        if self.began.is_none() {
            voice.set_aside(self.sources());
            let told = voice.before.and_then(|before| before.told.clone());
            return ToldRun::set_aside(told, ids(|node| node.has_ended, &self.tree), self.lossy, voice.outputs);
        }
        let ended = self.over.is_some();
        if !ended {
            self.top.end = None;
        }
        self.tell_waiting(voice);
        let made = self.tools.missing(self.origin.trace_id);
        self.tell_made(made, voice);
        let (began, trace) = self.trace(voice.options);
        let before = voice.before.and_then(|before| before.told.as_ref());
        if let Some(correction) = before.and_then(|before| before.corrected_by(&trace)) {
            voice.outputs.push_back(Output::Correction(Box::new(correction)));
        }
        if self.began.as_ref() != Some(&fingerprint(&began)) {
            voice.say(&self.origin, LiveEvent::Began(began));
        }
        let told = Told {
            id: self.origin.id.clone(),
            part: self.origin.part,
            ended,
            trace_tokens: trace.total_tokens,
            trace_cost: trace.total_cost,
            joined: self.joined().cloned(),
        };
        if ended {
            voice.say(&self.origin, LiveEvent::Ended(trace));
        } else {
            voice.say(&self.origin, LiveEvent::LetGo);
            if self.lossy {
                voice.outputs.push_back(told.not_all());
            }
        }
        ToldRun::new(Some(told), ids(|node| node.has_ended, &self.tree))
            .with_begun(ids(|node| node.is_told && !node.has_ended, &self.tree))
    }

    /// Tells the steps that wait for their end and from which something hangs, outermost first.
    fn tell_waiting(&mut self, voice: &mut Voice<'_>) {
        let holding = self.tree.nodes().iter().enumerate().filter(|(_, node)| node.holds && node.waiting.is_some());
        for at in holding.map(|(at, _)| at).collect::<Vec<_>>() {
            let above = |at: &usize| self.tree.placed_under(*at);
            let untold = |at: &usize| self.tree.get(*at).is_some_and(|node| node.waiting.is_some());
            let chain: Vec<usize> = std::iter::successors(Some(at), above).take_while(untold).collect();
            for at in chain.into_iter().rev() {
                let Some(waiting) = self.tree.get_mut(at).and_then(|node| node.waiting.take()) else { continue };
                self.mark_told(at);
                voice.say(&self.origin, LiveEvent::SpanBegan(*waiting));
            }
        }
    }

    /// Whether the run waits for nothing but the linger.
    pub(crate) fn only_lingers(&self) -> bool {
        self.began.is_none() || self.open_steps == 0
    }

    /// Spans that it knows of.
    pub(crate) fn spans(&self) -> usize {
        self.tree.nodes().len()
    }

    /// Spans that were accepted into it and have not come out.
    pub(crate) fn sources(&self) -> u64 {
        self.unselected + u64::from(self.root.is_some() && self.top.end.is_some())
    }

    /// Bytes that it takes, roughly.
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
            + self.root.as_ref().map_or(0, |root| root.draft.weight())
            + self.asked.as_ref().map_or(0, |(_, asked)| json(asked))
            + self.answered.as_ref().map_or(0, |(.., answered)| json(answered))
    }
}

/// Two traces that say the same have the same.
fn fingerprint(trace: &Trace) -> Id {
    derived_id(&[Json::from_serialize(trace).as_str().as_bytes()])
}
