//! The one background worker: an operating system thread with a runtime of its own.
//!
//! It owns every socket. The application may have any runtime or none, and may build and drop us inside or outside of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use retrace_protocol::Signal;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::config::BuildError;
use crate::engine::Engine;
use crate::inbox::Inbox;
use crate::log::{self, Throttle};
use crate::outbox::Answer;
use crate::transport::http::Http;
use crate::transport::suppress;

/// Called with what the user should know.
pub(crate) type OnError = Arc<dyn Fn(&Signal) + Send + Sync>;

const THREAD_NAME: &str = "retrace-worker";
/// Shortest time between two starts after failures: a worker that always fails is no busy loop.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// What the worker works with.
pub(crate) struct Worker {
    pub inbox: Arc<Inbox>,
    pub engine: Engine,
    pub http: Http,
    pub on_error: Option<OnError>,
}

impl Worker {
    /// Starts the thread. The runtime is made and dropped there: the caller may stand in one of its own, where neither is
    /// allowed.
    pub(crate) fn start(self) -> Result<(), BuildError> {
        let (started, is_started) = sync_channel(1);
        let run = move || {
            let runtime = match runtime() {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.try_send(Err(error))),
            };
            drop(started.try_send(Ok(())));
            suppress::mute_this_thread();
            self.run(&runtime);
            // A lookup of names that hangs must not keep the thread.
            runtime.shutdown_background();
            suppress::unmute_this_thread();
        };
        thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(run).map_err(BuildError::Worker)?;
        is_started.recv().unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into())).map_err(BuildError::Worker)
    }

    fn run(self, runtime: &Runtime) {
        let Self { inbox, engine, http, on_error } = self;
        let mut state = State { inbox, engine, on_error, throttle: Throttle::default(), began: Instant::now() };
        // What a panic interrupts is in the engine, which accounts for it before it goes on.
        while catch_unwind(AssertUnwindSafe(|| runtime.block_on(state.work(&http)))).is_err() {
            state.engine.recover();
            state.report();
            thread::sleep(RESTART_PAUSE);
        }
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
    inbox: Arc<Inbox>,
    engine: Engine,
    on_error: Option<OnError>,
    throttle: Throttle,
    began: Instant,
}

impl State {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    async fn work(&mut self, http: &Http) {
        let mut requests: JoinSet<(u64, Answer)> = JoinSet::new();
        loop {
            let now = self.now();
            let taken = self.inbox.take();
            self.engine.take(taken, now);
            while let Some(sending) = self.engine.next_sending(now) {
                let http = http.clone();
                requests.spawn(async move { (sending.serial, http.send(sending).await) });
            }
            self.report();
            if self.engine.is_finished() {
                return;
            }
            let until = self.engine.next_deadline().map(|deadline| self.began + deadline);
            tokio::select! {
                () = self.inbox.something_came() => {}
                Some(joined) = requests.join_next() => match joined {
                    Ok((serial, answer)) => {
                        let now = self.now();
                        self.engine.answer(serial, answer, now);
                    }
                    Err(_) => {
                        // A request failed inside: nobody knows which, so all of them start over.
                        requests = JoinSet::new();
                        self.engine.forget_requests();
                    }
                },
                () = sleep_until(until) => {}
            }
        }
    }

    /// Tells the world what the engine has to say.
    fn report(&mut self) {
        self.inbox.publish(self.engine.account());
        let now = self.now();
        for notice in self.engine.take_notices() {
            if let Some(left_out) = self.throttle.may_say(notice.code.as_str(), now) {
                log::warn(notice.code.as_str(), &notice.text, left_out);
            }
            if let Some(on_error) = &self.on_error {
                // A callback that fails must not stop the worker; that it failed is its owner's business.
                let _ = catch_unwind(AssertUnwindSafe(|| on_error(&notice.signal())));
            }
        }
        for (waiter, waited) in self.engine.take_ended_waits() {
            waiter.answer(waited);
        }
    }
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}
