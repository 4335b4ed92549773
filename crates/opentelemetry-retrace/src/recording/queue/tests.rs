use super::*;
use crate::testing::span_data;
use futures_util::FutureExt as _;

/// Hands spans over without waiting; returns the number of refused spans.
fn push_spans(queue: &Queue, spans: Vec<SpanData>) -> Result<u64, Closed> {
    let lost = queue.admit(spans, None, None).now_or_never().expect("it does not wait")?;
    assert_eq!(lost.total(), lost.by(LossReason::QueueFull));
    Ok(lost.total())
}

#[test]
fn what_does_not_fit_is_refused_and_counted_and_its_trace_is_known() {
    let one = room::MESSAGE + weight(&span_data(1, 0, "s"));
    let queue = Queue::new(one * 3);
    let spans = |range: std::ops::Range<u64>| range.map(|n| span_data(n, 0, "s")).collect::<Vec<_>>();
    assert_eq!(push_spans(&queue, spans(1..3)), Ok(0));
    assert_eq!(push_spans(&queue, spans(3..6)), Ok(2));
    let stats = queue.stats();
    assert_eq!((stats.accepted, stats.pending, stats.lost.by(LossReason::QueueFull)), (5, 3, 2));
    let taken = queue.take(Instant::now());
    assert_eq!(taken.incomplete.len(), 1);
    assert_eq!(push_spans(&queue, spans(6..8)), Ok(2), "what was taken and not read takes its room still");
    let bytes = |message: &Message| if let Message::Spans { bytes, .. } = message { *bytes } else { 0 };
    queue.give_back([], taken.messages.iter().map(bytes).sum(), Instant::now());
    assert_eq!(push_spans(&queue, spans(6..8)), Ok(0), "what was read makes room");
}

#[test]
fn a_span_larger_than_the_inbox_gets_through_alone() {
    let queue = Queue::new(10);
    assert_eq!(push_spans(&queue, vec![span_data(1, 0, "s"), span_data(2, 0, "s")]), Ok(1));
    assert_eq!(push_spans(&queue, vec![span_data(3, 0, "s")]), Ok(1));
}

#[test]
fn that_a_large_span_began_does_not_keep_its_end_out() {
    let large = || {
        let mut span = span_data(1, 0, "s");
        span.attributes = vec![opentelemetry::KeyValue::new("k", "x".repeat(10_000))];
        span
    };
    let piece = EventBatch::bytes_for(25_000);
    for (limit, begins) in [(15_000, false), (20_500 + 2 * piece, true), (9_000, false)] {
        let queue = Queue::new(limit);
        assert_eq!(queue.push_seen(SpanEvent::Began(large())), Ok(begins), "{limit}");
        assert_eq!(queue.push_seen(SpanEvent::Ended(large())), Ok(true), "{limit}");
        assert_eq!((queue.stats().accepted, queue.stats().lost.total()), (1, 0));
    }
}

#[test]
fn nothing_comes_in_after_the_end() {
    let queue = Queue::new(1_000_000);
    let (waiter, _) = FlushHandle::blocking();
    let called = Instant::now();
    queue.push(Message::Shutdown { called, within: Duration::from_secs(5), waiter }).unwrap();
    assert_eq!(push_spans(&queue, vec![span_data(1, 0, "s")]), Err(Closed));
    let (waiter, _) = FlushHandle::blocking();
    assert_eq!(queue.push(Message::Flush(waiter)).err(), Some(Closed));
    assert_eq!(queue.stats().accepted, 0);
    let taken = queue.take(called + Duration::from_secs(2));
    let [Message::Shutdown { within, .. }] = &taken.messages[..] else { panic!("one message") };
    assert_eq!(*within, Duration::from_secs(3), "a busy worker has the less time for it");
}

/// Returns true if the worker was woken since the last call.
fn is_woken(queue: &Queue) -> bool {
    queue.something_came().now_or_never().is_some()
}

#[test]
fn the_first_of_many_spans_wakes_the_worker_which_then_looks_by_itself() {
    let queue = Queue::new(1 << 20);
    let began = Instant::now();
    let at = |micros| began + Duration::from_micros(micros);
    let push = |n| queue.push_seen(SpanEvent::Ended(span_data(n, 1, "s"))).unwrap();
    assert_eq!(queue.take(at(0)).look_again, None);
    push(2);
    assert!(is_woken(&queue));
    let taken = queue.take(at(10));
    assert_eq!((taken.messages.len(), taken.look_again), (1, Some(at(10) + LOOK_AGAIN)));
    push(3);
    push(4);
    assert!(!is_woken(&queue), "it looks again by itself");
    let until = at(300) + LOOK_AGAIN;
    assert_eq!(queue.take(at(300)).look_again, Some(until));
    assert_eq!(queue.take(at(400)).look_again, Some(until), "an early look finds nothing");
    assert_eq!(queue.take(until).look_again, None);
    push(5);
    assert!(is_woken(&queue), "and sleeps");
    // A message other than spans always wakes the worker, and so does a queue that becomes half full.
    queue.take(until);
    let (waiter, _) = FlushHandle::blocking();
    queue.push(Message::Flush(waiter)).unwrap();
    assert!(is_woken(&queue));
    queue.take(until);
    let mut large = span_data(6, 1, "s");
    large.attributes = vec![opentelemetry::KeyValue::new("k", "x".repeat(600_000))];
    queue.push_seen(SpanEvent::Ended(large)).unwrap();
    assert!(is_woken(&queue));
}

#[test]
fn what_spans_come_in_is_used_again() {
    let queue = Queue::new(1 << 20);
    let push = |count: u64| {
        (0..count).for_each(|n| assert_eq!(queue.push_seen(SpanEvent::Ended(span_data(n, 1, "s"))), Ok(true)));
        let pieces = queue.take(Instant::now()).messages.into_iter().map(|message| match message {
            Message::Seen(piece) => piece,
            _ => panic!("only spans came"),
        });
        pieces.collect::<Vec<_>>()
    };
    let more_than_two = 2 * EventBatch::SIZE as u64 + 1;
    let mut pieces = push(more_than_two);
    let places: HashSet<_> = pieces.iter().map(EventBatch::place).collect();
    let held = pieces.iter_mut().map(|piece| piece.drain().count());
    assert_eq!(held.collect::<Vec<_>>(), [EventBatch::SIZE, EventBatch::SIZE, 1]);
    queue.give_back(pieces, 0, Instant::now());
    let again = push(more_than_two);
    assert!(again.iter().all(|piece| places.contains(&piece.place())));
    queue.give_back(again, 0, Instant::now());
    assert!(lock(&queue.state).spare.is_empty(), "what is not empty holds spans");
}

#[test]
fn a_light_copy_will_do_while_the_root_is_under_way() {
    let queue = Queue::new(1 << 20);
    let span = || span_data(2, 1, "s");
    let light = || SpanStub::of(&span(), false);
    // Returns true if the span pushed last is a light copy.
    let is_light = || {
        queue.push_copy(&span(), light(), span).unwrap();
        let mut messages = queue.take(Instant::now()).messages;
        let Some(Message::Seen(seen)) = messages.last_mut() else { panic!("a span came") };
        seen.drain().last().unwrap().span().name.is_empty()
    };
    assert!(!is_light(), "its root was never seen");
    queue.push_seen(SpanEvent::Began(span_data(1, 0, "root"))).unwrap();
    queue.push_seen(SpanEvent::Began(span_data(3, 1, "child"))).unwrap();
    assert!(is_light());
    queue.root_began(trace_id(&span()));
    queue.push_seen(SpanEvent::Ended(span_data(1, 0, "root"))).unwrap();
    assert!(is_light(), "another root is under way");
    queue.push_seen(SpanEvent::Ended(SpanData { parent_span_is_remote: true, ..span_data(4, 9, "root") })).unwrap();
    assert!(!is_light(), "its run may have been told by now");
    // A start without room is not known, and too many roots are cleared.
    let full = Queue::new(10);
    assert_eq!(full.push_seen(SpanEvent::Began(span_data(1, 0, "root"))), Ok(false));
    assert!(lock(&full.state).roots.is_empty());
    (0..=ROOTS as u128).for_each(|trace| queue.root_began(trace.to_be_bytes()));
    assert_eq!(lock(&queue.state).roots.len(), 1);
}

#[test]
fn of_what_finds_no_room_no_copy_is_made() {
    let queue = Queue::new(EventBatch::bytes_for(0) + 10);
    for _ in 0..4 {
        queue.push_seen(SpanEvent::Ended(span_data(2, 1, "s"))).unwrap();
    }
    assert_eq!(queue.push_copy(&span_data(3, 1, "s"), None, || panic!("a copy")), Ok(false));
    assert_eq!((queue.stats().accepted, queue.stats().lost.by(LossReason::QueueFull)), (5, 1));
    queue.close();
    assert_eq!(queue.push_copy(&span_data(3, 1, "s"), None, || panic!("a copy")), Err(Closed));
}

#[test]
fn light_and_whole_spans_come_out_in_the_order_in_which_they_went_in() {
    let queue = Queue::new(1 << 20);
    let light = |id, parent| SpanStub::of(&span_data(id, parent, "s"), false).unwrap();
    queue.push_seen(SpanEvent::Began(span_data(1, 0, "root"))).unwrap();
    queue.push_beginning(light(2, 1)).unwrap();
    queue.push_seen(SpanEvent::Began(span_data(3, 2, "s"))).unwrap();
    queue.push_copy(&span_data(2, 1, "s"), Some(light(2, 1)), || panic!("a copy")).unwrap();
    queue.push_seen(SpanEvent::Ended(span_data(1, 0, "root"))).unwrap();
    let mut messages = queue.take(Instant::now()).messages;
    let [Message::Seen(seen)] = &mut messages[..] else { panic!("one piece") };
    let id = |span: &SpanData| u64::from_be_bytes(span.span_context.span_id().to_bytes());
    let order = seen.drain().map(|seen| match &seen {
        SpanEvent::Began(span) => (id(span), false),
        SpanEvent::Ended(span) => (id(span), true),
    });
    assert_eq!(order.collect::<Vec<_>>(), [(1, false), (2, false), (3, false), (2, true), (1, true)]);
    assert_eq!(queue.stats().accepted, 2);
    let full = Queue::new(EventBatch::bytes_for(0));
    assert_eq!(full.push_beginning(light(2, 1)), Ok(false), "its end needs the room");
    full.close();
    assert_eq!(full.push_beginning(light(2, 1)), Err(Closed));
}
