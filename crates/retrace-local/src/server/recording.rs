//! The task that buffers OTLP traces and writes them to the store.

use std::time::Duration;

use axum::http::StatusCode;
use retrace_protocol::Id;
use retrace_translate::Options;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use retrace_otlp::{Due, Emission, EmissionResult, HeldLimits, HeldTraces, OtlpRequest};

use super::error::ApiError;
use super::stream::ChangeNotifier;
use crate::store::{Change, OtlpRun, Outcome, Writer};

/// Requests that may wait for the task.
const QUEUE: usize = 64;
/// Time that a request waits for a place in the queue: shorter than the response timeout of exporters.
const PATIENCE: Duration = Duration::from_secs(5);
/// Delay after a trace could not be stored. No message is received meanwhile.
const PAUSE: Duration = Duration::from_secs(1);

/// Sends requests to the task.
#[derive(Clone, Debug)]
pub(super) struct Recording {
    messages: mpsc::Sender<Message>,
}

/// Messages to the task.
#[derive(Debug)]
enum Message {
    /// Record the spans and events of a request.
    Request(OtlpRequest, Option<OwnedSemaphorePermit>),
    /// A run is deleted: drop its buffered trace, and confirm when that is done.
    Forget(Id, oneshot::Sender<()>),
}

/// State of the task.
#[derive(Debug)]
pub(super) struct Recorder {
    messages: mpsc::Receiver<Message>,
    options: Options,
    traces: HeldTraces,
    began: Instant,
}

/// Creates the task's two ends. Requires a Tokio runtime.
pub(super) fn record(options: Options, bytes: usize) -> (Recording, Recorder) {
    let (sender, messages) = mpsc::channel(QUEUE);
    let traces = HeldTraces::new(HeldLimits { bytes, ..HeldLimits::default() });
    (Recording { messages: sender }, Recorder { messages, options, traces, began: Instant::now() })
}

impl Recording {
    /// Queues a request for recording. The permit in `room` is released when the request is in the buffer.
    pub(super) async fn take(&self, request: OtlpRequest, room: Option<OwnedSemaphorePermit>) -> Result<(), ApiError> {
        match timeout(PATIENCE, self.messages.reserve()).await {
            Ok(Ok(place)) => {
                place.send(Message::Request(request, room));
                Ok(())
            }
            Ok(Err(_)) => Err(ApiError::busy("the receiver is stopping")),
            Err(_) => {
                Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, "the receiver has more than it can store in time"))
            }
        }
    }

    /// Drops the buffered trace of a run. When this returns, no data of the run is being stored any more, unless that
    /// takes longer than the time limit.
    pub(super) async fn forget(&self, id: &Id) {
        let (done, forgotten) = oneshot::channel();
        let forget = async {
            if self.messages.send(Message::Forget(id.clone(), done)).await.is_ok() {
                let _ = forgotten.await;
            }
        };
        let _ = timeout(PATIENCE, forget).await;
    }
}

impl Recorder {
    /// Records until `stop`, then emits the traces that are not emitted yet.
    pub(super) async fn run(mut self, writer: Writer, mut notifier: ChangeNotifier, mut stop: oneshot::Receiver<()>) {
        loop {
            let now = self.began.elapsed();
            while let Some(due) = self.traces.next_due(now) {
                if !self.emit(due, &writer, &mut notifier).await {
                    tokio::select! {
                        () = sleep(PAUSE) => {}
                        _ = &mut stop => return self.finish(&writer, &mut notifier).await,
                    }
                }
            }
            for id in self.traces.forgotten() {
                notifier.ends(&id);
            }
            let deadline = self.traces.next_deadline().map(|deadline| self.began + deadline);
            tokio::select! {
                message = self.messages.recv() => match message {
                    Some(message) => self.take(message),
                    None => return self.finish(&writer, &mut notifier).await,
                },
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {}
                _ = &mut stop => return self.finish(&writer, &mut notifier).await,
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Request(request, _room) => self.traces.take(request, self.began.elapsed()),
            Message::Forget(id, done) => {
                self.traces.forget(&id);
                let _ = done.send(());
            }
        }
    }

    /// Emits one trace and returns it to the buffer; returns false if the trace could not be stored.
    async fn emit(&mut self, mut due: Due, writer: &Writer, notifier: &mut ChangeNotifier) -> bool {
        let options = self.options.clone();
        // The translation of a large trace takes a while; the server continues meanwhile.
        let stored = tokio::task::spawn_blocking(move || {
            let emission = due.translate(&options);
            let ended = emission.as_ref().is_none_or(Emission::has_ended);
            let id = emission.as_ref().and_then(|emission| emission.run.trace.id.clone());
            (due, emission.map(OtlpRun::new).transpose(), id, ended)
        });
        // A panic in a translation loses only its own trace; a translation is cancelled only when the server stops.
        let Ok((due, run, id, ended)) = stored.await else { return true };
        let how = match run {
            Ok(Some(run)) => match writer.write(Change::Otlp(Box::new(run)), None).await {
                Ok(Outcome::Merged) => EmissionResult::Added,
                Ok(_) => EmissionResult::Stored,
                Err(_) => EmissionResult::Failed,
            },
            // No span belongs to a run, or, which cannot happen, a record cannot be serialized.
            Ok(None) | Err(_) => EmissionResult::Stored,
        };
        if let Some(id) = &id {
            if ended { notifier.ends(id) } else { notifier.changed(id) }
        }
        self.traces.put_back(due, how, self.began.elapsed());
        how != EmissionResult::Failed
    }

    /// Emits the remaining traces once.
    async fn finish(mut self, writer: &Writer, notifier: &mut ChangeNotifier) {
        self.messages.close();
        while let Ok(message) = self.messages.try_recv() {
            self.take(message);
        }
        for due in self.traces.settle() {
            self.emit(due, writer, notifier).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store;

    fn on_paused_clock<F: Future>(test: impl FnOnce() -> F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async { test().await })
    }

    #[test]
    fn more_than_can_be_stored_in_time_is_put_off() {
        on_paused_clock(async || {
            let (recording, recorder) = record(Options::default(), 1 << 20);
            for _ in 0..QUEUE {
                recording.take(OtlpRequest::default(), None).await.unwrap();
            }
            let began = Instant::now();
            let error = recording.take(OtlpRequest::default(), None).await.unwrap_err();
            assert_eq!((error.status(), began.elapsed()), (StatusCode::TOO_MANY_REQUESTS, PATIENCE));
            // A run cannot be dropped meanwhile, but the wait for that is bounded.
            recording.forget(&"t".into()).await;
            assert_eq!(began.elapsed(), 2 * PATIENCE);
            drop(recorder);
            let error = recording.take(OtlpRequest::default(), None).await.unwrap_err();
            assert_eq!(error.status(), StatusCode::SERVICE_UNAVAILABLE);
        });
    }

    #[test]
    fn the_room_of_a_request_is_given_back_when_it_is_recorded() {
        on_paused_clock(async || {
            let (writer, _reader, _thread) = store::open(None, false).unwrap();
            let (recording, recorder) = record(Options::default(), 1 << 20);
            let room = std::sync::Arc::new(tokio::sync::Semaphore::new(1));
            let permit = std::sync::Arc::clone(&room).acquire_owned().await.unwrap();
            recording.take(OtlpRequest::default(), Some(permit)).await.unwrap();
            assert_eq!(room.available_permits(), 0);
            let (stop, stopped) = oneshot::channel();
            let notifier = std::sync::Arc::new(super::super::stream::Live::default()).notifier();
            let task = tokio::spawn(recorder.run(writer, notifier, stopped));
            assert!(room.acquire().await.is_ok());
            stop.send(()).unwrap();
            task.await.unwrap();
        });
    }
}
