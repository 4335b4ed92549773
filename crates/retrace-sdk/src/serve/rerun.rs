//! The run that a function records when it is run again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use opentelemetry::Context;
use opentelemetry_retrace::__private::AlwaysSampled;
use serde_json::Value as Json;

use crate::attributes;
use crate::facts::Facts;
use crate::failure::Failure;
use crate::recorded::Recorded;
use crate::value::Value;

/// Value of the context in which a function is run again: the next run in it has this name, input and metadata.
#[derive(Clone, Debug)]
pub(crate) struct Rerun(Arc<Run>);

#[derive(Debug)]
struct Run {
    name: String,
    /// Input of the run, in the place of the arguments.
    input: Option<Value>,
    metadata: Vec<(&'static str, Json)>,
    has_begun: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    recorded: Option<Weak<Recorded>>,
    is_cancelled: bool,
}

impl Rerun {
    pub(crate) fn new(name: String, input: Option<Json>, metadata: Vec<(&'static str, Json)>) -> Self {
        let input = input.map(|input| Value::serialize(&input));
        let run = Run { name, input, metadata, has_begun: AtomicBool::new(false), state: Mutex::default() };
        Self(Arc::new(run))
    }

    /// A context that holds it, and nothing of what is current. The run is recorded whatever the sample rate is.
    pub(crate) fn context(&self) -> Context {
        Context::new().with_value(AlwaysSampled).with_value(self.clone())
    }

    /// Takes the one of a context for a run that begins; nothing for a later run in that context.
    pub(crate) fn begin(parent: &Context) -> Option<&Self> {
        parent.get::<Self>().filter(|rerun| !rerun.0.has_begun.swap(true, Ordering::AcqRel))
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.0.has_begun.load(Ordering::Acquire)
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// Adds what it states of the run.
    pub(crate) fn describe(&self, facts: &mut Facts, captures_content: bool) {
        for (key, value) in &self.0.metadata {
            facts.metadata((*key).to_owned(), Value::serialize(value));
        }
        if let Some(input) = self.0.input.clone().filter(|_| captures_content) {
            facts.set_value(attributes::INPUT, input);
        }
    }

    pub(crate) fn set_recorded(&self, recorded: &Arc<Recorded>) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.recorded = Some(Arc::downgrade(recorded));
        if state.is_cancelled {
            recorded.end_failed(Failure::cancelled());
        }
    }

    /// Ends the run as cancelled, also one that begins later, though its function goes on.
    pub(crate) fn cancel(&self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_cancelled = true;
        if let Some(recorded) = state.recorded.as_ref().and_then(Weak::upgrade) {
            recorded.end_failed(Failure::cancelled());
        }
    }

    /// Records a run that failed before the function was called.
    pub(crate) fn record_failure(&self, message: &str) {
        let _current = self.context().attach();
        crate::run(self.0.name.clone()).fail(message).start().end();
    }
}
