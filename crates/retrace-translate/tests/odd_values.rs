//! Values in the forms that libraries give them: JSON quoted as text once or more, lists in lists, maps, texts for numbers,
//! names in capitals, keys and models in spellings of their own.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use retrace_protocol::{Span, SpanType};
use retrace_translate::Value;
use serde_json::{Value as Json, json};
use support::*;

fn of(json: Option<&retrace_protocol::Json>) -> Json {
    json.map_or(Json::Null, |json| json.to_value().unwrap())
}

fn text(value: &Json) -> Value<'static> {
    Value::Str(value.to_string().into())
}

/// As an OTLP map or list arrives.
fn map(value: &Json) -> Value<'static> {
    Value::Json(value.to_string().into())
}

fn call_with(key: &str, value: Value<'static>) -> Span {
    span_of(
        &span(1, 0, "chat m")
            .with("gen_ai.operation.name", "chat")
            .with("gen_ai.request.model", "m")
            .with_value(key, value),
    )
}

fn input_messages(value: Value<'static>) -> Json {
    of(call_with("gen_ai.input.messages", value).input.as_ref())["messages"].take()
}

#[test]
fn messages_are_read_in_any_wrapping() {
    let message = json!({"role": "user", "parts": [{"type": "text", "content": "hi"}]});
    let list = json!([message]);
    let quoted = |value: &Json| Json::from(value.to_string());
    for value in [
        text(&list),
        map(&list),
        text(&message),
        map(&message),
        text(&quoted(&list)),
        text(&quoted(&quoted(&list))),
        map(&json!([quoted(&message)])),
        text(&json!([quoted(&message)])),
        text(&json!([[message]])),
        map(&json!([[{"role": "USER", "content": "hi"}]])),
        text(&json!({"messages": [{"role": "user", "content": "hi"}]})),
        text(&json!([null, {"role": "user", "parts": [null, {"type": "TEXT", "content": "hi"}]}])),
        text(&json!([{"role": "user", "parts": [{"text": "hi"}]}])),
    ] {
        let shown = format!("{value:?}");
        assert_eq!(input_messages(value), json!([{"role": "user", "content": "hi"}]), "{shown}");
    }
    for value in [
        text(&json!({"role": "assistant", "content": "yo"})),
        text(&quoted(&json!([{"role": "assistant", "parts": [{"type": "text", "content": "yo"}]}]))),
        text(&json!({"choices": [{"message": {"role": "assistant", "content": "yo"}, "finish_reason": "stop"}]})),
    ] {
        let shown = format!("{value:?}");
        assert_eq!(of(call_with("gen_ai.output.messages", value).output.as_ref()), "yo", "{shown}");
    }
}

#[test]
fn a_text_that_is_quoted_stays_a_text() {
    for text in ["hi", "\"hi\"", "[\"a\", \"b\"]", "[1, 2]", "[[1]]", "{}"] {
        let read = input_messages(Value::Str(text.into()));
        assert_eq!(read.as_array().unwrap().len(), 1, "{text}: {read}");
    }
}

#[test]
fn parts_of_an_api_are_read_among_those_of_the_conventions() {
    let turns = json!([
        {"role": "model", "parts": [{"function_call": {"name": "f", "args": {"x": 1}}}]},
        {"role": "user", "parts": [{"function_response": {"name": "f", "response": {"t": 1}}}]},
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "c", "name": "f", "arguments": "\"{\\\"x\\\":1}\""}]},
    ]);
    let read = input_messages(text(&turns));
    assert_eq!(
        read[0],
        json!({"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": {"x": 1}}]})
    );
    assert_eq!(read[1], json!({"role": "tool", "name": "f", "content": "{\"t\":1}"}));
    assert_eq!(read[2]["tool_calls"], json!([{"id": "c", "name": "f", "arguments": {"x": 1}}]));
}

/// The keys are those of `OpenRouter`'s and Langfuse's exporters, the Copilot CLI, `SigNoz`' and Portkey's instrumentations.
#[test]
fn counts_are_known_by_the_words_of_their_keys() {
    let counted = |key: &str| {
        let call = chat(1, 0).usage(100, 50).with_value(&format!("gen_ai.usage.{key}"), Value::Int(40));
        let span = span_of(&call);
        let usage = metadata(&span)["usage"].take();
        assert_eq!((span.input_tokens, span.output_tokens), (Some(100), Some(50)), "{key}");
        usage
    };
    for (key, place) in [
        ("prompt_tokens_details.cached_tokens", "cache_read_tokens"),
        ("input_token_details.cache_read", "cache_read_tokens"),
        ("input_tokens_details.cached", "cache_read_tokens"),
        ("cache_hit_tokens", "cache_read_tokens"),
        ("cachedInputTokens", "cache_read_tokens"),
        ("input_tokens.cache_creation", "cache_creation_tokens"),
        ("prompt_tokens_details.cache_write_tokens", "cache_creation_tokens"),
        ("completion_tokens_details.reasoning_tokens", "reasoning_tokens"),
        ("reasoning_output_tokens", "reasoning_tokens"),
        ("thoughts_token_count", "reasoning_tokens"),
    ] {
        assert_eq!(counted(key), json!({place: 40}), "{key}");
    }
    for key in ["cache_hit_ratio", "cache_read_cost", "uncached_tokens", "cache_creation.ephemeral_1h_input_tokens"] {
        assert_eq!(counted(key), Json::Null, "{key}");
    }
    // A spelling of the conventions is trusted more.
    let both = chat(1, 0).usage(100, 50).with_value("gen_ai.usage.cache_hit_tokens", Value::Int(1));
    let both = both.with_value("gen_ai.usage.cache_read.input_tokens", Value::Int(40));
    assert_eq!(metadata(&span_of(&both))["usage"], json!({"cache_read_tokens": 40}));
}

#[test]
fn numbers_are_read_from_texts() {
    let usage =
        json!({"prompt_tokens": "10", "completion_tokens": 5.0, "prompt_tokens_details": {"cached_tokens": "4"}});
    for value in [text(&usage), map(&usage)] {
        let span = call_with("gen_ai.usage", value);
        assert_eq!((span.input_tokens, span.output_tokens), (Some(10), Some(5)));
        assert_eq!(metadata(&span)["usage"]["cache_read_tokens"], 4);
    }
    let span = call_with("gen_ai.usage.input_tokens", Value::Str("12.0".into()));
    assert_eq!(span.input_tokens, Some(12));
    let parameters = json!({"temperature": "0.5", "max_tokens": 10, "stream": "true"});
    let span = call_with("llm.invocation_parameters", text(&parameters));
    assert_eq!(metadata(&span)["sampling"], json!({"temperature": 0.5, "max_tokens": 10}));
}

#[test]
fn operations_are_read_in_capitals_and_arguments_quoted_twice() {
    for (operation, expected) in [
        ("CHAT", SpanType::LlmCall),
        ("Invoke_Agent", SpanType::Reasoning),
        (" retrieval ", SpanType::Action),
        ("EXECUTE_TOOL", SpanType::ToolCall),
    ] {
        assert_eq!(
            span_of(&span(1, 0, "x").with("gen_ai.operation.name", operation)).span_type,
            expected,
            "{operation}"
        );
    }
    let quoted = text(&Json::from(json!({"x": 1}).to_string()));
    let called = span(1, 0, "f").with("gen_ai.operation.name", "execute_tool").with("gen_ai.tool.name", "f");
    let (_, spans) = run_of(&[called.with_value("gen_ai.tool.call.arguments", quoted)]);
    let called = spans.iter().find(|span| span.span_type == SpanType::ToolCall).unwrap();
    assert_eq!(of(called.input.as_ref()), json!({"x": 1}));
}

/// Pydantic AI and `LangChain` write `provider:model`, `LiteLLM` regions of Azure and its own proxy, the Vercel AI SDK `house.api`.
#[cfg(feature = "prices")]
#[test]
fn models_have_their_price_behind_routers_and_providers() {
    let cost = |provider: Option<&'static str>, model: &'static str| {
        let call = span(1, 0, "chat").with("gen_ai.operation.name", "chat").with("gen_ai.request.model", model);
        let call = call.usage(1000, 100);
        span_of(&provider.map_or(call.clone(), |provider| call.with("gen_ai.provider.name", provider))).cost
    };
    for ((provider, model), others) in [
        (
            (Some("anthropic"), "claude-sonnet-4-5"),
            &[
                (None, "anthropic:claude-sonnet-4-5"),
                (Some("pydantic"), "anthropic:claude-sonnet-4-5"),
                (None, "openrouter/anthropic/claude-sonnet-4.5"),
                (Some("portkey"), "@anthropic/claude-sonnet-4-5"),
            ][..],
        ),
        (
            (Some("azure.ai.openai"), "gpt-4o"),
            &[
                (None, "azure/global/gpt-4o"),
                (None, "azure/eu/gpt-4o-2024-08-06"),
                (None, "litellm_proxy/gpt-4o"),
                (None, "github/gpt-4o"),
                (None, "openai:gpt-4o"),
            ],
        ),
        (
            (Some("gcp.gemini"), "gemini-2.5-flash"),
            &[(None, "google-gla:gemini-2.5-flash"), (None, "google-vertex:gemini-2.5-flash")],
        ),
        (
            (Some("together"), "meta-llama/Llama-3.3-70B-Instruct-Turbo"),
            &[
                (Some("togetherai.chat"), "meta-llama/Llama-3.3-70B-Instruct-Turbo"),
                (Some("together_ai"), "meta-llama/Llama-3.3-70B-Instruct-Turbo"),
            ],
        ),
    ] {
        let price = cost(provider, model);
        assert!(price.is_some(), "{model}");
        for (provider, model) in others {
            assert_eq!(cost(*provider, model), price, "{provider:?} {model}");
        }
    }
    assert_eq!(cost(None, "ollama:llama3"), None);
    assert_eq!(cost(None, "my-team:gpt-4o"), None);
}

#[test]
fn an_object_that_was_quoted_is_itself_in_every_dialect() {
    let quoted = |value: &Json| Json::from(value.to_string());
    let twice = |value: &Json| quoted(&quoted(value));
    let parameters = json!({"temperature": 0.5});
    for value in [text(&quoted(&parameters)), text(&twice(&parameters))] {
        let span = call_with("llm.invocation_parameters", value);
        assert_eq!(metadata(&span)["sampling"], json!({"temperature": 0.5}));
    }
    let messages = json!({"messages": [{"role": "user", "content": "hi"}]});
    let span = call_with("input.value", text(&quoted(&messages)));
    assert_eq!(of(span.input.as_ref()), messages);
    let prompt = json!([{"role": "user", "content": [{"type": "text", "text": "hi"}]}]);
    let span = call_with("ai.prompt.messages", text(&twice(&prompt)));
    assert_eq!(of(span.input.as_ref()), messages);
    let usage = json!({"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15});
    let span = call_with("output.value", text(&quoted(&json!({"usageMetadata": usage, "candidates": []}))));
    assert_eq!((span.input_tokens, span.output_tokens), (Some(10), Some(5)));
    // A text that happens to be quoted is a text.
    let span = call_with("input.value", Value::Str("\"[draft] hello\"".into()));
    assert!(span.input.is_some_and(|input| input.as_str().contains("[draft] hello")));
}

#[test]
fn a_parent_agent_without_an_agent_stays_an_attribute() {
    let alone = call_with("retrace.parent_agent_id", "planner".into());
    assert_eq!((alone.agent_id, alone.parent_agent_id), (None, None));
    let metadata = of(alone.metadata.as_ref());
    assert_eq!(metadata["attributes"], json!({"retrace.parent_agent_id": "planner"}));
    let of_agent = span_of(
        &span(1, 0, "chat m")
            .with("gen_ai.operation.name", "chat")
            .with("gen_ai.agent.id", "writer")
            .with("retrace.parent_agent_id", "planner"),
    );
    assert_eq!(of_agent.parent_agent_id.as_deref(), Some("planner"));
}

#[test]
fn parts_of_audio_without_a_url_are_kept() {
    let key = "llm.input_messages.0.message.contents.0.message_content.audio.audio";
    for (member, value, expected) in [
        ("transcript", Value::from("Low tide."), json!("Low tide.")),
        ("transcript", Value::Int(7), json!([7])),
        (
            "mime_type",
            Value::from("audio/wav"),
            json!([{"message_content": {"audio": {"audio": {"mime_type": "audio/wav"}}}}]),
        ),
    ] {
        let messages = of(call_with(&format!("{key}.{member}"), value).input.as_ref());
        assert_eq!(messages["messages"][0]["content"], expected, "{member}");
    }
}

/// Objects in objects, where each could hold the message. A reader that called itself for each would overflow the stack.
#[test]
fn a_message_is_sought_in_a_few_objects() {
    const DEPTH: usize = 20_000;
    let nested = |open: &str, close: &str| format!("{}\"x\"{}", open.repeat(DEPTH), close.repeat(DEPTH));
    let content = nested(r#"{"content":"#, "}");
    for text in [
        content.clone(),
        nested(r#"{"type":"human","data":"#, "}"),
        nested(r#"{"args":["#, "]}"),
        format!(r#"[{{"role":"user","content":{content}}}]"#),
        format!(r#"{{"generations":[[{}]]}}"#, nested(r#"{"message":"#, "}")),
        format!(r#"{{"generations":[[{}]]}}"#, nested(r#"{"lc":1,"kwargs":"#, "}")),
    ] {
        for key in ["gen_ai.prompt", "gen_ai.input.messages", "ai.prompt.messages", "mastra.model_step.input"] {
            let call = chat(1, 0).with_value(key, Value::Str(text.clone().into()));
            let spans = run_of(&[call]).1;
            assert!(spans[0].input.is_some(), "{key} {text:.40}");
        }
    }
}
