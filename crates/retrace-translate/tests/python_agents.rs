//! Spans as instrumentations of Python agent frameworks write them.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use retrace_protocol::{Span, SpanType};
use retrace_translate::Value;
use serde_json::{Value as Json, json as value};
use support::*;

fn messages(span: &Span) -> Json {
    json(span.input.as_ref())["messages"].take()
}

fn with(mut span: TestSpan, attributes: &[(&str, &'static str)]) -> TestSpan {
    for (key, value) in attributes {
        span = span.with(key, value);
    }
    span
}

fn named<'s>(spans: &'s [Span], span_type: SpanType, name: &str) -> Vec<&'s Span> {
    spans.iter().filter(|span| span.span_type == span_type && span.name == name).collect()
}

#[test]
fn a_text_that_a_message_has_twice_is_read_once() {
    let call = with(
        span(1, 0, "response"),
        &[
            ("openinference.span.kind", "LLM"),
            ("llm.output_messages.0.message.role", "assistant"),
            ("llm.output_messages.0.message.contents.0.message_content.type", "text"),
            ("llm.output_messages.0.message.contents.0.message_content.text", "High tide at four."),
            ("llm.output_messages.0.message.content", "High tide at four."),
        ],
    );
    assert_eq!(json(span_of(&call).output.as_ref()), "High tide at four.");
    let other = call.with("llm.output_messages.0.message.content", "Low tide at ten.");
    assert_eq!(json(span_of(&other).output.as_ref()), "Low tide at ten.\nHigh tide at four.");
}

#[test]
fn results_in_one_message_of_autogen_are_messages_of_their_calls() {
    let call = with(
        span(1, 0, "OpenAIChatCompletionClient.create"),
        &[
            ("openinference.span.kind", "LLM"),
            ("llm.input_messages.0.message.role", "user"),
            ("llm.input_messages.0.message.content", "Tides?"),
            ("llm.input_messages.1.message.role", "function"),
            (
                "llm.input_messages.1.function.0",
                r#"{"name":"tides","content":"04:12","call_id":"c1","is_error":false}"#,
            ),
            ("llm.input_messages.1.function.1", r#"{"name":"moon","content":"no sky","call_id":"c2","is_error":true}"#),
        ],
    );
    assert_eq!(
        messages(&span_of(&call)),
        value!([
            {"role": "user", "content": "Tides?"},
            {"role": "tool", "name": "tides", "content": "04:12", "tool_call_id": "c1"},
            {"role": "tool", "name": "moon", "content": "no sky", "tool_call_id": "c2"},
        ])
    );
}

#[test]
fn roles_of_smolagents_are_the_common_ones() {
    let call = with(
        span(1, 0, "generate"),
        &[
            ("openinference.span.kind", "LLM"),
            ("llm.input_messages.0.message.role", "tool-call"),
            ("llm.input_messages.0.message.content", "Calling tools"),
            ("llm.input_messages.1.message.role", "tool-response"),
            ("llm.input_messages.1.message.contents.0.message_content.type", "text"),
            ("llm.input_messages.1.message.contents.0.message_content.text", "Observation: 04:12"),
        ],
    );
    let messages = messages(&span_of(&call));
    assert_eq!((&messages[0]["role"], &messages[1]["role"]), (&value!("assistant"), &value!("tool")));
}

#[test]
fn messages_without_content_are_no_input_of_an_agent() {
    let request = r#"{"messages": [{"role": "user", "content": "Tides?"}]}"#;
    let root = with(
        span(1, 0, "tide_agent"),
        &[
            ("openinference.span.kind", "AGENT"),
            ("input.value", request),
            ("llm.input_messages.0.message.role", "user"),
        ],
    );
    let (run, _) = run_of(&[root]);
    assert_eq!(json(run.input.as_ref())["messages"][0]["content"], "Tides?");
    let empty = agent(1, 0, "tide_agent").with("gen_ai.input.messages", "[]");
    assert_eq!(span_of(&empty).input, None);
}

#[test]
fn steps_that_call_no_model_are_no_model_calls() {
    let prepared = span(1, 0, "OpenAI._prepare_chat_with_tools")
        .with("openinference.span.kind", "LLM")
        .with("llm.model_name", "gpt-4o");
    assert_eq!(span_of(&prepared).span_type, SpanType::Action);
    let merged = span(1, 0, "execute_tool (merged)")
        .with("gen_ai.operation.name", "execute_tool")
        .with("gen_ai.tool.name", "(merged tools)");
    assert_eq!(span_of(&merged).span_type, SpanType::Action);
    let stated = merged.with("retrace.span_type", "tool_call");
    assert_eq!(span_of(&stated).span_type, SpanType::ToolCall);
}

#[test]
fn calls_have_the_ids_of_their_results_where_a_history_has_ids_of_items() {
    let first = chat(2, 1).with("gen_ai.response.id", "resp_1").with(
        "gen_ai.output.messages",
        r#"[{"role":"assistant","parts":[{"type":"text","content":"Let me see."}],"finish_reason":"stop"},
            {"role":"assistant","parts":[{"type":"tool_call","name":"tides","id":"call_a","arguments":{}}],"finish_reason":"tool_call"},
            {"role":"assistant","parts":[{"type":"tool_call","name":"moon","id":"call_b","arguments":{}}],"finish_reason":"tool_call"}]"#,
    );
    let second = chat(3, 1).during(20, 30).with(
        "gen_ai.input.messages",
        r#"[{"role":"user","parts":[{"type":"text","content":"Tides?"}]},
            {"role":"assistant","parts":[{"type":"tool_call","name":"tides","id":"fc_a","arguments":{}}]},
            {"role":"assistant","parts":[{"type":"tool_call","name":"moon","id":"fc_b","arguments":{}}]},
            {"role":"tool","parts":[{"type":"tool_call_response","id":"call_a","response":"04:12"}]},
            {"role":"tool","parts":[{"type":"tool_call_response","id":"call_b","response":"full"}]}]"#,
    );
    let (_, spans) = run_of(&[first.clone(), second, agent(1, 0, "tide_agent").during(0, 40)]);
    for (name, id) in [("tides", "call_a"), ("moon", "call_b")] {
        let calls = named(&spans, SpanType::ToolCall, name);
        assert_eq!(calls.len(), 1, "{name}");
        assert_eq!(metadata(calls[0])["tool_call_id"], id);
    }
    let second =
        messages(spans.iter().find(|span| span.span_type == SpanType::LlmCall && span.input.is_some()).unwrap());
    assert_eq!(second[1]["tool_calls"][0]["id"], "call_a");
    // The Responses API has one choice; that of another API stays a choice.
    let of = |id: &'static str| json(span_of(&first.clone().with("gen_ai.response.id", id)).output.as_ref());
    assert_eq!(of("resp_1"), "Let me see.");
    assert_eq!(of("chatcmpl-1").as_array().map(Vec::len), Some(3));
}

#[test]
fn usage_in_a_message_that_a_step_handles_is_that_of_the_call() {
    let step =
        |n: u64, name: &str, kind: &'static str| span(n, 1, name).with("langsmith.span.kind", kind).usage(120, 30);
    let call = step(2, "ChatOpenAI", "llm")
        .during(1, 10)
        .with("gen_ai.operation.name", "chat")
        .with(
            "langsmith.metadata.usage_metadata",
            r#"{"input_tokens":120,"output_tokens":30,"input_token_details":{"cache_read":64},"output_token_details":{"reasoning":8}}"#,
        );
    let checked = step(3, "_check_refusal", "chain").during(11, 12);
    let root = span(1, 0, "RunnableSequence").with("langsmith.span.kind", "chain").during(0, 20);
    let (run, spans) = run_of(&[call, checked, root]);
    assert_eq!(run.total_tokens, Some(150));
    let usage = metadata(named(&spans, SpanType::LlmCall, "ChatOpenAI")[0])["usage"].take();
    assert_eq!((&usage["cache_read_tokens"], &usage["reasoning_tokens"]), (&value!(64), &value!(8)));
}

#[test]
fn cost_and_usage_of_litellm_are_read() {
    let call = chat(1, 0)
        .with("gen_ai.request.model", "gpt-4o-mini")
        .usage(120, 30)
        .with_value("gen_ai.cost.total_cost", Value::Float(0.25))
        .with(
            "metadata.usage_object",
            "{'completion_tokens': 30, 'prompt_tokens': 120, 'total_tokens': 150, 'completion_tokens_details': \
             {'audio_tokens': None, 'reasoning_tokens': 8}, 'prompt_tokens_details': {'audio_tokens': None, 'cached_tokens': 64}}",
        );
    let call = span_of(&call);
    assert_eq!((call.cost, call.input_tokens, call.output_tokens), (Some(0.25), Some(120), Some(30)));
    let usage = metadata(&call)["usage"].take();
    assert_eq!((&usage["cache_read_tokens"], &usage["reasoning_tokens"]), (&value!(64), &value!(8)));
}

#[test]
fn agents_that_logfire_records_have_names_tools_and_a_session() {
    let system = "gen_ai.system";
    let root = with(span(1, 0, "OpenAI Agents trace: {name}"), &[("name", "tide planning"), ("group_id", "s-1")]);
    let agent = with(span(2, 1, "Agent run: {name!r}"), &[("name", "tide_agent"), (system, "openai")]);
    let call = chat(3, 2)
        .with_value("gen_ai.usage.input_tokens", Value::Int(120))
        .with("response", r#"{"id":"resp_1","tools":[{"type":"function","name":"tides","parameters":{"type":"object"}}]}"#)
        .with("gen_ai.usage.raw", r#"{"input_tokens":120,"input_tokens_details":{"cached_tokens":64},"output_tokens":30,"output_tokens_details":{"reasoning_tokens":8}}"#)
        .with(
            "events",
            r#"[{"event.name":"gen_ai.user.message","content":"Tides?","role":"user"},
                {"event.name":"gen_ai.unknown","role":"assistant","content":"reasoning\n\nSee JSON for details",
                 "data":{"id":"rs_1","type":"reasoning","summary":[{"type":"summary_text","text":"I see."}]}},
                {"event.name":"gen_ai.assistant.message","content":"At four.","role":"assistant"}]"#,
        );
    let tool = with(
        span(4, 2, "Function: {name}"),
        &[("name", "tides"), ("input", r#"{"port":"Bergen"}"#), ("output", "04:12"), (system, "openai")],
    );
    let (run, spans) = run_of(&[call, tool, agent, root]);
    assert_eq!((run.name.as_deref(), run.session_id.as_deref()), (Some("tide planning"), Some("s-1")));
    let tool = named(&spans, SpanType::ToolCall, "tides")[0];
    assert_eq!((json(tool.input.as_ref()), tool.agent_id.as_deref()), (value!({"port": "Bergen"}), Some("tide_agent")));
    let call = spans.iter().find(|span| span.span_type == SpanType::LlmCall).unwrap();
    assert_eq!(json(call.output.as_ref()), "At four.");
    assert_eq!(metadata(call)["reasoning"], "I see.");
    assert_eq!(metadata(call)["response_id"], "resp_1");
    assert_eq!(metadata(call)["tool_schemas"]["tides"], value!({"type": "object"}));
    assert_eq!(metadata(call)["usage"]["cache_read_tokens"], 64);
}

#[test]
fn arguments_of_a_python_function_stand_without_its_signature() {
    let arguments = value!({"port": "Bergen"});
    for given in [
        r#"{"args": [], "kwargs": {"port": "Bergen"}}"#,
        r#"{"args": [], "sanitize_inputs_outputs": true, "kwargs": {"port": "Bergen"}}"#,
        r#"{"kwargs": {"port": "Bergen"}}"#,
        r#"{"input_str": "{'port': 'Bergen'}", "tags": ["seq:step:1"], "metadata": {}, "inputs": {"port": "Bergen"}, "kwargs": {"tool_call_id": "c1"}}"#,
    ] {
        let is_bare = given.starts_with(r#"{"kwargs""#);
        for key in ["input.value", "gen_ai.tool.call.arguments", "langfuse.observation.input"] {
            // Where arguments are stated as such, it may be one of them.
            let arguments = match is_bare && key == "gen_ai.tool.call.arguments" {
                true => value!({"kwargs": arguments}),
                false => arguments.clone(),
            };
            let tool = span(1, 0, "tides").with("openinference.span.kind", "TOOL").with("tool.name", "tides");
            assert_eq!(json(span_of(&tool.with(key, given)).input.as_ref()), arguments, "{key} {given}");
        }
    }
    for own in [
        r#"{"args":["x"],"kwargs":{"a":1}}"#,
        r#"{"kwargs":{"a":1},"url":"u"}"#,
        r#"{"input_str":"x","inputs":{"a":1},"n":1}"#,
    ] {
        let tool = span(1, 0, "tides").with("openinference.span.kind", "TOOL").with("tool.name", "tides");
        let given: Json = serde_json::from_str(own).unwrap();
        assert_eq!(json(span_of(&tool.with("input.value", own)).input.as_ref()), given);
    }
}

#[test]
fn results_of_tools_stand_without_what_a_framework_adds() {
    for (result, error) in [
        (r#"{"output": "04:12", "kwargs": {"tags": ["seq:step:1"]}}"#, None),
        (
            r#"{"output": {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", "ToolMessage"],
                "kwargs": {"content": "04:12", "tool_call_id": "c1", "status": "success"}}, "kwargs": {"color": "green"}}"#,
            None,
        ),
        (
            r#"{"blocks":[{"text":"04:12"}],"tool_name":"tides","raw_input":{"args":[]},"raw_output":"04:12","is_error":false}"#,
            None,
        ),
        (
            r#"{"content":"04:12","tool_name":"tides","raw_input":{},"raw_output":"04:12","is_error":true}"#,
            Some("04:12"),
        ),
    ] {
        for key in ["output.value", "gen_ai.tool.call.result"] {
            let tool = span(1, 0, "tides").with("openinference.span.kind", "TOOL").with("tool.name", "tides");
            let tool = span_of(&tool.with(key, result));
            assert_eq!(json(tool.output.as_ref()), "04:12", "{key} {result}");
            assert_eq!(tool.error.as_deref(), error, "{key} {result}");
        }
    }
}

#[test]
fn a_tool_span_of_an_mcp_client_has_the_name_of_the_tool() {
    let sent = span(1, 0, "MCP send tools/call tides").with("mcp.method.name", "tools/call");
    assert_eq!(span_of(&sent).name, "tides");
    assert_eq!(span_of(&span(1, 0, "tools/call").with("mcp.method.name", "tools/call")).name, "tools/call");
}

#[test]
fn a_session_that_is_written_as_null_is_none() {
    let root = span(1, 0, "OpenAI Agents trace: {name}").with("name", "tide planning").with("group_id", "null");
    assert_eq!(run_of(&[root]).0.session_id, None);
}

#[test]
fn a_result_that_is_the_definition_of_a_tool_stays_elsewhere() {
    let definition = r#"{"type":"function","function":{"name":"tides"}}"#;
    let messages = format!(
        r#"[{{"role":"assistant","parts":[{{"type":"tool_call","name":"list_tools","arguments":{{}}}}]}},
            {{"role":"tool","parts":[{{"type":"tool_call_response","response":{definition}}}]}}]"#
    );
    let call = span_of(&chat(1, 0).with_value("gen_ai.input.messages", Value::Str(messages.into())));
    let input = json(call.input.as_ref());
    assert!(input.to_string().contains("tides"), "{input}");
    assert!(!metadata(&call).as_object().unwrap().contains_key("tool_schemas"));
}

#[test]
fn tools_that_langfuse_records_as_messages_are_offered_tools() {
    let call = with(
        span(1, 0, "ChatOpenAI"),
        &[
            ("langfuse.observation.type", "generation"),
            ("langfuse.observation.model.name", "gpt-4o"),
            ("langfuse.observation.metadata.ls_provider", "openai"),
            ("langfuse.observation.metadata.finish_reason", "tool_calls"),
            (
                "langfuse.observation.input",
                r#"[{"role":"user","content":"Tides?"},
                    {"role":"tool","content":{"type":"function","function":{"name":"tides","description":"Tides of a port","parameters":{"type":"object"}}}}]"#,
            ),
        ],
    );
    let call = span_of(&call);
    assert_eq!(messages(&call), value!([{"role": "user", "content": "Tides?"}]));
    let facts = metadata(&call);
    assert_eq!(facts["tool_schemas"]["tides"], value!({"type": "object"}));
    assert_eq!((&facts["provider"], &facts["finish_reasons"]), (&value!("openai"), &value!(["tool_calls"])));
}

#[test]
fn a_cost_that_openlit_does_not_know_is_not_zero() {
    let call = chat(1, 0).with("gen_ai.request.model", "gpt-4o-mini").usage(120, 30);
    let stated = call.with_value("gen_ai.usage.cost", Value::Int(0));
    assert_eq!(span_of(&stated).cost, Some(0.0));
    assert!(span_of(&stated.with("telemetry.sdk.name", "openlit")).cost.unwrap() > 0.0);
}

#[test]
fn agents_and_tools_of_agentops_are_read() {
    let kind = "agentops.span.kind";
    let task = with(
        span(2, 1, "plan.task"),
        &[
            (kind, "task"),
            ("agentops.task.input", r#"{"args": ["Tides?"], "kwargs": {}}"#),
            ("agentops.task.output", "At four."),
        ],
    );
    let call = chat(3, 2)
        .during(3, 5)
        .with("gen_ai.prompt.0.role", "user")
        .with("gen_ai.prompt.0.content", "Tides?")
        .with("gen_ai.completion.0.role", "assistant")
        .with("gen_ai.completion.0.content", "Let me see.")
        .with("gen_ai.request.functions.0.name", "tides")
        .with("gen_ai.request.functions.0.parameters", r#"{"type": "object"}"#);
    let announced = |n: u64, id: &'static str, name: &'static str| {
        let called = span(n, 3, &format!("tool_call.{name}")).during(4, 4);
        let kinds = [(kind, "AgentOpsSpanKindValues.TOOL"), ("tool.name", name), ("tool.call.id", id)];
        with(called, &kinds).with("tool.parameters", r#"{"port": "Bergen"}"#)
    };
    let executed = with(
        span(6, 2, "tides.tool").during(6, 7),
        &[
            (kind, "tool"),
            ("agentops.entity.name", "tides"),
            ("agentops.tool.input", r#"{"args": [], "kwargs": {"port": "Bergen"}}"#),
            ("agentops.tool.output", "04:12"),
        ],
    );
    let root = span(1, 0, "trip.session").with(kind, "session").with("agentops.tags", r#"["t1"]"#).during(0, 20);
    let (_, spans) = run_of(&[announced(4, "c1", "tides"), announced(5, "c2", "moon"), call, executed, task, root]);
    let task = spans.iter().find(|span| span.name == "plan.task").unwrap();
    assert_eq!((task.span_type, json(task.input.as_ref())), (SpanType::Reasoning, value!("Tides?")));
    let tides = named(&spans, SpanType::ToolCall, "tides");
    assert_eq!(tides.len(), 1);
    assert_eq!(
        (json(tides[0].input.as_ref()), json(tides[0].output.as_ref())),
        (value!({"port": "Bergen"}), value!("04:12"))
    );
    assert_eq!(metadata(tides[0])["tool_call_id"], "c1");
    // A call without a span that executes it is one of the messages.
    let moon = named(&spans, SpanType::ToolCall, "moon");
    assert_eq!((moon.len(), json(moon[0].input.as_ref())), (1, value!({"port": "Bergen"})));
    let call = spans.iter().find(|span| span.span_type == SpanType::LlmCall).unwrap();
    assert_eq!(metadata(call)["tool_schemas"]["tides"], value!({"type": "object"}));
}

#[test]
fn a_crew_names_its_run() {
    let crew = span(1, 0, "crewai.workflow").with("gen_ai.system", "crewai").with("traceloop.span.kind", "workflow");
    assert_eq!(run_of(std::slice::from_ref(&crew)).0.name.as_deref(), Some("crewai.workflow"));
    assert_eq!(run_of(&[crew.with("crewai.crew.name", "tide_crew")]).0.name.as_deref(), Some("tide_crew"));
}

#[test]
fn arguments_in_the_text_form_of_python_are_an_object() {
    let of = |text: &'static str| {
        let tool = span(1, 0, "tides").with("langfuse.observation.type", "tool");
        json(span_of(&tool.with("langfuse.observation.input", text)).input.as_ref())
    };
    assert_eq!(of("{'port': 'Bergen', 'days': 2}"), value!({"port": "Bergen", "days": 2}));
    for other in [r#"{'port': "Land's End"}"#, "{'at': 'a\\nb'}", "{'a': None}", "{'a'"] {
        assert_eq!(of(other), other);
    }
}
