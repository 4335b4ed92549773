//! Background worker: an operating system thread with a runtime of its own.
//!
//! It owns every socket. The application may have any runtime or none, and may build and drop a pipeline
//! inside or outside of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use retrace_protocol::Signal;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;

use crate::config::BuildError;
use crate::delivery::{Answer, CloseReason, Closed, Notice};
use crate::log::startup_log::{self, StartupLog};
use crate::log::suppress;
use crate::log::untaken::Warning;
use crate::log::{self, Throttle};
use crate::metrics::{Batches, Metrics};
use crate::pipeline_state::Incoming;
use crate::pipeline_state::PipelineState;
use crate::recording::queue::{Queue, Taken};
use crate::remote::{Claimed, Control};
use crate::stats::LossReason;
use crate::stats::settlement::OnSettlement;
use crate::transport::http::Http;
use crate::transport::spool::Spool;
use crate::transport::suspend_aware_clock::Clock;
use crate::transport::ws::{BATCH_BYTES, Batch, Link, Ws};

/// Request that claims an execution of a fork.
type ClaimRequest = Pin<Box<dyn Future<Output = Claimed> + Send>>;

/// Callback for notices to the user.
pub(crate) type OnError = Arc<dyn Fn(&Signal) + Send + Sync>;

const THREAD_NAME: &str = "retrace-worker";
/// Time that a receiver has to answer the close frame.
const LEAVE: Duration = Duration::from_millis(100);
/// After a turn of this duration, requests under way are served before new messages.
const LONG_TURN: Duration = Duration::from_millis(5);
const LONGEST_REST: Duration = Duration::from_millis(100);
/// Number of writes to a connection before new messages are read.
const WRITES: usize = 64;
/// Shortest time between two starts after failures, so that a worker that always fails is no busy loop.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// Parts that a worker needs.
pub(crate) struct Worker {
    pub queue: Arc<Queue>,
    pub engine: PipelineState,
    pub http: Http,
    /// Present unless the transport is HTTP alone.
    pub ws: Option<Ws>,
    pub spool: Option<Spool>,
    pub on_error: Option<OnError>,
    pub on_settlement: Option<OnSettlement>,
    pub metrics: Metrics,
    pub startup_log: Weak<StartupLog>,
    /// Passes commands of the receiver to their subscriber.
    pub control: Control,
}

impl Worker {
    /// Starts the thread. The runtime is created and dropped there: the caller may be in a runtime of its
    /// own, where neither is allowed.
    pub(crate) fn start(self) -> Result<(), BuildError> {
        let (started, is_started) = sync_channel(1);
        let run = move || {
            let runtime = match runtime() {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.try_send(Err(error))),
            };
            drop(started.try_send(Ok(())));
            suppress::mute_this_thread();
            let _end = Abandon(Arc::clone(&self.queue));
            self.run(&runtime);
            // A name lookup that hangs must not keep the thread.
            runtime.shutdown_background();
            suppress::unmute_this_thread();
        };
        thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(run).map_err(BuildError::Worker)?;
        is_started.recv().unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into())).map_err(BuildError::Worker)
    }

    fn run(self, runtime: &Runtime) {
        let Self { queue, engine, http, ws, spool, on_error, on_settlement, metrics, startup_log, control } = self;
        let (http, clock) = (Arc::new(http), Clock::new(Instant::now()));
        let (batches, throttle) = (metrics.batches(), Throttle::default());
        let mut state = State {
            queue,
            engine,
            spool,
            on_error,
            on_settlement,
            metrics,
            batches,
            throttle,
            refused: 0,
            clock,
            startup_log,
            control,
        };
        // The data that a panic interrupts is in the engine, which accounts for it before it goes on.
        while catch_unwind(AssertUnwindSafe(|| runtime.block_on(state.work(&http, ws.as_ref())))).is_err() {
            let now = state.now();
            state.batches.broken_off();
            state.engine.recover(now);
            state.report();
            thread::sleep(RESTART_PAUSE);
        }
    }
}

/// Closes the queue when the thread ends, for whatever reason, so that no caller waits for a worker that is
/// gone.
struct Abandon(Arc<Queue>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .thread_name(THREAD_NAME)
        .max_blocking_threads(2)
        .on_thread_start(suppress::mute_this_thread)
        .on_thread_stop(suppress::unmute_this_thread)
        .build()
}

struct State {
    queue: Arc<Queue>,
    engine: PipelineState,
    spool: Option<Spool>,
    on_error: Option<OnError>,
    on_settlement: Option<OnSettlement>,
    metrics: Metrics,
    batches: Batches,
    throttle: Throttle,
    /// Number of spans that the queue refused and that were reported.
    refused: u64,
    clock: Clock,
    startup_log: Weak<StartupLog>,
    control: Control,
}

impl State {
    fn now(&self) -> Duration {
        self.clock.at(Instant::now())
    }

    /// Returns the time after a sleep with the deadline `until`; only the first call takes its delay into
    /// account. During a shutdown the clock never stands still, because the caller's clock does not either.
    fn woke(&mut self, asleep: Instant, until: &mut Option<Instant>) -> Duration {
        if !self.engine.is_closing() {
            self.clock.woke(Instant::now(), asleep, until.take());
        }
        self.now()
    }

    async fn work(&mut self, http: &Arc<Http>, ws: Option<&Ws>) {
        let mut requests: JoinSet<(u64, Answer)> = JoinSet::new();
        let mut link: Option<Link> = None;
        // True if commands arrive on the present connection.
        let mut link_serves = false;
        let mut rest: Option<Instant> = None;
        loop {
            let (began, now) = (Instant::now(), self.now());
            // This is the first step, so that a process that ends at once sends the records that it finds.
            self.take_from_spool(now);
            rest = rest.filter(|rest| began < *rest && !requests.is_empty());
            // While the engine does not read, spans wait in the queue; flushes are still taken.
            let takes = rest.is_none() && (!self.engine.has_backlog() || self.queue.is_pressing());
            let mut taken = if takes { self.queue.take(began) } else { Taken::default() };
            let look_again = taken.look_again.take();
            let refuses = !taken.incomplete.is_empty();
            if !taken.messages.is_empty()
                && let Some(startup_log) = self.startup_log.upgrade()
            {
                // By the time there is work, the application's subscriber most likely exists.
                startup_log.retry();
            }
            if refuses {
                self.note_refused();
            }
            if rest.is_none() {
                self.engine.take(taken, now);
            } else {
                self.engine.advance(now);
            }
            // This includes messages that came while the queue was not read.
            let reads_on = rest.is_none() && (self.engine.reads_on() || !(takes || self.engine.has_backlog()));
            let (emptied, bytes) = self.engine.take_read();
            let room_ends = self.queue.give_back(emptied, bytes, began);
            let took = began.elapsed();
            if let Some(closed) = self.engine.gives_up_link(now) {
                link = None;
                self.batches.broken_off();
                self.engine.incoming(Incoming::Closed(closed), now);
            }
            self.serve_or_end();
            if let Some(open) = link.as_mut().filter(|_| link_serves != self.control.is_serving()) {
                // The first frame of the next connection states it.
                open.close();
            }
            if let Some(ws) = ws.filter(|_| link.is_none() && self.engine.wants_link(now)) {
                self.engine.link_opening();
                link_serves = self.control.is_serving();
                link = Some(ws.open(link_serves));
            }
            while let Some(sending) = self.engine.next_sending(now) {
                let (http, metrics) = (Arc::clone(http), self.metrics.clone());
                requests.spawn(async move { (sending.serial, metrics.timed(http.send(sending)).await) });
            }
            // Under a constant flow of messages, requests get as much time as reading the messages took.
            let more = self.engine.reads_on() || !self.queue.is_empty();
            if rest.is_none() && took >= LONG_TURN && !requests.is_empty() && more {
                rest = Some(Instant::now() + took.min(LONGEST_REST));
            }
            let writes_on = self.pass_on(&mut link).await;
            self.report();
            if self.engine.is_finished() {
                return leave(link).await;
            }
            let outgoing = link.as_ref().map(|link| link.outgoing.clone());
            let due = self.engine.next_deadline(now).map(|deadline| self.clock.instant(deadline));
            let look = self.spool.as_ref().filter(|_| self.engine.wants_recovered()).and_then(Spool::looks_at);
            let at_once = reads_on.then_some(began);
            let ends = look_again.into_iter().chain(room_ends).chain(rest).chain(at_once);
            let mut until = due.into_iter().chain(look).chain(ends).min();
            let asleep = Instant::now();
            tokio::select! {
                // Connections have their turn here, also under a constant flow of messages.
                () = something_came(&self.queue, rest) => tokio::task::yield_now().await,
                Some(joined) = requests.join_next() => {
                    let now = self.woke(asleep, &mut until);
                    if let Ok((serial, answer)) = joined {
                        self.engine.answer(serial, answer, now);
                    } else {
                        // The task of an unknown request panicked, so all requests start over.
                        requests = JoinSet::new();
                        self.engine.forget_requests();
                    }
                },
                incoming = read(link.as_mut()) => {
                    self.woke(asleep, &mut until);
                    // Everything that has arrived is handled at once: an ack is small, a turn of this loop is
                    // not.
                    self.hear(&mut link, Some(incoming.unwrap_or_else(broken_off)));
                }
                () = self.control.work(claim_by(http)) => {}
                () = room(outgoing.as_ref()), if writes_on => {}
                () = sleep_until(until) => tokio::task::yield_now().await,
            }
            self.woke(asleep, &mut until);
        }
    }

    /// Reports spans that found no room in the queue since the last call.
    fn note_refused(&mut self) {
        let refused = self.queue.stats().lost.by(LossReason::QueueFull);
        self.engine.refused_by_queue(refused - self.refused.min(refused));
        self.refused = refused;
    }

    /// Keeps the connection while commands have a subscriber, and ends the subscription when no command can
    /// arrive any more.
    fn serve_or_end(&mut self) {
        if let Some(reason) = self.engine.ends_serving().filter(|_| self.control.is_serving()) {
            log::warn("remote", &reason.to_string(), 0);
            self.control.end(reason);
        }
        self.engine.set_serving(self.control.is_serving());
    }

    /// Writes as much as the connection takes at once. Accepted spans go before new ones: in a flood, new
    /// spans are refused by the queue and do not displace accepted ones. Returns true if more waits.
    async fn pass_on(&mut self, link: &mut Option<Link>) -> bool {
        for _ in 0..WRITES {
            let now = self.now();
            let Some(open) = link.as_mut() else { return false };
            if !self.write(open, now) {
                return false;
            }
            tokio::task::yield_now().await;
            self.hear(link, None);
            if link.as_ref().is_some_and(|link| link.outgoing.capacity() == 0) {
                return true;
            }
        }
        true
    }

    /// Handles messages of the connection: `first`, if it was waited for, and all that have arrived.
    fn hear(&mut self, link: &mut Option<Link>, first: Option<Incoming>) {
        let now = self.now();
        let mut next = first;
        loop {
            let more = || link.as_mut().and_then(|link| link.incoming.try_recv().ok());
            let Some(incoming) = next.take().or_else(more) else { break };
            let incoming = match incoming {
                Incoming::Command(command, bytes) => {
                    if let Err(refusal) = self.control.command(command, bytes) {
                        self.engine.refuse_command(refusal);
                    }
                    continue;
                }
                other => other,
            };
            if matches!(incoming, Incoming::Closed(_)) {
                *link = None;
                self.batches.broken_off();
            }
            self.engine.incoming(incoming, now);
        }
        self.batches.confirmed(|| self.engine.written());
    }

    /// Writes the frames that may be written now; returns true if more wait than there is room for.
    fn write(&mut self, link: &mut Link, now: Duration) -> bool {
        loop {
            let Ok(place) = link.outgoing.try_reserve() else { return !link.outgoing.is_closed() };
            let (mut batch, mut bytes) = (Batch::new(), 0);
            while bytes < BATCH_BYTES
                && let Some(frame) = self.engine.next_frame(now)
            {
                bytes += frame.len();
                batch.push(frame);
            }
            if batch.is_empty() {
                break;
            }
            place.send(batch);
            self.batches.written(|| self.engine.written());
        }
        if self.engine.leaves_link() {
            link.close();
        }
        false
    }

    /// Writes undelivered runs to the spool, and removes delivered ones.
    fn put_into_spool(&mut self) {
        let Some(spool) = &mut self.spool else { return };
        for leaving in self.engine.take_leaving() {
            match spool.write(&leaving.bytes, leaving.spans, SystemTime::now()) {
                Ok(dropped) => {
                    self.engine.spooled(&leaving);
                    self.engine.dropped_from_spool(LossReason::BufferFull, dropped.no_room);
                }
                Err(error) => {
                    let why = format!("{}, and the spool cannot be written: {}", leaving.reason, error.kind());
                    self.engine.not_spooled(&leaving, &why);
                }
            }
        }
        for name in self.engine.take_settled() {
            spool.settle(&name);
        }
    }

    /// Reads undelivered runs of earlier processes, as far as there is room.
    fn take_from_spool(&mut self, now: Duration) {
        let Some(spool) = self.spool.as_mut().filter(|_| self.engine.wants_recovered()) else { return };
        match spool.look(SystemTime::now()) {
            Ok(dropped) => self.engine.dropped_from_spool(LossReason::Expired, dropped.too_old),
            Err(error) => log::info("spool", &format!("the spool cannot be read: {}", error.kind())),
        }
        while self.engine.wants_recovered()
            && let Some((name, bytes)) = spool.next()
        {
            self.engine.recover_record(name, &bytes, now);
        }
    }

    /// Publishes the engine's account, notices, log lines and ended waits.
    fn report(&mut self) {
        self.put_into_spool();
        self.queue.publish(self.engine.account());
        if let Some(on_settlement) = &self.on_settlement {
            for settlement in self.engine.take_settlements() {
                // A callback that panics must not stop the worker; its panic is the application's concern.
                let _ = catch_unwind(AssertUnwindSafe(|| on_settlement(&settlement)));
            }
        }
        for notice in self.engine.take_notices() {
            self.log(&notice);
            if let Some(on_error) = &self.on_error {
                // A callback that panics must not stop the worker; its panic is the application's concern.
                let _ = catch_unwind(AssertUnwindSafe(|| on_error(&notice.signal())));
            }
        }
        // These lines are kept for a later subscriber, or for standard error.
        startup_log::warn_shared("selection", self.engine.take_hint().into_iter().collect());
        startup_log::warn_shared("span_type", self.engine.take_unknown_span_types().collect());
        for remark in self.engine.take_remarks() {
            log::info("stream", &remark);
        }
        if self.engine.is_finished()
            && self.engine.is_all_delivered()
            && let Some(startup_log) = self.startup_log.upgrade()
        {
            startup_log.untaken().passed();
        }
        // A caller that waits finds everything else done.
        for (waiter, waited) in self.engine.take_ended_waits() {
            waiter.answer(waited);
        }
    }

    /// Logs a notice, at most one of a code in five seconds. What no subscriber takes is kept for the end.
    fn log(&mut self, notice: &Notice) {
        let (cause, left_out) = (notice.code.as_str(), self.throttle.may_say(notice.code.as_str(), self.now()));
        let is_taken = left_out.is_some_and(|left_out| log::offer_warning(cause, &notice.text, left_out));
        let Some(startup_log) = self.startup_log.upgrade() else { return };
        if is_taken {
            return startup_log.untaken().logged(cause);
        }
        let loss = notice.loss.as_ref().map(|(spans, why)| (*spans, why.as_str()));
        startup_log.untaken().keep(&Warning { cause, text: &notice.text, loss, may_pass: notice.may_pass() });
    }
}

/// Returns the function that claims an execution of a fork by a request.
fn claim_by(http: &Arc<Http>) -> impl Fn(String, String) -> ClaimRequest + Clone + Send + Sync + 'static {
    let http = Arc::clone(http);
    move |fork_id, execution_id| {
        let http = Arc::clone(&http);
        Box::pin(async move { http.claim(&fork_id, &execution_id).await })
    }
}

/// Resolves when a message has come, and not before `rest`.
async fn something_came(queue: &Queue, rest: Option<Instant>) {
    if rest.is_some() {
        sleep_until(rest).await;
    }
    queue.something_came().await;
}

async fn read(link: Option<&mut Link>) -> Option<Incoming> {
    match link {
        Some(link) => link.incoming.recv().await,
        None => std::future::pending().await,
    }
}

/// Resolves when frames can be written.
async fn room(outgoing: Option<&Sender<Batch>>) {
    match outgoing {
        Some(outgoing) => drop(outgoing.reserve().await),
        None => std::future::pending().await,
    }
}

/// Message for a connection whose task ended without one.
fn broken_off() -> Incoming {
    let cause = "the connection broke off".to_owned();
    Incoming::Closed(Closed { reason: CloseReason::Lost, cause, peer_message: None })
}

/// Closes the connection to a receiver that has everything.
async fn leave(link: Option<Link>) {
    let Some(mut link) = link else { return };
    link.close();
    let left = async { while link.incoming.recv().await.is_some_and(|it| !matches!(it, Incoming::Closed(_))) {} };
    // It does not matter any more whether the receiver answers.
    let _ = tokio::time::timeout(LEAVE, left).await;
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}
