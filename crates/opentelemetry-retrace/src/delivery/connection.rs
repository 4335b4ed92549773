//! The connection of the stream: when it is opened, what is written to it, and what arrives over it.

use std::time::Duration;

use bytes::Bytes;
use retrace_protocol::{Ack, Id, ServerFrame, Signal, SignalCode};

use crate::config::Transport;
use crate::delivery::exchange::{CloseReason, Closed};
use crate::delivery::ledger::Ledger;
use crate::delivery::notice::Cause;
use crate::delivery::ws_frames::{self, Event, Frame, Written};
use crate::stats::LossReason;
use crate::stats::settlement::Outcome;

impl Ledger {
    /// Returns true if a connection is to be opened now.
    pub(crate) fn wants_link(&self, now: Duration) -> bool {
        self.policy.wants_link(self.needs_link(), now)
    }

    /// Returns true if frames wait for a connection, or commands arrive over it.
    pub(super) fn needs_link(&self) -> bool {
        !self.frames.is_empty() || (self.serves && self.closing.is_none())
    }

    /// Sets whether commands of the receiver are accepted.
    pub(crate) fn set_serving(&mut self, serves: bool) {
        self.serves = serves;
    }

    /// Returns false if no connection will be opened any more.
    pub(crate) fn has_stream(&self) -> bool {
        self.policy.has_stream() && !self.refused
    }

    pub(crate) fn link_opening(&mut self) {
        self.policy.opening();
    }

    pub(crate) fn link_opened(&mut self) {
        self.reached = true;
        let was_by_request = self.policy.is_by_request();
        self.policy.opened();
        if was_by_request && !self.policy.is_by_request() {
            self.remark("runs are streamed again".to_owned());
        }
        self.frames.disconnected();
    }

    pub(crate) fn link_closed(&mut self, closed: Closed, now: Duration) {
        self.frames.disconnected();
        let was_by_request = self.policy.is_by_request();
        let is_news = self.policy.closed(closed.reason, now);
        let Closed { reason, cause, peer_message } = closed;
        let cause = Cause { text: cause, peer_message };
        if reason == CloseReason::Unauthorized && self.transport == Transport::Ws {
            let cause = Cause { text: format!("{}: check RETRACE_API_KEY", cause.text), ..cause };
            self.notice(cause.notice(SignalCode::Unauthorized, "nothing is sent"));
            self.refused = true;
            self.abandon_all(LossReason::Unauthorized, now);
        } else if self.policy.is_failing() {
            if is_news {
                let kept = self.pending();
                let text = format!("{kept} spans are kept and the connection is tried again");
                self.notice(cause.notice(SignalCode::Unreachable, &text));
            }
        } else if self.policy.is_by_request() && !was_by_request {
            self.remark(format!("runs are sent by HTTP when they have ended, as there is no stream: {}", cause.text));
        }
    }

    /// Handles the end of the connection with the worker that had it.
    pub(super) fn link_lost_with_worker(&mut self, now: Duration) {
        self.link_closed(Closed::new(CloseReason::Ended, "the worker was started again"), now);
    }

    /// Returns the next frame to write, if the connection is open and a frame may be written now. A frame is kept
    /// until it is confirmed. A new frame is written only if there is room for its text beside its record, unless no
    /// other frame waits for an ack, so that writing it displaces no other data.
    pub(crate) fn next_frame(&mut self, now: Duration) -> Option<Bytes> {
        if !self.policy.is_open() {
            return None;
        }
        let room = self.limits.bytes.saturating_sub(self.weight());
        loop {
            let (seq, frame) = self.frames.next()?;
            let mut run = self.streamed.get_mut(&frame.run);
            let text = run.as_ref().and_then(|run| ws_frames::text(seq, frame, run));
            if !self.frames.write(seq, text.as_ref(), room, now) {
                return None;
            }
            if text.is_none() {
                // The step or run of this frame has been dropped.
                self.take_frame(seq);
                continue;
            }
            if let Some(run) = &mut run {
                run.written = true;
            }
            return text;
        }
    }

    /// Returns up to which frame the present connection is written and confirmed.
    pub(crate) fn written(&self) -> Written {
        self.frames.progress()
    }

    /// Returns the reason to give up the present connection, if there is one.
    pub(crate) fn gives_up_link(&self, now: Duration) -> Option<Closed> {
        let stalled = self.policy.is_open() && self.frames.confirmed_until().is_some_and(|until| until <= now);
        stalled.then(|| Closed::new(CloseReason::Lost, "the receiver confirmed nothing for too long"))
    }

    /// Handles acks.
    pub(crate) fn acks(&mut self, acks: &[Ack], now: Duration) {
        self.policy.confirmed();
        acks.iter().for_each(|ack| self.ack(ack, now));
    }

    fn ack(&mut self, ack: &Ack, now: Duration) {
        let seq = ack.seq_number().or_else(|| self.oldest_frame_about(&Id::from(ack.id.as_deref()?)));
        if let Some(seq) = seq.filter(|seq| self.frames.get(*seq).is_some_and(Frame::is_written)) {
            self.frames.confirmed(now);
            self.confirm(seq);
        }
    }

    /// Returns the oldest written frame about this trace or span.
    fn oldest_frame_about(&self, id: &Id) -> Option<u64> {
        let is_span = |run: &Id, place| {
            let step = self.run(run).and_then(|run| run.step(place)?.events.as_ref());
            step.is_some_and(|events| events.id == *id)
        };
        let mut written = self.frames.written_frames();
        let found = written.find(|(_, frame)| match frame.event.place() {
            None => frame.run == *id,
            Some(place) => is_span(&frame.run, place),
        });
        found.map(|(seq, _)| seq)
    }

    /// Removes a frame that is confirmed. A step whose frames are all confirmed is delivered.
    fn confirm(&mut self, seq: u64) {
        let Some(Frame { run: id, event, .. }) = self.frames.take(seq) else { return };
        let confirmed = self.change(&id, |run| {
            run.forget_frame(seq);
            let delivered = match event {
                Event::TraceStarted => {
                    run.start = run.start.filter(|start| *start != seq);
                    0
                }
                Event::TraceEnded => {
                    run.end = run.end.filter(|end| *end != seq);
                    0
                }
                Event::SpanStarted(place) | Event::SpanEnded(place) => {
                    let is_confirmed = run.change(place, |step| {
                        let Some(events) = &mut step.events else { return false };
                        if events.start == Some(seq) {
                            events.start = None;
                            if events.ended.is_none() {
                                step.span = None;
                            }
                        }
                        events.end = events.end.filter(|end| *end != seq);
                        step.is_confirmed()
                    });
                    let step = if is_confirmed == Some(true) { run.remove(place) } else { None };
                    step.map_or(0, |step| u64::from(step.sources))
                }
            };
            (delivered, run.is_done())
        });
        let Some((delivered, is_done)) = confirmed else { return };
        self.settle(&id, delivered, Outcome::Delivered);
        if is_done {
            self.forget_if_done(&id);
        }
    }

    /// Handles a frame that the receiver rejects for good: drops its content. Returns the number of accepted
    /// spans lost, or `None` for a frame that is not written or is confirmed already.
    pub(super) fn refuse(&mut self, seq: u64) -> Option<u64> {
        let frame = self.frames.get(seq).filter(|frame| frame.is_written())?;
        let (id, event) = (frame.run.clone(), frame.event);
        let lost = event.place().and_then(|place| self.drop_step(&id, place, LossReason::Rejected));
        if lost.is_none() {
            self.confirm(seq);
        }
        Some(lost.unwrap_or(0))
    }

    /// Handles a frame of the receiver, except `halt` and commands, which the engine handles.
    pub(crate) fn frame(&mut self, frame: ServerFrame, now: Duration) {
        match frame {
            ServerFrame::Ack(ack) => self.acks(&[ack], now),
            ServerFrame::Error { error, other } => {
                let signal = Signal::from_error(error.as_deref());
                let cause =
                    Cause { text: "the receiver reports an error".to_owned(), peer_message: Some(signal.message) };
                // An error may carry the number of the frame that it refers to; that frame is not sent again.
                let seq = other.get("seq").and_then(serde_json::Value::as_u64);
                let consequence = match seq.and_then(|seq| self.refuse(seq)) {
                    Some(spans) => format!("{spans} spans are lost"),
                    None => "recording goes on".to_owned(),
                };
                self.notice(cause.notice(signal.code, &consequence));
            }
            ServerFrame::Unknown(_) => {
                self.remark("the receiver sent a frame of an unknown kind; it is ignored".to_owned());
            }
            // Greetings, and events of other connections of the account.
            _ => {}
        }
    }
}
