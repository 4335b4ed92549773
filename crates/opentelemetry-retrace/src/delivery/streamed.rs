//! Runs that are recorded or streamed, and the frames of their events.

use std::time::Duration;

use retrace_protocol::Id;

use crate::config::Transport;
use crate::delivery::ledger::Ledger;
use crate::delivery::run_buffer::RunBuffer;
use crate::delivery::ws_frames::{Event, Frames};
use crate::stats::LossReason;
use crate::stats::settlement::Outcome;

/// Number of dropped runs that are remembered.
const DROPPED_RUNS: usize = 256;

impl Ledger {
    pub(super) fn run(&self, id: &Id) -> Option<&RunBuffer> {
        self.streamed.get(id).map(|run| &**run)
    }

    /// Adds an empty run, if there is none with this id; returns true if it does.
    pub(super) fn open(&mut self, id: &Id) -> bool {
        if self.streamed.contains_key(id) {
            return false;
        }
        let mut run = Box::new(RunBuffer::new(self.next_run));
        run.trace.lossy = self.dropped.contains(id).then_some(true);
        self.add_run(id, run);
        true
    }

    /// Adds a run, the youngest one.
    pub(super) fn add_run(&mut self, id: &Id, mut run: Box<RunBuffer>) {
        run.serial = self.next_run;
        self.next_run += 1;
        self.by_age.insert(run.serial, id.clone());
        if let Some(since) = run.over {
            self.over.insert((since, run.serial));
        }
        self.stream_only += usize::from(run.stream_only.is_some());
        self.runs_weight += run.weight();
        self.pending += run.sources();
        self.streamed.insert(id.clone(), run);
    }

    /// Takes a run out, without its frames.
    pub(super) fn take_run(&mut self, id: &Id) -> Option<Box<RunBuffer>> {
        let mut run = self.streamed.remove(id)?;
        for seq in std::mem::take(&mut run.frames) {
            self.frames.take(seq);
        }
        self.by_age.remove(&run.serial);
        if let Some(since) = run.over {
            self.over.remove(&(since, run.serial));
        }
        self.stream_only -= usize::from(run.stream_only.is_some());
        self.runs_weight -= run.weight();
        self.pending -= run.sources();
        Some(run)
    }

    /// Changes a run, and the counts with it.
    pub(super) fn change<T>(&mut self, id: &Id, change: impl FnOnce(&mut RunBuffer) -> T) -> Option<T> {
        self.change_with_frames(id, |run, _| change(run))
    }

    /// Changes a run and its frames, and the counts with it.
    pub(super) fn change_with_frames<T>(
        &mut self,
        id: &Id,
        change: impl FnOnce(&mut RunBuffer, &mut Frames) -> T,
    ) -> Option<T> {
        let run = self.streamed.get_mut(id)?;
        let (weight, sources) = (run.weight(), run.sources());
        let changed = change(run, &mut self.frames);
        self.runs_weight = self.runs_weight - weight + run.weight();
        self.pending = self.pending - sources + run.sources();
        Some(changed)
    }

    pub(super) fn is_over(&mut self, id: &Id, now: Duration) {
        let before = self.change(id, |run| (run.over.replace(now), run.serial));
        if let Some((before, serial)) = before {
            before.map(|since| self.over.remove(&(since, serial)));
            self.over.insert((now, serial));
        }
    }

    /// Adds a frame of the event, unless the transport has no stream.
    fn enqueue(&mut self, id: &Id, event: Event) -> Option<u64> {
        if self.transport == Transport::Http {
            return None;
        }
        self.change_with_frames(id, |run, frames| frames.enqueue_of(run, id, event))
    }

    /// Adds a `trace_started`, unless one waits to be written.
    pub(super) fn enqueue_start(&mut self, id: &Id) {
        let start = self.run(id).and_then(|run| run.start);
        if !self.frames.is_unwritten(start) {
            let seq = self.enqueue(id, Event::TraceStarted);
            self.change(id, |run| run.start = seq);
        }
    }

    pub(super) fn enqueue_end(&mut self, id: &Id) {
        let seq = self.enqueue(id, Event::TraceEnded);
        self.change(id, |run| run.end = seq);
    }

    /// Adds a frame of a step, unless the transport has no stream.
    pub(super) fn enqueue_step(&mut self, id: &Id, place: Option<u32>, event: fn(u32) -> Event) {
        let Some(place) = place.filter(|_| self.transport != Transport::Http) else { return };
        self.change_with_frames(id, |run, frames| frames.enqueue_step(run, id, place, event));
    }

    /// Removes a frame from the table and from its run.
    pub(super) fn take_frame(&mut self, seq: u64) {
        if let Some(frame) = self.frames.take(seq)
            && let Some(run) = self.streamed.get_mut(&frame.run)
        {
            run.forget_frame(seq);
        }
    }

    /// Marks a run as lossy, and sends its end again if the end was written without the mark.
    pub(super) fn mark_lossy(&mut self, id: &Id) {
        let marked = self.change(id, |run| {
            let is_news = run.trace.lossy.replace(true) != Some(true);
            (is_news && run.has_ended()).then_some(run.end)
        });
        if let Some(end) = marked.flatten()
            && !self.frames.is_unwritten(end)
        {
            self.enqueue_end(id);
        }
    }

    /// Drops a step, whose spans are lost; returns their number.
    pub(super) fn drop_step(&mut self, id: &Id, place: u32, reason: LossReason) -> Option<u64> {
        let step = self.change(id, |run| run.remove(place))??;
        for seq in step.events.iter().flat_map(|events| events.start.into_iter().chain(events.end)) {
            self.take_frame(seq);
        }
        let lost = u64::from(step.sources);
        self.settle(id, lost, Outcome::Lost(reason));
        if lost > 0 {
            self.mark_lossy(id);
        }
        self.forget_if_done(id);
        Some(lost)
    }

    /// Drops the oldest step that is not fully confirmed; the beginning and the end of a trace stay. Returns
    /// the number of spans lost, or `None` when no step is left.
    pub(super) fn drop_oldest_step(&mut self) -> Option<u64> {
        let of_frame = self.frames.find(|frame| frame.event.place().is_some());
        let of_frame = of_frame.and_then(|frame| Some((frame.run.clone(), frame.event.place()?)));
        let (id, place) = of_frame.or_else(|| {
            let runs = self.by_age.values().filter_map(|id| Some((id, self.run(id)?)));
            runs.flat_map(|(id, run)| run.steps().map(move |(place, step)| (id, place, step)))
                .find(|(_, _, step)| step.span.is_some())
                .map(|(id, place, _)| (id.clone(), place))
        })?;
        self.drop_step(&id, place, LossReason::BufferFull)
    }

    /// Drops the oldest run; returns the number of spans lost.
    pub(super) fn drop_oldest_run(&mut self) -> Option<u64> {
        let id = self.by_age.values().next()?.clone();
        let run = self.take_run(&id)?;
        if run.written {
            // It is not known if more of this run follows.
            self.incomplete.push((id.clone(), run.first_frame));
        }
        if self.dropped.len() >= DROPPED_RUNS {
            self.dropped.pop_front();
        }
        self.settle(&id, run.sources(), Outcome::Lost(LossReason::BufferFull));
        self.dropped.push_back(id);
        Some(run.sources())
    }

    pub(super) fn forget_if_done(&mut self, id: &Id) {
        if self.transport == Transport::Http || !self.run(id).is_some_and(RunBuffer::is_done) {
            return;
        }
        if let Some(run) = self.take_run(id)
            && run.written
            && !run.has_ended()
            && run.trace.lossy == Some(true)
        {
            self.incomplete.push((id.clone(), run.first_frame));
        }
    }

    /// Runs that receive no more events, in the order in which that became known.
    pub(super) fn over_runs(&self) -> impl Iterator<Item = (Duration, &Id, &RunBuffer)> {
        let ids = self.over.iter().filter_map(|(since, serial)| Some((*since, self.by_age.get(serial)?)));
        ids.filter_map(|(since, id)| Some((since, id, self.run(id)?)))
    }

    /// Returns true if a frame below `seq` is missing from a run that only the stream can complete.
    pub(super) fn has_stream_only_before(&self, seq: u64) -> bool {
        self.stream_only > 0 && self.over_runs().any(|(_, _, run)| run.stream_only.is_some_and(|first| first < seq))
    }
}
