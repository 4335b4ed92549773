//! Outcomes of accepted spans, by trace.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use foldhash::HashMap;
use opentelemetry::trace::TraceId;
use retrace_protocol::metadata::TraceMetadata;
use retrace_protocol::{Id, Trace};

use crate::stats::LossReason;

/// Maximum number of runs whose id is not that of their trace and whose trace is remembered.
const ORIGINS: usize = 20_000;

/// Outcome of accepted spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The receiver has confirmed them.
    Delivered,
    /// They are not selected.
    SetAside,
    /// They are in the spool, for a later process to deliver.
    Spooled,
    /// They will not be delivered.
    Lost(LossReason),
}

/// A group of spans of one trace that leaves the pipeline.
///
/// Passed to the callback of [`Builder::with_settlements`](crate::Builder::with_settlements). A trace may have several
/// settlements: its spans leave one by one, or together. Each span that the queue accepted, and each span that was
/// recovered from the spool, is in exactly one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settlement {
    /// OpenTelemetry trace of the spans. `None` if it is not known: for records of the spool that cannot be read or are
    /// dropped unread, and for spans that the worker held when it failed.
    pub trace_id: Option<TraceId>,
    /// Number of accepted spans.
    pub spans: u64,
    /// Outcome of the spans.
    pub outcome: Outcome,
}

/// Callback for settlements.
pub(crate) type OnSettlement = Arc<dyn Fn(&Settlement) + Send + Sync>;

/// Settlements that the worker reports at the end of its turn.
#[derive(Default)]
pub(crate) struct Settlements {
    /// False if nobody receives them; nothing is collected then.
    wanted: bool,
    collected: Vec<Settlement>,
    /// Traces of runs whose id is derived, oldest first.
    origins: HashMap<Id, TraceId>,
    order: VecDeque<Id>,
}

impl Settlements {
    pub(crate) fn new(wanted: bool) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// Remembers the trace of a run whose metadata names it because the id of the run is derived.
    pub(crate) fn note_origin(&mut self, trace: &Trace) {
        if !self.wanted {
            return;
        }
        let (Some(id), Some(metadata)) = (&trace.id, &trace.metadata) else { return };
        if !metadata.as_str().contains(r#""otel""#) || self.origins.contains_key(id) {
            return;
        }
        let metadata: Option<TraceMetadata> = serde_json::from_str(metadata.as_str()).ok();
        let origin = metadata.and_then(|metadata| TraceId::from_hex(&metadata.otel?.trace_id).ok());
        if let Some(origin) = origin {
            self.origins.insert(id.clone(), origin);
            self.order.push_back(id.clone());
            while self.order.len() > ORIGINS {
                self.order.pop_front().map(|oldest| self.origins.remove(&oldest));
            }
        }
    }

    /// Records the outcome of spans of a run.
    pub(crate) fn of_run(&mut self, run: &Id, spans: u64, outcome: Outcome) {
        if self.wanted && spans > 0 {
            let trace_id = self.origins.get(run).copied();
            self.of_trace(trace_id.or_else(|| run.to_otel_trace().map(TraceId::from_bytes)), spans, outcome);
        }
    }

    /// Records the outcome of spans of a trace.
    pub(crate) fn of_trace(&mut self, trace_id: Option<TraceId>, spans: u64, outcome: Outcome) {
        if !self.wanted || spans == 0 {
            return;
        }
        match self.collected.last_mut() {
            Some(last) if last.trace_id == trace_id && last.outcome == outcome => last.spans += spans,
            _ => self.collected.push(Settlement { trace_id, spans, outcome }),
        }
    }

    /// Takes the settlements since the last call.
    pub(crate) fn take(&mut self) -> Vec<Settlement> {
        std::mem::take(&mut self.collected)
    }
}

impl fmt::Debug for Settlements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settlements").field("collected", &self.collected.len()).finish_non_exhaustive()
    }
}
