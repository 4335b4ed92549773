//! Remainder of a run: the parts that the receiver may lack when the run leaves the stream, to be sent in
//! another way.

use std::time::Duration;

use retrace_protocol::{Id, Timestamp, Trace};

use super::Stream;
use crate::outbox::Chunk;

/// Remainder of a run, taken out of the stream to be sent in another way.
#[derive(Debug)]
pub(crate) struct Rest {
    pub trace: Trace,
    pub chunks: Vec<Chunk>,
    /// True if the receiver may have some of the run.
    pub written: bool,
    /// True if the receiver has confirmed the beginning of the run.
    pub begun: bool,
    /// True if the run belongs to another process.
    pub joined: bool,
    /// Number of the first frame of the run that is not confirmed.
    pub first_frame: Option<u64>,
}

/// Lossy run that has left, and whose end does not report the loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Incomplete {
    pub id: Id,
    /// Number of the first frame of the run.
    pub first_frame: Option<u64>,
}

impl Rest {
    /// Number of accepted spans in the remainder.
    pub(crate) fn sources(&self) -> u64 {
        self.chunks.iter().map(|chunk| u64::from(chunk.sources)).sum()
    }
}

impl Stream {
    /// Takes the remainder of a run out of the stream.
    pub(crate) fn take(&mut self, id: &Id) -> Option<Rest> {
        let first_frame = self.runs.get(id)?.frames.first().copied();
        for seq in self.runs.get(id)?.frames.clone() {
            self.take_frame(seq);
        }
        let run = self.remove_run(id)?;
        let begun = run.written && run.start.is_none();
        let chunks: Vec<Chunk> = run.steps.into_values().filter_map(|step| step.chunk).collect();
        let trace = if run.trace.missing_field().is_none() { run.trace } else { headless(id, &chunks) };
        let rest = Rest { trace, chunks, written: run.written, begun, joined: run.joined, first_frame };
        self.pending -= rest.sources();
        Some(rest)
    }

    /// Puts the remainder of a run back, after the receiver refused it in another way.
    pub(crate) fn put_back(&mut self, id: &Id, rest: Rest, now: Duration) {
        let Rest { trace, chunks, first_frame, .. } = rest;
        let first_frame = first_frame.unwrap_or(self.next_seq);
        let mut is_news = false;
        self.change(id, |run| {
            run.written = true;
            is_news = run.stream_only.replace(first_frame).is_none();
        });
        self.stream_only += usize::from(is_news);
        self.begin(id, trace.clone());
        for chunk in chunks {
            if let Some(span) = chunk.read() {
                self.step_ended(id, &span, chunk);
            }
        }
        self.end(id, trace, now);
    }
}

/// Returns the trace of a run whose beginning was dropped; it starts with the first step that is left.
fn headless(id: &Id, chunks: &[Chunk]) -> Trace {
    let started = chunks.iter().find_map(|chunk| Some(chunk.read()?.started_at));
    let started = started.unwrap_or_else(|| Timestamp::from_unix_nanos(0));
    Trace { lossy: Some(true), ..Trace::started(id.clone(), started) }
}
