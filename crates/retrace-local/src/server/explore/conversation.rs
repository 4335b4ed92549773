//! Conversations of runs and spans.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use retrace_protocol::{Id, Json, Span, write};

use crate::conversation::{Answered, Conversation, Subject};
use crate::server::error::ApiError;
use crate::server::http::{Answer, PathId, Shared, bad_path, large, no_trace};
use crate::store::Reader;

pub(super) async fn of_run(State(app): Shared, PathId(id): PathId) -> Answer {
    let missing = no_trace(&id);
    let read = move |reader: &Reader| {
        let Some(trace) = reader.trace(&id, false)? else { return Ok(None) };
        let trace = trace.record;
        let [input, output, metadata] = [trace.input.as_ref(), trace.output.as_ref(), trace.metadata.as_ref()];
        let found = Conversation::of(Subject::Conversation, input, output, metadata, &[]);
        Ok(Some(write::to_string(&found)?))
    };
    large(&app, read).await?.ok_or(missing)
}

pub(super) async fn of_span(State(app): Shared, path: Result<Path<(String, String)>, PathRejection>) -> Answer {
    let Path((trace_id, id)) = path.map_err(bad_path)?;
    let (trace_id, id) = (Id::from(trace_id), Id::from(id));
    let missing = ApiError::not_found(format!("there is no span {id} in a trace {trace_id}"));
    let read = move |reader: &Reader| {
        let Some(span) = reader.span(&trace_id, &id)? else { return Ok(None) };
        let answers = if span.model.is_some() { reader.answers(&trace_id)? } else { Vec::new() };
        let answers: Vec<Answered> = answers.into_iter().map(answered).collect();
        let [input, output, metadata] = [span.input.as_ref(), span.output.as_ref(), span.metadata.as_ref()];
        let found = Conversation::of(Subject::of(&span.span_type), input, output, metadata, &answers);
        Ok(Some(write::to_string(&found)?))
    };
    large(&app, read).await?.ok_or(missing)
}

fn answered((call_id, span): (String, Span)) -> Answered {
    let output = span.output.as_ref().and_then(|output: &Json| output.to_value().ok());
    Answered { call_id, span_id: span.id.to_string(), output, error: span.error }
}
