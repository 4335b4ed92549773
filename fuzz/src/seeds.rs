//! Writes the seeds of the targets: what real clients sent, cut into what each target reads.
//!
//! It is linked like a target, since what shares their build is instrumented; it ends before the first input.
//!
//! Beside them `KIND.dict` lists the words that a target is to try: the names of
//! members and short texts, where they occur several times.
#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use fuzz::{CONTENT_TYPES, Exchange};
use libfuzzer_sys::fuzz_target;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use retrace_replay::render::{Answer, Api, Choice, ChoicePart, render};
use serde_json::Value;

/// Longer seeds slow a target down more than they teach it.
const LONGEST: usize = 8 * 1024;

/// How often a word occurs that belongs in a dictionary.
const COMMON: usize = 3;

/// Words, and how often each occurs.
type Words = BTreeMap<String, usize>;

/// A golden file of the official SDK.
const GOLDEN: &str = r#"{"version":1,"name":"trace","trace_id":"5b47","recorded_at":"2026-11-22T11:06:08.297418Z","status":"completed",
"steps":[{"index":0,"span_type":"llm_call","name":"call-model","model":null,"input":null,"output":{"a":1},"error":null}],
"tolerance":{"default":"exact","steps":{"call-model":"semantic"}}}"#;

fuzz_target!(
    init: write(),
    |_data: &[u8]| {}
);

/// Ends the process.
fn write() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seeds = Seeds { folder: here.join("seeds"), written: 0 };
    let _ = fs::remove_dir_all(&seeds.folder);
    let mut otlp_words: Words = fuzz::keys().into_iter().map(|key| (key.to_owned(), COMMON)).collect();
    for file in files(&here.join("../integration-tests/corpus"), "otlp.json") {
        let json = fs::read_to_string(file).expect("the corpus can be read");
        otlp(&mut seeds, &json);
        words_of(&serde_json::from_str(&json).expect("the corpus is JSON"), &mut otlp_words);
    }
    for file in files(&here.join("../crates/retrace-protocol/tests/captures"), "jsonl") {
        for line in fs::read_to_string(file).expect("the captures can be read").lines() {
            let line: Value = serde_json::from_str(line).expect("a capture is JSON");
            for part in ["frame", "body"] {
                if let Some(part) = line.get(part).filter(|part| part.is_object()) {
                    seeds.add("wire", part.to_string().as_bytes());
                }
            }
        }
    }
    let vectors = here.join("../crates/opentelemetry-retrace/tests/traceparent-vectors.json");
    let vectors: Value = serde_json::from_str(&fs::read_to_string(vectors).expect("the vectors can be read"))
        .expect("the vectors are JSON");
    for vector in vectors["parse"].as_array().into_iter().flatten() {
        let header = vector["header"].as_str().unwrap_or_default();
        seeds.add("trace_context", header.as_bytes());
        let list = "\nretrace=s:b7ad6b7169203331;i:a,vendor@tenant=x;y , ,rojo=00f067aa0ba902b7\ncongo=t61rcWkgMzE,ot=th:c;rv:1";
        seeds.add("trace_context", [header, list].concat().as_bytes());
    }
    for folder in ["../crates/retrace-sdk/tests/golden", "../examples/golden-test/golden"] {
        for file in files(&here.join(folder), "jsonl") {
            seeds.add("cassette", &fs::read(file).expect("the cassettes can be read"));
        }
    }
    seeds.add("cassette", GOLDEN.as_bytes());
    for file in files(&here.join("../integration-tests/golden"), ".json") {
        let runs: Value = serde_json::from_slice(&fs::read(file).expect("the golden files can be read"))
            .expect("the golden files are JSON");
        for run in runs.as_array().into_iter().flatten().filter(|run| run["spans"].is_array()) {
            seeds.add("render", &[RUN, run.to_string().as_bytes()].concat());
            seeds.add("wire", run.to_string().as_bytes());
        }
    }
    let mut words = Words::new();
    for file in files(&here.join("../crates/opentelemetry-instrumentation-genai/tests/provider_forms"), ".json") {
        let forms: Vec<Value> =
            serde_json::from_slice(&fs::read(file).expect("the forms can be read")).expect("the forms are JSON");
        for form in &forms {
            exchange(&mut seeds, form);
            words_of(form, &mut words);
        }
    }
    binary_streams(&mut seeds);
    seeds.dictionary("providers", &words);
    seeds.dictionary("otlp", &otlp_words);
    println!("{} seeds in {}", seeds.written, seeds.folder.display());
    std::process::exit(0)
}

fn otlp(seeds: &mut Seeds, json: &str) {
    seeds.add("otlp", json.as_bytes());
    // The JSON reader of opentelemetry-proto refuses some of what exporters write, such as a list of no values.
    let protobuf = if json.contains("\"resourceLogs\"") {
        serde_json::from_str::<ExportLogsServiceRequest>(json).map(|request| request.encode_to_vec())
    } else {
        serde_json::from_str::<ExportTraceServiceRequest>(json).map(|request| request.encode_to_vec())
    };
    if let Ok(protobuf) = protobuf {
        seeds.add("otlp", &protobuf);
    }
    // Every text under the place of its key, as a text and as JSON.
    let keys = fuzz::keys();
    each_attribute(&serde_json::from_str(json).expect("the corpus is JSON"), &mut |key, text| {
        if let Some(place) = keys.iter().position(|each| *each == key) {
            let [high, low] = u16::try_from(place).expect("there are fewer keys").to_be_bytes();
            for kind in [0, 1] {
                seeds.add("messages", &[&[high, low, kind], text.as_bytes()].concat());
            }
        }
    });
}

/// A form of a provider's documentation, for `model_calls` and for the answers and requests of `render`.
fn exchange(seeds: &mut Seeds, form: &Value) {
    let url = form["url"].as_str().expect("a form has a URL");
    let request = form["request"].to_string();
    let (answer, content_type) = match (form["events"].as_array(), form["text"].as_str()) {
        (Some(events), _) => {
            let data = |event: &Value| event.as_str().map_or_else(|| event.to_string(), ToOwned::to_owned);
            (events.iter().map(|event| format!("data: {}\n\n", data(event))).collect(), 1)
        }
        (None, Some(text)) => (text.to_owned(), if text.starts_with('{') { 2 } else { 1 }),
        (None, None) => (form["response"].to_string(), 0),
    };
    let status = form["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(200);
    let exchange = Exchange {
        status,
        content_type,
        ends: true,
        cuts: u8::try_from(seeds.written % 256).expect("it is less"),
        url,
        request: request.as_bytes(),
        answer: answer.as_bytes(),
    };
    seeds.add("model_calls", &exchange.write());
    seeds.add("render", &[REQUEST, request.as_bytes()].concat());
    let path = url.split_once("://").map_or(url, |(_, rest)| rest.find('/').map_or("", |start| &rest[start..]));
    let path = path.split('?').next().unwrap_or_default();
    if let Some(place) = Api::of_path(path).and_then(|api| Api::ALL.iter().position(|each| *each == api)) {
        let place = u8::try_from(place).expect("there are few APIs");
        let head = [place, place, u8::from(content_type != 0)];
        seeds.add("render", &[RENDERED, &head, answer.as_bytes()].concat());
    }
}

/// What `render` selects a variant of its input by: four bytes, the share of their range that is before the variant.
const RUN: &[u8] = &[0, 0, 0, 0x60];
const REQUEST: &[u8] = &[0, 0, 0, 0xa0];
const RENDERED: &[u8] = &[0, 0, 0, 0xe0];

/// The streams of Bedrock, which are binary: each frame has its length and its checksums.
fn binary_streams(seeds: &mut Seeds) {
    let call = ChoicePart::ToolCall { id: None, name: "f".into(), arguments: Some(serde_json::json!({ "a": 1 })) };
    let choice = Choice { parts: vec![ChoicePart::Text("a".into()), call], finish_reason: Some("stop".into()) };
    let answer = Answer { model: Some("m".into()), choices: vec![choice], ..Answer::default() };
    for api in [Api::BedrockConverse, Api::BedrockInvoke] {
        for model in ["amazon.nova-lite", "anthropic.claude-3", "amazon.titan-text", "meta.llama3"] {
            let answer = Answer { model: Some(model.into()), ..answer.clone() };
            let Ok(rendered) = render(api, &answer, true) else { continue };
            let request = r#"{"messages":[{"role":"user","content":[{"text":"a"}]}]}"#;
            let exchange = Exchange {
                status: 200,
                content_type: 3,
                ends: true,
                cuts: 77,
                url: &format!("https://bedrock-runtime.us-east-1.amazonaws.com{}", api.path(model, true)),
                request: request.as_bytes(),
                answer: &rendered.response.body(),
            };
            assert!(CONTENT_TYPES[3].contains("eventstream"));
            seeds.add("model_calls", &exchange.write());
        }
    }
}

/// The names of members and short texts.
fn words_of(json: &Value, words: &mut Words) {
    let mut add = |word: &str| {
        if (2..=40).contains(&word.len())
            && word.bytes().all(|byte| byte.is_ascii_graphic())
            && !word.contains(['"', '\\'])
        {
            *words.entry(word.to_owned()).or_default() += 1;
        }
    };
    match json {
        Value::Array(list) => list.iter().for_each(|each| words_of(each, words)),
        Value::Object(map) => {
            map.keys().for_each(|name| add(name));
            map.values().for_each(|each| words_of(each, words));
        }
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(inner) if inner.is_object() || inner.is_array() => words_of(&inner, words),
            _ => add(text),
        },
        _ => {}
    }
}

fn each_attribute(json: &Value, found: &mut impl FnMut(&str, &str)) {
    match json {
        Value::Array(list) => list.iter().for_each(|each| each_attribute(each, found)),
        Value::Object(map) => {
            if let (Some(key), Some(text)) = (json["key"].as_str(), json["value"]["stringValue"].as_str()) {
                found(key, text);
            }
            map.values().for_each(|each| each_attribute(each, found));
        }
        _ => {}
    }
}

struct Seeds {
    folder: PathBuf,
    written: usize,
}

impl Seeds {
    fn add(&mut self, target: &str, bytes: &[u8]) {
        // Much comes several times, and is one seed.
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let folder = self.folder.join(target);
        let file = folder.join(format!("{:016x}", hasher.finish()));
        if bytes.len() <= LONGEST && !file.exists() {
            fs::create_dir_all(&folder).expect("a folder can be made");
            fs::write(file, bytes).expect("a seed can be written");
            self.written += 1;
        }
    }

    fn dictionary(&self, name: &str, words: &Words) {
        let lines: String =
            words.iter().filter(|(_, count)| **count >= COMMON).map(|(word, _)| format!("\"{word}\"\n")).collect();
        fs::write(self.folder.join(format!("{name}.dict")), lines).expect("a dictionary can be written");
    }
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for path in entries.map(|entry| entry.expect("a folder can be read").path()) {
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}
