//! Undelivered runs are written to the disk and read again, and are counted at every step.

use super::*;
use crate::delivery::{Leaving, RecordName};

fn stage(transport: Transport) -> Stage {
    Stage::with(PipelineConfig { spools: true, transport, ..config(Redaction::default()) })
}

fn sum(stats: &crate::Stats) -> u64 {
    stats.delivered + stats.lost.total() + stats.pending + stats.spooled
}

fn shut_down(stage: &mut Stage, at: u64) -> Blocked {
    let (waiter, blocked) = FlushHandle::blocking();
    stage.messages(vec![Message::Shutdown { called: Instant::now(), within: ms(10), waiter }], at);
    stage.engine.advance(ms(at + 10));
    blocked
}

fn name(serial: u64, spans: u64) -> RecordName {
    RecordName { since: serial, serial, spans, tried: false }
}

#[test]
fn pain_14_what_a_shutdown_leaves_is_delivered_by_the_next_start() {
    for transport in [Transport::Http, Transport::Ws, Transport::Auto] {
        let mut first = stage(transport);
        first.spans(vec![chat(2, 1), chat(3, 1), span_data(1, 0, "root"), in_trace(chat(4, 0), 8)], 0);
        let blocked = shut_down(&mut first, 0);
        let leaving = first.engine.take_leaving();
        assert_eq!((leaving.len(), sum(&first.stats())), (2, 4), "{transport:?}");
        leaving.iter().for_each(|leaving| first.engine.spooled(leaving));
        let stats = first.stats();
        assert_eq!((stats.spooled, stats.pending, stats.lost.total()), (4, 0, 0), "{transport:?}");
        assert_eq!(first.answered(blocked), Some(FlushOutcome::Done(Lost::default())));

        let mut next = stage(transport);
        for (serial, Leaving { bytes, spans, .. }) in (1..).zip(&leaving) {
            next.engine.recover_record(name(serial, *spans), bytes, ms(0));
        }
        assert_eq!((next.stats().recovered, next.stats().pending), (4, 4));
        let bodies = next.answer_all(201, 0);
        assert_eq!(bodies.iter().map(|body| body["spans"].as_array().unwrap().len()).sum::<usize>(), 4);
        assert_eq!((next.stats().delivered, sum(&next.stats())), (4, 4));
        assert_eq!(next.engine.take_settled(), [name(1, leaving[0].spans), name(2, leaving[1].spans)]);
    }
}

#[test]
fn after_a_panic_what_is_on_the_disk_is_not_lost_and_what_came_from_there_hides_nothing() {
    let mut first = stage(Transport::Http);
    first.spans(vec![chat(1, 0)], 0);
    shut_down(&mut first, 0);
    let leaving = first.engine.take_leaving();
    first.engine.spooled(&leaving[0]);
    first.engine.recover(ms(10));
    assert_eq!((first.stats().spooled, first.stats().lost.total(), sum(&first.stats())), (1, 0, 1));

    let mut next = stage(Transport::Http);
    next.engine.recover_record(name(1, 1), &leaving[0].bytes, ms(0));
    next.answer_all(201, 0);
    next.spans(vec![in_trace(chat(2, 9), 8)], 0);
    next.engine.recover(ms(0));
    let stats = next.stats();
    assert_eq!((stats.delivered, stats.lost.by(LossReason::Internal), stats.pending), (1, 1, 0));
}

#[test]
fn what_was_read_and_is_not_delivered_stays_where_it_is() {
    let mut first = stage(Transport::Http);
    first.spans(vec![chat(1, 0)], 0);
    shut_down(&mut first, 0);
    let leaving = first.engine.take_leaving();
    let mut next = stage(Transport::Http);
    next.engine.recover_record(name(1, 1), &leaving[0].bytes, ms(0));
    shut_down(&mut next, 0);
    assert!(next.engine.take_leaving().is_empty() && next.engine.take_settled().is_empty());
    assert_eq!((next.stats().spooled, sum(&next.stats()), next.stats().accepted), (1, 1, 1));
}

#[test]
fn what_a_reader_that_died_may_have_sent_is_not_sent_as_somebody_elses() {
    let mut first = stage(Transport::Http);
    first.spans(vec![chat(1, 0)], 0);
    shut_down(&mut first, 0);
    let leaving = first.engine.take_leaving();
    let mut next = stage(Transport::Http);
    next.engine.recover_record(RecordName { tried: true, ..name(1, 1) }, &leaving[0].bytes, ms(0));
    assert_eq!(next.answer_all(409, 0).len(), 1);
    assert_eq!(next.stats().delivered, 1);
}

proptest! {
    /// P13, P14: with a disk on which writes may fail, the sum holds at every step, and no record is counted
    /// twice.
    #[test]
    fn pain_13_the_sum_holds_with_a_spool(
        steps in prop::collection::vec((0_u8..12, 0_u64..6, 0_u64..6, 1_u128..5, 0_u64..20_000), 1..80),
        transport in prop::sample::select(vec![Transport::Http, Transport::Ws, Transport::Auto]),
    ) {
        let mut stage = stage(transport);
        let (mut now, mut serials) = (0, Vec::new());
        // Records on the disk; true if the record was read.
        let mut disk: Vec<(RecordName, Vec<u8>, bool)> = Vec::new();
        for (step, id, parent, trace, pause) in steps {
            now += pause;
            match step {
                0..=4 => {
                    let span = if id % 3 == 0 { span_data(id + 1, parent, "s") } else { chat(id + 1, parent) };
                    stage.spans(vec![in_trace(span, trace)], now);
                }
                5 => drop(stage.flush(now)),
                6..=7 => serials.extend(stage.engine.next_sending(ms(now)).map(|sending| sending.serial)),
                8 => if let Some(serial) = serials.pop() {
                    let status = StatusCode::from_u16([201, 409, 413, 503, 400, 429][usize::try_from(id).unwrap()]).unwrap();
                    stage.engine.answer(serial, Answer::Status { status, retry_after: None, peer_message: None }, ms(now));
                },
                9 => if let Some((name, bytes, read)) = disk.iter_mut().find(|(_, _, read)| !read) {
                    *read = true;
                    if id == 0 {
                        bytes.truncate(bytes.len() / 2);
                    }
                    stage.engine.recover_record(name.clone(), bytes, ms(now));
                },
                10 => {
                    let reason = crate::delivery::CloseReason::NotConnected;
                    stage.engine.ledger.link_closed(Closed { reason, cause: String::new(), peer_message: None }, ms(now));
                }
                _ => stage.engine.advance(ms(now)),
            }
            for leaving in stage.engine.take_leaving() {
                if parent == 5 {
                    stage.engine.not_spooled(&leaving, "full");
                } else {
                    stage.engine.spooled(&leaving);
                    disk.push((name(disk.len() as u64, leaving.spans), leaving.bytes, false));
                }
            }
            let stats = stage.stats();
            prop_assert_eq!(sum(&stats), stats.accepted);
            prop_assert_eq!(stats.accepted + stats.set_aside, stage.taken + stats.recovered);
        }
    }
}
