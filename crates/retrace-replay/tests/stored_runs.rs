//! Entries of stored runs whose parents are odd.

#![allow(clippy::unwrap_used)]

use retrace_protocol::{Id, Span, SpanType, Timestamp, Trace};
use retrace_replay::render::entries;

fn span(id: &str, parent: &str, span_type: SpanType) -> Span {
    let mut span = Span::new(id.into(), "t".into(), span_type, "step", Timestamp::from_unix_micros(1));
    span.parent_id = Some(Id::from(parent));
    span
}

fn run(spans: Vec<Span>) -> Trace {
    Trace { spans: Some(spans), ..Trace::started("t".into(), Timestamp::from_unix_micros(1)) }
}

#[test]
fn parents_in_a_circle_end() {
    for span_type in [SpanType::LlmCall, SpanType::ToolCall, SpanType::Reasoning] {
        let own = run(vec![span("a", "a", span_type)]);
        let pair = run(vec![span("a", "b", span_type), span("b", "a", span_type), span("c", "a", SpanType::LlmCall)]);
        assert!(entries(&own).len() <= 1 && entries(&pair).len() <= 3);
    }
}

#[test]
fn the_depth_of_a_lane_is_bounded() {
    let chain: Vec<Span> =
        (1..3_000).map(|n| span(&n.to_string(), &(n - 1).to_string(), SpanType::Reasoning)).collect();
    let mut spans = chain;
    spans.push(span("call", "2999", SpanType::LlmCall));
    let entries = entries(&run(spans));
    assert!(entries.len() == 1 && format!("{:?}", entries.first().unwrap().entry.lane).len() < 16 * 1024);
}
