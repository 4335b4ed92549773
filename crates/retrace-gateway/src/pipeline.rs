//! Pipeline of one tenant: traces wait for their last span, and go to an exporter.
//!
//! A trace is handed to the exporter whole, so that the exporter sees its local roots and everything below them at once. One
//! task hands over, and flushes behind what it handed over: when a flush succeeds, everything before it is delivered or
//! lost, so that its memory and its tickets are released. At most an eighth of the exporter's buffer is handed over at a
//! time: what waits longer than that waits here, where nothing is dropped.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use opentelemetry_retrace::{RetraceExporter, Stats};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::SpanExporter as _;
use retrace_otlp::{HeldLimits, HeldTraces, OtlpRequest, OtlpResource, OtlpTrace, Release};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use crate::config::Traces;
use crate::offsets::Partition;
use crate::room::Room;
use crate::span_data;
use crate::ticket::Ticket;

/// Spans that are exported at a time.
const BATCH: usize = 256;
/// Share of the exporter's buffer that may be handed over and not settled.
const SHARE: usize = 8;
/// A trace that never falls silent is delivered after so many waits.
const LONGEST: u32 = 10;
/// Delay after a flush that failed.
const PAUSE: Duration = Duration::from_millis(200);

type TraceId = [u8; 16];

/// Pipeline of one tenant.
#[derive(Debug)]
pub(crate) struct Pipeline {
    exporter: RetraceExporter,
    state: Mutex<State>,
    wake: Notify,
    room: Arc<Room>,
    began: Instant,
    /// Bytes that may be handed over and not settled.
    in_flight: usize,
    finished: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    held: HeldTraces,
    /// State of each held trace beside its spans.
    extras: HashMap<TraceId, Extra>,
    last_seen: Instant,
    /// Bytes that are handed over and not settled.
    handed: usize,
    /// Traces that are handed over and not settled.
    handed_traces: usize,
    closing: Option<Closing>,
}

/// Treatment of held traces when the pipeline closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// All are delivered.
    Deliver,
    /// Those that only a log has brought are dropped, because another instance reads them again.
    HandOver,
}

#[derive(Debug, Default)]
struct Extra {
    weight: usize,
    tickets: Vec<Ticket>,
    /// True if a part came over OTLP, so that nobody would read it again.
    is_pushed: bool,
}

/// A trace on its way.
#[derive(Debug)]
struct Handed {
    weight: usize,
    tickets: Vec<Ticket>,
}

/// Handles of a pipeline that nobody uses: one in the table of tenants, two in its task.
pub(crate) const HANDLES: usize = 3;

/// The pipeline is closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl Pipeline {
    /// Creates a pipeline and starts its task. Requires a Tokio runtime.
    pub(crate) fn start(exporter: RetraceExporter, buffer_bytes: usize, traces: Traces, room: Arc<Room>) -> Arc<Self> {
        let release = Release::AfterLast {
            with_root: traces.wait,
            without_root: traces.wait_without_root,
            longest: traces.wait_without_root.max(traces.wait).saturating_mul(LONGEST),
        };
        // Events without a span are dropped after `keep`. The room is bounded elsewhere.
        let keep = traces.wait_without_root.max(traces.wait).saturating_mul(2).max(Duration::from_secs(1));
        let (traces, bytes) = (usize::MAX, usize::MAX);
        let limits = HeldLimits { release, keep, retry: Duration::ZERO, traces, bytes };
        let pipeline = Arc::new(Self {
            exporter: exporter.clone(),
            state: Mutex::new(State {
                held: HeldTraces::new(limits),
                extras: HashMap::new(),
                last_seen: Instant::now(),
                handed: 0,
                handed_traces: 0,
                closing: None,
            }),
            wake: Notify::new(),
            room,
            began: Instant::now(),
            in_flight: buffer_bytes / SHARE,
            finished: watch::Sender::new(false),
        });
        tokio::spawn(Task { pipeline: Arc::clone(&pipeline), exporter, resource: None, handed: VecDeque::new() }.run());
        pipeline
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the spans and events of a request, whose bytes are reserved. Each trace takes the ticket that `ticket` returns
    /// for it.
    pub(crate) fn add(&self, request: OtlpRequest, mut ticket: impl FnMut() -> Option<Ticket>) -> Result<(), Closed> {
        let mut weights: HashMap<TraceId, usize> = HashMap::new();
        for span in &request.spans {
            *weights.entry(span.trace_id()).or_default() += span.weight();
        }
        for event in &request.events {
            *weights.entry(event.trace_id()).or_default() += event.weight();
        }
        let mut state = self.lock();
        if state.closing.is_some() {
            return Err(Closed);
        }
        state.last_seen = Instant::now();
        for (trace_id, weight) in weights {
            let extra = state.extras.entry(trace_id).or_default();
            extra.weight += weight;
            let ticket = ticket();
            extra.is_pushed |= ticket.is_none();
            extra.tickets.extend(ticket);
        }
        state.held.take(request, self.began.elapsed());
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Drops the held traces all of whose parts are of revoked partitions: their records are read again.
    /// Returns the number of traces.
    pub(crate) fn revoke(&self, partitions: &HashSet<Partition>) -> usize {
        let mut state = self.lock();
        let is_revoked = |extra: &Extra| {
            !extra.is_pushed && extra.tickets.iter().all(|ticket| partitions.contains(ticket.position().partition()))
        };
        let revoked: Vec<TraceId> =
            state.extras.iter().filter(|(_, extra)| is_revoked(extra)).map(|(trace_id, _)| *trace_id).collect();
        for trace_id in &revoked {
            state.held.remove_trace(trace_id);
            if let Some(extra) = state.extras.remove(trace_id) {
                self.room.release(extra.weight);
            }
        }
        revoked.len()
    }

    /// Begins to close; see [`Closing`].
    pub(crate) fn close(&self, closing: Closing) {
        self.lock().closing.get_or_insert(closing);
        self.wake.notify_one();
    }

    /// Completes when everything that was handed over is settled after a close, and the task has ended.
    pub(crate) async fn closed(&self) {
        let _ = self.finished.subscribe().wait_for(|finished| *finished).await;
    }

    /// Flushes and stops the exporter, within `limit`.
    pub(crate) async fn shut_down(&self, limit: Duration) {
        let exporter = self.exporter.clone();
        let stopped = tokio::task::spawn_blocking(move || exporter.shutdown_with_timeout(limit)).await;
        if let Ok(Err(error)) = stopped {
            tracing::warn!(%error, "a pipeline was stopped before everything was delivered");
        }
    }

    /// Returns how long the pipeline has been without work; `None` if it has some.
    pub(crate) fn idle(&self) -> Option<Duration> {
        let state = self.lock();
        let is_idle = state.held.is_empty() && state.handed_traces == 0;
        is_idle.then(|| state.last_seen.elapsed())
    }

    /// Counts of its spans.
    pub(crate) fn stats(&self) -> Stats {
        self.exporter.stats()
    }

    /// Number of held traces, and of traces that are handed over and not settled.
    pub(crate) fn traces(&self) -> (usize, usize) {
        let state = self.lock();
        (state.held.len(), state.handed_traces)
    }
}

/// The task of a pipeline.
struct Task {
    pipeline: Arc<Pipeline>,
    exporter: RetraceExporter,
    /// Resource that the exporter has.
    resource: Option<Arc<OtlpResource>>,
    handed: VecDeque<Handed>,
}

/// A flush, and the number of traces that were handed over before it.
type Flush = (usize, BoxFuture<'static, OTelSdkResult>);

impl Task {
    async fn run(mut self) {
        let pipeline = Arc::clone(&self.pipeline);
        let mut flush: Option<Flush> = None;
        // Time before which no flush begins, because the last one failed.
        let mut pause: Option<Instant> = None;
        loop {
            self.hand_over().await;
            pause = pause.filter(|until| Instant::now() < *until);
            if flush.is_none() && pause.is_none() && !self.handed.is_empty() {
                flush = Some(self.flush());
            }
            let (deadline, is_over) = {
                let state = pipeline.lock();
                let deadline = state.held.next_deadline().filter(|_| state.handed < pipeline.in_flight);
                (deadline, state.closing.is_some() && state.held.is_empty() && self.handed.is_empty())
            };
            if is_over {
                break;
            }
            let deadline = deadline.map(|deadline| pipeline.began + deadline).into_iter().chain(pause).min();
            tokio::select! {
                (traces, result) = flushed(&mut flush) => {
                    flush = None;
                    match result {
                        Ok(()) => self.settle(traces),
                        // A flush that reports losses is repeated as well: the next one succeeds, unless there are new ones.
                        Err(_) => pause = Some(Instant::now() + PAUSE),
                    }
                }
                () = pipeline.wake.notified() => {}
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {}
            }
        }
        pipeline.finished.send_replace(true);
    }

    /// Hands over the traces that are due, as far as there is room for them in the exporter.
    async fn hand_over(&mut self) {
        while let Some((trace, extra)) = self.next() {
            for (resource, mut spans) in span_data::spans(trace) {
                if self.resource.as_ref().is_none_or(|last| last.attributes() != resource.attributes()) {
                    self.exporter.set_resource(&span_data::resource(&resource));
                    self.resource = Some(resource);
                }
                while !spans.is_empty() {
                    let rest = spans.split_off(spans.len().min(BATCH));
                    let batch = std::mem::replace(&mut spans, rest);
                    if let Err(error) = self.exporter.export(batch).await {
                        // The exporter counts the spans as lost.
                        tracing::warn!(%error, "spans found no room in the pipeline");
                    }
                }
            }
            self.handed.push_back(Handed { weight: extra.weight, tickets: extra.tickets });
        }
    }

    /// Takes the next trace that is due out of the buffer.
    fn next(&self) -> Option<(OtlpTrace, Extra)> {
        let mut state = self.pipeline.lock();
        let now = self.pipeline.began.elapsed();
        if let Some(closing) = state.closing {
            self.pipeline.drop_rest(&mut state, closing);
        } else if state.handed >= self.pipeline.in_flight {
            return None;
        }
        // When the pipeline closes, every trace is due.
        let now = if state.closing.is_some() { Duration::MAX } else { now };
        if state.handed >= self.pipeline.in_flight {
            return None;
        }
        let due = state.held.next_due(now);
        let forgotten: Vec<_> = state.held.forgotten().filter_map(|id| id.to_otel_trace()).collect();
        for trace_id in forgotten {
            // Events whose span never came: nothing is left to deliver.
            if let Some(extra) = state.extras.remove(&trace_id) {
                self.pipeline.room.release(extra.weight);
                for ticket in extra.tickets {
                    ticket.end_group(&trace_id);
                    ticket.settle();
                }
            }
        }
        let due = due?;
        let extra = state.extras.remove(&due.trace_id()).unwrap_or_default();
        extra.tickets.iter().for_each(|ticket| ticket.end_group(&due.trace_id()));
        state.handed += extra.weight;
        state.handed_traces += 1;
        drop(state);
        Some((due.into_trace(), extra))
    }

    /// Begins a flush behind everything that was handed over.
    fn flush(&self) -> Flush {
        let exporter = self.exporter.clone();
        let mut flush: BoxFuture<'static, OTelSdkResult> = Box::pin(async move { exporter.flush().await });
        let handed = self.handed.len();
        // The first poll puts the flush into the queue, before anything that is handed over later.
        match (&mut flush).now_or_never() {
            Some(result) => (handed, Box::pin(std::future::ready(result))),
            None => (handed, flush),
        }
    }

    /// Releases the first `count` traces that were handed over.
    fn settle(&mut self, count: usize) {
        let (mut weight, mut traces) = (0, 0);
        for handed in self.handed.drain(..count.min(self.handed.len())) {
            weight += handed.weight;
            traces += 1;
            handed.tickets.into_iter().for_each(Ticket::settle);
        }
        self.pipeline.room.release(weight);
        let mut state = self.pipeline.lock();
        state.handed = state.handed.saturating_sub(weight);
        state.handed_traces -= traces;
    }
}

/// Waits for the flush, and forever without one; returns the number of traces before it, and its result.
async fn flushed(flush: &mut Option<Flush>) -> (usize, OTelSdkResult) {
    match flush {
        Some((traces, flush)) => (*traces, flush.await),
        None => std::future::pending().await,
    }
}

impl Pipeline {
    /// Drops what another instance reads again.
    fn drop_rest(&self, state: &mut State, closing: Closing) {
        if closing == Closing::Deliver {
            return;
        }
        let dropped: Vec<TraceId> =
            state.extras.iter().filter(|(_, extra)| !extra.is_pushed).map(|(trace_id, _)| *trace_id).collect();
        for trace_id in dropped {
            state.held.remove_trace(&trace_id);
            if let Some(extra) = state.extras.remove(&trace_id) {
                self.room.release(extra.weight);
            }
        }
    }
}
