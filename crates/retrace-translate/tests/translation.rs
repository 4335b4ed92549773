//! What each field of a Retrace span is taken from.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use retrace_protocol::SpanType;
use retrace_translate::{Dropped, Kind, Options, Value};
use serde_json::{Value as Json, json as value};
use support::*;

const CONTENT: &str = "gen_ai.client.inference.operation.details";
const HISTORY: &str = r#"[{"role":"system","parts":[{"type":"text","content":"be terse"}]},
    {"role":"user","parts":[{"type":"text","content":"what is this?"},
        {"type":"blob","modality":"image","mime_type":"image/png","content":"aGk="}]}]"#;
const ANSWER: &str = r#"[{"role":"assistant","parts":[{"type":"reasoning","content":"hm"},
    {"type":"text","content":"a pixel"}],"finish_reason":"stop"}]"#;

#[test]
fn a_model_call_is_carried_with_all_its_facts() {
    let call = chat(1, 0)
        .with("gen_ai.provider.name", "openai")
        .with("gen_ai.response.model", "gpt-4o-mini-2024-07-18")
        .with("gen_ai.response.id", "r-1")
        .with_value("gen_ai.response.finish_reasons", Value::Json(r#"["stop"]"#.into()))
        .with_value("gen_ai.request.temperature", Value::Float(0.5))
        .with_value("gen_ai.request.max_tokens", Value::Int(400))
        .with_value("gen_ai.request.seed", Value::Int(-7))
        .with_value("gen_ai.request.stream", Value::Bool(true))
        .with_value("gen_ai.response.time_to_first_chunk", Value::Float(0.25))
        .with("gen_ai.output.type", "json")
        .with("gen_ai.usage.input_tokens", "1000000")
        .with_value("gen_ai.usage.output_tokens", Value::Int(100_000))
        .with_value("gen_ai.usage.cache_read.input_tokens", Value::Int(0))
        .with("gen_ai.input.messages", HISTORY)
        .with("gen_ai.output.messages", ANSWER)
        .with("server.address", "127.0.0.1");
    let span = span_of(&call);
    assert_eq!(span.span_type, SpanType::LlmCall);
    assert_eq!((span.name.as_str(), span.model.as_deref()), ("chat m", Some("gpt-4o-mini-2024-07-18")));
    assert_eq!(
        (span.input_tokens, span.output_tokens, span.cost),
        (Some(1_000_000), Some(100_000), cfg!(feature = "prices").then_some(0.21))
    );
    assert_eq!((span.duration_ms, span.error.as_deref()), (Some(1_000), None));
    assert_eq!(
        json(span.input.as_ref()),
        value!({"messages": [
            {"role": "system", "content": "be terse"},
            {"role": "user", "content": [
                {"type": "text", "text": "what is this?"},
                {"type": "image", "mime_type": "image/png", "data": "aGk="},
            ]},
        ]})
    );
    assert_eq!(json(span.output.as_ref()), "a pixel");
    assert_eq!(
        metadata(&span),
        value!({
            "operation": "chat",
            "provider": "openai",
            "request_model": "m",
            "response_id": "r-1",
            "sampling": {"temperature": 0.5, "max_tokens": 400, "seed": -7},
            "finish_reasons": ["stop"],
            "streaming": true,
            "time_to_first_chunk_ms": 250.0,
            "reasoning": "hm",
            "structured_output": true,
            "vision": true,
            "usage": {"cache_read_tokens": 0},
            "attributes": {"server.address": "127.0.0.1"},
        })
    );
}

#[test]
fn nothing_unknown_is_written() {
    let span = span_of(&chat(1, 0));
    let json = serde_json::to_value(&span).unwrap();
    assert_eq!(
        json,
        value!({
            "id": "00000000-0000-0001-8448-eb211c80319c",
            "trace_id": "0af76519-16cd-43dd-8448-eb211c80319c",
            "parent_id": null,
            "span_type": "llm_call",
            "name": "chat m",
            "started_at": "1970-01-01T00:00:01Z",
            "ended_at": "1970-01-01T00:00:02Z",
            "duration_ms": 1000,
            "model": "m",
            "metadata": {"operation": "chat"},
        })
    );
}

#[test]
fn an_unknown_model_costs_nothing_known() {
    assert_eq!(span_of(&chat(1, 0).usage(1_000, 1_000)).cost, None);
    let stated = chat(1, 0).usage(1, 1).with_value("retrace.cost", Value::Float(0.5));
    assert_eq!(span_of(&stated).cost, Some(0.5));
}

#[test]
fn a_tool_is_called_by_its_name_and_its_json_is_json() {
    let run = tool(1, 0, "look", "c-1")
        .with("gen_ai.tool.call.arguments", r#"{"q":"x"}"#)
        .with("gen_ai.tool.call.result", "18°C and sunny");
    let span = span_of(&run);
    assert_eq!((span.name.as_str(), span.span_type), ("look", SpanType::ToolCall));
    assert_eq!(json(span.input.as_ref()), value!({"q": "x"}));
    assert_eq!(json(span.output.as_ref()), "18°C and sunny");
    assert_eq!(metadata(&span)["tool_call_id"], "c-1");
    assert_eq!(metadata(&span)["otel"]["name"], "execute_tool");
}

#[test]
fn an_agent_has_its_name_and_its_input() {
    let span =
        span_of(&agent(1, 0, "helper").with("gen_ai.input.messages", HISTORY).with("gen_ai.output.messages", ANSWER));
    assert_eq!((span.name.as_str(), span.span_type), ("helper", SpanType::Reasoning));
    assert_eq!(json(span.input.as_ref())["messages"][0]["role"], "system");
    assert_eq!(json(span.output.as_ref()), "a pixel");
}

#[test]
fn a_retrieval_is_its_query_and_its_documents() {
    let retrieval = span(1, 0, "retrieval kb")
        .with("gen_ai.operation.name", "retrieval")
        .with("gen_ai.retrieval.query.text", "how?")
        .with("gen_ai.retrieval.documents", r#"[{"id":"d","score":0.5}]"#);
    let span = span_of(&retrieval);
    assert_eq!(span.span_type, SpanType::Action);
    assert_eq!(
        (json(span.input.as_ref()), json(span.output.as_ref())),
        ("how?".into(), value!([{"id":"d","score":0.5}]))
    );
}

#[test]
fn what_the_application_states_outweighs_what_was_recorded() {
    let stated = chat(1, 0)
        .with("gen_ai.input.messages", HISTORY)
        .with("gen_ai.output.messages", ANSWER)
        .with("retrace.span_type", "action")
        .with("retrace.name", "mine")
        .with("retrace.input", r#"{"a":1}"#)
        .with("retrace.output", "text")
        .with_value("retrace.token_ids", Value::Json("[1,2]".into()))
        .with_value("retrace.logprobs", Value::Json("[-0.5,-1.0]".into()));
    let span = span_of(&stated);
    assert_eq!((span.span_type, span.name.as_str()), (SpanType::Action, "mine"));
    assert_eq!((json(span.input.as_ref()), json(span.output.as_ref())), (value!({"a": 1}), "text".into()));
    assert_eq!((span.token_ids, span.logprobs), (Some(vec![1, 2]), Some(vec![-0.5, -1.0])));
}

#[test]
fn messages_of_an_event_count_when_the_span_has_none() {
    let span =
        span_of(&chat(1, 0).event(CONTENT, &[("gen_ai.input.messages", HISTORY), ("gen_ai.output.messages", ANSWER)]));
    assert_eq!(json(span.output.as_ref()), "a pixel");
    assert_eq!(metadata(&span).get("events"), None, "an event that was consumed is not repeated");
    let own = r#"[{"role":"assistant","parts":[{"type":"text","content":"own"}]}]"#;
    let span =
        span_of(&chat(1, 0).with("gen_ai.output.messages", own).event(CONTENT, &[("gen_ai.output.messages", ANSWER)]));
    assert_eq!(json(span.output.as_ref()), "own");
    assert_eq!(metadata(&span)["events"][0]["attributes"]["gen_ai.output.messages"], ANSWER);
}

#[test]
fn an_error_is_the_exception_then_the_type_then_the_description() {
    let exception: &[(&str, &str)] =
        &[("exception.type", "Timeout"), ("exception.message", "too slow"), ("exception.stacktrace", "at x")];
    let failed = span_of(&chat(1, 0).failed("described").with("error.type", "504").event("exception", exception));
    assert_eq!(failed.error.as_deref(), Some("Timeout: too slow"));
    assert_eq!(metadata(&failed)["events"][0]["attributes"]["exception.stacktrace"], "at x");
    assert_eq!(
        span_of(&chat(1, 0).failed("described").with("error.type", "504")).error.as_deref(),
        Some("504: described")
    );
    assert_eq!(span_of(&chat(1, 0).with("error.type", "504")).error.as_deref(), Some("504"));
    assert_eq!(span_of(&chat(1, 0).failed("")).error.as_deref(), Some("Error"));
    assert_eq!(span_of(&chat(1, 0).with("error.type", "_OTHER")).error.as_deref(), Some("Error"));
    assert_eq!(span_of(&chat(1, 0).event("exception", exception)).error, None, "an exception that was handled");
}

#[test]
fn nothing_recorded_is_thrown_away() {
    let mut odd = chat(1, 0)
        .with("my.own", "x")
        .with("gen_ai.brand.new", "y")
        .with_value("list", Value::Json("[1,2]".into()))
        .with_value("nan", Value::Float(f64::NAN))
        .with("twice", "old")
        .with("twice", "new")
        .with("empty", "")
        .event("something", &[("k", "v")]);
    odd.kind = Kind::Client;
    odd.dropped = Dropped { attributes: 3, events: 0, links: 0 };
    let metadata = metadata(&span_of(&odd));
    assert_eq!(
        metadata["attributes"],
        value!({"my.own": "x", "gen_ai.brand.new": "y", "list": [1, 2], "nan": "NaN", "twice": "new"})
    );
    assert_eq!(
        metadata["events"],
        value!([{"name": "something", "at": "1970-01-01T00:00:01Z", "attributes": {"k": "v"}}])
    );
    assert_eq!(metadata["otel"], value!({"kind": "client", "dropped_attributes": 3}));
}

#[test]
fn an_attribute_of_lower_precedence_is_kept_unless_it_has_the_same_value() {
    let span = span_of(&chat(1, 0).with("gen_ai.conversation.id", "a").with("session.id", "b").with("user.id", "u"));
    assert_eq!(metadata(&span)["attributes"], value!({"session.id": "b"}));
    let span = span_of(&chat(1, 0).with("gen_ai.conversation.id", "a").with("session.id", "a"));
    assert_eq!(metadata(&span).get("attributes"), None);
}

#[test]
fn a_part_whose_content_was_not_captured_leaves_its_role() {
    let silent = r#"[{"role":"user","parts":[{"type":"text"}]}]"#;
    let span = span_of(&chat(1, 0).with("gen_ai.input.messages", silent).with("gen_ai.output.messages", silent));
    assert_eq!(json(span.input.as_ref()), value!({"messages": [{"role": "user", "content": ""}]}));
    assert_eq!(span.output, None);
}

/// Promise 28: truncated JSON is read as far as it goes, and marked.
#[test]
fn pain_28_messages_that_are_cut_are_closed() {
    let input = r#"[{"role":"user","parts":[{"type":"text","content":"hel"#;
    let answered = r#"[{"role":"assistant","parts":[{"type":"text","content":"so"}],"finish_rea"#;
    let span = span_of(&chat(1, 0).with("gen_ai.input.messages", input).with("gen_ai.output.messages", answered));
    assert_eq!(json(span.input.as_ref()), value!({"messages": [{"role": "user", "content": "hel"}]}));
    assert_eq!(json(span.output.as_ref()), "so");
    assert_eq!(metadata(&span)["truncated"], true);
    let given = r#"{"city":"Paris","days":[1,2,3],"unit":"cel"#;
    let span = span_of(&tool(1, 0, "f", "c").with("gen_ai.tool.call.arguments", given));
    assert_eq!(json(span.input.as_ref()), value!({"city": "Paris", "days": [1, 2, 3], "unit": "cel"}));
    assert_eq!(metadata(&span)["truncated"], true);
}

#[test]
fn messages_of_another_shape_are_kept_as_text() {
    let other = r#"[{"role":"user","parts":}]"#;
    let span = span_of(&chat(1, 0).with("gen_ai.input.messages", other).with("gen_ai.output.messages", "[note] hm"));
    assert_eq!(json(span.input.as_ref())["messages"][0], value!({"role": "user", "content": other}));
    assert_eq!(json(span.output.as_ref()), "[note] hm");
    assert_eq!(metadata(&span).get("truncated"), None);
    let span = span_of(&chat(1, 0).with("gen_ai.system_instructions", "be terse"));
    assert_eq!(json(span.input.as_ref()), value!({"messages": [{"role": "system", "content": "be terse"}]}));
}

#[test]
fn what_a_strict_reader_refuses_is_sent_as_text() {
    let deep = format!("{}1{}", "[".repeat(65), "]".repeat(65)).leak();
    for refused in [r#"{"n":1e999}"#, r#"{"n":1e999,"s":"\ud800"#, deep] {
        let span = span_of(&tool(1, 0, "t", "c").with("gen_ai.tool.call.arguments", refused));
        assert_eq!(json(span.input.as_ref()), refused);
    }
}

#[test]
fn an_escape_that_no_text_can_hold_costs_the_messages_nothing() {
    let messages = r#"[{"role":"user","parts":[{"type":"text","content":"a\u0000b"},
        {"type":"tool_call_response","id":"c","response":{"path":"\udcff.txt"}}]}]"#;
    let span = span_of(&chat(1, 0).with("gen_ai.input.messages", messages));
    let expected = value!([{"role": "tool", "content": "{\"path\":\"\\ufffd.txt\"}", "tool_call_id": "c"},
        {"role": "user", "content": "a\u{fffd}b"}]);
    assert_eq!(json(span.input.as_ref())["messages"], expected);
    let span = span_of(&tool(1, 0, "t", "c").with("gen_ai.tool.call.arguments", r#"{"a":"\u0000"}"#));
    assert_eq!(json(span.input.as_ref()), value!({"a": "\u{fffd}"}));
    let prose = r"what does {\u0000} mean?";
    let span = span_of(&tool(1, 0, "t", "c").with("gen_ai.tool.call.arguments", prose));
    assert_eq!(json(span.input.as_ref()), prose);
    let nul = span_of(&chat(1, 0).with("gen_ai.response.model", "a\0b").with("k\0", "v\0").with("session.id", "s\0"));
    assert!(!serde_json::to_string(&nul).unwrap().contains("\\u0000"));
}

#[test]
fn without_content_structure_names_tokens_and_cost_remain() {
    let secret = "canary-7f3a";
    let messages = r#"[{"role":"assistant","parts":[{"type":"text","content":"canary-7f3a"},
        {"type":"reasoning","content":"canary-7f3a"},
        {"type":"tool_call","id":"c1","name":"look","arguments":{"q":"canary-7f3a"}},
        {"type":"tool_call_response","id":"c1","response":"canary-7f3a"}],"finish_reason":"stop"}]"#;
    let mut options = Options::default();
    options.capture_content = false;
    let call = chat(2, 1)
        .with("gen_ai.input.messages", messages)
        .with("gen_ai.output.messages", messages)
        .with("gen_ai.system_instructions", secret)
        .with("gen_ai.tool.definitions", r#"[{"name":"look","description":"canary-7f3a"}]"#)
        .with("unknown.attribute", secret)
        .with_value("unknown.list", Value::Json(r#"["canary-7f3a"]"#.into()))
        .with("server.address", "api.example.org")
        .with_value("thread.id", Value::Int(7))
        .event("wanted canary-7f3a", &[("level", "INFO")])
        .event("gen_ai.choice.made", &[("message", secret)])
        .link([9; 16], [9; 8], &[("why", secret)])
        .event("exception", &[("exception.type", "E"), ("exception.stacktrace", secret)])
        .event(CONTENT, &[("gen_ai.input.messages", messages), ("other", secret)])
        .usage(5, 2);
    let run =
        tool(3, 1, "look", "c2").with("gen_ai.tool.call.arguments", secret).with("gen_ai.tool.call.result", secret);
    let root = agent(1, 0, "a")
        .with("retrace.input", secret)
        .with("retrace.output", secret)
        .with("gen_ai.input.messages", messages);
    let (trace, spans) = record_with(options, &[call, run, root]).one_run();
    let run = serde_json::to_string(&(&trace, &spans)).unwrap();
    assert!(!run.contains(secret), "{run}");
    assert_eq!((trace.total_tokens, spans.len()), (Some(7), 5));
    let call = metadata(&spans[1]);
    assert_eq!(call["tool_calls"], value!([{"id": "c1", "name": "look"}]));
    assert_eq!(call["finish_reasons"], value!(["stop"]));
    let events = call["events"].as_array().unwrap().iter().map(|event| event["name"].as_str().unwrap());
    assert_eq!(events.collect::<Vec<_>>(), ["event", "gen_ai.choice.made", "exception"]);
    assert_eq!(call["attributes"], value!({"server.address": "api.example.org", "thread.id": 7}));
    assert_eq!(trace.output, Some(retrace_protocol::Json::null()));
}

#[test]
fn a_span_that_ends_before_it_begins_takes_no_time() {
    let span = span_of(&chat(1, 0).during(9, 3));
    assert_eq!(span.duration_ms, Some(0));
    assert_eq!(span.ended_at.as_ref(), Some(&span.started_at));
}

#[test]
fn a_large_span_is_carried_whole() {
    let mut large = chat(1, 0).with_value("gen_ai.output.messages", Value::Str("x".repeat(10 << 20).into()));
    for n in 0..50_000 {
        large = large.with_value(&format!("k{n}"), Value::Int(n));
    }
    let span = span_of(&large);
    assert_eq!(span.output.as_ref().unwrap().as_str().len(), (10 << 20) + 2);
    let Json::Object(attributes) = metadata(&span)["attributes"].take() else { panic!("no attributes") };
    assert_eq!(attributes.len(), 50_000);
}

#[test]
fn a_tool_with_arguments_and_instructions_keeps_both() {
    let run = tool(1, 0, "look", "c1")
        .with("gen_ai.tool.call.arguments", r#"{"q":"x"}"#)
        .with("gen_ai.system_instructions", "be brief")
        .with("request_data", "look for x");
    let span = span_of(&run);
    assert_eq!(span.input.as_ref().unwrap().as_str(), r#"{"q":"x"}"#);
    let attributes = metadata(&span)["attributes"].take();
    assert_eq!(attributes, value!({"gen_ai.system_instructions": "be brief", "request_data": "look for x"}));
}

#[test]
fn a_tool_with_instructions_alone_has_them_once() {
    let run =
        tool(1, 0, "look", "c1").with("gen_ai.system_instructions", "be brief").with("request_data", "look for x");
    let span = span_of(&run);
    assert_eq!(span.input.as_ref().unwrap().as_str().matches("look for x").count(), 1);
    assert_eq!(metadata(&span)["attributes"].take(), Json::Null);
}
