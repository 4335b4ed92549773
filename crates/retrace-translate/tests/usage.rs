//! P26: tokens are counted in one way, whoever reports them: input with what went through a cache, output with thinking.
//!
//! Three calls, as their providers report them, in every dialect that can say them:
//!
//! * Anthropic: `input_tokens` 10, read from the cache 100, written to it 20, `output_tokens` 50: 130 in, 50 out;
//! * OpenAI: `prompt_tokens` 130, of which cached 100, `completion_tokens` 50, of which reasoning 20: 130 in, 50 out;
//! * Gemini: `promptTokenCount` 130, of which cached 100, `candidatesTokenCount` 30, `thoughtsTokenCount` 20: 130 in, 50 out.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use retrace_translate::Value;
use support::*;

/// Input, output, read from a cache, written to it, reasoning.
type Counts = [Option<u64>; 5];

const ANTHROPIC: Counts = [Some(130), Some(50), Some(100), Some(20), None];
const OPENAI: Counts = [Some(130), Some(50), Some(100), None, Some(20)];
const NOTHING: Counts = [None; 5];

/// How an answer came: all at once, or in pieces.
const STREAMED: [Option<bool>; 3] = [None, Some(false), Some(true)];

fn check(what: &str, attributes: &[(&str, &str)], expected: Counts) {
    for streamed in STREAMED {
        let mut call = chat(1, 0);
        if let Some(streamed) = streamed {
            call = call.with_value("gen_ai.request.stream", Value::Bool(streamed));
        }
        for (key, value) in attributes {
            let number = value.parse().map(Value::Int);
            call = call.with_value(key, number.unwrap_or_else(|_| Value::Str((*value).to_owned().into())));
        }
        let (trace, spans) = run_of(&[call]);
        let usage = spans[0].metadata.as_ref().map(|metadata| metadata.to_value().unwrap()["usage"].take());
        let part = |name: &str| usage.as_ref().and_then(|usage| usage[name].as_u64());
        let found = [
            spans[0].input_tokens,
            spans[0].output_tokens,
            part("cache_read_tokens"),
            part("cache_creation_tokens"),
            part("reasoning_tokens"),
        ];
        assert_eq!(found, expected, "{what}, streamed: {streamed:?}");
        let total = expected[0].unwrap_or(0) + expected[1].unwrap_or(0);
        assert_eq!(trace.total_tokens, Some(total), "{what}: parts are never on top");
    }
}

#[test]
fn pain_26_current_conventions() {
    let keys = |input, output, rest: &[(&'static str, &'static str)]| {
        let mut all = vec![("gen_ai.usage.input_tokens", input), ("gen_ai.usage.output_tokens", output)];
        all.extend_from_slice(rest);
        all
    };
    let read = ("gen_ai.usage.cache_read.input_tokens", "100");
    let written = ("gen_ai.usage.cache_creation.input_tokens", "20");
    let thought = ("gen_ai.usage.reasoning.output_tokens", "20");
    check("Anthropic as it should be", &keys("130", "50", &[read, written]), ANTHROPIC);
    check("Anthropic passed on: a part is larger than the whole", &keys("10", "50", &[read, written]), ANTHROPIC);
    check("OpenAI", &keys("130", "50", &[read, thought]), OPENAI);
    check(
        "Gemini passed on, of which nothing proves it",
        &keys("130", "30", &[read, thought]),
        [Some(130), Some(30), Some(100), None, Some(20)],
    );
    check(
        "Gemini passed on: a part is larger than the whole",
        &keys("130", "15", &[thought]),
        [Some(130), Some(35), None, None, Some(20)],
    );
    check(
        "what cannot be known is not guessed",
        &keys("500", "50", &[read]),
        [Some(500), Some(50), Some(100), None, None],
    );
    check("texts are numbers too", &keys("130", "50", &[]), [Some(130), Some(50), None, None, None]);
}

#[test]
fn pain_26_older_conventions() {
    check(
        "OpenAI",
        &[
            ("gen_ai.usage.prompt_tokens", "130"),
            ("gen_ai.usage.completion_tokens", "50"),
            ("gen_ai.usage.cache_read_input_tokens", "100"),
            ("gen_ai.usage.reasoning_tokens", "20"),
        ],
        OPENAI,
    );
    check(
        "Anthropic as OpenLLMetry sums it",
        &[
            ("gen_ai.usage.prompt_tokens", "130"),
            ("gen_ai.usage.completion_tokens", "50"),
            ("gen_ai.usage.cache_read_input_tokens", "100"),
            ("gen_ai.usage.cache_creation_input_tokens", "20"),
        ],
        ANTHROPIC,
    );
}

#[test]
fn pain_26_openinference() {
    check(
        "OpenAI",
        &[
            ("llm.token_count.prompt", "130"),
            ("llm.token_count.completion", "50"),
            ("llm.token_count.total", "180"),
            ("llm.token_count.prompt_details.cache_read", "100"),
            ("llm.token_count.completion_details.reasoning", "20"),
        ],
        OPENAI,
    );
    check(
        "Anthropic passed on",
        &[
            ("llm.token_count.prompt", "10"),
            ("llm.token_count.completion", "50"),
            ("llm.token_count.prompt_details.cache_read", "100"),
            ("llm.token_count.prompt_details.cache_write", "20"),
        ],
        ANTHROPIC,
    );
    check(
        "Gemini, with a total that has the thinking",
        &[
            ("llm.token_count.prompt", "130"),
            ("llm.token_count.completion", "30"),
            ("llm.token_count.total", "180"),
            ("llm.token_count.prompt_details.cache_read", "100"),
            ("llm.token_count.completion_details.reasoning", "20"),
        ],
        OPENAI,
    );
}

#[test]
fn pain_26_the_vercel_ai_sdk() {
    check(
        "its third and fourth version",
        &[("ai.usage.promptTokens", "130"), ("ai.usage.completionTokens", "50")],
        [Some(130), Some(50), None, None, None],
    );
    let raw = r#"{"anthropic":{"usage":{"input_tokens":10,"cache_creation_input_tokens":20,"cache_read_input_tokens":100,
        "output_tokens":50},"cacheCreationInputTokens":20}}"#;
    check(
        "its fifth, which passes on what Anthropic counts",
        &[
            ("ai.usage.inputTokens", "10"),
            ("ai.usage.outputTokens", "50"),
            ("ai.usage.totalTokens", "60"),
            ("ai.usage.cachedInputTokens", "100"),
            ("ai.response.providerMetadata", raw),
        ],
        ANTHROPIC,
    );
    let raw = r#"{"anthropic":{"usage":{"input_tokens":500,"cache_read_input_tokens":100,"output_tokens":50}}}"#;
    check(
        "the same where only the provider's own words tell",
        &[
            ("ai.usage.inputTokens", "500"),
            ("ai.usage.outputTokens", "50"),
            ("ai.usage.cachedInputTokens", "100"),
            ("ai.response.providerMetadata", raw),
        ],
        [Some(600), Some(50), Some(100), None, None],
    );
    check(
        "its sixth and later: Anthropic",
        &[
            ("ai.usage.inputTokens", "130"),
            ("ai.usage.inputTokenDetails.noCacheTokens", "10"),
            ("ai.usage.inputTokenDetails.cacheReadTokens", "100"),
            ("ai.usage.inputTokenDetails.cacheWriteTokens", "20"),
            ("ai.usage.outputTokens", "50"),
            ("ai.usage.totalTokens", "180"),
        ],
        ANTHROPIC,
    );
    check(
        "OpenAI",
        &[
            ("ai.usage.inputTokens", "130"),
            ("ai.usage.cachedInputTokens", "100"),
            ("ai.usage.outputTokens", "50"),
            ("ai.usage.reasoningTokens", "20"),
            ("ai.usage.totalTokens", "180"),
        ],
        OPENAI,
    );
    check(
        "Gemini, whose thinking is beside the output",
        &[
            ("ai.usage.inputTokens", "130"),
            ("ai.usage.cachedInputTokens", "100"),
            ("ai.usage.outputTokens", "30"),
            ("ai.usage.reasoningTokens", "20"),
            ("ai.usage.totalTokens", "180"),
        ],
        OPENAI,
    );
}

#[test]
fn pain_26_pydantic_ai_and_logfire() {
    check(
        "Anthropic, with the provider's own counts beside",
        &[
            ("gen_ai.usage.input_tokens", "130"),
            ("gen_ai.usage.output_tokens", "50"),
            ("gen_ai.usage.details.input_tokens", "10"),
            ("gen_ai.usage.details.cache_read_input_tokens", "100"),
            ("gen_ai.usage.details.cache_creation_input_tokens", "20"),
        ],
        ANTHROPIC,
    );
    check(
        "OpenAI in an answer that was recorded whole",
        &[(
            "response_data",
            r#"{"message":{"role":"assistant","content":"yes"},"usage":{"prompt_tokens":130,
            "completion_tokens":50,"total_tokens":180,"prompt_tokens_details":{"cached_tokens":100},
            "completion_tokens_details":{"reasoning_tokens":20}}}"#,
        )],
        OPENAI,
    );
    check(
        "sums over a run are no usage",
        &[("gen_ai.aggregated_usage.input_tokens", "130"), ("gen_ai.aggregated_usage.output_tokens", "50")],
        NOTHING,
    );
}

#[test]
fn pain_26_langfuse() {
    let details = "langfuse.observation.usage_details";
    check(
        "Anthropic by kinds",
        &[(details, r#"{"input":10,"output":50,"cache_read_input_tokens":100,"cache_creation_input_tokens":20}"#)],
        ANTHROPIC,
    );
    check(
        "OpenAI by kinds",
        &[(details, r#"{"input":30,"input_cached_tokens":100,"output":30,"output_reasoning_tokens":20,"total":180}"#)],
        OPENAI,
    );
    check(
        "OpenAI with a total that shows the kinds to be parts",
        &[(details, r#"{"input":130,"input_cached_tokens":100,"output":50,"output_reasoning_tokens":20,"total":180}"#)],
        OPENAI,
    );
    check(
        "OpenAI in its own words",
        &[(
            details,
            r#"{"prompt_tokens":130,"completion_tokens":50,"total_tokens":180,
            "prompt_tokens_details":{"cached_tokens":100},"completion_tokens_details":{"reasoning_tokens":20}}"#,
        )],
        OPENAI,
    );
}

#[test]
fn pain_26_mlflow() {
    check(
        "Anthropic as its transcripts count",
        &[(
            "mlflow.chat.tokenUsage",
            r#"{"input_tokens":10,"output_tokens":50,"total_tokens":60,"cache_read_input_tokens":100,
                "cache_creation_input_tokens":20}"#,
        )],
        ANTHROPIC,
    );
    check(
        "Bedrock in an answer that was recorded whole",
        &[(
            "mlflow.spanOutputs",
            r#"{"output":{"message":{"role":"assistant","content":[{"text":"yes"}]}},
            "usage":{"inputTokens":10,"outputTokens":50,"cacheReadInputTokens":100,"cacheWriteInputTokens":20}}"#,
        )],
        ANTHROPIC,
    );
    check(
        "Gemini in an answer that was recorded whole",
        &[(
            "mlflow.spanOutputs",
            r#"{"candidates":[],"usageMetadata":{"promptTokenCount":130,"cachedContentTokenCount":100,
            "candidatesTokenCount":30,"thoughtsTokenCount":20,"totalTokenCount":180}}"#,
        )],
        OPENAI,
    );
    check(
        "Anthropic in an answer that was recorded whole, beside its input alone",
        &[
            ("mlflow.chat.tokenUsage", r#"{"input_tokens":500,"output_tokens":50,"total_tokens":550}"#),
            (
                "mlflow.spanOutputs",
                r#"{"role":"assistant","content":[{"type":"text","text":"yes"}],"usage":{
                "input_tokens":500,"output_tokens":50,"cache_read_input_tokens":100,"cache_creation_input_tokens":null}}"#,
            ),
        ],
        [Some(600), Some(50), Some(100), None, None],
    );
}

#[test]
fn of_several_names_for_one_count_the_largest_holds() {
    for usage in [
        r#"{"choices":[],"usage":{"prompt_tokens":15,"completion_tokens":7,"input_tokens":0,"output_tokens":0}}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0,"input_tokens":15,"output_tokens":7}}"#,
    ] {
        check("a gateway", &[("mlflow.spanOutputs", usage)], [Some(15), Some(7), None, None, None]);
    }
}

#[test]
fn gemini_counts_its_tools_and_its_thoughts_beside() {
    for (usage, expected) in [
        (
            r#"{"candidates":[],"usageMetadata":{"promptTokenCount":500,"toolUsePromptTokenCount":300,
            "candidatesTokenCount":120,"thoughtsTokenCount":10,"totalTokenCount":930}}"#,
            [Some(800), Some(130), None, None, Some(10)],
        ),
        (
            r#"{"candidates":[],"usageMetadata":{"promptTokenCount":40,"thoughtsTokenCount":60,"totalTokenCount":100}}"#,
            [Some(40), Some(60), None, None, Some(60)],
        ),
    ] {
        check("Gemini", &[("mlflow.spanOutputs", usage)], expected);
    }
}

#[test]
fn pain_26_livekit() {
    check(
        "OpenAI",
        &[(
            "lk.llm_metrics",
            r#"{"label":"llm","completion_tokens":50,"prompt_tokens":130,"prompt_cached_tokens":100,
            "total_tokens":180}"#,
        )],
        [Some(130), Some(50), Some(100), None, None],
    );
}

#[test]
fn pain_26_unknown_is_unknown_and_zero_is_zero() {
    check("a stream whose request does not ask for usage", &[], NOTHING);
    check(
        "no numbers",
        &[("gen_ai.usage.input_tokens", "many"), ("langfuse.observation.usage_details", "{}")],
        NOTHING,
    );
    check(
        "zero",
        &[("gen_ai.usage.input_tokens", "0"), ("gen_ai.usage.output_tokens", "0")],
        [Some(0), Some(0), None, None, None],
    );
    check("half of it", &[("ai.usage.tokens", "7")], [Some(7), None, None, None, None]);
    check(
        "what the application states",
        &[("retrace.input_tokens", "10"), ("ai.usage.cachedInputTokens", "100")],
        [Some(10), None, Some(100), None, None],
    );
}

#[test]
fn pain_26_spellings_of_libraries() {
    fn keys(part: &str) -> [(&str, &str); 3] {
        [("gen_ai.usage.input_tokens", "130"), ("gen_ai.usage.output_tokens", "50"), (part, "20")]
    }
    for read in ["input_cache_read_tokens", "input_cached_tokens", "cached_prompt_tokens", "cache_read"] {
        let key = format!("gen_ai.usage.{read}");
        check(read, &keys(&key), [Some(130), Some(50), Some(20), None, None]);
    }
    for written in ["input_cache_write_tokens", "cache_creation"] {
        let key = format!("gen_ai.usage.{written}");
        check(written, &keys(&key), [Some(130), Some(50), None, Some(20), None]);
    }
    for thought in ["output_reasoning_tokens", "thinking_tokens", "thoughts_tokens"] {
        let key = format!("gen_ai.usage.{thought}");
        check(thought, &keys(&key), [Some(130), Some(50), None, None, Some(20)]);
    }
}

#[test]
fn what_a_recording_answers_is_not_spent_again() {
    let priced = |call: TestSpan| call.usage(130, 50).with_value("retrace.cost", Value::Float(0.5));
    let replayed = |call: TestSpan| priced(call).with_value("retrace.replayed", Value::Bool(true));
    let root = agent(1, 0, "planner").usage(260, 100);
    let (trace, spans) = run_of(&[root.clone(), replayed(chat(2, 1)), priced(chat(3, 1))]);
    assert_eq!((trace.total_tokens, trace.total_cost), (Some(180), Some(0.5)), "that of the live call");
    let state = json(trace.metadata.as_ref());
    assert_eq!(state["replayed"], true, "{state}");
    let of = |n: u64| spans.iter().find(|span| span.id.to_otel_span() == Some(id(n))).unwrap();
    let (answered, live) = (of(2), of(3));
    assert_eq!((answered.input_tokens, answered.output_tokens, answered.cost), (None, None, None));
    let state = metadata(answered);
    assert_eq!(
        (&state["replayed"], &state["usage"]["input_tokens"], &state["usage"]["cost"]),
        (&true.into(), &130.into(), &0.5.into())
    );
    assert_eq!((live.input_tokens, live.cost), (Some(130), Some(0.5)));
    assert_eq!(metadata(live).get("replayed"), None);

    // A library that records the same call around it has not spent it either.
    let around = priced(chat(2, 1))
        .with("gen_ai.input.messages", r#"[{"role":"user","parts":[{"type":"text","content":"hi"}]}]"#);
    let (trace, _) = run_of(&[root, around, replayed(chat(3, 2))]);
    assert_eq!((trace.total_tokens, trace.total_cost), (Some(0), Some(0.0)));
    let (trace, _) = run_of(&[priced(chat(1, 0))]);
    assert_eq!(json(trace.metadata.as_ref()).get("replayed"), None);
}

#[test]
fn parts_that_only_the_response_of_the_provider_has_are_read() {
    let response = |input: u32| {
        format!(
            r#"{{"message":{{"role":"model","content":[{{"text":"Yes."}}]}},"usage":{{"inputTokens":110,"outputTokens":21}},"raw":{{"id":"c",
            "usage":{{"prompt_tokens":{input},"completion_tokens":21,"prompt_tokens_details":{{"cached_tokens":64}}}}}}}}"#
        )
    };
    let parts = |input: u32| {
        let call = span(1, 0, "openai/gpt-4o-mini")
            .with("genkit:type", "action")
            .with("genkit:metadata:subtype", "model")
            .with_value("genkit:output", Value::Str(response(input).into()));
        let translated = span_of(&call);
        assert_eq!((translated.input_tokens, translated.output_tokens), (Some(110), Some(21)));
        metadata(&translated)["usage"]["cache_read_tokens"].as_u64()
    };
    assert_eq!((parts(110), parts(90)), (Some(64), None));
}
