use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::stats::{Account, Stats};
use crate::testing::span_data;

/// Limit that only a hang reaches.
const PATIENCE: Duration = Duration::from_secs(60);

/// Task that counts its wake-ups.
#[derive(Default)]
struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Task {
    fn wakes(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

fn poll(admission: &mut Admission<'_>, task: &Arc<Task>) -> Poll<Result<Lost, Closed>> {
    Pin::new(admission).poll(&mut Context::from_waker(&Waker::from(Arc::clone(task))))
}

fn spans(count: u64) -> Vec<SpanData> {
    (1..=count).map(|n| span_data(n, 0, "s")).collect()
}

/// Bytes of a span that is alone in its message.
fn one() -> usize {
    MESSAGE + weight(&span_data(1, 0, "s"))
}

/// Takes and reads the content of the queue, as the worker does; returns the number of spans.
fn read(queue: &Queue, now: Instant) -> usize {
    let messages = queue.take(now).messages;
    let of = |message: &Message| match message {
        Message::Spans { spans, bytes, .. } => (spans.len(), *bytes),
        _ => (0, 0),
    };
    let (count, bytes) = messages.iter().map(of).fold((0, 0), |sum, next| (sum.0 + next.0, sum.1 + next.1));
    queue.give_back([], bytes, now);
    count
}

fn sum(stats: &Stats) -> u64 {
    stats.delivered + stats.lost.total() + stats.pending + stats.spooled
}

#[test]
fn an_export_hands_over_the_rest_as_room_is_made_and_the_next_one_comes_after_it() {
    let (queue, now) = (Queue::new(one() * 3), Instant::now());
    let until = Some(now + PATIENCE);
    let (first_task, second_task) = (Arc::default(), Arc::default());
    let (mut first, mut second) = (queue.admit(spans(5), None, until), queue.admit(spans(1), None, until));
    assert!(poll(&mut first, &first_task).is_pending() && poll(&mut second, &second_task).is_pending());
    let stats = queue.stats();
    assert_eq!((stats.accepted, stats.pending, stats.lost.total()), (3, 3, 0));
    assert_eq!((first_task.wakes(), second_task.wakes()), (0, 0), "nobody looks by itself");
    assert_eq!((read(&queue, now), first_task.wakes(), second_task.wakes()), (3, 1, 0));
    assert!(poll(&mut second, &second_task).is_pending(), "the first goes first");
    assert_eq!(poll(&mut first, &first_task), Poll::Ready(Ok(Lost::default())));
    assert_eq!(second_task.wakes(), 1);
    assert_eq!(poll(&mut second, &second_task), Poll::Ready(Ok(Lost::default())));
    assert_eq!((read(&queue, now), lock(&queue.state).line.len()), (3, 0));
    assert_eq!((queue.stats().accepted, queue.stats().lost.total()), (6, 0));
}

#[test]
fn an_export_whose_time_is_over_is_refused_and_no_other_waits_until_there_is_room_again() {
    let (queue, now) = (Queue::new(one()), Instant::now());
    let until = now + PATIENCE;
    let task = Arc::default();
    let mut export = queue.admit(spans(3), None, Some(until));
    assert!(poll(&mut export, &task).is_pending());
    assert_eq!(queue.give_back([], 0, now), Some(until), "the worker has the time");
    assert_eq!(queue.give_back([], 0, until), None);
    assert_eq!(task.wakes(), 1);
    let Poll::Ready(Ok(lost)) = poll(&mut export, &task) else { panic!("its time is over") };
    assert_eq!((lost.total(), lost.by(LossReason::QueueFull)), (2, 2));
    let mut next = queue.admit(spans(1), None, Some(until));
    assert!(matches!(poll(&mut next, &task), Poll::Ready(Ok(lost)) if lost.total() == 1), "it would wait in vain");
    let stats = queue.stats();
    assert_eq!((stats.accepted, stats.lost.by(LossReason::QueueFull), stats.pending), (4, 3, 1));
    assert_eq!(queue.take(now).incomplete.len(), 1, "its run is marked");
    queue.give_back([], one(), now);
    let (mut takes_room, mut waits) =
        (queue.admit(spans(1), None, Some(until)), queue.admit(spans(1), None, Some(until)));
    assert_eq!(poll(&mut takes_room, &task), Poll::Ready(Ok(Lost::default())));
    assert!(poll(&mut waits, &task).is_pending());
}

#[test]
fn the_end_of_the_queue_wakes_who_waits() {
    for (shuts_down, reason) in [(true, LossReason::Shutdown), (false, LossReason::Internal)] {
        let (queue, now) = (Queue::new(one()), Instant::now());
        let task = Arc::default();
        let mut export = queue.admit(spans(3), None, Some(now + PATIENCE));
        assert!(poll(&mut export, &task).is_pending());
        if shuts_down {
            let (waiter, _blocked) = FlushHandle::blocking();
            queue.push(Message::Shutdown { called: now, within: PATIENCE, waiter }).unwrap();
        } else {
            queue.abandon();
        }
        assert_eq!(task.wakes(), 1, "{reason}");
        let Poll::Ready(Ok(lost)) = poll(&mut export, &task) else { panic!("nothing is taken in any more") };
        assert_eq!((lost.total(), lost.by(reason)), (2, 2));
        assert_eq!(poll(&mut queue.admit(spans(1), None, Some(now + PATIENCE)), &task), Poll::Ready(Err(Closed)));
        let stats = queue.stats();
        assert_eq!((stats.accepted, sum(&stats)), (3, 3), "{reason}");
        assert_eq!(stats.pending, u64::from(shuts_down), "what a worker that is gone had is lost");
    }
}

#[test]
fn an_export_that_is_given_up_counts_what_it_did_not_hand_over() {
    let (queue, now) = (Queue::new(one()), Instant::now());
    let (task, next_task) = (Arc::default(), Arc::default());
    let mut export = queue.admit(spans(3), None, Some(now + PATIENCE));
    assert!(poll(&mut export, &task).is_pending());
    let mut next = queue.admit(spans(1), None, Some(now + PATIENCE));
    assert!(poll(&mut next, &next_task).is_pending());
    drop(export);
    let stats = queue.stats();
    assert_eq!((stats.accepted, stats.lost.by(LossReason::QueueFull), sum(&stats)), (3, 2, 3));
    assert_eq!(next_task.wakes(), 1, "it is the first now");
}

#[test]
fn the_wait_for_delivery_goes_with_the_last_span() {
    let (queue, now) = (Queue::new(one() * 8), Instant::now());
    let (waiter, _waited) = FlushHandle::future();
    let task = Arc::default();
    let mut export = queue.admit(spans(12), Some((waiter, PATIENCE)), Some(now + PATIENCE));
    assert!(poll(&mut export, &task).is_pending());
    let waits = |queue: &Queue| {
        let messages = queue.take(now).messages;
        let waits = messages.iter().filter(|message| matches!(message, Message::Spans { wait: Some(_), .. })).count();
        (messages.len(), waits)
    };
    assert_eq!(waits(&queue), (8, 0), "a message takes an eighth of the queue");
    queue.give_back([], one() * 8, now);
    assert!(poll(&mut export, &task).is_ready());
    assert_eq!(waits(&queue), (4, 1));
}

#[test]
fn a_thread_waits_until_there_is_room_and_no_longer_than_it_may() {
    let queue = Queue::new(one() * 4);
    let read_all = |count: usize| {
        let (mut have, until) = (0, Instant::now() + PATIENCE);
        while have < count && Instant::now() < until {
            have += read(&queue, Instant::now());
            thread::yield_now();
        }
        have
    };
    thread::scope(|scope| {
        let reader = scope.spawn(|| read_all(1_000));
        let lost = queue.admit(spans(1_000), None, Some(Instant::now() + PATIENCE)).block(Instant::now() + PATIENCE);
        assert_eq!(lost, Ok(Lost::default()));
        assert_eq!(reader.join().unwrap(), 1_000);
    });
    queue.publish(Account { delivered: 1_000, ..Account::default() });
    // No worker reads: the thread checks the time by itself.
    let until = Instant::now() + Duration::from_millis(20);
    let lost = queue.admit(spans(10), None, Some(until)).block(until).unwrap();
    assert!(Instant::now() >= until);
    let stats = queue.stats();
    assert_eq!((lost.by(LossReason::QueueFull), stats.pending, sum(&stats)), (6, 4, stats.accepted));
}
