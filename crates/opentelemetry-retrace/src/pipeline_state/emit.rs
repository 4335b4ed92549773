//! Passes runs through the user's hook to delivery, whole or while they happen.

use std::collections::VecDeque;
use std::time::Duration;

use foldhash::{HashMap, HashSet};
use retrace_protocol::{Id, Span, Trace, TracePatch};
use retrace_translate::{LiveEvent, LiveUpdate, RecordedSpan, Run};

use crate::delivery::RunEncoder;
use crate::pipeline_state::PipelineState;
use crate::recording::redact::Decision;
use crate::stats::LossReason;
use crate::stats::settlement::Outcome;

/// Maximum number of runs with held-back parts; more than are ever open at once.
const RUNS: usize = 20_000;

/// Parts that the hook holds back of runs that are sent while they happen.
#[derive(Debug, Default)]
pub(crate) struct KeptBack {
    runs: HashMap<Id, OfRun>,
    order: VecDeque<Id>,
}

/// Parts that the hook holds back of one run.
#[derive(Debug, Default)]
struct OfRun {
    /// Reason if the whole run is held back.
    whole: Option<LossReason>,
    removed: Removed,
    /// Held-back spans that had ended. A span may end twice: its record is emitted again when it has changed.
    ended: HashSet<Id>,
    lossy: bool,
}

/// Spans that are not sent, each with its parent.
#[derive(Debug, Default)]
struct Removed(HashMap<Id, Option<Id>>);

impl Removed {
    fn add(&mut self, span: Id, parent: Option<Id>) {
        self.0.insert(span, parent);
    }

    /// Attaches a span whose parent is held back to the nearest ancestor that is sent.
    fn lift(&self, span: &mut Span) {
        // The number of steps is bounded by the number of spans, because parents may form a cycle.
        for _ in 0..=self.0.len() {
            let Some(above) = span.parent_id.as_ref().and_then(|parent| self.0.get(parent)) else { break };
            span.parent_id.clone_from(above);
        }
    }
}

impl KeptBack {
    fn of(&mut self, run: &Id) -> &mut OfRun {
        if !self.runs.contains_key(run) {
            self.order.push_back(run.clone());
            while self.order.len() > RUNS {
                if let Some(oldest) = self.order.pop_front() {
                    self.runs.remove(&oldest);
                }
            }
        }
        self.runs.entry(run.clone()).or_default()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.order.is_empty()
    }

    fn forget(&mut self, run: &Id) -> Option<OfRun> {
        let of_run = self.runs.remove(run)?;
        self.order.retain(|other| other != run);
        Some(of_run)
    }
}

impl PipelineState {
    /// Sends a run whose spans have all ended.
    pub(super) fn put_run(&mut self, run: Run, now: Duration) {
        self.set_aside += run.set_aside;
        self.ledger.settlements.note_origin(&run.trace);
        let run_id = run.trace.id.clone().unwrap_or_else(|| Id::from(String::new()));
        self.ledger.settlements.of_run(&run_id, run.set_aside, Outcome::SetAside);
        let sources = run.spans.iter().map(|recorded| u64::from(recorded.sources)).sum();
        let mut trace = match self.config.redaction.trace(run.trace) {
            Decision::Send(trace) => trace,
            Decision::KeepBack => return self.lose(&run_id, LossReason::BeforeSend, sources),
            Decision::Panicked => return self.lose(&run_id, LossReason::BeforeSendPanicked, sources),
        };
        let id = trace.id.clone().filter(|_| self.ledger.streams_whole_runs());
        if let Some(id) = &id {
            self.begin(id, Trace { lossy: None, ..trace.clone() }, run.joined);
        }
        // Over a stream each step is sent by itself.
        let written = run.spans.iter().map(|recorded| &recorded.span).filter(|_| id.is_none());
        let mut encoder = RunEncoder::with_room_for(written, |bytes| self.ledger.make_room_for(bytes));
        let mut removed = Removed::default();
        let mut sent = 0;
        for recorded in run.spans {
            let RecordedSpan { mut span, sources } = recorded;
            removed.lift(&mut span);
            let (span_id, parent) = (span.id.clone(), span.parent_id.clone());
            let reason = match self.config.redaction.span(span) {
                Decision::Send(span) => {
                    sent += 1;
                    match &id {
                        Some(id) => self.ledger.step_ended(id, span, sources),
                        None if encoder.push(span, sources) => {}
                        None => self.lose(&run_id, LossReason::Internal, u64::from(sources)),
                    }
                    continue;
                }
                Decision::KeepBack => LossReason::BeforeSend,
                Decision::Panicked => LossReason::BeforeSendPanicked,
            };
            // A span that the user holds back is no loss of the run; a failure of the hook is.
            if reason != LossReason::BeforeSend {
                trace.lossy = Some(true);
            }
            removed.add(span_id, parent);
            self.lose(&run_id, reason, u64::from(sources));
        }
        trace.span_count = trace.span_count.map(|_| sent);
        match id {
            Some(id) => self.end(&id, trace, run.joined, now),
            None => self.ledger.push_run(trace, encoder.finish(), run.joined, now),
        }
    }

    fn begin(&mut self, id: &Id, trace: Trace, joined: bool) {
        if joined {
            self.ledger.join(id, trace);
        } else {
            self.ledger.begin(id, trace);
        }
    }

    fn end(&mut self, id: &Id, trace: Trace, joined: bool, now: Duration) {
        if joined {
            self.ledger.leave(id, trace, now);
        } else {
            self.ledger.end(id, trace, now);
        }
    }

    /// Sends an event of a run that is under way.
    pub(super) fn put_live(&mut self, live: LiveUpdate, now: Duration) {
        let (id, joined) = (live.run, live.joined);
        if let Some(reason) = self.kept_back.runs.get(&id).and_then(|of_run| of_run.whole) {
            match live.event {
                LiveEvent::SpanEnded(recorded) => self.lose(&id, reason, u64::from(recorded.sources)),
                LiveEvent::RunEnded(_) | LiveEvent::RunAbandoned => drop(self.kept_back.forget(&id)),
                LiveEvent::RunStarted(_) | LiveEvent::SpanStarted(_) => {}
            }
            return;
        }
        if let LiveEvent::RunStarted(trace) = &live.event {
            self.ledger.settlements.note_origin(trace);
        }
        match live.event {
            LiveEvent::RunStarted(trace) => match self.config.redaction.trace(trace) {
                Decision::Send(trace) => self.begin(&id, trace, joined),
                Decision::KeepBack => self.kept_back.of(&id).whole = Some(LossReason::BeforeSend),
                Decision::Panicked => self.kept_back.of(&id).whole = Some(LossReason::BeforeSendPanicked),
            },
            LiveEvent::SpanStarted(mut span) => {
                self.lift(&id, &mut span);
                let (span_id, parent) = (span.id.clone(), span.parent_id.clone());
                match self.config.redaction.span(span) {
                    Decision::Send(span) => self.ledger.step_began(&id, span),
                    // The hook sees the span again when it ends, and the span is counted then.
                    Decision::KeepBack | Decision::Panicked => self.kept_back.of(&id).removed.add(span_id, parent),
                }
            }
            LiveEvent::SpanEnded(RecordedSpan { mut span, sources }) => {
                self.lift(&id, &mut span);
                let (span_id, parent) = (span.id.clone(), span.parent_id.clone());
                let reason = match self.config.redaction.span(span) {
                    Decision::Send(span) => {
                        if let Some(of_run) = self.kept_back.runs.get_mut(&id) {
                            of_run.ended.remove(&span_id);
                        }
                        return self.ledger.step_ended(&id, span, sources);
                    }
                    Decision::KeepBack => LossReason::BeforeSend,
                    Decision::Panicked => LossReason::BeforeSendPanicked,
                };
                let of_run = self.kept_back.of(&id);
                of_run.ended.insert(span_id.clone());
                of_run.removed.add(span_id, parent);
                of_run.lossy |= reason != LossReason::BeforeSend;
                self.lose(&id, reason, u64::from(sources));
            }
            LiveEvent::RunEnded(mut trace) => {
                if let Some(of_run) = self.kept_back.forget(&id) {
                    trace.span_count = trace.span_count.map(|count| count.saturating_sub(of_run.ended.len() as u64));
                    trace.lossy = trace.lossy.or(of_run.lossy.then_some(true));
                }
                let lossy = trace.lossy == Some(true);
                match self.config.redaction.trace(trace) {
                    Decision::Send(trace) => self.end(&id, trace, joined, now),
                    // The steps are sent already; only the end remains to be sent.
                    Decision::KeepBack | Decision::Panicked => self.ledger.end_without_trace(&id, lossy, now),
                }
            }
            LiveEvent::RunAbandoned => {
                let lossy = self.kept_back.forget(&id).is_some_and(|of_run| of_run.lossy);
                self.ledger.end_without_trace(&id, lossy, now);
            }
        }
    }

    fn lift(&self, run: &Id, span: &mut Span) {
        if let Some(of_run) = self.kept_back.runs.get(run) {
            of_run.removed.lift(span);
        }
    }

    pub(super) fn put_correction(&mut self, id: Id, patch: TracePatch, now: Duration) {
        let mut trace = Trace { id: Some(id.clone()), ..Trace::default() };
        trace.apply(patch.into_ended(id.clone()));
        if let Decision::Send(trace) = self.config.redaction.trace(trace) {
            self.ledger.push_patch(id, TracePatch::of(&trace), now);
        }
    }

    fn lose(&mut self, run: &Id, reason: LossReason, spans: u64) {
        match reason {
            // The user requested this, so no notice is given.
            LossReason::BeforeSend => self.ledger.settle(run, spans, Outcome::Lost(reason)),
            LossReason::BeforeSendPanicked => self.ledger.lose(run, reason, spans, "before_send panicked on them"),
            _ => self.ledger.lose(run, reason, spans, reason.as_str()),
        }
    }
}
