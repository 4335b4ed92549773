//! What is rendered is read as what it was rendered from, by the parsers of the instrumentation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use http::{HeaderMap, HeaderName};
use opentelemetry::{Array, Value as Attribute};
use opentelemetry_instrumentation_genai::{Capture, Instrumentation, Request};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use proptest::prelude::*;
use retrace_replay::Response;
use retrace_replay::render::{
    Answer, Api, Choice, ChoicePart, Failure, MediaSource, ProviderPart, Usage, render, render_failure,
};
use serde_json::{Map, Value, json};

/// Text generation, whose answers are a text.
const TEXTS: [Api; 4] =
    [Api::OpenAiCompletions, Api::OllamaGenerate, Api::HuggingFaceTextGeneration, Api::WatsonxTextGeneration];

/// APIs of chats and of text generation. Answers of `BedrockInvoke` have the format of the family of the model, and tests of
/// their own.
fn chats() -> Vec<Api> {
    const OTHERS: [Api; 6] = [
        Api::OpenAiEmbeddings,
        Api::GeminiEmbedContent,
        Api::CohereEmbed,
        Api::OllamaEmbed,
        Api::VertexPredict,
        Api::BedrockInvoke,
    ];
    Api::ALL.into_iter().filter(|api| !OTHERS.contains(api)).collect()
}

/// The URL and the body of a call of this API.
fn call(api: Api, streamed: bool) -> (String, Value) {
    let host = match api {
        Api::OpenAiChat | Api::OpenAiResponses | Api::OpenAiEmbeddings | Api::OpenAiCompletions => {
            "https://api.openai.com"
        }
        Api::AnthropicMessages => "https://api.anthropic.com",
        Api::GeminiGenerateContent | Api::GeminiInteractions | Api::GeminiEmbedContent => {
            "https://generativelanguage.googleapis.com"
        }
        Api::CohereV2Chat | Api::CohereV1Chat | Api::CohereEmbed => "https://api.cohere.com",
        Api::OllamaChat | Api::OllamaGenerate | Api::OllamaEmbed => "http://localhost:11434",
        Api::HuggingFaceTextGeneration => "https://abc.endpoints.huggingface.cloud",
        Api::WatsonxTextGeneration => "https://us-south.ml.cloud.ibm.com",
        Api::VertexPredict => "https://us-central1-aiplatform.googleapis.com",
        _ => "https://bedrock-runtime.us-east-1.amazonaws.com",
    };
    let user = json!([{ "role": "user", "content": "When?" }]);
    let body = match api {
        Api::OpenAiCompletions | Api::OllamaGenerate => json!({ "model": "m", "prompt": "When?", "stream": streamed }),
        Api::HuggingFaceTextGeneration => json!({ "inputs": "When?" }),
        Api::WatsonxTextGeneration => json!({ "model_id": "m", "input": "When?" }),
        Api::VertexPredict => json!({ "instances": [{ "content": "When?" }] }),
        Api::CohereV1Chat => json!({ "message": "When?", "stream": streamed }),
        Api::BedrockInvoke => json!({ "prompt": "When?" }),
        Api::OpenAiResponses | Api::GeminiInteractions => {
            json!({ "model": "m", "input": "When?", "stream": streamed })
        }
        Api::GeminiGenerateContent => json!({ "contents": [{ "role": "user", "parts": [{ "text": "When?" }] }] }),
        Api::BedrockConverse => json!({ "messages": [{ "role": "user", "content": [{ "text": "When?" }] }] }),
        Api::GeminiEmbedContent => json!({ "content": { "parts": [{ "text": "When?" }] } }),
        Api::OpenAiEmbeddings | Api::OllamaEmbed => json!({ "model": "m", "input": ["When?"] }),
        Api::CohereEmbed => json!({ "model": "m", "texts": ["When?"] }),
        _ => json!({ "model": "m", "max_tokens": 9, "messages": user, "stream": streamed }),
    };
    (format!("{host}{}", api.path("m", streamed)), body)
}

/// The attributes of the span of a call that is answered like this, its body cut into pieces of this length.
fn parse(api: Api, streamed: bool, response: &Response, piece: usize) -> Map<String, Value> {
    let spans = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
    let genai = Instrumentation::builder().with_tracer_provider(&provider).with_capture(Capture::SpanOnly).build();
    let (url, body) = call(api, streamed);
    let body = body.to_string();
    let mut call = genai
        .start(&Request { method: "POST", url: &url, body: Some(body.as_bytes()) })
        .unwrap_or_else(|| panic!("{api}: {url} is no model call with this body: {body}"));
    let headers: HeaderMap = response
        .headers
        .iter()
        .map(|(name, value)| (HeaderName::try_from(name).unwrap(), value.parse().unwrap()))
        .collect();
    call.response(response.status, &headers);
    response.body().chunks(piece).for_each(|piece| call.chunk(piece));
    call.end();
    let span = spans.get_finished_spans().unwrap().remove(0);
    let attributes = span.attributes.iter().map(|attribute| {
        let value = match &attribute.value {
            Attribute::Bool(value) => json!(value),
            Attribute::I64(value) => json!(value),
            Attribute::F64(value) => json!(value),
            Attribute::String(value) => json!(value.as_str()),
            Attribute::Array(Array::I64(list)) => json!(list),
            Attribute::Array(Array::F64(list)) => json!(list),
            Attribute::Array(Array::String(list)) => list.iter().map(opentelemetry::StringValue::as_str).collect(),
            other => panic!("{other:?}"),
        };
        (attribute.key.to_string(), value)
    });
    attributes.collect()
}

/// The reasons that an API states.
fn reasons(api: Api) -> &'static [&'static str] {
    match api {
        Api::OpenAiChat => &["stop", "length", "tool_calls", "content_filter"],
        Api::OpenAiResponses => &["completed", "max_output_tokens", "cancelled"],
        Api::GeminiInteractions => &["completed", "requires_action", "incomplete"],
        Api::AnthropicMessages | Api::BedrockConverse => &["end_turn", "max_tokens", "tool_use"],
        Api::GeminiGenerateContent => &["STOP", "MAX_TOKENS", "SAFETY"],
        Api::CohereV2Chat | Api::CohereV1Chat => &["COMPLETE", "MAX_TOKENS", "TOOL_CALL"],
        Api::WatsonxTextGeneration => &["eos_token", "max_tokens"],
        _ => &["stop", "length"],
    }
}

fn words() -> impl Strategy<Value = String> {
    // A text that is blank or begins a thought is read as something else.
    "[a-zäß漢🦀 \"\\\\\n{}:]{0,120}".prop_map(|text| format!("w{text}"))
}

fn object() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        words().prop_map(Value::from)
    ];
    let value = leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{1,6}", inner, 0..3).prop_map(|map| map.into_iter().collect())
        ]
    });
    prop::collection::hash_map("[a-z]{1,6}", value, 0..4).prop_map(|map| map.into_iter().collect::<Value>())
}

fn tool_call(number: usize, with_id: bool) -> impl Strategy<Value = ChoicePart> {
    ("[a-z_]{1,12}", object()).prop_map(move |(name, arguments)| ChoicePart::ToolCall {
        id: with_id.then(|| format!("call_{number}")),
        name,
        arguments: Some(arguments),
    })
}

/// What an API can say in one choice: reasoning, a text, a refusal where there are some, and calls.
fn choice(api: Api) -> impl Strategy<Value = Choice> {
    let refuses = matches!(api, Api::OpenAiChat | Api::OpenAiResponses);
    let (is_text, has_ids) = (TEXTS.contains(&api), api != Api::CohereV1Chat);
    let reasons_too = !(is_text && api != Api::OllamaGenerate) && api != Api::CohereV1Chat;
    let most_calls = if is_text { 1 } else { 3_usize };
    let calls = (tool_call(0, has_ids), tool_call(1, has_ids), 0..most_calls).prop_map(|(one, two, count)| {
        let mut calls = vec![one, two];
        calls.truncate(count);
        calls
    });
    let reasoning =
        prop::option::of(words().prop_map(ChoicePart::Reasoning)).prop_map(move |part| part.filter(|_| reasons_too));
    let text = prop::option::of(words().prop_map(ChoicePart::Text));
    let refusal =
        prop::option::of(words().prop_map(ChoicePart::Refusal)).prop_map(move |part| part.filter(|_| refuses));
    (reasoning, text, refusal, calls, prop::sample::select(reasons(api))).prop_map(
        |(reasoning, text, refusal, calls, reason)| Choice {
            parts: reasoning.into_iter().chain(text).chain(refusal).chain(calls).collect(),
            finish_reason: Some(reason.to_owned()),
        },
    )
}

/// Counts that an API states.
fn usage(api: Api) -> impl Strategy<Value = Usage> {
    let count = || 0..1_000_000_u64;
    (count(), count(), prop::option::of(0..1000_u64), prop::option::of(0..1000_u64), prop::option::of(0..1000_u64))
        .prop_map(move |(input, output, read, created, reasoning)| {
            let has_cache = !matches!(
                api,
                Api::OllamaChat | Api::OllamaGenerate | Api::HuggingFaceTextGeneration | Api::WatsonxTextGeneration
            );
            let input = input + u64::from(api == Api::WatsonxTextGeneration);
            let creates = matches!(
                api,
                Api::OpenAiChat
                    | Api::OpenAiCompletions
                    | Api::OpenAiResponses
                    | Api::AnthropicMessages
                    | Api::BedrockConverse
            );
            let reasons = matches!(
                api,
                Api::OpenAiChat
                    | Api::OpenAiCompletions
                    | Api::OpenAiResponses
                    | Api::GeminiGenerateContent
                    | Api::GeminiInteractions
            );
            let (cache_read, cache_creation) = (read.filter(|_| has_cache), created.filter(|_| creates));
            let reasoning = reasoning.filter(|_| reasons);
            let input = input + cache_read.unwrap_or(0) + cache_creation.unwrap_or(0);
            let output = output + reasoning.unwrap_or(0);
            Usage { input: Some(input), output: Some(output), cache_read, cache_creation, reasoning }
        })
}

fn answers(api: Api) -> impl Strategy<Value = Answer> {
    let choices = if matches!(api, Api::OpenAiChat | Api::OpenAiCompletions | Api::GeminiGenerateContent) {
        1..3
    } else {
        1..2_usize
    };
    let is_openai = matches!(api, Api::OpenAiChat | Api::OpenAiCompletions | Api::OpenAiResponses);
    let has_tokens = matches!(api, Api::OpenAiChat | Api::OllamaChat | Api::CohereV2Chat) || TEXTS.contains(&api);
    let has_token_ids = has_tokens && api != Api::WatsonxTextGeneration;
    let tokens = prop::collection::vec((-9.5..0.0_f64, 0..100_000_i64), 0..4);
    let has_id =
        !matches!(api, Api::OllamaChat | Api::OllamaGenerate | Api::HuggingFaceTextGeneration | Api::BedrockConverse);
    let has_model =
        !matches!(api, Api::CohereV2Chat | Api::CohereV1Chat | Api::HuggingFaceTextGeneration | Api::BedrockConverse);
    (prop::collection::vec(choice(api), choices), usage(api), tokens, any::<bool>()).prop_map(
        move |(choices, usage, tokens, openai)| {
            let (logprobs, token_ids): (Vec<f64>, Vec<i64>) = tokens.into_iter().filter(|_| has_tokens).unzip();
            let token_ids = if has_token_ids { token_ids } else { Vec::new() };
            Answer {
                id: has_id.then(|| "r-1".to_owned()),
                model: has_model.then(|| "m-2026".to_owned()),
                choices,
                usage,
                service_tier: (openai && is_openai).then(|| "default".to_owned()),
                system_fingerprint: (openai && is_openai).then(|| "fp_1".to_owned()),
                conversation_id: (openai && api == Api::OpenAiResponses).then(|| "conv_1".to_owned()),
                logprobs,
                token_ids,
                ..Answer::default()
            }
        },
    )
}

fn any_answer() -> impl Strategy<Value = (Api, Answer)> {
    prop::sample::select(chats()).prop_flat_map(|api| (Just(api), answers(api)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_rendered_is_read_as_the_same((api, answer) in any_answer(), streamed: bool, piece in 1..200_usize) {
        let rendered = render(api, &answer, streamed).unwrap();
        let attributes = parse(api, streamed, &rendered.response, piece);
        let read = Answer::from_attributes(&attributes).unwrap();
        prop_assert_eq!(&read, &answer, "{}", String::from_utf8_lossy(&rendered.response.body()));
        prop_assert!(!attributes.contains_key("error.type"));
    }
}

fn text(parts: Vec<ChoicePart>) -> Answer {
    let choice = Choice { parts, finish_reason: Some("stop".to_owned()) };
    Answer { model: Some("m".to_owned()), choices: vec![choice], ..Answer::default() }
}

#[test]
fn arguments_that_are_no_json_come_back_as_the_text_that_they_are() {
    for arguments in [json!("{\"half\":"), json!("\"quoted\""), json!("1"), json!([1, 2]), json!({})] {
        let call = ChoicePart::ToolCall { id: Some("c1".into()), name: "f".into(), arguments: Some(arguments) };
        let answer = text(vec![call]);
        for streamed in [false, true] {
            let rendered = render(Api::OpenAiChat, &answer, streamed).unwrap();
            let read = Answer::from_attributes(&parse(Api::OpenAiChat, streamed, &rendered.response, 7)).unwrap();
            assert_eq!(read.choices, answer.choices, "streamed: {streamed}");
        }
    }
    let silent = text(vec![ChoicePart::ToolCall { id: Some("c1".into()), name: "f".into(), arguments: None }]);
    let rendered = render(Api::OpenAiChat, &silent, true).unwrap();
    assert_eq!(
        Answer::from_attributes(&parse(Api::OpenAiChat, true, &rendered.response, 7)).unwrap().choices,
        silent.choices
    );
}

#[test]
fn mistral_has_its_reasoning_among_the_contents() {
    let parts = vec![ChoicePart::Reasoning("Hm, tides.".into()), ChoicePart::Text("At six.".into())];
    let answer = Answer { reasoning_in_content: true, ..text(parts) };
    for streamed in [false, true] {
        let rendered = render(Api::OpenAiChat, &answer, streamed).unwrap();
        assert!(String::from_utf8(rendered.response.body()).unwrap().contains(r#""type":"thinking""#));
        let read = Answer::from_attributes(&parse(Api::OpenAiChat, streamed, &rendered.response, 7)).unwrap();
        assert_eq!(read.choices, answer.choices);
    }
}

#[test]
fn what_a_format_cannot_hold_is_refused_with_the_reason() {
    let two = |one: &str, two: &str| text(vec![ChoicePart::Text(one.into()), ChoicePart::Text(two.into())]);
    let refused = |api, answer: &Answer| render(api, answer, false).unwrap_err().to_string();
    assert!(refused(Api::OpenAiChat, &two("a", "b")).contains("several texts of one kind"));
    assert!(refused(Api::OllamaChat, &two("a", "b")).contains("several texts of one kind"));
    assert!(refused(Api::AnthropicMessages, &text(vec![ChoicePart::Refusal("no".into())])).contains("refusal"));
    let call = |arguments| text(vec![ChoicePart::ToolCall { id: None, name: "f".into(), arguments }]);
    assert!(refused(Api::AnthropicMessages, &call(None)).contains("the arguments of the call of `f` are not recorded"));
    assert!(refused(Api::BedrockConverse, &call(None)).contains("are not recorded"));
    assert!(refused(Api::GeminiGenerateContent, &call(Some(json!("x")))).contains("are no object"));
    for api in Api::ALL {
        assert!(render(api, &Answer::default(), false).is_err(), "{api}");
    }
    let several = Answer { choices: vec![Choice::default(), Choice::default()], ..Answer::default() };
    assert!(refused(Api::AnthropicMessages, &several).contains("several choices"));
    assert!(refused(Api::OpenAiEmbeddings, &text(vec![])).contains("the vectors are not recorded"));
}

/// Parts in the form of a provider, as its API answers with them.
fn provider_parts() -> Vec<(Api, bool, Vec<ProviderPart>)> {
    let call = |id: Option<&str>, name: &str, call: Value| ProviderPart::ToolCall {
        id: id.map(Into::into),
        name: name.into(),
        call,
    };
    let result = |id: Option<&str>, result: Value| ProviderPart::ToolResult { id: id.map(Into::into), result };
    let media = |source| ProviderPart::Media { mime_type: Some("image/png".into()), source };
    let picture = || media(MediaSource::Data("iVBORw0KGgo=".into()));
    let found = json!([{ "type": "web_search_result", "url": "https://example.com/", "title": "Tides" }]);
    let use_of = |kind: &str| json!({ "type": kind, "id": "s1", "name": "web_search", "input": { "query": "tides" } });
    let of_anthropic = vec![
        call(Some("s1"), "web_search", use_of("server_tool_use")),
        result(Some("s1"), json!({ "type": "web_search_tool_result", "tool_use_id": "s1", "content": found })),
    ];
    let code = json!({ "language": "PYTHON", "code": "print(1)", "type": "code_execution" });
    let of_gemini = vec![
        call(None, "code_execution", code),
        result(None, json!({ "outcome": "OUTCOME_OK", "output": "1", "type": "result" })),
        call(Some("t1"), "GOOGLE_SEARCH", json!({ "id": "t1", "toolType": "GOOGLE_SEARCH", "type": "GOOGLE_SEARCH" })),
        result(Some("t1"), json!({ "id": "t1", "found": 3, "type": "result" })),
        picture(),
        media(MediaSource::Uri("https://example.com/a.png".into())),
    ];
    let searched =
        json!({ "type": "web_search_call", "id": "ws_1", "status": "completed", "action": { "query": "a" } });
    let of_responses = vec![call(Some("ws_1"), "web_search", searched), picture()];
    let step = json!({ "type": "google_search_call", "id": "g1", "arguments": { "queries": ["tides"] } });
    let answered = json!({ "type": "google_search_result", "call_id": "g1", "result": [] });
    let of_interactions = vec![call(Some("g1"), "google_search", step), result(Some("g1"), answered), picture()];
    let used = json!({ "toolUseId": "b1", "name": "nova_grounding", "type": "server_tool_use", "input": { "q": 1 } });
    let grounded = json!({ "toolUseId": "b1", "type": "nova_grounding_result", "content": [{ "text": "six" }] });
    let of_bedrock = vec![call(Some("b1"), "nova_grounding", used)];
    let of_bedrock_whole = vec![of_bedrock[0].clone(), result(Some("b1"), grounded)];
    let both = |api, parts: Vec<ProviderPart>| [(api, false, parts.clone()), (api, true, parts)];
    let mut all = Vec::new();
    all.extend(both(Api::AnthropicMessages, of_anthropic));
    all.extend(both(Api::GeminiGenerateContent, of_gemini));
    all.extend(both(Api::OpenAiResponses, of_responses));
    all.extend(both(Api::GeminiInteractions, of_interactions));
    all.push((Api::BedrockConverse, false, of_bedrock_whole));
    all.push((Api::BedrockConverse, true, of_bedrock));
    all
}

#[test]
fn tools_of_providers_and_media_come_back() {
    for (api, streamed, provided) in provider_parts() {
        let mut parts: Vec<ChoicePart> = provided.into_iter().map(ChoicePart::Provider).collect();
        parts.push(ChoicePart::Text("High tide at six.".into()));
        let choice = Choice { parts, finish_reason: Some(reasons(api)[0].to_owned()) };
        let answer = Answer { choices: vec![choice], ..Answer::default() };
        let rendered = render(api, &answer, streamed).unwrap();
        let read = Answer::from_attributes(&parse(api, streamed, &rendered.response, 13)).unwrap();
        let body = rendered.response.body();
        assert_eq!(read.choices, answer.choices, "{api}, streamed: {streamed}: {}", String::from_utf8_lossy(&body));
    }
}

#[test]
fn an_api_without_tools_of_its_own_refuses_them_with_the_reason() {
    let (_, _, parts) = provider_parts().remove(0);
    for api in chats() {
        let answer = text(vec![ChoicePart::Provider(parts[0].clone())]);
        let has_them = matches!(api, Api::AnthropicMessages | Api::GeminiGenerateContent | Api::BedrockConverse);
        match render(api, &answer, false) {
            Ok(_) => assert!(has_them, "{api}"),
            Err(reason) => assert!(!has_them && reason.to_string().contains("the provider ran"), "{api}: {reason}"),
        }
    }
    let left_out = json!([{ "role": "assistant", "parts": [{ "type": "blob", "modality": "image", "content": "" }] }]);
    let attributes = json!({ "gen_ai.output.messages": left_out.to_string() });
    let refused = Answer::from_attributes(attributes.as_object().unwrap()).unwrap_err().to_string();
    assert!(refused.contains("media were left out"), "{refused}");
}

#[test]
fn vectors_come_back_with_their_length_and_counts() {
    for api in [Api::OpenAiEmbeddings, Api::GeminiEmbedContent, Api::CohereEmbed, Api::OllamaEmbed, Api::VertexPredict]
    {
        for embeddings in [vec![vec![0.5, -1.25]], vec![vec![0.5, -1.25], vec![2.0, 3.0]]] {
            let usage = Usage { input: Some(7), ..Usage::default() };
            let answer =
                Answer { id: Some("e-1".into()), model: Some("m".into()), embeddings, usage, ..Answer::default() };
            let rendered = render(api, &answer, false).unwrap();
            let attributes = parse(api, false, &rendered.response, 5);
            assert_eq!(attributes["gen_ai.embeddings.dimension.count"], 2, "{api}");
            let counted = if api == Api::GeminiEmbedContent { Value::Null } else { json!(7) };
            assert_eq!(*attributes.get("gen_ai.usage.input_tokens").unwrap_or(&Value::Null), counted, "{api}");
        }
    }
}

#[test]
fn vectors_of_bedrock_have_the_format_of_their_family() {
    let models =
        ["amazon.titan-embed-text-v2:0", "amazon.nova-2-multimodal-embeddings-v1:0", "cohere.embed-english-v3"];
    for model in models {
        let usage = Usage { input: Some(7), ..Usage::default() };
        let embeddings = vec![vec![0.5, -1.25]];
        let answer =
            Answer { id: Some("e-1".into()), model: Some(model.into()), embeddings, usage, ..Answer::default() };
        let rendered = render(Api::BedrockInvoke, &answer, false).unwrap();
        let attributes = parse(Api::BedrockInvoke, false, &rendered.response, 5);
        assert_eq!(attributes["gen_ai.embeddings.dimension.count"], 2, "{model}");
    }
    let answer = Answer { model: Some("house.own-1".into()), embeddings: vec![vec![0.5]], ..Answer::default() };
    assert!(render(Api::BedrockInvoke, &answer, false).unwrap_err().to_string().contains("house.own-1"));
}

#[test]
fn failures_have_the_shape_of_their_provider() {
    for api in Api::ALL {
        let failure = Failure { status: 429, kind: "rate_limited".into(), message: "Slow down.".into() };
        let rendered = render_failure(api, &failure);
        let attributes = parse(api, false, &rendered.response, 9);
        // Ollama and Cohere name no type.
        let named = match api {
            Api::OllamaChat | Api::OllamaGenerate | Api::OllamaEmbed => "429",
            Api::CohereV2Chat | Api::CohereV1Chat | Api::CohereEmbed => "429",
            _ => "rate_limited",
        };
        assert_eq!((&attributes["error.type"], rendered.response.status), (&json!(named), 429), "{api}");
        assert!(String::from_utf8(rendered.response.body()).unwrap().contains("Slow down."));
    }
}

#[test]
fn what_two_spellings_say_is_written_in_the_providers_own() {
    let body = |api, answer: &Answer| -> Value {
        serde_json::from_slice(&render(api, answer, false).unwrap().response.body()).unwrap()
    };
    let usage =
        Usage { input: Some(10), output: Some(2), cache_read: Some(4), cache_creation: Some(1), reasoning: None };
    let counted = body(Api::BedrockConverse, &Answer { usage, ..text(vec![]) });
    assert_eq!(counted["usage"]["inputTokens"], 5, "what a cache held stands beside it");

    let thought = ChoicePart::Reasoning("Hm.".into());
    let call = ChoicePart::ToolCall { id: Some("c1".into()), name: "f".into(), arguments: Some(json!({})) };
    let alone = body(Api::CohereV2Chat, &text(vec![thought.clone()]));
    assert_eq!(
        (&alone["message"]["content"][0]["type"], alone["message"].get("tool_plan")),
        (&json!("thinking"), None)
    );
    let planned = body(Api::CohereV2Chat, &text(vec![thought, call]));
    assert_eq!((&planned["message"]["tool_plan"], planned["message"].get("content")), (&json!("Hm."), None));
}

/// Models of Bedrock by family, the parts of their answers, and whether an answer names its model, has an id and counts a cache.
fn invoked() -> Vec<(&'static str, Vec<ChoicePart>, bool, bool, bool)> {
    let text = ChoicePart::Text("High tide at six, then another one at half past eighteen: \u{1f30a}.".into());
    let call = |id: Option<&str>| ChoicePart::ToolCall {
        id: id.map(Into::into),
        name: "tide".into(),
        arguments: Some(json!({ "harbour": "Bergen" })),
    };
    let rich = vec![ChoicePart::Reasoning("Hm.".into()), text.clone(), call(Some("c1"))];
    vec![
        ("anthropic.claude-sonnet-4", rich.clone(), true, true, true),
        ("us.amazon.nova-lite-v1:0", rich.clone(), false, false, true),
        ("openai.gpt-oss-20b-1:0", rich, true, true, true),
        ("meta.llama3-8b-instruct-v1:0", vec![text.clone()], false, false, false),
        ("amazon.titan-text-express-v1", vec![text.clone()], false, false, false),
        ("mistral.mistral-7b-instruct-v0:2", vec![text.clone()], false, false, false),
        ("cohere.command-r-v1:0", vec![text, call(None)], false, true, false),
    ]
}

#[test]
fn invoked_models_of_bedrock_answer_in_the_format_of_their_family() {
    for (model, parts, has_model, has_id, has_cache) in invoked() {
        let usage = Usage { input: Some(30), output: Some(5), cache_read: has_cache.then_some(4), ..Usage::default() };
        let choice = Choice { parts, finish_reason: Some("stop".into()) };
        let answer = Answer {
            id: has_id.then(|| "r-1".into()),
            model: Some(model.into()),
            choices: vec![choice],
            usage,
            ..Answer::default()
        };
        for streamed in [false, true] {
            let rendered = render(Api::BedrockInvoke, &answer, streamed).unwrap();
            let read = Answer::from_attributes(&parse(Api::BedrockInvoke, streamed, &rendered.response, 11)).unwrap();
            let expected = Answer { model: answer.model.clone().filter(|_| has_model), ..answer.clone() };
            assert_eq!(read, expected, "{model}, streamed: {streamed}");
        }
    }
    let unknown = Answer { model: Some("house.own-1".into()), ..text(vec![ChoicePart::Text("a".into())]) };
    let refused = render(Api::BedrockInvoke, &unknown, false).unwrap_err().to_string();
    assert!(refused.contains("house.own-1"), "{refused}");
}
