//! Writes the seeds of the targets: what real clients sent, cut into what each target reads.
//!
//!     cargo run --bin seeds

use std::fs;
use std::path::{Path, PathBuf};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use serde_json::Value;

/// Longer seeds slow a target down more than they teach it.
const LONGEST: usize = 4 * 1024;

/// A golden file of the official SDK.
const GOLDEN: &str = r#"{"version":1,"name":"trace","trace_id":"5b47","recorded_at":"2026-11-22T11:06:08.297418Z","status":"completed",
"steps":[{"index":0,"span_type":"llm_call","name":"call-model","model":null,"input":null,"output":{"a":1},"error":null}],
"tolerance":{"default":"exact","steps":{"call-model":"semantic"}}}"#;

fn main() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seeds = Seeds { folder: here.join("seeds"), written: 0 };
    for file in files(&here.join("../integration-tests/corpus"), "otlp.json") {
        otlp(&mut seeds, &fs::read_to_string(file).expect("the corpus can be read"));
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
    println!("{} seeds in {}", seeds.written, seeds.folder.display());
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
    // Every text under the place of its key, which the target finds by two bytes.
    let keys = fuzz::keys();
    each_attribute(&serde_json::from_str(json).expect("the corpus is JSON"), &mut |key, text| {
        if let Some(place) = keys.iter().position(|each| *each == key) {
            for place in [place, place + keys.len()] {
                if let (Ok(high), Ok(low)) = (u8::try_from(place / 256), u8::try_from(place % 256)) {
                    seeds.add("messages", &[&[high, low], text.as_bytes()].concat());
                }
            }
        }
    });
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
        if bytes.len() <= LONGEST {
            let folder = self.folder.join(target);
            fs::create_dir_all(&folder).expect("a folder can be made");
            fs::write(folder.join(format!("{:05}", self.written)), bytes).expect("a seed can be written");
            self.written += 1;
        }
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
