//! Arguments, results and messages stand in spans without the envelopes of protocols and frameworks.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use retrace_protocol::{Span, SpanType};
use retrace_translate::Value;
use serde_json::{Value as Json, json};
use support::*;

const TIDE: &str = "High tide at 04:12";

fn of(json: Option<&retrace_protocol::Json>) -> Json {
    json.map_or(Json::Null, |json| json.to_value().unwrap())
}

/// The span of a tool with these attributes.
fn tool_with(attributes: &[(&str, Json)]) -> Span {
    let mut tool = span(1, 0, "tide_table").with("openinference.span.kind", "TOOL").with("tool.name", "tide_table");
    for (key, value) in attributes {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        tool = tool.with_value(key, Value::Str(text.into()));
    }
    let (_, spans) = run_of(&[tool]);
    spans.into_iter().find(|span| span.span_type == SpanType::ToolCall).unwrap()
}

/// Results that are [`TIDE`], and whether they name the call `c`.
fn results() -> Vec<(Json, bool)> {
    let part = json!({"type": "text", "text": TIDE, "annotations": null});
    let kwargs = json!({"content": TIDE, "tool_call_id": "c", "name": "tide_table", "status": "success", "additional_kwargs": {}});
    let mcp = json!({"meta": null, "content": [part], "structuredContent": {"result": TIDE}, "isError": false});
    vec![
        (json!([part]), false),
        (json!([{"text": TIDE}]), false),
        (json!({"content": [part]}), false),
        (mcp.clone(), false),
        (json!({"_meta": {}, "content": [part], "isError": false}), false),
        (json!({"jsonrpc": "2.0", "id": 1, "result": mcp}), false),
        (json!({"type": "tool", "data": kwargs}), true),
        (json!({"type": "tool", "content": TIDE, "tool_call_id": "c", "artifact": null}), true),
        (
            json!({"lc": 1, "type": "constructor", "id": ["langchain_core", "messages", "ToolMessage"], "kwargs": kwargs}),
            true,
        ),
        (
            json!({"output": {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", "ToolMessage"], "kwargs": kwargs}}),
            true,
        ),
        (json!({"role": "tool", "content": [part], "tool_call_id": "c"}), true),
        (json!({"type": "tool_result", "tool_use_id": "c", "content": [part], "is_error": false}), true),
        (json!({"toolResult": {"toolUseId": "c", "status": "success", "content": [{"text": TIDE}]}}), true),
        (json!([{"toolResult": {"toolUseId": "c", "status": "success", "content": [{"text": TIDE}]}}]), true),
        (json!({"toolUseId": "c", "status": "success", "content": [{"text": TIDE}]}), true),
    ]
}

#[test]
fn results_of_tools_stand_without_their_envelopes() {
    for (result, names_call) in results() {
        for key in ["output.value", "gen_ai.tool.call.result", "traceloop.entity.output"] {
            let tool = tool_with(&[(key, result.clone())]);
            assert_eq!(of(tool.output.as_ref()), TIDE, "{key} {result}");
            assert_eq!(tool.error, None, "{result}");
            let metadata = of(tool.metadata.as_ref());
            assert_eq!(metadata["tool_call_id"], if names_call { json!("c") } else { Json::Null }, "{result}");
            assert!(
                metadata["attributes"].get(key).is_none(),
                "an envelope with nothing else in it is not kept: {metadata}"
            );
        }
    }
}

#[test]
fn what_an_envelope_has_beside_its_content_is_kept() {
    for result in [
        json!({"type": "tool", "data": {"content": TIDE, "tool_call_id": "c", "artifact": {"rows": 3}}}),
        json!({"content": [{"type": "text", "text": TIDE}], "structuredContent": {"height": 2.1}}),
        json!({"content": [{"type": "text", "text": TIDE}], "_meta": {"page": 2}}),
    ] {
        let tool = tool_with(&[("output.value", result.clone())]);
        assert_eq!(of(tool.output.as_ref()), TIDE, "{result}");
        assert!(of(tool.metadata.as_ref())["attributes"].get("output.value").is_some(), "{result}");
    }
}

#[test]
fn a_result_that_is_an_error_fails_its_span() {
    let part = json!({"type": "text", "text": "no such port"});
    for result in [
        json!({"content": [part], "isError": true}),
        json!({"jsonrpc": "2.0", "id": 1, "result": {"content": [part], "isError": true}}),
        json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "no such port"}}),
        json!({"type": "tool", "data": {"content": "no such port", "tool_call_id": "c", "status": "error"}}),
        json!({"type": "tool_result", "tool_use_id": "c", "content": "no such port", "is_error": true}),
        json!({"toolResult": {"toolUseId": "c", "status": "error", "content": [{"text": "no such port"}]}}),
    ] {
        let tool = tool_with(&[("output.value", result.clone())]);
        assert_eq!(tool.error.as_deref(), Some("no such port"), "{result}");
        assert_eq!(of(tool.output.as_ref()), "no such port", "{result}");
    }
}

#[test]
fn arguments_of_tools_stand_without_their_envelopes() {
    let arguments = json!({"port": "Bergen"});
    for given in [
        json!({"method": "tools/call", "params": {"name": "tide_table", "arguments": arguments}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "tide_table", "arguments": arguments}}),
        json!({"tool_name": "tide_table", "arguments": arguments}),
        json!({"name": "tide_table", "arguments": arguments}),
        json!({"name": "tide_table", "args": arguments, "id": "c", "type": "tool_call"}),
        json!({"toolUse": {"toolUseId": "c", "name": "tide_table", "input": arguments}}),
        json!({"id": "c", "type": "function", "function": {"name": "tide_table", "arguments": arguments.to_string()}}),
        arguments.clone(),
    ] {
        for key in ["input.value", "gen_ai.tool.call.arguments", "traceloop.entity.input"] {
            let tool = tool_with(&[(key, given.clone())]);
            assert_eq!(of(tool.input.as_ref()), arguments, "{key} {given}");
        }
    }
}

#[test]
fn objects_of_a_tools_own_are_no_envelopes() {
    for own in [
        json!({"content": "a page", "url": "https://example.org"}),
        json!({"content": [1, 2]}),
        json!({"type": "tool", "data": 7}),
        json!({"output": {"rows": 3}}),
        json!({"name": "Bergen", "arguments": {"a": 1}}),
        json!({"method": "GET", "params": {"a": 1}}),
        json!([{"text": "a", "score": 1}]),
        json!([]),
        json!({}),
    ] {
        let tool = tool_with(&[("input.value", own.clone()), ("output.value", own.clone())]);
        assert_eq!(of(tool.input.as_ref()), own);
        assert_eq!(of(tool.output.as_ref()), own);
    }
    // An application's own statement is as it is.
    let stated = json!({"content": [{"type": "text", "text": TIDE}], "isError": true});
    let tool = tool_with(&[("retrace.output", stated.clone())]);
    assert_eq!((of(tool.output.as_ref()), tool.error), (stated, None));
}

#[test]
fn messages_that_langchain_serialized_are_read() {
    let call = json!([{"name": "tide_table", "args": {"port": "Bergen"}, "id": "c", "type": "tool_call"}]);
    let data = |kind: &str, data: Json| json!({"type": kind, "data": data});
    let lc = |class: &str, kwargs: Json| json!({"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", class], "kwargs": kwargs});
    let forms = [
        json!([
            data("human", json!({"content": "When?", "type": "human"})),
            data("ai", json!({"content": "", "type": "ai", "tool_calls": call})),
            data("tool", json!({"content": TIDE, "type": "tool", "tool_call_id": "c"})),
        ]),
        json!([
            lc("HumanMessage", json!({"content": "When?"})),
            lc("AIMessageChunk", json!({"content": "", "tool_calls": call})),
            lc("ToolMessage", json!({"content": TIDE, "tool_call_id": "c"})),
        ]),
    ];
    let expected = json!([
        {"role": "user", "content": "When?"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "name": "tide_table", "arguments": {"port": "Bergen"}}]},
        {"role": "tool", "content": TIDE, "tool_call_id": "c"},
    ]);
    for form in forms {
        for messages in [form.clone(), json!({"messages": form}), json!({"messages": [form]})] {
            let call = span(1, 0, "ChatModel")
                .with("openinference.span.kind", "LLM")
                .with_value("input.value", Value::Str(messages.to_string().into()));
            let (_, spans) = run_of(&[call]);
            let call = spans.iter().find(|span| span.span_type == SpanType::LlmCall).unwrap();
            assert_eq!(of(call.input.as_ref())["messages"], expected, "{messages}");
        }
    }
    let generated = json!({"generations": [[{"text": TIDE, "generation_info": {"finish_reason": "stop"}, "type": "ChatGeneration",
        "message": lc("AIMessage", json!({"content": TIDE, "type": "ai"}))}]], "llm_output": null});
    let call = span(1, 0, "ChatModel")
        .with("openinference.span.kind", "LLM")
        .with_value("output.value", Value::Str(generated.to_string().into()));
    assert_eq!(of(run_of(&[call]).1[0].output.as_ref()), TIDE);
}

#[test]
fn agents_that_metadata_names_are_agents() {
    let metadata = r#"{"lc_agent_name":"travel_agent","langgraph_step":2}"#;
    for (key, value) in [
        ("metadata", metadata),
        ("traceloop.association.properties.lc_agent_name", "travel_agent"),
        ("langfuse.observation.metadata.lc_agent_name", "travel_agent"),
    ] {
        let tool = span(1, 0, "tide_table").with("openinference.span.kind", "TOOL").with(key, value);
        let (_, spans) = run_of(&[tool]);
        assert_eq!(spans[0].agent_id.as_deref(), Some("travel_agent"), "{key}");
        assert_eq!(spans[0].agent_role.as_deref(), Some("travel_agent"), "{key}");
    }
}

#[test]
fn metadata_of_a_run_with_a_place_of_its_own_reaches_it() {
    let root = span(1, 0, "pipeline")
        .with("retrace.span_type", "reasoning")
        .with("retrace.metadata.environment", "staging")
        .with("retrace.metadata.user_id", "u1")
        .with("retrace.metadata.version", "1.2.0");
    let (trace, _) = run_of(&[root]);
    let metadata = of(trace.metadata.as_ref());
    assert_eq!(
        (&metadata["environment"], &metadata["version"], &metadata["user_id"]),
        (&json!("staging"), &json!("1.2.0"), &json!("u1"))
    );
}

#[test]
fn an_input_of_null_is_unknown() {
    let chain = span(1, 0, "answer").with("openinference.span.kind", "CHAIN").with("input.value", "null");
    let model = span(2, 1, "chat")
        .with("gen_ai.operation.name", "chat")
        .with("gen_ai.input.messages", r#"[{"role":"user","parts":[{"type":"text","content":"tide?"}]}]"#);
    let tool = span(3, 1, "tide_table").with("openinference.span.kind", "TOOL").with("input.value", "null");
    let (trace, spans) = run_of(&[model, tool, chain]);
    assert_eq!(of(trace.input.as_ref()), "tide?", "{trace:?}");
    let inputs = spans.iter().filter(|span| span.span_type != SpanType::LlmCall).map(|span| &span.input);
    assert!(inputs.clone().count() > 0 && inputs.clone().all(Option::is_none), "{spans:?}");
}

#[test]
fn arguments_in_a_list_stand_without_it() {
    let port = json!({"port": "Bergen"});
    for (given, call_id) in [
        (json!({"args": [port.to_string()]}), None),
        (json!({"args": [port]}), None),
        (json!({"args": [port, {"toolCallId": "c", "messages": []}]}), Some("c")),
    ] {
        let tool = tool_with(&[("input.value", given.clone())]);
        assert_eq!(of(tool.input.as_ref()), port, "{given}");
        assert_eq!(metadata(&tool)["tool_call_id"].as_str(), call_id, "{given}");
    }
    for own in [json!({"args": ["a", "b"]}), json!({"args": ["plain"]}), json!({"args": [port, {"loud": true}]})] {
        assert_eq!(of(tool_with(&[("input.value", own.clone())]).input.as_ref()), own);
    }
    // Where the arguments are stated as such, `args` is one of them.
    let own = json!({"args": [port]});
    let tool = span(1, 0, "execute_tool run")
        .with("gen_ai.operation.name", "execute_tool")
        .with_value("gen_ai.tool.call.arguments", Value::Str(own.to_string().into()));
    let (_, spans) = run_of(&[tool]);
    assert_eq!(of(spans[0].input.as_ref()), own);
}
