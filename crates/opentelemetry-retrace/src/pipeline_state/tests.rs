use super::*;
use crate::recording::flush_handle::Blocked;
use crate::recording::queue::Message;
use crate::recording::redact::Record;
use crate::testing::{chat, in_trace, span_data};
use foldhash::HashMap;
use http::StatusCode;
use proptest::prelude::*;
use std::time::Instant;

mod backlog;
mod hint;
mod hook;
mod schedules;
mod settlements;
mod span_type;
mod spool;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn config(redaction: Redaction) -> PipelineConfig {
    PipelineConfig {
        options: Options::default(),
        recorder: RecorderLimits::default(),
        ledger: LedgerLimits { bytes: 1 << 20, runs: 100, body_bytes: 1 << 20, in_flight: 4, keep: ms(60_000) },
        transport: Transport::Http,
        url: String::new(),
        rule: None,
        failures: Failures::default(),
        tail_sampler: TailSamplerLimits { bytes: 1 << 20, idle: ms(60_000) },
        redaction,
        bytes: 1 << 30,
        flush_wait: ms(5_000),
        seed: 7,
        spools: false,
        settlements: true,
    }
}

impl PipelineState {
    /// Counts the accepted spans, place by place.
    fn count_spans(&self) -> u64 {
        let before = self.backlog.count_spans() + self.tail_sampler.count_spans();
        before + self.recorder.open_spans() + self.ledger.count_spans()
    }
}

struct Stage {
    engine: PipelineState,
    /// Number of spans handed over.
    taken: u64,
    /// The same by trace.
    taken_of: HashMap<TraceId, u64>,
}

impl Stage {
    fn new(redaction: Redaction) -> Self {
        Self::with(config(redaction))
    }

    fn over(transport: Transport, redaction: Redaction) -> Self {
        Self::with(PipelineConfig { transport, ..config(redaction) })
    }

    fn with(config: PipelineConfig) -> Self {
        Self { engine: PipelineState::new(config), taken: 0, taken_of: HashMap::default() }
    }

    fn takes(&mut self, span: &SpanData) {
        self.taken += 1;
        *self.taken_of.entry(span.span_context.trace_id()).or_default() += 1;
    }

    fn seen(&mut self, seen: Vec<SpanEvent>, at: u64) {
        for seen in &seen {
            if let SpanEvent::Ended(span) = seen {
                self.takes(span);
            }
        }
        self.messages(vec![Message::Seen(seen.into_iter().collect())], at);
    }

    /// Opens the connection, and confirms every frame that is written to it; returns the frames.
    fn stream_all(&mut self, at: u64) -> Vec<serde_json::Value> {
        if self.engine.wants_link(ms(at)) {
            self.engine.link_opening();
            self.engine.incoming(Incoming::Open, ms(at));
        }
        let mut frames = Vec::new();
        while let Some(text) = self.engine.next_frame(ms(at)) {
            let frame: serde_json::Value = serde_json::from_slice(&text).unwrap();
            let ack = retrace_protocol::Ack::new("", frame["seq"].as_u64());
            frames.push(frame);
            self.engine.incoming(Incoming::Frame(ServerFrame::Ack(ack)), ms(at));
        }
        frames
    }

    fn messages(&mut self, messages: Vec<Message>, at: u64) {
        for message in &messages {
            if let Message::Spans { spans, .. } = message {
                spans.iter().for_each(|span| self.takes(span));
            }
        }
        self.engine.take(Taken { messages, ..Taken::default() }, ms(at));
    }

    fn spans(&mut self, spans: Vec<SpanData>, at: u64) {
        self.messages(vec![Message::Spans { spans, bytes: 0, wait: None }], at);
    }

    fn flush(&mut self, at: u64) -> Blocked {
        let (waiter, blocked) = FlushHandle::blocking();
        self.messages(vec![Message::Flush(waiter)], at);
        blocked
    }

    /// Makes every request that may be made now, and answers each with this status; returns the bodies.
    fn answer_all(&mut self, status: u16, at: u64) -> Vec<serde_json::Value> {
        let mut bodies = Vec::new();
        while let Some(sending) = self.engine.next_sending(ms(at)) {
            bodies.push(serde_json::from_str(&sending.body.to_text()).unwrap());
            let status = StatusCode::from_u16(status).unwrap();
            self.engine.answer(
                sending.serial,
                Answer::Status { status, retry_after: None, peer_message: None },
                ms(at),
            );
        }
        bodies
    }

    fn answered(&mut self, blocked: Blocked) -> Option<FlushOutcome> {
        for (waiter, waited) in self.engine.take_ended_waits() {
            waiter.answer(waited);
        }
        blocked.wait(Duration::ZERO).filter(|waited| *waited != FlushOutcome::TimedOut)
    }

    /// Returns the stats. Each accepted span is counted in them once, and pending spans are counted where
    /// they are held.
    fn stats(&self) -> crate::Stats {
        let stats = self.engine.account().stats(self.taken, &Lost::default(), 0);
        let held = self.engine.count_spans() + self.engine.ledger.leaving_elsewhere();
        assert_eq!(stats.pending, held, "the count is what is there: {stats:?}");
        let sum = stats.delivered + stats.lost.total() + stats.pending + stats.spooled;
        assert_eq!(sum, stats.accepted, "each span is in one place: {stats:?}");
        stats
    }
}

#[test]
fn a_flush_waits_for_what_has_ended_and_not_for_what_is_open() {
    let mut stage = Stage::new(Redaction::default());
    stage.spans(vec![chat(2, 1), span_data(1, 0, "root"), in_trace(chat(4, 3), 8)], 0);
    let blocked = stage.flush(0);
    let bodies = stage.answer_all(201, 0);
    assert_eq!((bodies.len(), bodies[0]["spans"].as_array().unwrap().len()), (1, 2));
    assert_eq!(stage.answered(blocked), Some(FlushOutcome::Done(Lost::default())));
    let stats = stage.stats();
    assert_eq!((stats.accepted, stats.delivered, stats.pending), (3, 2, 1));
}

#[test]
fn a_run_says_that_spans_were_refused_also_when_that_is_known_before_anything_else_of_it() {
    for together in [true, false] {
        let mut stage = Stage::new(Redaction::default());
        let span = chat(1, 0);
        let incomplete = [span.span_context.trace_id().to_bytes()].into();
        let messages = vec![Message::Spans { spans: vec![span], bytes: 0, wait: None }];
        if together {
            stage.engine.take(Taken { messages, incomplete, ..Taken::default() }, ms(0));
        } else {
            stage.engine.take(Taken { incomplete, ..Taken::default() }, ms(0));
            stage.messages(messages, 1);
        }
        let _blocked = stage.flush(2);
        let bodies = stage.answer_all(201, 2);
        assert_eq!((bodies.len(), &bodies[0]["lossy"]), (1, &serde_json::json!(true)), "{together}");
    }
}

#[test]
fn a_run_that_has_ended_does_not_linger_while_an_export_waits() {
    let mut stage = Stage::new(Redaction::default());
    let (waiter, blocked) = FlushHandle::blocking();
    stage.messages(vec![Message::Spans { spans: vec![chat(1, 0)], bytes: 0, wait: Some((waiter, ms(4_000))) }], 1_000);
    assert!(stage.engine.take_ended_waits().is_empty());
    assert_eq!(stage.answer_all(201, 1_000).len(), 1);
    assert_eq!(stage.answered(blocked), Some(FlushOutcome::Done(Lost::default())));
}

#[test]
fn a_wait_without_anything_to_wait_for_ends_at_once() {
    let mut stage = Stage::new(Redaction::default());
    let blocked = stage.flush(0);
    assert_eq!(stage.answered(blocked), Some(FlushOutcome::Done(Lost::default())));
}

#[test]
fn a_flush_tells_what_was_lost_meanwhile() {
    let mut stage = Stage::new(Redaction::default());
    stage.spans(vec![chat(1, 0)], 0);
    let blocked = stage.flush(0);
    stage.answer_all(400, 0);
    let Some(FlushOutcome::Done(lost)) = stage.answered(blocked) else { panic!("no end") };
    assert_eq!(lost.by(LossReason::Rejected), 1);
}

#[test]
fn a_first_failure_is_waited_out_and_a_lasting_one_is_not() {
    let mut stage = Stage::new(Redaction::default());
    stage.spans(vec![chat(1, 0)], 0);
    let blocked = stage.flush(0);
    stage.answer_all(503, 0);
    assert!(stage.engine.take_ended_waits().is_empty(), "it is tried again within the time");
    let retry = stage.engine.next_deadline(ms(0)).unwrap();
    assert!(retry <= ms(500));
    stage.engine.advance(ms(500));
    stage.answer_all(201, 500);
    assert_eq!(stage.answered(blocked), Some(FlushOutcome::Done(Lost::default())));

    stage.spans(vec![in_trace(chat(1, 0), 8)], 1_000);
    stage.engine.advance(ms(2_000));
    stage.answer_all(503, 2_000);
    let blocked = stage.flush(2_001);
    assert_eq!(stage.answer_all(503, 2_001).len(), 1, "somebody who waits gets an attempt of its own");
    assert_eq!(stage.answered(blocked), Some(FlushOutcome::Failing));
    assert_eq!(stage.stats().pending, 1);
}

#[test]
fn a_flush_does_not_wait_for_what_comes_after_it() {
    let mut stage = Stage::new(Redaction::default());
    let (waiter, blocked) = FlushHandle::blocking();
    let after = Message::Spans { spans: vec![chat(1, 0)], bytes: 0, wait: None };
    stage.messages(vec![Message::Flush(waiter), after], 0);
    assert_eq!(stage.answered(blocked), Some(FlushOutcome::Done(Lost::default())), "though both were taken in at once");
}

#[test]
fn a_flush_waits_for_the_answer_to_a_run_that_was_seen_to_begin() {
    let mut stage = Stage::new(Redaction::default());
    stage.taken += 1;
    stage.seen(vec![SpanEvent::Began(chat(1, 0)), SpanEvent::Ended(chat(1, 0))], 0);
    let blocked = stage.flush(1);
    assert!(stage.engine.take_ended_waits().is_empty(), "it is under way");
    assert_eq!(stage.answer_all(201, 1).len(), 1);
    assert_eq!(stage.answered(blocked), Some(FlushOutcome::Done(Lost::default())));
}

#[test]
fn a_wait_ends_with_its_time() {
    let mut stage = Stage::new(Redaction::default());
    stage.spans(vec![chat(1, 0)], 0);
    let (waiter, mut future) = FlushHandle::future();
    stage.messages(vec![Message::Flush(waiter)], 0);
    assert!(stage.engine.next_sending(ms(0)).is_some(), "and no answer comes");
    stage.engine.advance(ms(4_999));
    assert!(stage.engine.take_ended_waits().is_empty());
    stage.engine.advance(ms(5_000));
    for (waiter, waited) in stage.engine.take_ended_waits() {
        waiter.answer(waited);
    }
    assert_eq!(future.try_recv(), Ok(FlushOutcome::TimedOut));
}

#[test]
fn a_shutdown_sends_open_runs_as_far_as_they_came_and_gives_up_in_time() {
    let mut stage = Stage::new(Redaction::default());
    stage.spans(vec![chat(2, 1), in_trace(chat(1, 0), 8)], 0);
    let (waiter, blocked) = FlushHandle::blocking();
    stage.messages(vec![Message::Shutdown { called: Instant::now(), within: ms(1_000), waiter }], 0);
    let first = stage.engine.next_sending(ms(0)).unwrap();
    let second = stage.engine.next_sending(ms(0)).unwrap();
    let status = |body: &crate::delivery::Body| {
        serde_json::from_str::<serde_json::Value>(&body.to_text()).unwrap()["status"].clone()
    };
    assert_eq!((status(&first.body), status(&second.body)), ("completed".into(), "running".into()));
    let ok = Answer::Status { status: StatusCode::CREATED, retry_after: None, peer_message: None };
    stage.engine.answer(first.serial, ok, ms(10));
    assert!(!stage.engine.is_finished());
    assert_eq!(stage.engine.next_deadline(ms(0)), Some(ms(1_000)));
    stage.engine.advance(ms(1_000));
    let Some(FlushOutcome::Done(lost)) = stage.answered(blocked) else { panic!("no end") };
    assert_eq!((lost.by(LossReason::Shutdown), stage.stats().delivered), (1, 1));
    assert!(stage.engine.is_finished());
}

#[test]
fn a_shutdown_retries_soon_and_not_at_all_when_the_receiver_wants_it_later() {
    let mut stage = Stage::new(Redaction::default());
    stage.spans(vec![chat(1, 0)], 0);
    let (waiter, blocked) = FlushHandle::blocking();
    stage.messages(vec![Message::Shutdown { called: Instant::now(), within: ms(5_000), waiter }], 0);
    for at in [0, 500, 1_000] {
        stage.engine.advance(ms(at));
        assert_eq!(stage.answer_all(503, at).len(), 1, "at {at} ms");
    }
    stage.engine.advance(ms(1_500));
    let sending = stage.engine.next_sending(ms(1_500)).unwrap();
    let later =
        Answer::Status { status: StatusCode::SERVICE_UNAVAILABLE, retry_after: Some(ms(60_000)), peer_message: None };
    stage.engine.answer(sending.serial, later, ms(1_500));
    assert!(matches!(stage.answered(blocked), Some(FlushOutcome::Done(lost)) if lost.by(LossReason::Shutdown) == 1));
}

#[test]
fn spans_refused_at_the_door_mark_their_run() {
    let mut stage = Stage::new(Redaction::default());
    stage.spans(vec![chat(2, 1)], 0);
    let incomplete = HashSet::from([7_u128.to_be_bytes()]);
    stage.engine.take(Taken { incomplete, ..Taken::default() }, ms(0));
    stage.spans(vec![span_data(1, 0, "root")], 0);
    stage.flush(0);
    assert_eq!(stage.answer_all(201, 0)[0]["lossy"], true);
}

#[test]
fn pain_09_after_a_panic_what_was_in_hand_is_lost_and_the_rest_goes_on() {
    let mut stage = Stage::new(Redaction::default());
    stage.spans(vec![chat(1, 0), in_trace(chat(2, 9), 8)], 0);
    stage.engine.advance(ms(250));
    assert!(stage.engine.next_sending(ms(250)).is_some());
    stage.engine.recover(ms(0));
    let stats = stage.stats();
    assert_eq!((stats.pending, stats.lost.by(LossReason::Internal), stats.restarts), (1, 1, 1));
    assert_eq!(stage.answer_all(409, 250).len(), 1, "the request is made again, and may have landed before");
    assert_eq!(stage.stats().delivered, 1);
}

#[test]
fn the_resource_holds_from_when_it_was_said() {
    let mut stage = Stage::new(Redaction::default());
    let resource = Resource::from_attributes([("service.name", retrace_translate::Value::from("shop"))]);
    stage.messages(vec![Message::Resource(Arc::new(resource))], 0);
    stage.spans(vec![chat(1, 0)], 0);
    stage.flush(0);
    assert_eq!(stage.answer_all(201, 0)[0]["metadata"]["service"]["name"], "shop");
}

proptest! {
    /// P13: at every step of any schedule, delivered + lost + pending = accepted, and the pending spans are
    /// really held.
    #[test]
    fn pain_13_the_sum_holds_at_every_step(
        steps in prop::collection::vec((0_u8..10, 0_u64..6, 0_u64..6, 1_u128..5, 0_u64..700), 1..80),
    ) {
        let mut stage = Stage::new(Redaction::new(Some(Arc::new(|record| match record {
            Record::Span(span) if span.started_at.unix_micros() == Some(3_000_000) => None,
            record => Some(record),
        }))));
        let (mut now, mut serials, mut waits) = (0, Vec::new(), Vec::new());
        for (step, id, parent, trace, pause) in steps {
            now += pause;
            match step {
                0..=4 => {
                    let span = if id % 3 == 0 { span_data(id + 1, parent, "s") } else { chat(id + 1, parent) };
                    stage.spans(vec![in_trace(span, trace)], now);
                }
                5 => waits.push(stage.flush(now)),
                6..=7 => serials.extend(stage.engine.next_sending(ms(now)).map(|sending| sending.serial)),
                8 => if let Some(serial) = serials.pop() {
                    let status = StatusCode::from_u16([201, 409, 413, 503, 400, 429][usize::try_from(id).unwrap()]).unwrap();
                    stage.engine.answer(serial, Answer::Status { status, retry_after: None, peer_message: None }, ms(now));
                },
                _ => stage.engine.advance(ms(now)),
            }
            let stats = stage.stats();
            prop_assert_eq!(stats.delivered + stats.lost.total() + stats.pending, stats.accepted);
            prop_assert_eq!(stats.accepted + stats.set_aside, stage.taken);
        }
        let (waiter, blocked) = FlushHandle::blocking();
        stage.messages(vec![Message::Shutdown { called: Instant::now(), within: ms(0), waiter }], now);
        let stats = stage.stats();
        prop_assert_eq!((stats.pending, stats.delivered + stats.lost.total()), (0, stats.accepted));
        prop_assert!(matches!(stage.answered(blocked), Some(FlushOutcome::Done(_))));
        prop_assert!(stage.engine.is_finished());
    }
}

fn kinds(frames: &[serde_json::Value]) -> Vec<&str> {
    frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect()
}

fn tool(id: u64, parent: u64) -> SpanData {
    let mut span = span_data(id, parent, "tool");
    span.attributes = vec![opentelemetry::KeyValue::new("gen_ai.operation.name", "execute_tool")];
    span
}

#[test]
fn a_run_is_told_while_it_happens_and_a_flush_waits_for_what_was_said() {
    let mut stage = Stage::over(Transport::Ws, Redaction::default());
    stage.seen(vec![SpanEvent::Began(span_data(1, 0, "root")), SpanEvent::Began(tool(2, 1))], 0);
    let blocked = stage.flush(0);
    assert!(stage.engine.take_ended_waits().is_empty(), "nothing is confirmed");
    assert_eq!(kinds(&stage.stream_all(0)), ["trace_started", "span_started", "span_started"]);
    assert_eq!(stage.answered(blocked), Some(FlushOutcome::Done(Lost::default())));
    stage.seen(vec![SpanEvent::Ended(tool(2, 1)), SpanEvent::Ended(span_data(1, 0, "root"))], 1);
    let blocked = stage.flush(1);
    assert_eq!(kinds(&stage.stream_all(1)), ["span_ended", "span_ended", "trace_ended"]);
    assert_eq!(stage.answered(blocked), Some(FlushOutcome::Done(Lost::default())));
    assert_eq!((stage.stats().accepted, stage.stats().delivered), (2, 2));
}

#[test]
fn of_a_run_that_is_let_go_nothing_waits_for_more() {
    let mut limits = config(Redaction::default());
    (limits.transport, limits.recorder.runs) = (Transport::Ws, 1);
    let mut stage = Stage::with(limits);
    stage.seen(vec![SpanEvent::Began(span_data(1, 0, "root")), SpanEvent::Began(tool(2, 1))], 0);
    // Another run takes its room before the queue reports that spans of it were refused.
    stage.seen(vec![SpanEvent::Began(in_trace(tool(3, 0), 8))], 1);
    let incomplete = [7_u128.to_be_bytes()].into();
    stage.engine.take(Taken { incomplete, ..Taken::default() }, ms(1));
    let blocked = stage.flush(1);
    let cause = ["trace_started", "span_started", "span_started", "trace_started", "span_started"];
    assert_eq!(kinds(&stage.stream_all(1)), cause);
    assert_eq!(stage.answer_all(200, 1), [serde_json::json!({"lossy": true})]);
    assert_eq!(stage.answered(blocked), Some(FlushOutcome::Done(Lost::default())));
}

#[test]
fn over_http_a_flush_does_not_wait_for_a_run_under_way() {
    let mut stage = Stage::new(Redaction::default());
    stage.seen(
        vec![SpanEvent::Began(span_data(1, 0, "root")), SpanEvent::Began(tool(2, 1)), SpanEvent::Ended(tool(2, 1))],
        0,
    );
    let blocked = stage.flush(0);
    assert_eq!(stage.answered(blocked), Some(FlushOutcome::Done(Lost::default())));
    assert_eq!((stage.stats().accepted, stage.stats().pending), (1, 1));
    stage.seen(vec![SpanEvent::Ended(span_data(1, 0, "root"))], 1);
    stage.flush(1);
    let bodies = stage.answer_all(201, 1);
    assert_eq!((bodies.len(), bodies[0]["spans"].as_array().unwrap().len()), (1, 2));
    assert_eq!(stage.stats().delivered, 2);
}

#[test]
fn after_a_halt_what_is_recorded_is_sent_and_the_rest_is_counted() {
    let mut stage = Stage::over(Transport::Auto, Redaction::default());
    stage.seen(vec![SpanEvent::Began(span_data(1, 0, "root")), SpanEvent::Began(tool(2, 1))], 0);
    stage.stream_all(0);
    stage.seen(vec![SpanEvent::Ended(tool(2, 1))], 1);
    let halt = ServerFrame::parse(r#"{"type":"halt","data":{"reason":"budget"}}"#).unwrap();
    stage.engine.incoming(Incoming::Frame(halt.clone()), ms(1));
    stage.engine.incoming(Incoming::Frame(halt), ms(1));
    assert_eq!(kinds(&stage.stream_all(1)), ["span_ended"]);
    assert!(stage.engine.leaves_link());
    stage.seen(
        vec![SpanEvent::Began(tool(3, 1)), SpanEvent::Ended(tool(3, 1)), SpanEvent::Ended(span_data(1, 0, "root"))],
        2,
    );
    assert!(stage.stream_all(2).is_empty());
    let signals: Vec<_> = stage.engine.take_notices().iter().map(Notice::signal).collect();
    let codes: Vec<_> = signals.iter().map(|signal| (signal.code, signal.fatal)).collect();
    assert_eq!(codes, [(SignalCode::Halt, true), (SignalCode::SpansLost, false)]);
    assert!(signals[0].message.contains("budget"));
    let stats = stage.stats();
    assert_eq!((stats.accepted, stats.delivered, stats.lost.by(LossReason::Halted)), (3, 1, 2));
}

#[test]
fn the_hook_sees_every_record_of_a_live_run_and_its_children_hang_from_above() {
    let hook = |record: Record| match record {
        Record::Span(span) if span.name == "tool" => None,
        Record::Span(span) if span.name == "bad" => panic!("in the hook"),
        record => Some(record),
    };
    let mut stage = Stage::over(Transport::Ws, Redaction::new(Some(Arc::new(hook))));
    let mut bad = tool(4, 1);
    bad.name = "bad".into();
    let mut below = tool(3, 2);
    below.name = "below".into();
    let began = [&span_data(1, 0, "root"), &tool(2, 1), &below, &bad].map(|span| SpanEvent::Began(span.clone()));
    stage.seen(began.into(), 0);
    stage.seen([below, tool(2, 1), bad, span_data(1, 0, "root")].map(SpanEvent::Ended).into(), 1);
    stage.flush(1);
    let frames = stage.stream_all(1);
    let names: Vec<_> = frames.iter().filter_map(|frame| frame["data"]["name"].as_str()).collect();
    assert_eq!(names, ["root", "root", "below"]);
    let of = |name: &str| frames.iter().find(|frame| frame["data"]["name"] == name).unwrap();
    assert_eq!(of("below")["data"]["parent_id"], frames[1]["data"]["id"], "what stands between is not sent");
    let end = frames.last().unwrap();
    assert_eq!((end["type"].as_str(), &end["data"]["span_count"]), (Some("trace_ended"), &2.into()));
    assert_eq!(end["data"]["lossy"], true, "a panic is a loss");
    let lost = stage.stats().lost;
    assert_eq!((lost.by(LossReason::BeforeSend), lost.by(LossReason::BeforeSendPanicked)), (1, 1));
}

#[test]
fn a_run_that_the_hook_keeps_back_is_kept_back_whole() {
    let hook = |record: Record| matches!(record, Record::Span(_)).then_some(record);
    let mut stage = Stage::over(Transport::Ws, Redaction::new(Some(Arc::new(hook))));
    stage.seen(vec![SpanEvent::Began(span_data(1, 0, "root")), SpanEvent::Began(tool(2, 1))], 0);
    stage.seen(vec![SpanEvent::Ended(tool(2, 1)), SpanEvent::Ended(span_data(1, 0, "root"))], 1);
    stage.flush(1);
    assert!(stage.stream_all(1).is_empty());
    assert_eq!((stage.stats().lost.by(LossReason::BeforeSend), stage.stats().pending), (2, 0));
    assert!(stage.engine.kept_back.is_empty());
}

#[test]
fn of_runs_that_were_not_sampled_those_that_failed_are_sent_whole() {
    let unsampled = |mut span: SpanData| {
        let context = &span.span_context;
        let (trace_id, span_id) = (context.trace_id(), context.span_id());
        span.span_context = opentelemetry::trace::SpanContext::new(
            trace_id,
            span_id,
            opentelemetry::trace::TraceFlags::default(),
            false,
            opentelemetry::trace::TraceState::default(),
        );
        span
    };
    for transport in [Transport::Http, Transport::Ws] {
        let mut stage = Stage::over(transport, Redaction::default());
        for trace in 1..=20 {
            let [root, mut child] = [span_data(1, 0, "root"), chat(2, 1)].map(|span| unsampled(in_trace(span, trace)));
            if trace % 10 == 0 {
                child.status = opentelemetry::trace::Status::error("no");
            }
            stage.seen(vec![SpanEvent::Began(root.clone()), SpanEvent::Began(child.clone())], 0);
            stage.seen(vec![SpanEvent::Ended(child), SpanEvent::Ended(root)], 0);
        }
        stage.flush(0);
        let streamed = stage.stream_all(0).iter().filter(|frame| frame["type"] == "trace_ended").count();
        let posted = stage.answer_all(201, 0).len();
        assert_eq!(streamed + posted, 2, "{transport:?}");
        let stats = stage.stats();
        assert_eq!((stats.delivered, stats.set_aside, stats.pending), (4, 36, 0));
    }
}
