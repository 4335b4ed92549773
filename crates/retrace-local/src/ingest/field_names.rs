//! Names of the fields that an event sets: those that its serialization has.

use retrace_protocol::{SpanEnded, Trace, TraceEnded};

use super::Fields;

/// Fields of a trace that its end determines.
const OF_TRACE_PATCH: [&str; 10] = [
    "status",
    "output",
    "ended_at",
    "total_tokens",
    "total_cost",
    "total_duration_ms",
    "lossy",
    "terminated_early",
    "span_count",
    "error",
];

/// Returns the names of the fields that the end of a span sets on it.
pub(crate) fn of_span_end(end: &SpanEnded) -> impl Iterator<Item = &'static str> {
    let SpanEnded { id: _, trace_id: _, ended_at: _, output, duration_ms, output_tokens, cost, error } = end;
    present([
        ("id", true),
        ("ended_at", true),
        ("output", output.is_some()),
        ("duration_ms", duration_ms.is_some()),
        ("output_tokens", output_tokens.is_some()),
        ("cost", cost.is_some()),
        ("error", error.is_some()),
    ])
}

/// Returns the names of the fields of a trace, without its spans and without those that its end determines.
pub(crate) fn of_trace_start(trace: &Trace) -> impl Iterator<Item = &'static str> {
    let Trace { id, started_at, name, input, metadata, session_id, project_id, .. } = trace;
    present([
        ("id", id.is_some()),
        ("started_at", started_at.is_some()),
        ("name", name.is_some()),
        ("input", input.is_some()),
        ("metadata", metadata.is_some()),
        ("session_id", session_id.is_some()),
        ("project_id", project_id.is_some()),
    ])
}

/// Returns the names of the fields that the end of a trace sets on it.
pub(crate) fn of_trace_end(end: &TraceEnded) -> impl Iterator<Item = &'static str> {
    let TraceEnded { id: _, started_at, ended_at, output, status, total_tokens, total_cost, .. } = end;
    let TraceEnded { total_duration_ms, span_count, error, terminated_early, lossy, .. } = end;
    present([
        ("id", true),
        ("started_at", started_at.is_some()),
        ("ended_at", ended_at.is_some()),
        ("output", output.is_some()),
        ("status", status.is_some()),
        ("total_tokens", total_tokens.is_some()),
        ("total_cost", total_cost.is_some()),
        ("total_duration_ms", total_duration_ms.is_some()),
        ("span_count", span_count.is_some()),
        ("error", error.is_some()),
        ("terminated_early", terminated_early.is_some()),
        ("lossy", lossy.is_some()),
    ])
}

/// Returns the names of those fields of a trace that its end determines.
pub(crate) fn of_trace_patch(trace: &Fields) -> Vec<String> {
    trace.keys().filter(|name| OF_TRACE_PATCH.contains(&name.as_str())).cloned().collect()
}

fn present<const N: usize>(fields: [(&'static str, bool); N]) -> impl Iterator<Item = &'static str> {
    fields.into_iter().filter_map(|(name, is_present)| is_present.then_some(name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use retrace_protocol::{Span, TracePatch};
    use serde::Serialize;

    use super::super::fields_of;
    use super::*;
    use crate::arbitrary;

    fn written(record: &impl Serialize) -> BTreeSet<String> {
        fields_of(record).unwrap().into_keys().collect()
    }

    fn named(names: impl IntoIterator<Item = impl Into<String>>) -> BTreeSet<String> {
        names.into_iter().map(Into::into).collect()
    }

    proptest! {
        #[test]
        fn the_names_are_those_that_are_written(
            span in arbitrary::span("t".into()),
            trace in arbitrary::trace(),
            started_at in prop::option::of(arbitrary::time()),
        ) {
            let Span { id, started_at: ended_at, output, duration_ms, output_tokens, cost, error, .. } = span;
            let end = SpanEnded { id, trace_id: None, ended_at, output, duration_ms, output_tokens, cost, error };
            prop_assert_eq!(named(of_span_end(&end)), written(&end));

            let trace = Trace { spans: None, ..trace };
            let patch = TracePatch::of(&trace);
            prop_assert_eq!(named(of_trace_patch(&fields_of(&trace).unwrap())), written(&patch));
            let start: BTreeSet<String> = written(&trace).difference(&written(&patch)).cloned().collect();
            prop_assert_eq!(named(of_trace_start(&trace)), start);
            let end = TraceEnded { started_at, ..patch.into_ended("t".into()) };
            prop_assert_eq!(named(of_trace_end(&end)), written(&end));
        }
    }
}
