//! Forks: the prefix from the recording, the fork point and the rest live.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use opentelemetry_sdk::trace::{InMemorySpanExporter, SimpleSpanProcessor};
use retrace::{ForkPoint, SpanType};
use serde_json::json;

use crate::alone;
use crate::provider::{AnyError, Provider};
use crate::support::{named, record, record_with, span, spans};

type Sent = Arc<AtomicUsize>;

#[retrace::record(type = tool_call, replay, skip(sent))]
async fn send(sent: &Sent, to: &str) -> Result<String, AnyError> {
    sent.fetch_add(1, Ordering::SeqCst);
    Ok(format!("sent to {to}"))
}

#[retrace::record(name = "agent")]
async fn agent(provider: &Provider, sent: &Sent) -> Result<String, AnyError> {
    let first = provider.chat("first").await?;
    let receipt = send(sent, "harbour").await?;
    let second = provider.chat("second").await?;
    retrace::fork_point("before the end");
    let third = provider.chat(&format!("third after {second}")).await?;
    Ok([first, receipt, second, third].join("; "))
}

/// The first line of a cassette.
fn header(path: &std::path::Path) -> String {
    std::fs::read_to_string(path).unwrap().lines().next().unwrap().to_owned()
}

#[tokio::test]
async fn the_header_of_a_cassette_names_the_run() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let (provider, sent) = (Provider::new(), Sent::default());
    let named = retrace::record_cassette(&path).name("mine");
    named.run(agent(&provider, &sent)).await.unwrap().value.unwrap();
    assert!(header(&path).contains(r#""name":"mine""#), "{}", header(&path));
    // Outside of all runs there is no name, and a run without calls has a header too.
    retrace::record_cassette(&path).run(provider.chat("alone")).await.unwrap().value.unwrap();
    assert!(header(&path).contains(r#""name":"""#), "{}", header(&path));
    retrace::record_cassette(&path).run(async {}).await.unwrap();
    assert!(header(&path).contains(r#""name":"""#), "{}", header(&path));
    retrace::replay(&path).run(async {}).await.unwrap();
}

#[tokio::test]
async fn a_changed_message_at_the_second_call() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let (provider, sent) = (Provider::new(), Sent::default());
    retrace::record_cassette(&path).run(agent(&provider, &sent)).await.unwrap().value.unwrap();
    assert_eq!((provider.seen().len(), sent.load(Ordering::SeqCst)), (3, 1));
    assert!(header(&path).contains(r#""name":"agent""#), "{}", header(&path));
    let live = Provider::new();
    let recording = record();
    let forked_path = directory.path().join("forked.jsonl");
    let fork = retrace::replay(&path)
        .from(ForkPoint::ModelCall(2))
        .set("messages.0.content", "changed")
        .parameter("temperature", 0.5)
        .record(retrace::record_cassette(&forked_path))
        .run(agent(&live, &sent));
    let forked = retrace::run("forked at 2").instrument(fork).await.unwrap();
    let run = named(recording.runs(), "forked at 2");
    assert_eq!(
        forked.value.unwrap(),
        "first: answer 1; sent to harbour; changed: answer 1; third after changed: answer 1: answer 2"
    );
    assert_eq!(live.seen(), ["changed", "third after changed: answer 1"]);
    assert_eq!(live.requests()[0]["temperature"], json!(0.5));
    assert_eq!(sent.load(Ordering::SeqCst), 1, "the tool before the fork point is not executed");
    let report = &forked.report;
    assert_eq!((report.answered, report.live.len(), report.live[0].is_altered), (2, 2, true), "{report}");
    assert_eq!(report.live[0].tokens, Some(15));
    // Every span is stored, the answered ones marked.
    assert_eq!(spans(&run).iter().filter(|span| span.span_type == SpanType::LlmCall).count(), 3, "{run:#?}");
    assert!(format!("{:?}", span(&run, "send").metadata).contains("replayed"), "{run:#?}");
    // The two live calls are what it has spent.
    assert_eq!(run.total_tokens, Some(30), "{run:#?}");
    assert!(run.metadata.as_ref().unwrap().as_str().contains(r#""replayed":true"#), "{run:#?}");
    // The cassette of the fork replays the fork.
    let gone = Provider::new();
    let again = retrace::replay(&forked_path).lenient().run(agent(&gone, &sent)).await.unwrap();
    assert_eq!((gone.seen().len(), again.report.live.len()), (0, 0), "{}", again.report);
}

#[tokio::test]
async fn forks_at_a_mark_and_at_a_tool() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let (provider, sent) = (Provider::new(), Sent::default());
    retrace::record_cassette(&path).run(agent(&provider, &sent)).await.unwrap().value.unwrap();
    let live = Provider::new();
    let marked = retrace::replay(&path).from(ForkPoint::Name("before the end".to_owned()));
    marked.run(agent(&live, &sent)).await.unwrap().value.unwrap();
    assert_eq!(live.seen(), ["third after second: answer 2"]);
    let live = Provider::new();
    let at_tool = retrace::replay(&path).from(ForkPoint::Name("send".to_owned())).tool_output("not sent");
    let value = at_tool.run(agent(&live, &sent)).await.unwrap().value.unwrap();
    assert!(value.contains("; not sent;"), "{value}");
    assert_eq!(live.seen(), ["second", "third after second: answer 1"]);
    assert_eq!(sent.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn external_steps_with_other_arguments_are_refused_unless_allowed() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let sent = Sent::default();
    let run = |provider: Provider, sent: Sent| async move {
        let to = provider.chat("who").await?;
        send(&sent, &to).await
    };
    retrace::record_cassette(&path).run(run(Provider::new(), sent.clone())).await.unwrap().value.unwrap();
    let fork = || retrace::replay(&path).from(ForkPoint::ModelCall(1)).set("messages.0.content", "who else");
    let error = fork().run(run(Provider::new(), sent.clone())).await.unwrap_err();
    assert!(error.to_string().contains("allow_external(\"send\")"), "{error}");
    assert_eq!(sent.load(Ordering::SeqCst), 1);
    let value = fork().allow_external("send").run(run(Provider::new(), sent.clone())).await.unwrap().value.unwrap();
    assert_eq!((value.as_str(), sent.load(Ordering::SeqCst)), ("sent to who else: answer 1", 2));
}

#[tokio::test]
async fn arguments_of_a_tool_are_replaced() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let run = || async {
        let step = retrace::step("double", SpanType::ToolCall);
        step.memo_with(2u32, async |number| number * 2).await
    };
    assert_eq!(retrace::record_cassette(&path).run(run()).await.unwrap().value, 4);
    let fork = |arguments: serde_json::Value| {
        retrace::replay(&path).from(ForkPoint::Name("double".to_owned())).tool_arguments(arguments)
    };
    assert_eq!(fork(json!(21)).run(run()).await.unwrap().value, 42);
    let error = fork(json!("many")).run(run()).await.unwrap_err();
    assert!(error.to_string().contains("do not fit the step"), "{error}");
}

#[retrace::record(type = tool_call)]
async fn weather(city: &str) -> Result<String, AnyError> {
    Ok(format!("{city}: sleet"))
}

#[tokio::test]
async fn a_change_that_is_not_applied_is_an_error() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let (provider, sent) = (Provider::new(), Sent::default());
    let run = async |provider: &Provider, asks: bool| {
        let first = provider.chat("first").await?;
        send(&sent, "harbour").await?;
        retrace::fork_point("mark");
        if asks { provider.chat("second").await } else { Ok::<_, AnyError>(first) }
    };
    retrace::record_cassette(&path).run(run(&provider, true)).await.unwrap().value.unwrap();
    let live = Provider::new();
    let named = |name: &str| retrace::replay(&path).from(ForkPoint::Name(name.to_owned()));
    let call = || retrace::replay(&path).from(ForkPoint::ModelCall(2));
    // What has no place at the fork point is known before anything is called.
    for (fork, expected) in [
        (call().tool_output("sunny"), "`tool_output` cannot be applied: the entry is a model call"),
        (call().tool_arguments(json!({"a": 5})), "`tool_arguments` cannot be applied: the entry is a model call"),
        (named("send").set("tool_arguments.to", "x"), "`tool_arguments.to` cannot be applied: the entry is a step"),
        (named("send").parameter("seed", 1), "`parameters.seed` cannot be applied: the entry is a step"),
        (named("send").tool_output(1).tool_arguments(2), "`tool_arguments` cannot be applied: a step that is given"),
        (named("mark").model("m"), "`model` cannot be applied: the entry is a mark"),
        (retrace::replay(&path).model("m"), "`model` cannot be changed without a fork point"),
    ] {
        let error = fork.run(run(&live, true)).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(live.seen().is_empty());
    }
    // Else it is known when the run ends.
    let end = call().set("messages.0.content", "x").run(run(&live, false));
    let error = end.await.unwrap_err();
    assert!(error.to_string().contains("`messages.0.content` at the fork point was not changed"), "{error}");
    let error = call().model("m").run(run(&live, false)).await.unwrap_err();
    assert!(error.to_string().contains("`model` at the fork point was not changed"), "{error}");
    assert!(live.seen().is_empty());
    // A fork that changes nothing may end before its point.
    call().run(run(&live, false)).await.unwrap().value.unwrap();
}

#[retrace::record(type = tool_call, replay)]
async fn double(number: u32) -> u32 {
    number * 2
}

#[tokio::test]
async fn what_a_refusal_cancels_states_it() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let run = async || {
        let outer = retrace::step("outer", SpanType::Reasoning).scope(async |_| double(2).await);
        outer.await
    };
    let agent = async || retrace::run("agent").scope(async |_| run().await).await;
    assert_eq!(retrace::record_cassette(&path).run(agent()).await.unwrap().value, 4);
    let recording = record();
    let fork = retrace::replay(&path).from(ForkPoint::Name("double".to_owned())).tool_arguments(json!({"number": 3}));
    let error = fork.run(agent()).await.unwrap_err().to_string();
    assert!(error.contains("its arguments cannot be replaced"), "{error}");
    let stored = named(recording.runs(), "agent");
    assert_eq!(stored.error.as_ref(), Some(&error));
    for name in ["outer", "double"] {
        assert_eq!(span(&stored, name).error.as_ref(), Some(&error), "{name}");
    }
}

#[tokio::test]
async fn a_run_whose_fork_was_not_applied_is_stored_as_failed() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let run = async |provider: Provider, asks: bool| {
        let run = retrace::run("agent").scope(async move |_| {
            provider.chat("first").await?;
            let sky = weather("Oslo").await?;
            if asks { provider.chat(&sky).await } else { Ok::<_, AnyError>(sky) }
        });
        run.await
    };
    retrace::record_cassette(&path).run(run(Provider::new(), true)).await.unwrap().value.unwrap();
    let recording = record();
    let fork = retrace::replay(&path).from(ForkPoint::ModelCall(2)).model("m").run(run(Provider::new(), false));
    let error = fork.await.unwrap_err().to_string();
    let stored = named(recording.runs(), "agent");
    assert_eq!(stored.status, Some(retrace::Status::Failed), "{stored:#?}");
    assert!(error.contains("`model` at the fork point was not changed"), "{error}");
    assert_eq!(stored.error, Some(error));
}

/// Runs two branches of one name, with `names` in the order in which they begin. Each ends before the next one makes its call.
async fn branches(provider: &Provider, names: [&str; 2]) -> Result<(), AnyError> {
    let mut begun = Vec::new();
    for name in names {
        let mut branch = Box::pin(retrace::run("branch").scope(async move |_| provider.chat(name).await));
        // A call yields once before it is made: the branch has begun then.
        assert!(futures_util::poll!(&mut branch).is_pending());
        begun.push(branch);
    }
    for branch in begun {
        branch.await?;
    }
    Ok(())
}

#[tokio::test]
async fn outermost_runs_may_begin_in_another_order() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    retrace::record_cassette(&path).run(branches(&Provider::new(), ["a", "b"])).await.unwrap().value.unwrap();
    let _recording = record();
    let live = Provider::new();
    let fork = retrace::replay(&path).from(ForkPoint::ModelCall(1)).model("m");
    fork.run(branches(&live, ["b", "a"])).await.unwrap().value.unwrap();
    assert!(live.requests().iter().any(|request| request["model"] == "m"), "{:?}", live.requests());
}

#[tokio::test]
async fn what_is_cancelled_before_the_fork_point_is_stored_as_cancelled() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    // `ends` is false for a run that is dropped between its calls.
    let agent = async |provider: Provider, ends: bool| {
        let mut run = Box::pin(retrace::run("agent").scope(async move |_| {
            provider.chat("first").await?;
            if !ends {
                std::future::pending::<()>().await;
            }
            provider.chat("second").await
        }));
        if ends {
            return run.await.map(drop);
        }
        assert!(futures_util::poll!(&mut run).is_pending());
        assert!(futures_util::poll!(&mut run).is_pending());
        Ok::<_, AnyError>(())
    };
    retrace::record_cassette(&path).run(agent(Provider::new(), true)).await.unwrap().value.unwrap();
    let recording = record();
    let fork = retrace::replay(&path).from(ForkPoint::ModelCall(2)).model("m").run(agent(Provider::new(), false));
    // The replay as a whole has ended without the call.
    let error = fork.await.unwrap_err().to_string();
    assert!(error.contains("`model` at the fork point was not changed"), "{error}");
    assert_eq!(named(recording.runs(), "agent").error.as_deref(), Some("cancelled"));
}

#[tokio::test]
async fn spans_before_the_fork_point_are_left_out_on_demand() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let (provider, sent) = (Provider::new(), Sent::default());
    retrace::record_cassette(&path).run(agent(&provider, &sent)).await.unwrap().value.unwrap();
    for transport in ["http", "ws"] {
        let other = InMemorySpanExporter::default();
        let backend = SimpleSpanProcessor::new(other.clone());
        let recording =
            record_with(|configuration| configuration.with_transport(transport).with_span_processor(backend));
        let fork = retrace::replay(&path).from(ForkPoint::ModelCall(2)).leave_out_recorded_spans();
        let live = Provider::new();
        let forked = retrace::run("forked").instrument(fork.run(agent(&live, &sent)));
        forked.await.unwrap().value.unwrap();
        // A shutdown clears them.
        let exported = other.get_finished_spans().unwrap();
        let run = named(recording.runs(), "forked");
        let names: Vec<&str> = spans(&run).iter().map(|span| span.name.as_str()).collect();
        let calls = spans(&run).iter().filter(|span| span.span_type == SpanType::LlmCall).count();
        assert_eq!((calls, names.contains(&"send"), run.span_count), (2, false, Some(names.len() as u64)), "{run:#?}");
        assert!(spans(&run).iter().all(|span| span.ended_at.is_some()), "{run:#?}");
        let replayed = exported
            .iter()
            .filter(|span| span.attributes.iter().any(|attribute| attribute.key.as_str() == "retrace.replayed"));
        assert_eq!(replayed.count(), 2, "the call and the tool before the fork point: {exported:#?}");
    }
}
