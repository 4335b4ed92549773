//! What the receiver has of the run, told whenever it changes.

use std::collections::HashMap;
use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use retrace_protocol::{Id, Span, Status, Trace};

use crate::receiver::Receiver;

/// How often the receiver is looked at.
const EVERY: Duration = Duration::from_millis(20);

/// Somebody who looks at the receiver.
#[derive(Debug)]
pub(crate) struct Watch {
    began: Instant,
    status: Option<Status>,
    /// Steps that were told, and whether they had ended.
    told: HashMap<Id, bool>,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), status: None, told: HashMap::new() }
    }

    /// Looks on for so long.
    pub(crate) fn for_a_while(&mut self, receiver: &Receiver, time: Duration) -> Result<(), Box<dyn Error>> {
        let until = Instant::now() + time;
        loop {
            self.look(receiver)?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(EVERY));
        }
    }

    /// Looks until a step shows as running; an error when it does not within `limit`.
    pub(crate) fn until_running(
        &mut self,
        receiver: &Receiver,
        step: &str,
        limit: Duration,
    ) -> Result<(), Box<dyn Error>> {
        let until = Instant::now() + limit;
        loop {
            let run = self.look(receiver)?;
            let steps = run.as_ref().and_then(|run| run.spans.as_deref()).unwrap_or_default();
            if steps.iter().any(|span| span.name == step && !has_ended(span)) {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(format!("the receiver does not show that {step} is running").into());
            }
            thread::sleep(EVERY);
        }
    }

    /// Looks once, and tells what is new.
    pub(crate) fn look(&mut self, receiver: &Receiver) -> Result<Option<Trace>, Box<dyn Error>> {
        let run = receiver.run()?;
        if let Some(run) = &run {
            self.tell_news(run);
        }
        Ok(run)
    }

    fn tell_news(&mut self, run: &Trace) {
        let name = run.name.as_deref().unwrap_or("(no name yet)");
        let began = self.status.is_none();
        if began {
            self.say(&format!("run {name} is running"));
            self.status = Some(Status::Running);
        }
        for span in run.spans.iter().flatten() {
            let ended = has_ended(span);
            if self.told.insert(span.id.clone(), ended) == Some(ended) {
                continue;
            }
            let state = if !ended {
                "is running".to_owned()
            } else if let Some(error) = &span.error {
                format!("failed: {error}")
            } else {
                format!("ended after {} ms", span.duration_ms.unwrap_or_default())
            };
            self.say(&format!("{:<11} {} {state}", span.span_type.as_str(), span.name));
        }
        if self.status != run.status {
            self.status = run.status;
            self.say(&format!("run {name} is {}", run.status.map_or("?", Status::as_str)));
        }
    }

    /// A line with its time.
    pub(crate) fn say(&self, what: &str) {
        println!("{:5.1} s  {what}", self.began.elapsed().as_secs_f64());
    }
}

const fn has_ended(span: &Span) -> bool {
    span.ended_at.is_some()
}
