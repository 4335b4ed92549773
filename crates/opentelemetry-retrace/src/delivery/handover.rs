//! Change of the transport of a run: its buffer passes from the streamed runs to the requests, or back, as it is.

use std::time::Duration;

use retrace_protocol::{Id, Status, TracePatch};

use crate::delivery::ledger::Ledger;
use crate::delivery::request::{Content, Request};
use crate::delivery::run_buffer::RunBuffer;
use crate::delivery::ws_frames::Event;

impl Ledger {
    /// Lets a request carry what the receiver lacks of a streamed run.
    pub(super) fn hand_over(&mut self, id: &Id, now: Duration) {
        let first_frame = self.run(id).and_then(|run| run.frames.front().copied());
        let Some(mut run) = self.take_run(id) else { return };
        // The receiver knows that these have begun.
        run.retain(|step| step.span.is_some());
        run.ensure_head(id);
        let begun = run.written && run.start.is_none();
        let has_spans = run.has_spans();
        if run.joined && !has_spans {
            return self.leave_incomplete(id, &run, first_frame, now);
        }
        if run.written && !run.joined && run.trace.ended_at.is_none() {
            if begun && !has_spans {
                // The receiver has everything, and the run has no end to send.
                return self.leave_incomplete(id, &run, first_frame, now);
            }
            run.trace.lossy = Some(true);
        }
        self.policy.passed_by();
        let is_begun = run.written && !run.joined;
        // The receiver has everything but the end.
        let request = if begun && !run.joined && !has_spans {
            Request::patch(id.clone(), TracePatch::of(&run.trace), now)
        } else {
            Request::new(id.clone(), Content::Create(run), now)
        };
        self.insert(Request { begun: is_begun, first_frame, ..request });
    }

    fn leave_incomplete(&mut self, id: &Id, run: &RunBuffer, first_frame: Option<u64>, now: Duration) {
        if run.trace.lossy == Some(true) {
            self.push_incomplete(id.clone(), first_frame, now);
        }
    }

    /// Adds a change that marks a streamed run as lossy.
    pub(super) fn push_incomplete(&mut self, id: Id, first_frame: Option<u64>, now: Duration) {
        let patch = TracePatch { lossy: Some(true), ..TracePatch::default() };
        self.insert(Request { first_frame, ..Request::patch(id, patch, now) });
    }

    /// Lets the stream carry a run that the receiver refused as a request. Returns false if that is not possible.
    pub(super) fn hand_back(&mut self, number: u64, now: Duration) -> bool {
        let is_streamed = |request: &Request| self.streamed.contains_key(&request.id);
        if self.requests.get(&number).is_none_or(|request| request.run().is_none() || is_streamed(request)) {
            return false;
        }
        let Some(Request { id, content: Content::Create(mut run), first_frame, .. }) = self.remove_request(number)
        else {
            return false;
        };
        run.written = true;
        run.stream_only = Some(first_frame.unwrap_or_else(|| self.frames.next_seq()));
        run.over = Some(now);
        (run.start, run.end) = (None, None);
        let places: Vec<u32> = run.steps().map(|(place, _)| place).collect();
        self.add_run(&id, run);
        self.enqueue_start(&id);
        for place in places {
            self.enqueue_step(&id, Some(place), Event::SpanStarted);
            let has_ended = self.run(&id).and_then(|run| run.step(place)?.events.as_ref()?.ended.as_ref()).is_some();
            self.enqueue_step(&id, Some(place).filter(|_| has_ended), Event::SpanEnded);
        }
        if self.run(&id).is_some_and(|run| run.trace.status != Some(Status::Running)) {
            self.enqueue_end(&id);
        }
        true
    }

    /// Adds a request.
    pub(super) fn insert(&mut self, request: Request) {
        self.requests_weight += request.weight();
        self.pending += request.sources();
        self.requests.insert(self.next_request, request);
        self.next_request += 1;
        self.make_room_in_requests(self.limits.bytes);
    }

    /// Takes a request out.
    pub(super) fn remove_request(&mut self, number: u64) -> Option<Request> {
        let request = self.requests.remove(&number)?;
        self.requests_weight -= request.weight();
        self.pending -= request.sources();
        self.in_flight -= usize::from(request.in_flight);
        Some(request)
    }

    /// Changes a request, and the counts with it.
    pub(super) fn change_request<T>(&mut self, number: u64, change: impl FnOnce(&mut Request) -> T) -> Option<T> {
        let request = self.requests.get_mut(&number)?;
        let (weight, sources) = (request.weight(), request.sources());
        let changed = change(request);
        self.requests_weight = self.requests_weight - weight + request.weight();
        self.pending = self.pending - sources + request.sources();
        Some(changed)
    }
}
