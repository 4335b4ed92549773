//! The user's hook before records leave the process.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use retrace_protocol::json::{is_strict, without_nul};
use retrace_protocol::{Json, Span, Trace};

/// Record to be sent, after translation.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Record {
    /// Run, without its spans. If the run was sent before, only its changes.
    Trace(Box<Trace>),
    /// Span.
    Span(Box<Span>),
}

/// Hook that receives each record before it is sent and returns it, changed or not, or `None` to hold it
/// back.
pub(crate) type BeforeSend = Arc<dyn Fn(Record) -> Option<Record> + Send + Sync>;

/// Hook with a guard against panics: a record on which it panics is not sent.
#[derive(Clone, Default)]
pub(crate) struct Redaction(Option<BeforeSend>);

/// Decision of the hook.
#[derive(Debug, PartialEq)]
pub(crate) enum Decision<T> {
    Send(T),
    KeepBack,
    Panicked,
}

impl Redaction {
    pub(crate) fn new(hook: Option<BeforeSend>) -> Self {
        Self(hook)
    }

    /// Passes a span through the hook. Its ids do not change: they tie it to its run.
    pub(crate) fn span(&self, span: Span) -> Decision<Span> {
        let Some(hook) = &self.0 else { return Decision::Send(span) };
        let ids = (span.id.clone(), span.trace_id.clone(), span.parent_id.clone());
        let span = match run(hook, Record::Span(Box::new(span))) {
            Decision::Send(Record::Span(span)) => span,
            Decision::Panicked => return Decision::Panicked,
            _ => return Decision::KeepBack,
        };
        let mut span = *span;
        (span.id, span.trace_id, span.parent_id) = ids;
        for json in [&mut span.input, &mut span.output, &mut span.metadata].into_iter().flatten() {
            make_strict(json);
        }
        [&mut span.model, &mut span.error].into_iter().flatten().chain([&mut span.name]).for_each(remove_nul);
        let agents = [&mut span.agent_id, &mut span.agent_role, &mut span.parent_agent_id];
        for agent in agents.into_iter().flatten().filter(|agent| agent.contains('\0')) {
            *agent = without_nul(agent).into();
        }
        Decision::Send(span)
    }

    /// Passes a trace through the hook. Its id does not change.
    pub(crate) fn trace(&self, trace: Trace) -> Decision<Trace> {
        let Some(hook) = &self.0 else { return Decision::Send(trace) };
        let id = trace.id.clone();
        let trace = match run(hook, Record::Trace(Box::new(trace))) {
            Decision::Send(Record::Trace(trace)) => trace,
            Decision::Panicked => return Decision::Panicked,
            _ => return Decision::KeepBack,
        };
        let mut trace = *trace;
        (trace.id, trace.spans) = (id, None);
        for json in [&mut trace.input, &mut trace.output, &mut trace.metadata].into_iter().flatten() {
            make_strict(json);
        }
        let texts = [&mut trace.name, &mut trace.error, &mut trace.session_id, &mut trace.project_id];
        texts.into_iter().flatten().for_each(remove_nul);
        Decision::Send(trace)
    }
}

fn run(hook: &BeforeSend, record: Record) -> Decision<Record> {
    // The hook has access only to the record, which is dropped when it panics.
    match catch_unwind(AssertUnwindSafe(|| hook(record))) {
        Ok(Some(record)) => Decision::Send(record),
        Ok(None) => Decision::KeepBack,
        Err(_) => Decision::Panicked,
    }
}

/// Replaces JSON of a hook by JSON that a strict reader accepts.
fn make_strict(json: &mut Json) {
    if !is_strict(json.as_str()) {
        *json = Json::text(json.as_str());
    }
}

fn remove_nul(text: &mut String) {
    if text.contains('\0') {
        *text = without_nul(text).into_owned();
    }
}

impl fmt::Debug for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Redaction(hook)" } else { "Redaction(none)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use retrace_protocol::{SpanType, Timestamp};

    fn redaction(hook: impl Fn(Record) -> Option<Record> + Send + Sync + 'static) -> Redaction {
        Redaction::new(Some(Arc::new(hook)))
    }

    fn span() -> Span {
        Span::new("s".into(), "t".into(), SpanType::Action, "name", Timestamp::from_unix_micros(1))
    }

    #[test]
    fn a_hook_edits_what_is_said_but_not_the_ids() {
        let redaction = redaction(|record| match record {
            Record::Span(mut span) => {
                span.name = "edited\0".to_owned();
                span.id = "other".into();
                span.input = serde_json::from_str(r#""a\u0000b""#).ok();
                Some(Record::Span(span))
            }
            record => Some(record),
        });
        let Decision::Send(span) = redaction.span(span()) else { panic!("kept back") };
        assert_eq!((span.id, span.name.as_str()), ("s".into(), "edited\u{FFFD}"));
        assert_eq!(span.input, Some(Json::text(r#""a\u0000b""#)), "what a strict reader refuses becomes text");
    }

    #[test]
    fn a_hook_that_drops_or_mistakes_a_record_keeps_it_back() {
        assert_eq!(redaction(|_| None).span(span()), Decision::KeepBack);
        assert_eq!(redaction(|_| None).trace(Trace::default()), Decision::KeepBack);
        assert_eq!(redaction(|_| Some(Record::Trace(Box::default()))).span(span()), Decision::KeepBack);
    }

    #[test]
    fn what_a_hook_panics_on_is_not_sent() {
        let redaction = redaction(|_| panic!("on purpose"));
        assert_eq!(redaction.span(span()), Decision::Panicked);
        assert_eq!(redaction.trace(Trace::default()), Decision::Panicked);
    }
}
