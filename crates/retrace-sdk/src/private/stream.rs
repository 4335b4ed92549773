//! A recorded stream: its items are the output.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use futures_core::Stream;
use opentelemetry::Context;
use pin_project_lite::pin_project;

use super::call::Call;
use super::outcome::{Ended, Outcome};
use crate::attributes;
use crate::failure::Failure;
use crate::recorded::Recorded;
use crate::value::Value;
use crate::value::items::Items;

/// The stream of a call, with the span current while it is polled. Ends when the stream ends; dropped before that, what was
/// read so far is the output, marked `partial`.
pub fn call_stream<S: Stream, O: FnMut(&S::Item, bool) -> Outcome>(call: Call, body: S, item: O) -> Recording<S, O> {
    Recording { call, body: Some(body), item, items: Items::default() }
}

pin_project! {
    /// A recorded stream.
    #[derive(Debug)]
    #[must_use = "streams do nothing unless polled"]
    pub struct Recording<S, O> {
        call: Call,
        // `None` once it has ended, or is dropped with its context.
        #[pin]
        body: Option<S>,
        item: O,
        items: Items,
    }

    impl<S, O> PinnedDrop for Recording<S, O> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.body.is_none() {
                return;
            }
            {
                let _current = this.call.context().map(Context::attach);
                this.body.set(None);
            }
            if let Some(running) = this.call.running() {
                running.recorded.state(|facts| facts.metadata("partial".to_owned(), Value::serialize(&true)));
                if std::thread::panicking() {
                    running.recorded.fail(Failure::unwound());
                }
                end(&running.recorded, this.items);
            }
        }
    }
}

/// Records the items, and ends the span.
fn end(recorded: &Recorded, items: &mut Items) {
    if let Some(output) = std::mem::take(items).into_output() {
        recorded.set_content(attributes::OUTPUT, || output);
    }
    recorded.end();
}

impl<S: Stream, O: FnMut(&S::Item, bool) -> Outcome> Stream for Recording<S, O> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Option<S::Item>> {
        let mut this = self.project();
        let Some(body) = this.body.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        let _current = this.call.context().map(Context::attach);
        let Some(running) = this.call.running() else { return body.poll_next(task) };
        let recorded = &running.recorded;
        match catch_unwind(AssertUnwindSafe(|| body.poll_next(task))) {
            Ok(polled) => {
                let item = ready!(polled);
                match &item {
                    Some(item) => {
                        match catch_unwind(AssertUnwindSafe(|| (this.item)(item, recorded.captures_content()))) {
                            Ok(Outcome(Ended::Returned(Some(value)))) => this.items.push(&value),
                            Ok(Outcome(Ended::Returned(None))) => this.items.leave_out(),
                            Ok(Outcome(Ended::Failed(failure))) => recorded.fail(failure),
                            Err(_) => this.items.push(&Value::unreadable()),
                        }
                    }
                    None => {
                        this.body.set(None);
                        this.items.complete();
                        end(recorded, this.items);
                    }
                }
                Poll::Ready(item)
            }
            Err(payload) => {
                recorded.fail(Failure::panicked(&*payload));
                this.body.set(None);
                end(recorded, this.items);
                resume_unwind(payload)
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.body.as_ref().map_or((0, Some(0)), Stream::size_hint)
    }
}
