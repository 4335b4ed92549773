//! Requests to the receiver beside the delivery of runs: used by the crate `retrace-sdk`, on a thread of
//! their own.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::fork::PerProcess;
use crate::log::suppress;
use crate::log::{self, Throttle};
use crate::transport::client::GivenClient;
use crate::transport::http::Http;

const THREAD_NAME: &str = "retrace-requests";
/// Maximum number of tasks that run at once, and of tasks that wait for one of these to end.
const TASKS: usize = 1024;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes requests to the receiver, with the key, the certificate and the proxy of a pipeline. Clones share
/// one thread, which begins with the first task and ends with the last clone; the child of a fork has its
/// own.
#[derive(Clone)]
pub struct Requests(Arc<Shared>);

struct Shared {
    config: Config,
    client: Option<GivenClient>,
    running: PerProcess<OnceLock<Option<Running>>>,
    throttle: Mutex<Throttle>,
    began: Instant,
}

struct Running {
    tasks: mpsc::Sender<Task>,
    http: Arc<Http>,
}

impl Requests {
    pub(crate) fn new(config: Config, client: Option<GivenClient>) -> Self {
        let (running, throttle) = (PerProcess::new(OnceLock::new()), Mutex::default());
        Self(Arc::new(Shared { config, client, running, throttle, began: Instant::now() }))
    }

    /// Returns the project that runs are filed under.
    #[must_use]
    pub fn project_id(&self) -> Option<&str> {
        self.0.config.project_id.as_deref()
    }

    /// Runs a task on the thread. Returns false, and drops the task, if there is no thread or too many tasks
    /// wait.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> bool {
        self.running().is_some_and(|running| running.tasks.try_send(Box::pin(task)).is_ok())
    }

    /// Makes one request, within a task. Returns the status and the body.
    ///
    /// # Errors
    /// The reason why there is no response, as text for people.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        within: Duration,
    ) -> Result<(StatusCode, Vec<u8>), String> {
        let http = self.running().map(|running| Arc::clone(&running.http)).ok_or("there is no thread for requests")?;
        http.call(method, path, body, within).await
    }

    /// Waits, within a task.
    pub async fn sleep(time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Writes a warning to the log, one of a cause in five seconds.
    pub fn warn(&self, cause: &'static str, message: &str) {
        let now = self.0.began.elapsed();
        let left_out = self.0.throttle.lock().unwrap_or_else(PoisonError::into_inner).may_say(cause, now);
        if let Some(left_out) = left_out {
            suppress::unmuted(|| log::warn(cause, message, left_out));
        }
    }

    fn running(&self) -> Option<&Running> {
        let here = self.0.running.here(|_| OnceLock::new());
        here.get_or_init(|| start(&self.0.config, self.0.client.clone())).as_ref()
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").finish_non_exhaustive()
    }
}

/// Starts the thread; `None` if the system starts none.
fn start(config: &Config, client: Option<GivenClient>) -> Option<Running> {
    let http = Arc::new(Http::new(config, client).ok()?);
    let (tasks, waiting) = mpsc::channel(TASKS);
    let run = move || {
        let Ok(runtime) = Builder::new_current_thread().enable_all().max_blocking_threads(2).build() else { return };
        suppress::mute_this_thread();
        runtime.block_on(work(waiting));
        runtime.shutdown_background();
        suppress::unmute_this_thread();
    };
    thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(run).ok()?;
    Some(Running { tasks, http })
}

/// Runs tasks until all senders are gone. Tasks that are still running then are dropped.
async fn work(mut waiting: mpsc::Receiver<Task>) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = tasks.join_next() => {}
            task = waiting.recv(), if tasks.len() < TASKS => match task {
                Some(task) => drop(tasks.spawn(task)),
                None => return,
            },
        }
    }
}
