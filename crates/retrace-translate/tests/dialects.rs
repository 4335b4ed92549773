//! Spans as libraries of other dialects write them.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use retrace_protocol::SpanType;
use retrace_translate::Value;
use serde_json::{Value as Json, json as value};
use support::*;

fn with(mut span: TestSpan, attributes: &[(&str, &'static str)]) -> TestSpan {
    for (key, value) in attributes {
        span = span.with(key, value);
    }
    span
}

fn messages(span: &retrace_protocol::Span) -> Json {
    json(span.input.as_ref())["messages"].take()
}

#[test]
fn what_libraries_add_beside_the_registry_is_read() {
    for key in ["gen_ai.usage.cost", "gen_ai.usage.total_cost", "gen_ai.usage.cost_usd", "gen_ai.cost.total_tokens"] {
        let translated =
            span_of(&chat(1, 0).with("gen_ai.request.model", "gpt-4o-mini").with_value(key, Value::Float(0.25)));
        assert_eq!(translated.cost, Some(0.25), "{key}");
        assert!(metadata(&translated)["attributes"].get(key).is_none(), "{key} is carried once");
    }
    let call = chat(1, 0)
        .with("gen_ai.request.messages", r#"[{"role":"user","content":"hi"}]"#)
        .with("gen_ai.response.text", "yes")
        .with_value("gen_ai.usage.input_tokens", Value::Int(9))
        .with_value("gen_ai.usage.input_tokens.cached", Value::Int(4))
        .with_value("gen_ai.usage.cache_write_input_tokens", Value::Int(2))
        .with_value("gen_ai.response.streaming", Value::Bool(true));
    let translated = span_of(&call);
    assert_eq!(messages(&translated), value!([{"role": "user", "content": "hi"}]));
    assert_eq!(translated.output.as_ref().unwrap().as_str(), "\"yes\"");
    let facts = metadata(&translated);
    assert_eq!((&facts["usage"]["cache_read_tokens"], &facts["streaming"]), (&value!(4), &value!(true)));
    assert_eq!(facts["usage"]["cache_creation_tokens"], 2);
}

#[test]
fn keys_without_a_namespace_have_a_meaning_on_the_spans_of_their_dialect_alone() {
    let keys =
        [("tool_name", "Bash"), ("user_prompt", "hi"), ("error", "no"), ("input_tokens", "2"), ("span.type", "tool")];
    let foreign = span_of(&with(chat(1, 0), &keys));
    assert_eq!((foreign.span_type, foreign.input_tokens, &foreign.input), (SpanType::LlmCall, None, &None));
    for (key, value) in keys {
        assert_eq!(metadata(&foreign)["attributes"][key], value, "{key}");
    }
    let own = span_of(&with(span(1, 0, "claude_code.tool"), &keys));
    assert_eq!((own.span_type, own.name.as_str()), (SpanType::ToolCall, "Bash"));
}

#[test]
fn input_tokens_that_exclude_the_cache_contain_it_in_the_record() {
    let call = |input, read| {
        let span =
            span(1, 0, "claude_code.llm_request").with("span.type", "llm_request").with("model", "claude-opus-4-5");
        let span = span.with_value("input_tokens", Value::Int(input)).with_value("output_tokens", Value::Int(1));
        span_of(&span.with_value("cache_read_tokens", Value::Int(read))).input_tokens
    };
    assert_eq!(call(2, 100), Some(102));
    assert_eq!(call(100, 2), Some(102), "also when the cache is the smaller part");
    assert_eq!(call(100, 0), Some(100));
}

#[test]
fn the_message_of_a_tool_on_its_own_span_is_its_arguments() {
    let requested = |span: TestSpan| {
        let message = [("content", r#"{"city": "Oslo"}"#), ("id", "c1"), ("role", "tool")];
        span.event("gen_ai.tool.message", &message)
    };
    let answered = |span: TestSpan| span.event("gen_ai.choice", &[("message", r#"[{"text": "4 C"}]"#), ("id", "c1")]);
    let translated = span_of(&answered(requested(tool(1, 0, "look", "c1"))));
    assert_eq!(json(translated.input.as_ref()), value!({"city": "Oslo"}));
    assert_eq!(translated.output.as_ref().unwrap().as_str(), "\"4 C\"");
    let translated = span_of(&requested(tool(1, 0, "look", "c1")));
    assert_eq!(messages(&translated)[0]["role"], "tool", "a tool without an answer may have an answer as its input");
    let translated = span_of(&answered(requested(tool(1, 0, "look", "c2"))));
    assert_eq!(messages(&translated)[0]["tool_call_id"], "c1", "a message about another call is that");
}

#[test]
fn an_openinference_call_is_read_from_its_keys_in_any_order() {
    let call = with(
        span(1, 0, "ChatAnthropic"),
        &[
            ("llm.input_messages.10.message.content", "and now?"),
            ("llm.input_messages.10.message.role", "user"),
            ("llm.input_messages.2.message.role", "assistant"),
            ("llm.input_messages.2.message.contents.0.message_content.type", "reasoning"),
            ("llm.input_messages.2.message.contents.0.message_content.text", "hm"),
            ("llm.input_messages.2.message.contents.1.message_content.type", "tool_use"),
            ("llm.input_messages.2.message.contents.1.tool_call.id", "c1"),
            ("llm.input_messages.2.message.contents.1.tool_call.function.name", "look"),
            ("llm.input_messages.2.message.contents.1.tool_call.function.arguments", r#"{"q": "x"}"#),
            ("llm.input_messages.3.message.role", "tool"),
            ("llm.input_messages.3.message.tool_call_id", "c1"),
            ("llm.input_messages.3.message.content", "[1, 2]"),
            ("llm.input_messages.0.message.role", "system"),
            ("llm.input_messages.0.message.content", "be terse"),
            ("llm.output_messages.0.message.role", "assistant"),
            ("llm.output_messages.0.message.content", "done"),
            ("llm.output_messages.0.message.contents.0.message_content.signature", "sig"),
            ("openinference.span.kind", "LLM"),
            ("llm.provider", "anthropic"),
            ("llm.system", "anthropic"),
            ("llm.model_name", "claude"),
            ("llm.invocation_parameters", r#"{"max_tokens": 64, "temperature": 0.5, "model": "claude"}"#),
            ("tag.tags", "blue"),
            ("metadata", r#"{"tenant": "t-1"}"#),
        ],
    );
    let call = call
        .with_value("llm.token_count.prompt", Value::Int(7))
        .with_value("llm.token_count.completion", Value::Int(3))
        .with_value("llm.token_count.prompt_details.cache_read", Value::Int(2))
        .with_value("llm.token_count.prompt_details.cache_write", Value::Int(1))
        .with_value("llm.token_count.completion_details.reasoning", Value::Int(1))
        .with_value("llm.cost.total", Value::Float(0.25));
    let (trace, spans) = run_of(&[call]);
    let translated = &spans[0];
    assert_eq!(
        (translated.span_type, translated.model.as_deref(), translated.cost),
        (SpanType::LlmCall, Some("claude"), Some(0.25))
    );
    assert_eq!((translated.input_tokens, translated.output_tokens, trace.total_tokens), (Some(7), Some(3), Some(10)));
    assert_eq!(
        messages(translated),
        value!([
            {"role": "system", "content": "be terse"},
            {"role": "assistant", "content": "", "reasoning": "hm",
                "tool_calls": [{"id": "c1", "name": "look", "arguments": {"q": "x"}}]},
            {"role": "tool", "content": "[1, 2]", "tool_call_id": "c1"},
            {"role": "user", "content": "and now?"},
        ])
    );
    assert_eq!(json(translated.output.as_ref()), "done");
    assert_eq!(
        metadata(translated),
        value!({
            "operation": "LLM",
            "provider": "anthropic",
            "sampling": {"max_tokens": 64, "temperature": 0.5},
            "usage": {"cache_read_tokens": 2, "cache_creation_tokens": 1, "reasoning_tokens": 1},
            "attributes": {"llm.output_messages.0.message.contents.0.message_content.signature": "sig"},
        })
    );
    let of_run = trace.metadata.unwrap().to_value().unwrap();
    assert_eq!((&of_run["tenant"], &of_run["tags"]), (&value!("t-1"), &value!("blue")));
}

#[test]
fn openinference_spans_of_other_kinds_keep_what_they_were_given_and_returned() {
    let retriever = with(
        span(1, 0, "VectorStoreRetriever"),
        &[
            ("openinference.span.kind", "RETRIEVER"),
            ("input.value", "how?"),
            ("input.mime_type", "text/plain"),
            ("retrieval.documents.1.document.content", "second"),
            ("retrieval.documents.0.document.content", "first"),
            ("retrieval.documents.0.document.metadata", r#"{"page": 3}"#),
        ],
    );
    let translated = span_of(&retriever.with_value("retrieval.documents.0.document.score", Value::Float(0.5)));
    assert_eq!((translated.span_type, json(translated.input.as_ref())), (SpanType::Action, "how?".into()));
    assert_eq!(
        json(translated.output.as_ref()),
        value!([
            {"document": {"content": "first", "metadata": {"page": 3}, "score": 0.5}},
            {"document": {"content": "second"}},
        ])
    );
    assert_eq!(metadata(&translated), value!({"operation": "RETRIEVER"}));

    let tool = with(
        span(1, 0, "run"),
        &[
            ("openinference.span.kind", "TOOL"),
            ("tool.name", "look"),
            ("tool_call.id", "c1"),
            ("input.value", r#"{"q": 1}"#),
            ("output.value", "42"),
            ("output.mime_type", "text/plain"),
        ],
    );
    let (_, spans) = run_of(&[tool]);
    assert_eq!((spans[0].span_type, spans[0].name.as_str()), (SpanType::ToolCall, "look"));
    assert_eq!((json(spans[0].input.as_ref()), json(spans[0].output.as_ref())), (value!({"q": 1}), "42".into()));
    assert_eq!(spans[1].span_type, SpanType::ToolResult);

    for (kind, span_type) in
        [("CHAIN", SpanType::Reasoning), ("AGENT", SpanType::Reasoning), ("GUARDRAIL", SpanType::Action)]
    {
        assert_eq!(span_of(&span(1, 0, "x").with("openinference.span.kind", kind)).span_type, span_type, "{kind}");
    }
    let agent = with(span(1, 0, "run"), &[("openinference.span.kind", "AGENT"), ("agent.name", "planner")]);
    let translated = span_of(&agent);
    assert_eq!((translated.name.as_str(), translated.agent_role.as_deref()), ("planner", Some("planner")));
}

#[test]
fn texts_to_embed_and_prompts_are_messages() {
    let embedding = with(
        span(1, 0, "CreateEmbeddings"),
        &[
            ("openinference.span.kind", "EMBEDDING"),
            ("embedding.model_name", "e-1"),
            ("embedding.embeddings.0.embedding.text", "one"),
            ("embedding.embeddings.1.embedding.text", "two"),
        ],
    );
    let translated = span_of(&embedding);
    assert_eq!((translated.span_type, translated.model.as_deref()), (SpanType::LlmCall, Some("e-1")));
    assert_eq!(messages(&translated), value!([{"role": "user", "content": "one"}, {"role": "user", "content": "two"}]));
    let completion = with(
        span(1, 0, "Completion"),
        &[
            ("openinference.span.kind", "LLM"),
            ("llm.prompts.0.prompt.text", "go"),
            ("llm.choices.0.completion.text", "a"),
            ("llm.choices.1.completion.text", "b"),
        ],
    );
    let translated = span_of(&completion);
    assert_eq!(
        (messages(&translated), json(translated.output.as_ref())),
        (value!([{"role": "user", "content": "go"}]), value!(["a", "b"]))
    );
}

#[test]
fn a_call_that_recorded_only_its_request_and_answer_is_read_from_those() {
    let call = with(
        span(1, 0, "llm"),
        &[
            ("openinference.span.kind", "LLM"),
            ("input.value", r#"{"messages": [{"role": "user", "content": "hi"}], "temperature": 0}"#),
            (
                "output.value",
                r#"{"id": "r-1", "choices": [{"message": {"role": "assistant", "content": "ho"}, "finish_reason": "stop"}]}"#,
            ),
        ],
    );
    let translated = span_of(&call);
    assert_eq!(
        (messages(&translated), json(translated.output.as_ref())),
        (value!([{"role": "user", "content": "hi"}]), "ho".into())
    );
    let own = metadata(&translated);
    assert_eq!((&own["response_id"], &own["finish_reasons"]), (&value!("r-1"), &value!(["stop"])));
    assert!(own["attributes"]["input.value"].is_string(), "the rest of the request is kept: {own}");
    let bare =
        with(span(1, 0, "llm"), &[("openinference.span.kind", "LLM"), ("input.value", "hi"), ("output.value", "ho")]);
    let translated = span_of(&bare);
    assert_eq!(
        (messages(&translated), json(translated.output.as_ref())),
        (value!([{"role": "user", "content": "hi"}]), "ho".into())
    );
    assert_eq!(metadata(&translated), value!({"operation": "LLM"}));
}

#[test]
fn openllmetry_before_its_move_is_read_from_indexed_keys() {
    let call = with(
        span(1, 0, "anthropic.chat"),
        &[
            ("llm.request.type", "chat"),
            ("gen_ai.system", "Anthropic"),
            ("gen_ai.request.model", "claude"),
            ("gen_ai.prompt.0.user", "what is this?"),
            ("gen_ai.prompt.1.role", "user"),
            (
                "gen_ai.prompt.1.content",
                r#"[{"type": "text", "text": "and this?"}, {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]"#,
            ),
            ("gen_ai.completion.0.role", "assistant"),
            ("gen_ai.completion.0.content", "a cat"),
            ("gen_ai.completion.0.finish_reason", "end_turn"),
            ("gen_ai.completion.0.tool_calls.0.id", "c1"),
            ("gen_ai.completion.0.tool_calls.0.name", "pet"),
            ("gen_ai.completion.0.tool_calls.0.arguments", r#"{"softly": true}"#),
            ("llm.request.functions.0.name", "pet"),
            ("llm.request.functions.0.description", "pets"),
            ("llm.request.functions.0.parameters", r#"{"type": "object"}"#),
            ("gen_ai.prompt.prompt_filter_results", "none"),
            ("llm.user", "u-1"),
        ],
    );
    let call =
        call.with_value("llm.is_streaming", Value::Bool(true)).with_value("gen_ai.usage.prompt_tokens", Value::Int(5));
    let (trace, spans) = run_of(&[call]);
    let translated = &spans[0];
    assert_eq!(
        messages(translated),
        value!([
            {"role": "user", "content": "what is this?"},
            {"role": "user", "content": [
                {"type": "text", "text": "and this?"},
                {"type": "image", "uri": "https://example.org/a.png"},
            ]},
        ])
    );
    assert_eq!((json(translated.output.as_ref()), translated.input_tokens), ("a cat".into(), Some(5)));
    assert_eq!(
        metadata(translated),
        value!({
            "operation": "chat",
            "provider": "anthropic",
            "finish_reasons": ["end_turn"],
            "streaming": true,
            "tool_schemas": {"pet": {"type": "object"}},
            "tool_descriptions": {"pet": "pets"},
            "tool_calls": [{"id": "c1", "name": "pet", "arguments": {"softly": true}}],
            "vision": true,
            "attributes": {"gen_ai.prompt.prompt_filter_results": "none"},
        })
    );
    assert_eq!(trace.metadata.unwrap().to_value().unwrap()["user_id"], "u-1");
    assert_eq!(spans[1].span_type, SpanType::ToolCall, "shown by messages only");
}

#[test]
fn traceloop_entities_are_workflows_agents_and_tools() {
    let session = "traceloop.association.properties.session_id";
    let root = with(
        span(1, 0, "trip.workflow"),
        &[
            ("traceloop.span.kind", "workflow"),
            ("traceloop.entity.name", "trip"),
            ("traceloop.workflow.name", "trip"),
            ("traceloop.entity.input", r#"{"args": ["Rome?"], "kwargs": {}}"#),
            ("traceloop.entity.output", r#""booked""#),
            (session, "s-1"),
            ("traceloop.association.properties.plan", "gold"),
        ],
    );
    let agent =
        with(span(2, 1, "guide.agent"), &[("traceloop.span.kind", "agent"), ("traceloop.entity.name", "guide")]);
    let tool = with(
        span(3, 2, "book.tool"),
        &[
            ("traceloop.span.kind", "tool"),
            ("traceloop.entity.name", "book"),
            ("traceloop.entity.input", r#"{"args": [], "kwargs": {"city": "Rome"}}"#),
            ("traceloop.entity.output", "true"),
        ],
    );
    let (trace, spans) = run_of(&[tool, agent, root]);
    assert_eq!((trace.name.as_deref(), trace.session_id.as_deref()), (Some("trip"), Some("s-1")));
    assert_eq!((json(trace.input.as_ref()), json(trace.output.as_ref())), ("Rome?".into(), "booked".into()));
    assert_eq!(trace.metadata.unwrap().to_value().unwrap()["plan"], "gold");
    let shapes: Vec<_> =
        spans.iter().map(|span| (span.span_type, span.name.as_str(), span.agent_role.as_deref())).collect();
    assert_eq!(
        shapes,
        [
            (SpanType::Reasoning, "trip", None),
            (SpanType::Reasoning, "guide", Some("guide")),
            (SpanType::ToolCall, "book", Some("guide")),
        ]
    );
    assert_eq!(
        (json(spans[2].input.as_ref()), json(spans[2].output.as_ref())),
        (value!({"city": "Rome"}), true.into())
    );
}

#[test]
fn messages_come_as_events_of_the_span_too() {
    let call = chat(1, 0)
        .event("gen_ai.system.message", &[("gen_ai.event.content", r#"{"role": "system", "content": "be terse"}"#)])
        .event("gen_ai.user.message", &[("content", "hi"), ("gen_ai.system", "az.ai.inference")])
        .event(
            "gen_ai.choice",
            &[("gen_ai.event.content", r#"{"index": 0, "finish_reason": "stop", "message": {"content": "ho"}}"#)],
        );
    let translated = span_of(&call);
    assert_eq!(
        messages(&translated),
        value!([{"role": "system", "content": "be terse"}, {"role": "user", "content": "hi"}])
    );
    assert_eq!(json(translated.output.as_ref()), "ho");
    let own = metadata(&translated);
    assert_eq!((&own["finish_reasons"], own.get("events")), (&value!(["stop"]), None));

    // Of two sources the span itself is believed; the event is kept.
    let own = r#"[{"role": "user", "parts": [{"type": "text", "content": "mine"}]}]"#;
    let both =
        span_of(&chat(1, 0).with("gen_ai.input.messages", own).event("gen_ai.user.message", &[("content", "hi")]));
    assert_eq!(messages(&both), value!([{"role": "user", "content": "mine"}]));
    assert_eq!(metadata(&both)["events"][0]["attributes"], value!({"content": "hi"}));

    let oldest = chat(1, 0)
        .event("gen_ai.content.prompt", &[("gen_ai.prompt", r#"[{"role": "user", "content": "hi"}]"#)])
        .event("gen_ai.content.completion", &[("gen_ai.completion", r#"[{"role": "assistant", "content": "ho"}]"#)]);
    let translated = span_of(&oldest);
    assert_eq!(
        (messages(&translated), json(translated.output.as_ref())),
        (value!([{"role": "user", "content": "hi"}]), "ho".into())
    );
    assert_eq!(metadata(&translated).get("events"), None);
}

#[test]
fn bodies_of_log_records_are_messages() {
    let call = chat(1, 0)
        .record("gen_ai.user.message", Value::Json(r#"{"content": "hi"}"#.into()))
        .record(
            "gen_ai.choice",
            Value::Json(r#"{"index": 0, "finish_reason": "stop", "message": {"content": "ho"}}"#.into()),
        )
        .record("something.else", Value::Json(r#"{"kept": 1}"#.into()));
    let translated = span_of(&call);
    assert_eq!(
        (messages(&translated), json(translated.output.as_ref())),
        (value!([{"role": "user", "content": "hi"}]), "ho".into())
    );
    let events = metadata(&translated)["events"].take();
    assert_eq!(
        (events[0]["name"].as_str(), &events[0]["attributes"]),
        (Some("something.else"), &value!({"body": {"kept": 1}}))
    );
    assert_eq!(events.as_array().unwrap().len(), 1);
}

#[test]
fn an_exception_of_an_operation_is_its_failure() {
    let exception = [("exception.type", "RateLimit"), ("exception.message", "slow down")];
    let translated = span_of(&chat(1, 0).event("gen_ai.client.operation.exception", &exception));
    assert_eq!(translated.error.as_deref(), Some("RateLimit: slow down"));
}

#[test]
fn a_span_that_speaks_two_dialects_is_read_field_by_field() {
    let translated = span_of(&with(
        span(1, 0, "llm"),
        &[
            ("openinference.span.kind", "CHAIN"),
            ("gen_ai.operation.name", "chat"),
            ("gen_ai.output.messages", r#"[{"role": "assistant", "parts": [{"type": "text", "content": "current"}]}]"#),
            ("llm.output_messages.0.message.content", "inference"),
            ("gen_ai.completion.0.content", "metry"),
            ("llm.input_messages.0.message.content", "a question"),
            ("gen_ai.prompt.0.content", "another question"),
        ],
    ));
    assert_eq!(translated.span_type, SpanType::LlmCall);
    assert_eq!(
        (messages(&translated), json(translated.output.as_ref())),
        (value!([{"role": "user", "content": "a question"}]), "current".into())
    );
    assert_eq!(
        metadata(&translated)["attributes"],
        value!({
            "openinference.span.kind": "CHAIN",
            "llm.output_messages.0.message.content": "inference",
            "gen_ai.completion.0.content": "metry",
            "gen_ai.prompt.0.content": "another question",
        })
    );
    // Messages outweigh the prompt that they were made from.
    let translated = span_of(
        &with(span(1, 0, "llm"), &[("openinference.span.kind", "LLM"), ("llm.input_messages.0.message.content", "hi")])
            .with_value("llm.prompts", Value::Json(r#"["Human: hi"]"#.into())),
    );
    assert_eq!(messages(&translated), value!([{"role": "user", "content": "hi"}]));
    assert_eq!(metadata(&translated)["attributes"], value!({"llm.prompts": ["Human: hi"]}));
    // A whole value of a dialect that is trusted less does not outweigh keys of one that is trusted more.
    let translated = span_of(&with(
        span(1, 0, "llm"),
        &[
            ("openinference.span.kind", "LLM"),
            ("llm.completions", r#"[{"content": "whole"}]"#),
            ("llm.output_messages.0.message.content", "keys"),
        ],
    ));
    assert_eq!(json(translated.output.as_ref()), "keys");
}

#[test]
fn two_dialects_that_tell_one_call_are_counted_once() {
    let outer = with(span(1, 0, "ChatOpenAI"), &[("openinference.span.kind", "LLM")])
        .with_value("llm.token_count.prompt", Value::Int(9));
    let inner = chat(2, 1).usage(9, 0);
    assert_eq!(run_of(&[inner, outer]).0.total_tokens, Some(9));
}

#[test]
fn a_tool_span_that_names_no_call_is_the_call_that_messages_show() {
    let answer = r#"[{"role":"assistant","parts":[
        {"type":"tool_call","id":"c1","name":"look","arguments":{"q":1}},
        {"type":"tool_call","id":"c2","name":"look","arguments":{"q":2}},
        {"type":"tool_call","id":"c3","name":"note"}]}]"#;
    let root = agent(1, 0, "a").during(1, 9);
    let call = chat(2, 1).with("gen_ai.output.messages", answer).during(2, 3);
    let run = |n, name, arguments| {
        let tool = span(n, 1, "t").with("gen_ai.operation.name", "execute_tool").with("gen_ai.tool.name", name);
        tool.with("gen_ai.tool.call.arguments", arguments).with("gen_ai.tool.call.result", "ok").during(n, n + 1)
    };
    let (_, spans) = run_of(&[
        root,
        call,
        run(4, "look", r#"{"q": 2}"#),
        run(5, "look", r#"{"q": 1}"#),
        run(6, "note", "x"),
        run(7, "other", "y"),
    ]);
    let calls = spans.iter().filter(|span| span.span_type == SpanType::ToolCall);
    let calls: Vec<_> = calls
        .map(|span| (span.name.as_str(), metadata(span)["tool_call_id"].as_str().unwrap_or("-").to_owned()))
        .collect();
    let expected = [("look", "c2"), ("look", "c1"), ("note", "c3"), ("other", "-")];
    assert_eq!(calls, expected.map(|(name, id)| (name, id.to_owned())));
    assert_eq!(spans.iter().filter(|span| span.span_type == SpanType::ToolResult).count(), 3);
}

#[test]
fn hostile_indices_cost_no_more_than_their_keys() {
    let mut call = span(1, 0, "llm").with("openinference.span.kind", "LLM");
    for index in ["999999999", "00000000000000000000001", "18446744073709551616", "1", "-1", "1e9", ""] {
        call = call.with(&format!("llm.input_messages.{index}.message.content"), "x");
    }
    call = call.with(&format!("llm.input_messages{}", ".0".repeat(50_000)), "deep");
    for n in (0..20_000).rev() {
        call = call.with(&format!("gen_ai.prompt.{n}.content"), "y");
    }
    let translated = span_of(&call);
    assert_eq!(messages(&translated).as_array().unwrap().len(), 4);
    assert_eq!(metadata(&translated)["attributes"].as_object().unwrap().len(), 20_000 + 4);
}

#[test]
fn without_content_no_dialect_carries_any() {
    let secret = "canary-7f3a";
    let mut call = span(1, 0, "llm").with("openinference.span.kind", "LLM").with("traceloop.span.kind", "tool");
    for key in [
        "llm.input_messages.0.message.content",
        "llm.input_messages.0.message.contents.0.message_content.image.image.url",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments",
        "gen_ai.prompt.0.content",
        "gen_ai.completion.0.content",
        "gen_ai.completion.0.refusal",
        "llm.tools.0.tool.json_schema",
        "llm.request.functions.0.description",
        "retrieval.documents.0.document.content",
        "embedding.embeddings.0.embedding.text",
        "input.value",
        "output.value",
        "traceloop.entity.input",
        "traceloop.entity.output",
        "traceloop.association.properties.note",
        "llm.prompt_template.template",
    ] {
        call = call.with(key, secret);
    }
    let call = call
        .with("metadata", r#"{"note": "canary-7f3a"}"#)
        .event("gen_ai.user.message", &[("content", secret)])
        .event("gen_ai.content.prompt", &[("gen_ai.prompt", secret)])
        .record("gen_ai.choice", Value::Json(r#"{"message": {"content": "canary-7f3a"}}"#.into()))
        .record("something.else", Value::Str(secret.into()));
    let mut options = retrace_translate::Options::default();
    options.capture_content = false;
    let translated = format!("{:?}", record_with(options, &[call]).runs);
    assert!(!translated.contains(secret), "{translated}");
}

/// Messages that an instrumentation flattens may have lost what the request and the response beside them have.
#[test]
fn flattened_messages_give_way_to_a_whole_request_that_says_more() {
    let path = |class: &str| value!(["langchain_core", "messages", class]);
    let serialised =
        |class: &str, kwargs: Json| value!({"lc": 1, "type": "constructor", "id": path(class), "kwargs": kwargs});
    let calls = value!([{"name": "tide", "args": {"port": "Bergen"}, "id": "call_1", "type": "tool_call"}]);
    let request = value!({"messages": [[
        serialised("SystemMessage", value!({"content": [{"type": "text", "text": "Be terse."}]})),
        serialised("HumanMessage", value!({"content": "Tide?"})),
        serialised("AIMessage", value!({"content": [
            {"index": 0, "type": "text", "text": "I look."},
            {"index": 1, "type": "tool_use", "id": "call_1", "name": "tide", "input": ""},
            {"index": 1, "type": "input_json_delta", "input": "{\"port\":\"Bergen\"}"},
        ], "tool_calls": calls})),
        serialised("ToolMessage", value!({"content": "04:12", "tool_call_id": "call_1", "name": "tide"})),
    ]]});
    let answered = value!({"generations": [[{
        "text": "At 04:12.",
        "message": serialised("AIMessageChunk", value!({
            "content": "At 04:12.", "tool_calls": calls, "additional_kwargs": {"stop_reason": "tool_use"},
        })),
    }]]});
    let call = span(1, 0, "ChatModel")
        .with("openinference.span.kind", "LLM")
        .with("llm.model_name", "m")
        .with("metadata", r#"{"ls_provider":"anthropic"}"#)
        .with_value("input.value", Value::Str(request.to_string().into()))
        .with_value("output.value", Value::Str(answered.to_string().into()))
        .with("llm.input_messages.0.message.role", "system")
        .with("llm.input_messages.1.message.role", "user")
        .with("llm.input_messages.1.message.content", "Tide?")
        .with("llm.input_messages.2.message.role", "assistant")
        .with("llm.input_messages.3.message.role", "tool")
        .with("llm.input_messages.3.message.content", "04:12")
        .with("llm.output_messages.0.message.role", "assistant")
        .with("llm.output_messages.0.message.content", "At 04:12.")
        .with("llm.output_messages.0.message.tool_calls.0.tool_call.function.name", "tide")
        .with("llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments", r#"{"port":"Bergen"}"#);
    let translated = span_of(&call);
    assert_eq!(
        messages(&translated),
        value!([
            {"role": "system", "content": "Be terse."},
            {"role": "user", "content": "Tide?"},
            {"role": "assistant", "content": "I look.", "tool_calls": [{"id": "call_1", "name": "tide", "arguments": {"port": "Bergen"}}]},
            {"role": "tool", "name": "tide", "content": "04:12", "tool_call_id": "call_1"},
        ])
    );
    let metadata = metadata(&translated);
    assert_eq!(metadata["tool_calls"], value!([{"id": "call_1", "name": "tide", "arguments": {"port": "Bergen"}}]));
    assert_eq!((&metadata["provider"], &metadata["finish_reasons"]), (&value!("anthropic"), &value!(["tool_use"])));
    // Of two different values neither is lost.
    let other = call.clone().with("llm.input_messages.1.message.content", "Another question.");
    assert!(messages(&span_of(&other)).to_string().contains("Another question."));
}

#[test]
fn instructions_and_images_of_a_whole_request_are_read() {
    let request = r#"{"model":"m","system":"Be terse.","messages":[{"role":"user","content":[{"type":"text","text":"What is it?"},
        {"type":"image","source":{"type":"base64","media_type":"image/png","data":"aGk="}}]}]}"#;
    let call = span(1, 0, "Messages")
        .with("openinference.span.kind", "LLM")
        .with("llm.system", "anthropic")
        .with("input.value", request)
        .with("llm.input_messages.0.message.role", "user")
        .with("llm.input_messages.0.message.contents.0.message_content.type", "text")
        .with("llm.input_messages.0.message.contents.0.message_content.text", "What is it?")
        .with("llm.input_messages.0.message.contents.1.message_content.type", "image")
        .with("llm.input_messages.0.message.contents.1.message_content.image.media_type", "image/png");
    assert_eq!(
        messages(&span_of(&call)),
        value!([
            {"role": "system", "content": "Be terse."},
            {"role": "user", "content": [{"type": "text", "text": "What is it?"}, {"type": "image", "mime_type": "image/png", "data": "aGk="}]},
        ])
    );
}

#[test]
fn texts_of_the_responses_api_are_texts() {
    let call = span(1, 0, "Responses")
        .with("openinference.span.kind", "LLM")
        .with("llm.system", "openai")
        .with("llm.input_messages.0.message.role", "user")
        .with("llm.input_messages.0.message.contents.0.message_content.type", "input_text")
        .with("llm.input_messages.0.message.contents.0.message_content.text", "hi")
        .with("llm.output_messages.0.message.role", "assistant")
        .with("llm.output_messages.0.message.contents.0.message_content.type", "output_text")
        .with("llm.output_messages.0.message.contents.0.message_content.text", "Hello.");
    let translated = span_of(&call);
    assert_eq!(messages(&translated), value!([{"role": "user", "content": "hi"}]));
    assert_eq!(translated.output.unwrap().as_str(), "\"Hello.\"");
    // A response has the setting `text` beside its items.
    let response = r#"{"id":"resp_1","object":"response","output":[{"type":"message","role":"assistant",
        "content":[{"type":"output_text","text":"Hello."}]}],"text":{"format":{"type":"text"}}}"#;
    let call = chat(1, 0).with("langsmith.span.kind", "llm").with("gen_ai.completion", response);
    assert_eq!(span_of(&call).output.unwrap().as_str(), "\"Hello.\"");
}

#[test]
fn a_message_under_the_name_of_a_tool_is_its_result() {
    let input = r#"{"messages":[{"role":"user","content":"Tide?"},{"role":"assistant","content":"","tool_calls":[
        {"id":"c1","type":"function","function":{"name":"tide","arguments":"{}"}},
        {"id":"c2","type":"function","function":{"name":"wind","arguments":"{}"}}]},
        {"role":"tide","content":"04:12","additional_kwargs":{}},{"role":"wind","content":"north","additional_kwargs":{}},
        {"role":"critic","content":"Short."}]}"#;
    let call = span(1, 0, "ChatModel")
        .with("langfuse.observation.type", "generation")
        .with("langfuse.observation.model.name", "m")
        .with("langfuse.observation.metadata.ls_provider", "openai")
        .with("langfuse.observation.input", input);
    let translated = span_of(&call);
    let messages = messages(&translated);
    assert_eq!(messages[2], value!({"role": "tool", "name": "tide", "content": "04:12", "tool_call_id": "c1"}));
    assert_eq!(messages[3], value!({"role": "tool", "name": "wind", "content": "north", "tool_call_id": "c2"}));
    assert_eq!(messages[4], value!({"role": "critic", "content": "Short."}));
    assert_eq!(metadata(&translated)["provider"], "openai");
}

#[test]
fn answers_in_pieces_are_whole() {
    let request = r#"{"messages":[{"role":"user","content":[{"text":"What is it?"},{"media":{"url":"data:image/png;base64,aGk="}}]}]}"#;
    let response = r#"{"candidates":[{"index":0,"message":{"role":"model","content":[{"reasoning":"Let me "},{"reasoning":"see."},
        {"text":"A sh"},{"text":"ip."},{"toolRequest":{"name":"f","input":{},"ref":"a"}},{"text":""}]},"finishReason":"stop"}]}"#;
    let call = span(1, 0, "googleai/gemini-2.5-flash")
        .with("genkit:type", "action")
        .with("genkit:metadata:subtype", "model")
        .with("genkit:name", "googleai/gemini-2.5-flash")
        .with("genkit:input", request)
        .with("genkit:output", response);
    let translated = span_of(&call);
    let image = value!({"type": "image", "mime_type": "image/png", "data": "aGk="});
    assert_eq!(messages(&translated)[0]["content"], value!([{"type": "text", "text": "What is it?"}, image]));
    assert_eq!(translated.output.as_ref().unwrap().as_str(), "\"A ship.\"");
    assert_eq!(metadata(&translated)["reasoning"], "Let me see.");
}

#[test]
fn a_function_called_without_arguments_has_no_input() {
    let flow = span(1, 0, "trip.workflow")
        .with("traceloop.span.kind", "workflow")
        .with("traceloop.entity.input", r#"{"args":[],"kwargs":{}}"#);
    let call =
        chat(2, 1).with("gen_ai.input.messages", r#"[{"role":"user","parts":[{"type":"text","content":"Tide?"}]}]"#);
    let (trace, spans) = run_of(&[call, flow]);
    assert!(spans.iter().find(|span| span.parent_id.is_none()).unwrap().input.is_none());
    assert_eq!(trace.input.unwrap().as_str(), "\"Tide?\"");
}

#[test]
fn the_sdk_of_anthropic_states_why_it_stopped() {
    let call = chat(1, 0).with("anthropic.message.stop_reason", "end_turn");
    assert_eq!(metadata(&span_of(&call))["finish_reasons"], value!(["end_turn"]));
}

#[test]
fn a_function_traced_by_langsmith_stands_without_its_wrappers() {
    let tool = span(2, 1, "tide")
        .with("langsmith.span.kind", "tool")
        .with("gen_ai.prompt", r#"{"args":[{"port":"Bergen"},{"toolCallId":"c","messages":[]}]}"#)
        .with("gen_ai.completion", r#"{"outputs":"{\"high\":\"04:12\"}"}"#);
    let call = span(3, 1, "ChatOpenAI").with("langsmith.span.kind", "llm").with(
        "gen_ai.prompt",
        r#"{"args":[{"model":"m","messages":[{"role":"user","content":"Tide?"}]},{"maxRetries":0}]}"#,
    );
    let chain =
        span(1, 0, "trip").with("langsmith.span.kind", "chain").with("gen_ai.completion", r#"{"outputs":"At 04:12."}"#);
    let (trace, spans) = run_of(&[tool, call, chain]);
    let of = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    assert_eq!(json(of("tide").input.as_ref()), value!({"port": "Bergen"}));
    assert_eq!(json(of("tide").output.as_ref()), value!({"high": "04:12"}));
    assert_eq!(metadata(of("tide"))["tool_call_id"], "c");
    assert_eq!(messages(of("ChatOpenAI")), value!([{"role": "user", "content": "Tide?"}]));
    assert_eq!(trace.output.unwrap().as_str(), "\"At 04:12.\"");
    // An input has no such wrapper, and an object has none either.
    let own = r#"{"outputs":{"high":"04:12"}}"#;
    let chain = span(1, 0, "check").with("langsmith.span.kind", "chain");
    let translated = span_of(&chain.with("gen_ai.prompt", own).with("gen_ai.completion", own));
    for kept in [translated.input, translated.output] {
        assert_eq!(json(kept.as_ref()), value!({"outputs": {"high": "04:12"}}));
    }
}

/// One level of the wrapper is opened: each more would be another call of the reader, and another pass over the text.
#[test]
fn arguments_in_arguments_are_no_request() {
    const DEPTH: usize = 50_000;
    let request = r#"{"messages":[{"role":"user","content":"Tide?"}]}"#;
    let nested = r#"{"args":["#.repeat(DEPTH) + request + &"]}".repeat(DEPTH);
    let call = chat(1, 0).with_value("gen_ai.prompt", Value::Str(nested.clone().into()));
    assert_eq!(messages(&span_of(&call)), value!([{"role": "user", "content": nested}]));
}

#[test]
fn several_results_in_one_message_of_the_vercel_sdk_are_several() {
    let prompt = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"Tide?"}]},{"role":"assistant","content":[
        {"type":"tool-call","toolCallId":"a","toolName":"tide","input":{"port":"Bergen"}}]},{"role":"tool","content":[
        {"type":"tool-result","toolCallId":"a","toolName":"tide","output":{"type":"json","value":{"high":"04:12"}}},
        {"type":"tool-result","toolCallId":"b","toolName":"wind","output":{"type":"error-text","value":"No wind."}},
        {"type":"tool-result","toolCallId":"c","toolName":"sea","result":{"type":"celsius","value":9}},
        {"type":"tool-result","toolCallId":"d","toolName":"air","output":{"type":"celsius","value":7}}]}]}"#;
    let call = span(1, 0, "openai.chat").with("langsmith.span.kind", "llm").with("gen_ai.prompt", prompt);
    assert_eq!(
        messages(&span_of(&call)).as_array().unwrap()[1..],
        [
            value!({"role": "assistant", "content": "", "tool_calls": [{"id": "a", "name": "tide", "arguments": {"port": "Bergen"}}]}),
            value!({"role": "tool", "name": "tide", "content": "{\"high\":\"04:12\"}", "tool_call_id": "a"}),
            value!({"role": "tool", "name": "wind", "content": "No wind.", "tool_call_id": "b"}),
            value!({"role": "tool", "name": "sea", "content": r#"{"type":"celsius","value":9}"#, "tool_call_id": "c"}),
            value!({"role": "tool", "name": "air", "content": r#"{"type":"celsius","value":7}"#, "tool_call_id": "d"}),
        ]
    );
}

#[test]
fn texts_under_the_role_of_tools_are_results_in_the_order_of_the_calls() {
    let text = |content: &str| value!({"role": "tool", "parts": [{"type": "text", "content": content}]});
    let call = |id: &str| value!({"type": "tool_call", "id": id, "name": "tide", "arguments": {}});
    let history = value!([{"role": "assistant", "parts": [call("a"), call("b")]}, text("04:12"), text("05:20")]);
    let call = chat(1, 0).with_value("gen_ai.input.messages", Value::Str(history.to_string().into()));
    let messages = messages(&span_of(&call));
    assert_eq!(messages[1], value!({"role": "tool", "content": "04:12", "tool_call_id": "a"}));
    assert_eq!(messages[2], value!({"role": "tool", "content": "05:20", "tool_call_id": "b"}));
}

#[test]
fn parts_of_strands_for_typescript_are_read() {
    let mut call = chat(1, 0).with("gen_ai.system", "strands-agents");
    let choice = r#"[{"type":"text","text":"I look."},{"type":"toolUse","name":"tide","toolUseId":"a","input":{"port":"Bergen"}}]"#;
    let result = r#"[{"type":"toolResult","toolUseId":"z","status":"success","content":[{"text":"04:12"}]}]"#;
    call.events.push(("gen_ai.tool.message".to_owned(), vec![("content".to_owned(), Value::from(result))]));
    call.events.push((
        "gen_ai.choice".to_owned(),
        vec![("message".to_owned(), Value::from(choice)), ("finish_reason".to_owned(), Value::from("toolUse"))],
    ));
    let translated = span_of(&call);
    assert_eq!(messages(&translated)[0], value!({"role": "tool", "content": "04:12", "tool_call_id": "z"}));
    assert_eq!(translated.output.as_ref().unwrap().as_str(), "\"I look.\"");
    assert_eq!(
        metadata(&translated)["tool_calls"],
        value!([{"id": "a", "name": "tide", "arguments": {"port": "Bergen"}}])
    );
}

#[test]
fn the_user_of_a_request_is_no_message() {
    for request in [
        r#"{"model":"m","messages":[{"role":"user","content":"Tide?"}],"user":"user-1"}"#,
        r#"{"model":"m","input":[{"role":"user","content":"Tide?"}],"user":"user-1"}"#,
        r#"{"messages":[{"role":"user","content":"Tide?"}],"user":"user-1"}"#,
    ] {
        let translated = span_of(&chat(1, 0).with("gen_ai.prompt", request));
        assert_eq!(messages(&translated), value!([{"role": "user", "content": "Tide?"}]), "{request}");
    }
}
