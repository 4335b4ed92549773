//! Rebuilt responses: any answer in any format, any stored run, and any request as a conversation.
#![no_main]

use arbitrary::Arbitrary;
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use opentelemetry::{Array, StringValue, Value as Attribute};
use opentelemetry_instrumentation_genai::{Capture, Instrumentation, Request};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use retrace_protocol::Trace;
use retrace_replay::cassette::Outcome;
use retrace_replay::render::{
    Answer, Api, Choice, ChoicePart, Fidelity, MediaSource, ProviderPart, Usage, entries, project, render,
};
use serde_json::{Map, Value, json};

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Answer {
        api: u8,
        streamed: bool,
        choices: Vec<(Vec<Made<'a>>, Option<&'a str>)>,
        usage: [Option<u32>; 5],
        tokens: Vec<(i32, i64)>,
    },
    Run(&'a str),
    Request(&'a str),
    /// An answer in the format of one API, rendered in that of another.
    Rendered {
        from: u8,
        to: u8,
        streamed: bool,
        body: &'a str,
    },
}

#[derive(Arbitrary, Debug)]
enum Made<'a> {
    Text(&'a str),
    Reasoning(&'a str),
    Refusal(&'a str),
    Call { id: Option<&'a str>, name: &'a str, arguments: Option<&'a str> },
    ProvidersCall { id: Option<&'a str>, name: &'a str, call: &'a str },
    ProvidersResult { id: Option<&'a str>, result: &'a str },
    Media { mime_type: Option<&'a str>, is_data: bool, source: &'a str },
}

fuzz_target!(|input: Input<'_>| match input {
    Input::Answer { api, streamed, choices, usage, tokens } => {
        let api = Api::ALL[usize::from(api) % Api::ALL.len()];
        answer(api, streamed, &made(choices, usage, &tokens));
    }
    Input::Run(text) => {
        if let Ok(trace) = serde_json::from_str::<Trace>(text) {
            run(&trace);
        }
    }
    Input::Request(text) => {
        if let Ok(request) = serde_json::from_str::<Value>(text) {
            let once = project(&request);
            assert_eq!(project(&once), once, "a projection of a projection is the same");
        }
    }
    Input::Rendered { from, to, streamed, body } => {
        let [from, to] = [from, to].map(|place| Api::ALL[usize::from(place) % Api::ALL.len()]);
        if let Some(read) = read(from, streamed, body.as_bytes()) {
            answer(to, streamed, &read);
        }
    }
});

/// JSON, or the text itself where it is none.
fn document(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

fn made(choices: Vec<(Vec<Made<'_>>, Option<&str>)>, usage: [Option<u32>; 5], tokens: &[(i32, i64)]) -> Answer {
    let part = |part: Made<'_>| match part {
        Made::Text(text) => ChoicePart::Text(text.to_owned()),
        Made::Reasoning(text) => ChoicePart::Reasoning(text.to_owned()),
        Made::Refusal(text) => ChoicePart::Refusal(text.to_owned()),
        Made::Call { id, name, arguments } => ChoicePart::ToolCall {
            id: id.map(ToOwned::to_owned),
            name: name.to_owned(),
            arguments: arguments.map(document),
        },
        Made::ProvidersCall { id, name, call } => ChoicePart::Provider(ProviderPart::ToolCall {
            id: id.map(ToOwned::to_owned),
            name: name.to_owned(),
            call: document(call),
        }),
        Made::ProvidersResult { id, result } => {
            ChoicePart::Provider(ProviderPart::ToolResult { id: id.map(ToOwned::to_owned), result: document(result) })
        }
        Made::Media { mime_type, is_data, source } => {
            let source = source.to_owned();
            let source = if is_data { MediaSource::Data(source) } else { MediaSource::Uri(source) };
            ChoicePart::Provider(ProviderPart::Media { mime_type: mime_type.map(ToOwned::to_owned), source })
        }
    };
    let choice = |(parts, reason): (Vec<Made<'_>>, Option<&str>)| Choice {
        parts: parts.into_iter().map(part).collect(),
        finish_reason: reason.map(ToOwned::to_owned),
    };
    let [input, output, cache_read, cache_creation, reasoning] = usage.map(|count| count.map(u64::from));
    Answer {
        id: Some("r-1".to_owned()),
        model: Some("m".to_owned()),
        choices: choices.into_iter().map(choice).collect(),
        usage: Usage { input, output, cache_read, cache_creation, reasoning },
        logprobs: tokens.iter().map(|(logprob, _)| f64::from(*logprob)).collect(),
        token_ids: tokens.iter().map(|(_, id)| *id).collect(),
        ..Answer::default()
    }
}

/// What is read of a rendering renders as what is read as the same, where it renders at all.
fn answer(api: Api, streamed: bool, answer: &Answer) {
    let Ok(rendered) = render(api, answer, streamed) else { return };
    let Some(read) = read(api, streamed, &rendered.response.body()) else { return };
    let Ok(again) = render(api, &read, streamed) else { return };
    if let Some(reread) = self::read(api, streamed, &again.response.body()) {
        assert_eq!(texts(&reread), texts(&read), "{api}, streamed: {streamed}");
    }
}

/// Texts and calls, without how they are divided into parts.
fn texts(answer: &Answer) -> Vec<String> {
    let text = |choice: &Choice| {
        let mut all = [String::new(), String::new(), String::new(), String::new()];
        for part in &choice.parts {
            match part {
                ChoicePart::Text(text) => all[0] += text,
                ChoicePart::Reasoning(text) => all[1] += text,
                ChoicePart::Refusal(text) => all[2] += text,
                ChoicePart::ToolCall { name, arguments, .. } => all[3] += &format!("{name}({arguments:?})"),
                ChoicePart::Provider(part) => all[3] += &format!("{part:?}"),
            }
        }
        all
    };
    answer.choices.iter().flat_map(text).collect()
}

fn read(api: Api, streamed: bool, body: &[u8]) -> Option<Answer> {
    let spans = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
    let genai = Instrumentation::builder().with_tracer_provider(&provider).with_capture(Capture::SpanOnly).build();
    let request = json!({ "model": "m", "max_tokens": 9, "stream": streamed, "messages": [], "contents": [], "input": ["a"], "texts": ["a"] });
    let request = request.to_string();
    let url = format!("http://localhost{}", api.path("m", streamed));
    let mut call = genai.start(&Request { method: "POST", url: &url, body: Some(request.as_bytes()) })?;
    call.response(200, &HeaderMap::new());
    call.chunk(body);
    call.end();
    let span = spans.get_finished_spans().expect("the exporter is there").pop()?;
    let attributes: Map<String, Value> =
        span.attributes.iter().filter_map(|pair| Some((pair.key.to_string(), value(&pair.value)?))).collect();
    Answer::from_attributes(&attributes).ok()
}

fn value(attribute: &Attribute) -> Option<Value> {
    Some(match attribute {
        Attribute::Bool(value) => json!(value),
        Attribute::I64(value) => json!(value),
        Attribute::F64(value) => json!(value),
        Attribute::String(value) => json!(value.as_str()),
        Attribute::Array(Array::I64(list)) => json!(list),
        Attribute::Array(Array::F64(list)) => json!(list),
        Attribute::Array(Array::String(list)) => list.iter().map(StringValue::as_str).collect(),
        _ => return None,
    })
}

/// An entry has an outcome, or a reason why it has none.
fn run(trace: &Trace) {
    for (place, stored) in entries(trace).into_iter().enumerate() {
        assert_eq!(stored.entry.ordinal, place as u64);
        let refused = matches!(stored.entry.outcome, Outcome::NotReplayable(_));
        assert_eq!(refused, matches!(stored.fidelity, Fidelity::NotReplayable(_)));
        assert!(!matches!(stored.entry.outcome, Outcome::Mark));
    }
}
