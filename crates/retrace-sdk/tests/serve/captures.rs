//! The traffic of the official SDK, frame by frame: what is sent to it is sent here, and the run that comes of it is the same.

use std::fs;
use std::path::Path;

use retrace::SpanType;
use serde_json::{Value, json};

use crate::Served;

/// The function of the captures: three tools, in a loop.
#[retrace::record(name = "resumable-agent", resumable)]
async fn resumable_agent(question: &str) -> (String, f64) {
    for k in 0..3 {
        retrace::step(format!("step-{k}"), SpanType::ToolCall)
            .input(json!({"q": question, "k": k}))
            .scope_with(async |step| {
                step.output(k);
            })
            .await;
    }
    (question.to_owned(), 0.0)
}

fn capture(name: &str) -> Vec<Value> {
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../retrace-protocol/tests/captures");
    let text = fs::read_to_string(captures.join(format!("{name}.jsonl"))).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn frame<'a>(capture: &'a [Value], dir: &str, kind: &str) -> &'a Value {
    let line = capture.iter().find(|line| line["dir"] == dir && line["frame"]["type"] == kind);
    &line.unwrap_or_else(|| panic!("the capture has no {kind}"))["frame"]
}

/// Sends the command of a capture; returns the run that comes of it.
fn run_again(capture: &[Value], kind: &str, name: &str) -> (Served, Value) {
    let served = Served::start();
    let _serving = served.serve([retrace::resumable!(resumable_agent)]);
    served.peer.send(frame(capture, "server", kind).clone());
    let run = served.peer.ended(name);
    let auth = served.peer.wait("the first frame", |state| state.auths.last().cloned());
    assert_eq!(&auth, frame(capture, "client", "auth"), "the handshake is that of the capture");
    (served, run)
}

fn posted(capture: &[Value]) -> &Value {
    let line = capture.iter().find(|line| line["dir"] == "client" && line["path"] == "/api/v1/traces");
    &line.unwrap()["body"]
}

/// The run has the name, the input, the metadata, the status and the output of the captured one.
fn assert_like(run: &Value, official: &Value) {
    for member in ["name", "input", "output", "status"] {
        assert_eq!(run[member], official[member], "{member} of {run:#}");
    }
    for (key, value) in official["metadata"].as_object().unwrap() {
        assert_eq!(&run["metadata"][key], value, "{key} of {run:#}");
    }
    let reserved = run["metadata"].as_object().unwrap().keys().filter(|key| key.starts_with('_'));
    assert_eq!(reserved.count(), official["metadata"].as_object().unwrap().len(), "{run:#}");
    assert!(run.get("error").is_none(), "{run:#}");
}

fn steps(run: &Value) -> Vec<(Value, Value)> {
    let spans = run["spans"].as_array().unwrap().iter().filter(|span| span["span_type"] == "tool_call");
    spans.map(|span| (span["name"].clone(), span["input"].clone())).collect()
}

#[test]
fn resume_with_an_object() {
    let capture = capture("ws-p-resume");
    let (served, run) = run_again(&capture, "resume", "Fork: resumable-agent");
    assert_like(&run, posted(&capture));
    let claim = capture.iter().find(|line| line["path"].as_str().is_some_and(|path| path.ends_with("/claim"))).unwrap();
    assert_eq!(served.peer.claims(), [(claim["path"].as_str().unwrap().to_owned(), claim["body"].clone())]);
    // The official SDK leaves out the spans before the fork point, also those that it executes again. Here they are sent.
    let steps = steps(&run);
    assert_eq!(steps.len(), 3, "{run:#}");
    assert_eq!(steps[1], (json!("step-1"), json!({"q": "new?", "k": 1})));
}

#[test]
fn resume_with_a_text() {
    let capture = capture("ws-p-resume-string");
    let (_served, run) = run_again(&capture, "resume", "Fork: resumable-agent");
    assert_like(&run, posted(&capture));
}

/// The official SDK fails here: it gives the argument twice.
#[test]
fn resume_with_an_object_over_a_positional_argument() {
    let capture = capture("ws-p-resume-dict-over-positional");
    let (served, run) = run_again(&capture, "resume", "Fork: resumable-agent");
    assert_eq!((&run["status"], &run["output"]), (&json!("completed"), &json!(["new?", 0.0])));
    assert_eq!(run["metadata"]["_fork_execution_id"], Value::Null, "{run:#}");
    assert!(run["metadata"].as_object().unwrap().contains_key("_fork_execution_id"), "{run:#}");
    assert!(served.peer.claims().is_empty(), "without a lease there is nothing to claim");
}

#[test]
fn resume_that_is_superseded_at_the_claim() {
    let mut served = Served::start();
    let _serving = served.serve([retrace::resumable!(resumable_agent)]);
    served.peer.answer_claims([409]);
    served.peer.send(frame(&capture("ws-p-resume-superseded"), "server", "resume").clone());
    served.peer.wait("the claim", |state| (state.claims.len() == 1).then_some(()));
    // The next one is taken when this one is over.
    served.peer.send(frame(&capture("ws-p-resume"), "server", "resume").clone());
    served.peer.ended("Fork: resumable-agent");
    served.shut_down();
    assert_eq!(served.peer.names(), ["Fork: resumable-agent"]);
}

/// The function of the capture, which calls a model.
#[retrace::record(name = "replay-agent", resumable)]
async fn replay_agent(prompt: String) -> Result<String, String> {
    crate::recordings::provider().chat(&prompt).await.map_err(|error| error.to_string())
}

#[test]
fn replay_from_a_cassette() {
    let capture = capture("ws-p-replay");
    let served = Served::start();
    let seen = crate::recordings::provider().seen().len();
    let _serving = served.serve([retrace::resumable!(replay_agent)]);
    served.peer.send(frame(&capture, "server", "replay").clone());
    let run = served.peer.ended("Replay: replay-agent");
    let official: Vec<&Value> = capture.iter().filter(|line| line["dir"] == "client").collect();
    let of_replay = |kind: &str| {
        official.iter().rfind(|line| line["frame"]["type"] == kind).map(|line| line["frame"]["data"].clone()).unwrap()
    };
    let mut expected = of_replay("trace_started");
    expected.as_object_mut().unwrap().extend(of_replay("trace_ended").as_object().unwrap().clone());
    assert_like(&run, &expected);
    assert_eq!(crate::recordings::provider().seen().len(), seen, "no call leaves");
}
