//! Forks and replays from the recording that a receiver sends: the spans of a run, as it stores them.

use std::future::Future;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::provider::{AnyError, Provider};
use crate::{Served, resume};

static PROVIDER: Mutex<Option<Provider>> = Mutex::new(None);
static SENT: AtomicUsize = AtomicUsize::new(0);

/// The provider of this test; [`renewed`] makes it.
pub(crate) fn provider() -> Provider {
    PROVIDER.lock().unwrap().get_or_insert_with(Provider::new).clone()
}

/// A provider that has seen nothing, on the pipeline that is installed.
fn renewed() -> Provider {
    let provider = Provider::new();
    *PROVIDER.lock().unwrap() = Some(provider.clone());
    provider
}

#[retrace::record(type = tool_call, replay)]
async fn send(to: &str) -> Result<String, AnyError> {
    SENT.fetch_add(1, Ordering::SeqCst);
    Ok(format!("sent to {to}"))
}

#[retrace::record(name = "mail-agent", resumable)]
async fn mail_agent(question: &str) -> Result<String, AnyError> {
    let to = provider().chat(question).await?;
    let receipt = send(&to).await?;
    let summary = provider().chat(&format!("sum up: {receipt}")).await?;
    Ok(summary)
}

/// A tool that a replay executes: no result of it is kept.
#[retrace::record(type = tool_call)]
async fn weather(city: &str) -> Result<String, AnyError> {
    Ok(format!("{city}: sleet"))
}

#[retrace::record(name = "weather-agent", resumable)]
async fn weather_agent(city: &str) -> Result<String, AnyError> {
    let sky = weather(city).await?;
    provider().chat(&sky).await
}

/// A recorded run, and a connection on which it can be run again.
struct Recorded {
    name: &'static str,
    served: Served,
    _serving: retrace::Serving,
    run: Value,
    provider: Provider,
    sent: usize,
}

impl Recorded {
    fn start(allowed: Option<&str>) -> Self {
        let serve = retrace::serve([retrace::resumable!(mail_agent)]);
        let serve = allowed.into_iter().fold(serve, retrace::ServeBuilder::allow_external);
        Self::of("mail-agent", serve, mail_agent("who?"))
    }

    fn of(
        name: &'static str,
        serve: retrace::ServeBuilder,
        agent: impl Future<Output = Result<String, AnyError>>,
    ) -> Self {
        let served = Served::start();
        renewed();
        let serving = served.serve_with(serve);
        served.runtime.block_on(agent).unwrap();
        let run = served.peer.ended(name);
        Self { name, served, _serving: serving, run, provider: renewed(), sent: SENT.load(Ordering::SeqCst) }
    }

    fn span(&self, span_type: &str, number: usize) -> &Value {
        let spans = self.run["spans"].as_array().unwrap();
        let mut of_type = spans.iter().filter(|span| span["span_type"] == span_type && span["output"] != Value::Null);
        &of_type.nth(number).unwrap_or_else(|| panic!("{:#}", self.run))["id"]
    }

    /// Forks the run at a span, as the receiver of this project requests it.
    fn fork(&self, at: &Value, changes: Value) -> Value {
        let mut data = json!({
            "traceId": self.run["id"], "forkPointSpanId": at, "forkPointIndex": null, "modifiedInput": null,
            "originalKwargs": self.run["input"]["kwargs"], "cassette": self.run["spans"]
        });
        data.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let name = format!("Fork: {}", self.name);
        let before = self.served.peer.names().iter().filter(|other| **other == name).count();
        self.served.peer.send(resume(self.name, data));
        self.served.peer.all_ended(&name, before + 1).remove(before)
    }

    /// How often the tool was executed since the recording.
    fn sent(&self) -> usize {
        SENT.load(Ordering::SeqCst) - self.sent
    }
}

#[test]
fn a_changed_message_at_the_second_model_call() {
    let recorded = Recorded::start(None);
    let messages = json!([{"role": "user", "content": "changed"}]);
    let substitutions = json!({"messages": messages, "model": "gpt-4o", "parameters": {"temperature": 0.5}});
    let run = recorded.fork(recorded.span("llm_call", 1), json!({"substitutions": substitutions}));
    assert_eq!((&run["status"], &run["output"]), (&json!("completed"), &json!("changed: answer 1")), "{run:#}");
    let requests = recorded.provider.requests();
    assert_eq!(requests.len(), 1, "the first call is answered from the recording: {requests:?}");
    assert_eq!((&requests[0]["model"], &requests[0]["temperature"]), (&json!("gpt-4o"), &json!(0.5)));
    assert_eq!(recorded.sent(), 0, "the tool before the fork point is not executed");
    assert_eq!(run["metadata"]["_fork_of"], recorded.run["id"]);
    // Without a new input the run has the recorded one.
    assert_eq!(run["input"], recorded.run["input"]);
    assert!(run["metadata"].get("_resumable").is_none(), "{run:#}");
}

#[test]
fn a_changed_result_of_a_tool() {
    let recorded = Recorded::start(None);
    let run = recorded.fork(recorded.span("tool_call", 0), json!({"substitutions": {"tool_output": "not sent"}}));
    assert_eq!(run["output"], "sum up: not sent: answer 1", "{run:#}");
    assert_eq!((recorded.provider.seen(), recorded.sent()), (vec!["sum up: not sent".to_owned()], 0));
}

#[test]
fn an_external_tool_after_the_fork_point_is_refused_unless_allowed_by_name() {
    let changed = json!({"substitutions": {"messages": [{"role": "user", "content": "who else?"}]}});
    let recorded = Recorded::start(None);
    let run = recorded.fork(recorded.span("llm_call", 0), changed.clone());
    assert_eq!((&run["status"], recorded.sent()), (&json!("failed"), 0), "{run:#}");
    assert!(run["error"].as_str().unwrap().contains("allow_external(\"send\")"), "{run:#}");
    drop(recorded);
    let recorded = Recorded::start(Some("send"));
    let run = recorded.fork(recorded.span("llm_call", 0), changed);
    assert_eq!((&run["status"], recorded.sent()), (&json!("completed"), 1), "{run:#}");
    assert_eq!(recorded.provider.seen(), ["who else?", "sum up: sent to who else?: answer 1"]);
}

#[test]
fn a_new_input_that_changes_a_call_before_the_fork_point_is_refused_but_in_the_lenient_mode() {
    let recorded = Recorded::start(None);
    let second = recorded.span("llm_call", 1);
    let run = recorded.fork(second, json!({"modifiedInput": "who else?"}));
    let error = run["error"].as_str().unwrap();
    assert_eq!((&run["status"], &run["input"]), (&json!("failed"), &json!("who else?")), "{run:#}");
    assert!(error.contains("who else?") && error.contains("fork at this call or before it"), "{error}");
    assert_eq!((recorded.provider.seen().len(), recorded.sent()), (0, 0));
    let run = recorded.fork(second, json!({"modifiedInput": "who else?", "mode": "lenient"}));
    assert_eq!((&run["status"], &run["input"]), (&json!("completed"), &json!("who else?")), "{run:#}");
    assert_eq!((recorded.provider.seen().len(), recorded.sent()), (1, 0));
    // At the call itself the new input is in the request.
    let run = recorded.fork(recorded.span("llm_call", 0), json!({"modifiedInput": "who?"}));
    assert_eq!(run["status"], "failed", "the tool has other arguments: {run:#}");
    assert_eq!(recorded.provider.seen()[1], "who?");
}

#[test]
fn a_change_of_a_tool_that_is_executed_by_itself_fails_the_fork() {
    let serve = retrace::serve([retrace::resumable!(weather_agent)]);
    let recorded = Recorded::of("weather-agent", serve, weather_agent("Oslo"));
    let tool = recorded.span("tool_call", 0);
    for mode in ["strict", "lenient"] {
        for (name, value) in [("tool_output", json!("sunny")), ("tool_arguments", json!({"city": "Bergen"}))] {
            let run = recorded.fork(tool, json!({"mode": mode, "substitutions": {name: value}}));
            let error = run["error"].as_str().unwrap_or_default();
            assert_eq!(run["status"], "failed", "{name}: {run:#}");
            let expected = [&*format!("`{name}`"), "weather", "Add `replay` to its `#[record]`"];
            assert!(expected.iter().all(|part| error.contains(part)), "{error}");
            assert!(!error.contains("an earlier call"), "{error}");
        }
    }
    assert_eq!(recorded.provider.seen(), Vec::<String>::new(), "no call goes out");
    let run = recorded.fork(recorded.span("llm_call", 0), json!({}));
    assert_eq!(run["status"], "completed", "without a change the tool is executed: {run:#}");
}

#[test]
fn arguments_of_a_tool_that_cannot_be_given_any_fail_the_fork_with_the_reason() {
    let recorded = Recorded::start(None);
    let changed = json!({"substitutions": {"tool_arguments": {"to": "the harbour"}}});
    let run = recorded.fork(recorded.span("tool_call", 0), changed);
    assert_eq!((&run["status"], recorded.sent()), (&json!("failed"), 0), "{run:#}");
    let step = run["spans"].as_array().unwrap().iter().find(|span| span["name"] == "send").unwrap();
    for error in [&run["error"], &step["error"]] {
        assert!(error.as_str().unwrap().contains("its arguments cannot be replaced"), "{run:#}");
    }
}

#[test]
fn a_fork_that_cannot_begin_is_a_run_that_states_why() {
    let recorded = Recorded::start(None);
    let at = recorded.span("llm_call", 0).clone();
    let root = recorded.span("reasoning", 0).clone();
    for (changes, expected) in [
        (
            json!({"forkPointSpanId": root, "substitutions": {"model": "m"}}),
            "is no model call or tool that is executed",
        ),
        (json!({"forkPointSpanId": "00000000-0000-4000-8000-000000000009"}), "no span at the fork point"),
        (json!({"cassette": "x"}), "is no list"),
        (json!({"cassette": [{"name": 1}]}), "entry 0 of the receiver's recording"),
        (json!({"cassette": null, "cassetteOmitted": true}), "too large"),
        (json!({"cassette": null, "substitutions": {"model": "m"}}), "needs the recording"),
        (json!({"substitutions": {"mesages": []}}), "\"mesages\" at the fork point is not understood"),
        (json!({"substitutions": {"messages": "hi"}}), "\"messages\" at the fork point is not understood"),
        (json!({"substitutions": {"tool_output": "hi"}}), "`tool_output` cannot be applied: the entry is a model call"),
        (
            json!({"modifiedInput": {"nope": "rivers"}}),
            "the new input sets \"nope\", and the function takes `question`",
        ),
        (json!({"originalKwargs": {"question": 7}}), "argument `question` cannot be read"),
        (json!({"originalKwargs": {}}), "argument `question` is missing"),
        (json!({"originalKwargs": 7}), "not an object"),
        (json!({"originalArgs": ["a", "b"]}), "2 arguments are recorded, and the function takes 1"),
    ] {
        let run = recorded.fork(&at, changes.clone());
        assert_eq!(run["status"], "failed", "{changes}");
        assert!(run["error"].as_str().unwrap().contains(expected), "{changes}: {}", run["error"]);
    }
    assert!(recorded.provider.seen().is_empty());
    assert_eq!(recorded.sent(), 0);
}

#[test]
fn a_replay_is_answered_as_a_whole() {
    let recorded = Recorded::start(None);
    recorded
        .served
        .peer
        .send(json!({"type": "replay", "data": {"traceId": recorded.run["id"], "traceName": "mail-agent",
        "input": ["who?"], "cassette": recorded.run["spans"]}}));
    let run = recorded.served.peer.ended("Replay: mail-agent");
    assert_eq!((&run["status"], &run["output"]), (&json!("completed"), &recorded.run["output"]), "{run:#}");
    assert_eq!((recorded.provider.seen().len(), recorded.sent()), (0, 0));
    let size = recorded.run["spans"].as_array().unwrap().len();
    let metadata = &run["metadata"];
    assert_eq!((&metadata["_replay_of"], &metadata["_deterministic_replay"]), (&recorded.run["id"], &json!(true)));
    assert_eq!((&metadata["_cassette_size"], &run["input"]), (&json!(size), &json!(["who?"])));
    // What the recording does not hold is refused.
    recorded.served.peer.send(json!({"type": "replay", "data": {"traceId": "t", "traceName": "mail-agent",
        "input": "another?", "cassette": recorded.run["spans"]}}));
    let runs = recorded.served.peer.all_ended("Replay: mail-agent", 2);
    assert_eq!(runs[1]["status"], "failed", "{:#}", runs[1]);
    assert_eq!((recorded.provider.seen().len(), recorded.sent()), (0, 0));
}
