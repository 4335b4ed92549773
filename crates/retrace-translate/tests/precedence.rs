//! A span that speaks several dialects is not confused: per field the one that is trusted most holds.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use retrace_protocol::{Span, Trace};
use retrace_translate::Value;
use serde_json::{Value as Json, json as value};
use support::*;

/// Records each key of the row with a value of its own, in this order and in reverse, then without the most trusted key, and so
/// on. The span has the value of the first key that is left.
fn check(rows: &[(&str, &str)], read: impl Fn(&Trace, &Span) -> Json, expected: impl Fn(usize) -> Json) {
    for first in 0..rows.len() {
        for reversed in [false, true] {
            let mut outputs: Vec<_> = rows[first..].to_vec();
            if reversed {
                outputs.reverse();
            }
            let mut call = span(1, 0, "call").with("gen_ai.operation.name", "chat");
            for (key, json) in outputs {
                let number = json.parse().map(Value::Int);
                call = call.with_value(key, number.unwrap_or_else(|_| Value::Str(json.to_owned().into())));
            }
            let (trace, spans) = run_of(&[call]);
            assert_eq!(read(&trace, &spans[0]), expected(first), "{} first, reversed: {reversed}", rows[first].0);
        }
    }
}

#[test]
fn tokens() {
    let rows = [
        ("retrace.input_tokens", "1000"),
        ("gen_ai.usage.input_tokens", "1001"),
        ("gen_ai.usage.prompt_tokens", "1002"),
        ("llm.token_count.prompt", "1003"),
        ("llm.usage.prompt_tokens", "1004"),
        ("ai.usage.inputTokens", "1005"),
        ("mlflow.chat.tokenUsage", r#"{"input_tokens":1006}"#),
        ("lk.llm_metrics", r#"{"prompt_tokens":1007}"#),
        ("langfuse.observation.usage_details", r#"{"input":1008}"#),
    ];
    check(&rows, |_, span| value!(span.input_tokens), |first| value!(1000 + first));
}

#[test]
fn models() {
    let rows = [
        ("gen_ai.request.model", "m0"),
        ("llm.request.model", "m1"),
        ("ai.model.id", "m2"),
        ("model_name", "m3"),
        ("langfuse.observation.model.name", "m4"),
        ("mlflow.llm.model", r#""m5""#),
        ("request_data", r#"{"messages":[],"model":"m6"}"#),
    ];
    check(&rows, |_, span| value!(span.model), |first| value!(format!("m{first}")));
}

#[test]
fn sessions() {
    let rows = [
        ("retrace.session_id", "s0"),
        ("gen_ai.conversation.id", "s1"),
        ("traceloop.association.properties.session_id", "s2"),
        ("ai.telemetry.metadata.sessionId", "s3"),
        ("langfuse.session.id", "s4"),
        ("mlflow.trace.session", "s5"),
        ("session.id", "s6"),
    ];
    check(&rows, |trace, _| value!(trace.session_id), |first| value!(format!("s{first}")));
}

#[test]
fn answers() {
    let rows = [
        ("retrace.output", "a0"),
        ("gen_ai.output.messages", r#"[{"role":"assistant","parts":[{"type":"text","content":"a1"}]}]"#),
        ("gen_ai.completion", r#"[{"role":"assistant","content":"a2"}]"#),
        ("gen_ai.completion.0.content", "a3"),
        ("ai.response.text", "a4"),
        ("lk.response.text", "a5"),
        (
            "events",
            r#"[{"role":"user","content":"q"},{"event.name":"gen_ai.choice","message":{"role":"assistant","content":"a6"}}]"#,
        ),
        ("langfuse.observation.output", r#"{"role":"assistant","content":"a7"}"#),
    ];
    check(&rows, |_, span| json(span.output.as_ref()), |first| value!(format!("a{first}")));
}

#[test]
fn questions() {
    let rows = [
        ("gen_ai.input.messages", r#"[{"role":"user","parts":[{"type":"text","content":"q0"}]}]"#),
        ("gen_ai.prompt", "q1"),
        ("gen_ai.prompt.0.content", "q2"),
        ("ai.prompt.messages", r#"[{"role":"user","content":[{"type":"text","text":"q3"}]}]"#),
        ("lk.chat_ctx", r#"{"items":[{"type":"message","role":"user","content":["q4"]}]}"#),
        ("all_messages_events", r#"[{"role":"user","content":"q5"}]"#),
        ("request_data", r#"{"messages":[{"role":"user","content":"q6"}]}"#),
        ("mlflow.spanInputs", r#"{"messages":[{"role":"user","content":"q7"}]}"#),
    ];
    check(
        &rows,
        |_, span| json(span.input.as_ref())["messages"][0]["content"].take(),
        |first| value!(format!("q{first}")),
    );
}

#[test]
fn kinds() {
    let typed = |attributes: &[(&str, &'static str)]| {
        let made = attributes.iter().fold(span(1, 0, "s"), |span, (key, value)| span.with(key, value));
        run_of(&[made]).1[0].span_type.as_str().to_owned()
    };
    for (attributes, expected) in [
        (&[("ai.operationId", "ai.toolCall"), ("gen_ai.operation.name", "chat")][..], "llm_call"),
        (&[("ai.operationId", "ai.streamObject.doStream")], "llm_call"),
        (&[("ai.operationId", "ai.embedMany.doEmbed")], "llm_call"),
        (&[("ai.operationId", "ai.rerank.doRerank")], "action"),
        (&[("ai.operationId", "ai.rerank")], "reasoning"),
        (&[("ai.operationId", "ai.toolCall"), ("ai.model.id", "m")], "tool_call"),
        (&[("langfuse.observation.type", "generation")], "llm_call"),
        (&[("langfuse.observation.type", "span"), ("langfuse.observation.model.name", "m")], "llm_call"),
        (&[("langfuse.observation.type", "span")], "action"),
        (&[("langfuse.observation.type", "RETRIEVER")], "action"),
        (&[("mlflow.spanType", r#""TOOL""#)], "tool_call"),
        (&[("mlflow.spanType", "CHAT_MODEL")], "llm_call"),
        (&[("mlflow.spanType", r#""UNKNOWN""#)], "action"),
        (&[("lk.function_tool.name", "f")], "tool_call"),
        (&[("lk.generation_id", "g")], "reasoning"),
        (&[("pydantic_ai.all_messages", "[]"), ("gen_ai.agent.name", "a")], "reasoning"),
    ] {
        assert_eq!(typed(attributes), expected, "{attributes:?}");
    }
}

#[test]
fn common_names_mean_nothing_on_other_spans() {
    let attributes = [
        ("agent_name", "browser"),
        ("events", r#"[{"role":"user","content":"no"}]"#),
        ("final_result", "won"),
        ("inputs", r#"["a"]"#),
        ("request_data", "{}"),
        ("operation.cost", "3"),
    ];
    let other = attributes.iter().fold(span(2, 1, "match"), |span, (key, value)| span.with(key, value));
    let outputs = record(&[other.clone(), chat(3, 1), span(1, 0, "GET /")]);
    assert_eq!(outputs.set_aside, 1, "they make no GenAI span");
    let (trace, spans) = run_of(&[chat(3, 2), TestSpan { parent: retrace_translate::Parent::None, ..other }]);
    assert_eq!((trace.total_cost, &spans[0].agent_id, &spans[0].input), (Some(0.0), &None, &None));
    for (key, expected) in attributes {
        assert_eq!(metadata(&spans[0])["attributes"][key], expected, "{key}");
    }
}
