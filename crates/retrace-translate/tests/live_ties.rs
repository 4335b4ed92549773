//! Tool spans of live runs that do not state which call they execute.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use retrace_protocol::Span;
use retrace_translate::{LiveEvent, Options, Recorder, RecorderLimits, Resource};
use serde_json::json;
use support::*;

/// A model call that requests `look` with `{"q":1}` twice, as `c1` and `c2`, and with `{"q":2}`, as `c3`.
const REQUESTS: &str = r#"[{"role":"assistant","parts":[
    {"type":"tool_call","id":"c1","name":"look","arguments":{"q":1}},
    {"type":"tool_call","id":"c2","name":"look","arguments":{"q":1}},
    {"type":"tool_call","id":"c3","name":"look","arguments":{"q":2}}],"finish_reason":"tool_call"}]"#;
/// The next one, whose messages have the result of `c3`.
const ANSWERED: &str = r#"[{"role":"user","parts":[{"type":"text","content":"hi"}]},
    {"role":"assistant","parts":[{"type":"tool_call","id":"c3","name":"look","arguments":{"q":2}}]},
    {"role":"tool","parts":[{"type":"tool_call_response","id":"c3","response":"found"}]}]"#;

/// A run seen from its beginning: an agent, and a model call that requests tools.
struct Run {
    recorder: Recorder,
    outputs: Outputs,
}

impl Run {
    fn with(options: Options) -> Self {
        let mut run = Self { recorder: Recorder::new(options, RecorderLimits::default()), outputs: Outputs::default() };
        run.starts(&agent(1, 0, "a")).ends(&chat(2, 1).during(10, 20).with("gen_ai.output.messages", REQUESTS));
        run
    }

    fn new() -> Self {
        Self::with(Options::default())
    }

    fn starts(&mut self, span: &TestSpan) -> &mut Self {
        self.recorder.start(&span.begun_without(&[]), &Arc::new(Resource::default()), Duration::ZERO);
        self
    }

    fn ends(&mut self, span: &TestSpan) -> &mut Self {
        self.recorder.record(span, &Arc::new(Resource::default()), Duration::ZERO);
        self
    }

    /// Ends the run; gives of each span of the tool its type, its call, and if a message alone showed it.
    fn tools(mut self) -> Vec<(String, String, bool)> {
        self.ends(&agent(1, 0, "a"));
        self.recorder.settle();
        self.recorder.finish();
        self.outputs.take(&mut self.recorder);
        assert_eq!((self.recorder.open_spans(), self.recorder.weight()), (0, 0));
        let mut spans: BTreeMap<String, (Span, u32)> = BTreeMap::new();
        for live in &self.outputs.live {
            let LiveEvent::SpanEnded(recorded) = &live.event else { continue };
            let sources = spans.get(&recorded.span.id.to_string()).map_or(0, |(_, sources)| *sources);
            let span = (recorded.span.clone(), sources + recorded.sources);
            spans.insert(recorded.span.id.to_string(), span);
        }
        let mut tools = Vec::new();
        for (span, sources) in spans.into_values().filter(|(span, _)| span.name == "look") {
            let call = metadata(&span)["tool_call_id"].as_str().unwrap_or_default().to_owned();
            tools.push((span.span_type.as_str().to_owned(), call, sources == 0));
        }
        tools.sort();
        tools
    }

    /// The span as it was sent last.
    fn span(&mut self, n: u64) -> Span {
        self.outputs.take(&mut self.recorder);
        let sent = self.outputs.live.iter().rev().find_map(|live| match &live.event {
            LiveEvent::SpanStarted(span) => Some(span),
            LiveEvent::SpanEnded(recorded) => Some(&recorded.span),
            _ => None,
        });
        let span = sent.unwrap().clone();
        assert_eq!(span.id.to_otel_span(), Some(id(n)));
        span
    }
}

/// A span of the tool without a call id.
fn look(n: u64, arguments: &'static str) -> TestSpan {
    let span = span(n, 1, "execute_tool").during(30, 40).with("gen_ai.operation.name", "execute_tool");
    span.with("gen_ai.tool.name", "look").with("gen_ai.tool.call.arguments", arguments)
}

fn made(span_type: &str, call: &str) -> (String, String, bool) {
    (span_type.to_owned(), call.to_owned(), true)
}

fn own(call: &str) -> (String, String, bool) {
    ("tool_call".to_owned(), call.to_owned(), false)
}

#[test]
fn a_span_is_the_call_with_its_name_and_arguments_from_its_beginning() {
    let mut run = Run::new();
    run.starts(&look(3, r#"{ "q": 2 }"#));
    assert_eq!(metadata(&run.span(3))["tool_call_id"], "c3");
    run.ends(&look(3, r#"{ "q": 2 }"#).with("gen_ai.tool.call.result", "found"));
    assert_eq!(run.tools(), [made("tool_call", "c1"), made("tool_call", "c2"), own("c3"), made("tool_result", "c3")]);
}

#[test]
fn equal_calls_are_executed_in_their_order() {
    let mut run = Run::new();
    let (first, second) = (look(3, r#"{"q":1}"#), look(4, r#"{"q":1}"#).during(31, 41));
    run.starts(&first);
    assert_eq!(metadata(&run.span(3))["tool_call_id"], "c1");
    run.starts(&second);
    assert_eq!(metadata(&run.span(4))["tool_call_id"], "c2");
    // A third one is what is left of that name, as the third call is.
    run.ends(&second).ends(&first).ends(&look(5, r#"{"q":1}"#).during(32, 42));
    assert_eq!(run.tools(), [own("c1"), own("c2"), own("c3")]);
}

#[test]
fn arguments_that_are_known_at_the_end_are_in_time() {
    let mut run = Run::new();
    run.recorder.start(
        &look(3, r#"{"q":2}"#).begun_without(&["gen_ai.tool.call.arguments"]),
        &Arc::new(Resource::default()),
        Duration::ZERO,
    );
    assert_eq!(metadata(&run.span(3)).get("tool_call_id"), None);
    run.ends(&look(3, r#"{"q":2}"#));
    assert_eq!(run.tools(), [made("tool_call", "c1"), made("tool_call", "c2"), own("c3")]);
}

#[test]
fn a_call_that_another_span_executes_is_left_alone() {
    let mut run = Run::new();
    run.ends(&tool(3, 1, "look", "c1")).ends(&tool(4, 1, "look", "c2"));
    run.ends(&chat(5, 1).during(50, 60).with("gen_ai.input.messages", ANSWERED));
    run.ends(&look(6, r#"{"q":1}"#)).ends(&look(7, r#"{"q":2}"#)).ends(&look(8, r#"{"q":3}"#));
    let tools = run.tools();
    assert_eq!(tools, [own(""), own(""), own("c1"), own("c2"), own("c3"), made("tool_result", "c3")]);
}

#[test]
fn without_content_the_name_is_enough() {
    let mut options = Options::default();
    options.capture_content = false;
    let mut run = Run::with(options);
    run.ends(&look(3, r#"{"q":1}"#)).ends(&look(4, r#"{"q":1}"#)).ends(&look(5, r#"{"q":2}"#));
    assert_eq!(run.tools(), [own("c1"), own("c2"), own("c3")]);
}

#[test]
fn many_calls_of_one_tool_are_found_in_their_order() {
    let calls: Vec<_> = (0..100)
        .map(|n| json!({"type": "tool_call", "id": format!("id-{n:03}"), "name": "look", "arguments": {"q": 1}}))
        .collect();
    let requests = json!([{"role": "assistant", "parts": calls, "finish_reason": "tool_call"}]).to_string();
    let mut run = Run::new();
    let call = chat(9, 1).during(21, 22);
    run.ends(&call.with_value("gen_ai.output.messages", retrace_translate::Value::Str(requests.into())));
    for n in 0..100 {
        run.starts(&look(100 + n, r#"{"q":1}"#));
        assert_eq!(metadata(&run.span(100 + n))["tool_call_id"], format!("id-{n:03}"));
    }
}
