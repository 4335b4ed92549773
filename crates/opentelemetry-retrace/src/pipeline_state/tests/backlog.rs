//! Messages that stay unread while delivery is under way, and until when.

use super::*;

/// Bytes for everything that waits for delivery.
const BYTES: usize = 40_000;

/// Creates an engine with little room and a number of runs of one span, taken from the queue at once. No
/// request is answered.
fn crowded(runs: u64) -> Stage {
    crowded_in(BYTES, runs)
}

fn crowded_in(bytes: usize, runs: u64) -> Stage {
    let mut recorder = RecorderLimits::default();
    // Delivery may hold three times as much as open runs, as in a pipeline.
    recorder.bytes = bytes / 3;
    let engine = PipelineState::new(PipelineConfig { recorder, bytes, ..config(Redaction::default()) });
    let mut stage = Stage { engine, taken: 0, taken_of: HashMap::default() };
    let message = |n: u64| Message::Spans { spans: vec![in_trace(chat(1, 0), n.into())], bytes: 10, wait: None };
    stage.messages((1..=runs).map(message).collect(), 0);
    for at in (0..=2_000).step_by(250) {
        look(&mut stage, at);
    }
    stage
}

/// Reads more messages if possible, as the worker does in each turn.
fn look(stage: &mut Stage, at: u64) {
    stage.engine.take(Taken::default(), ms(at));
}

#[test]
fn while_delivery_is_under_way_no_more_is_read_than_it_has_room_for_and_nothing_is_lost() {
    let mut stage = crowded(500);
    let stats = stage.stats();
    assert_eq!((stats.accepted, stats.pending, stats.lost.total()), (500, 500, 0));
    assert!(stage.engine.has_backlog() && stage.engine.ledger.weight() <= BYTES);
    let (_, read) = stage.engine.take_read();
    assert!(read > 0 && read < 5_000, "{read}: the queue has the room of what was read, and of nothing else");
    let mut at = 2_000;
    while stage.engine.has_backlog() || stage.stats().pending > 0 {
        assert!(at < 10_000_000, "it goes on: {:?}", stage.stats());
        stage.answer_all(201, at);
        at += 250;
        look(&mut stage, at);
        assert!(stage.engine.ledger.weight() <= BYTES);
    }
    let stats = stage.stats();
    assert_eq!((stats.delivered, stats.lost.total()), (500, 0));
    assert_eq!(stage.engine.take_read().1 + read, 5_000, "and then of all");
}

#[test]
fn while_the_receiver_fails_all_is_read_and_the_oldest_go_first() {
    let mut stage = crowded(500);
    stage.answer_all(503, 2_000);
    for at in (2_000..4_000).step_by(250) {
        look(&mut stage, at);
    }
    let stats = stage.stats();
    assert!(!stage.engine.has_backlog() && stats.lost.by(LossReason::BufferFull) > 0, "{stats:?}");
    assert_eq!(stats.pending + stats.lost.by(LossReason::BufferFull), 500);
}

#[test]
fn without_a_single_delivery_the_backlog_is_read_after_a_while() {
    // In some sizes what is dropped makes room for a moment.
    for bytes in (30_000..50_000).step_by(500) {
        let mut stage = crowded_in(bytes, 500);
        assert!(stage.engine.next_sending(ms(2_000)).is_some(), "its answer never comes");
        let hold = u64::try_from(HOLD.as_millis()).unwrap();
        look(&mut stage, hold - 1);
        assert!(stage.engine.has_backlog());
        assert!(stage.engine.next_deadline(ms(hold - 1)).unwrap() <= ms(2_000 + hold));
        look(&mut stage, 2_000 + hold);
        assert!(!stage.engine.has_backlog(), "{bytes}");
    }
}

#[test]
fn a_flush_that_is_not_read_ends_with_its_time() {
    let mut stage = crowded(500);
    let blocked = stage.flush(2_000);
    assert!(stage.engine.take_ended_waits().is_empty());
    assert!(stage.engine.next_deadline(ms(2_000)).unwrap() <= ms(7_000));
    stage.engine.advance(ms(7_000));
    let ended = stage.engine.take_ended_waits();
    assert!(matches!(ended[..], [(_, FlushOutcome::TimedOut)]), "{ended:?}");
    ended.into_iter().for_each(|(waiter, waited)| waiter.answer(waited));
    assert_eq!(blocked.wait(Duration::ZERO), Some(FlushOutcome::TimedOut));
}

#[test]
fn a_shutdown_has_half_of_its_time_to_read_in_order() {
    let mut stage = crowded(500);
    let (waiter, blocked) = FlushHandle::blocking();
    stage.messages(vec![Message::Shutdown { called: Instant::now(), within: ms(60_000), waiter }], 2_000);
    assert!(stage.engine.has_backlog() && stage.engine.is_closing());
    let mut at = 2_000;
    while !stage.engine.is_finished() {
        assert!(at < 32_000, "{:?}", stage.stats());
        stage.answer_all(201, at);
        at += 50;
        look(&mut stage, at);
    }
    assert_eq!(stage.answered(blocked), Some(FlushOutcome::Done(Lost::default())));
    assert_eq!((stage.stats().delivered, stage.stats().lost.total()), (500, 0));

    let mut stage = crowded(500);
    let (waiter, _blocked) = FlushHandle::blocking();
    stage.messages(vec![Message::Shutdown { called: Instant::now(), within: ms(4_000), waiter }], 2_000);
    assert!(stage.engine.next_deadline(ms(2_000)).unwrap() <= ms(4_000));
    look(&mut stage, 4_000);
    assert!(!stage.engine.has_backlog(), "nothing is delivered: all is read at half time");
    look(&mut stage, 6_000);
    let stats = stage.stats();
    assert_eq!((stats.pending, stats.lost.total()), (0, 500), "{stats:?}");
}

#[test]
fn pain_09_a_panic_costs_the_span_in_hand_and_not_the_messages_behind_it() {
    let mut stage = crowded(500);
    let (before, behind) = (stage.stats().pending, stage.engine.backlog.spans());
    stage.engine.recover(ms(2_000));
    let stats = stage.stats();
    assert_eq!(stage.engine.backlog.spans(), behind);
    assert_eq!(stats.pending + stats.lost.by(LossReason::Internal), before);
    assert!(stats.pending >= behind && behind > 0);
}
