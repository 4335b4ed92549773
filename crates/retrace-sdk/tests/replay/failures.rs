//! The ten ways in which the official SDK's replay fails, by their numbers, each shown not to happen here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use retrace::{ForkPoint, SpanType};
use serde_json::json;

use crate::alone;
use crate::provider::{AnyError, Provider, elsewhere};
use crate::support::{metadata, named, record, record_with, spans, stored};

#[retrace::record(name = "agent", resumable)]
async fn agent(provider: &Provider, topic: &str) -> Result<String, AnyError> {
    let plan = provider.chat(&format!("plan {topic}")).await?;
    provider.chat(&format!("do {plan}")).await
}

async fn recorded(directory: &tempfile::TempDir) -> std::path::PathBuf {
    let path = directory.path().join("run.jsonl");
    let provider = Provider::new();
    retrace::record_cassette(&path).run(agent(&provider, "tides")).await.unwrap().value.unwrap();
    path
}

#[tokio::test]
async fn n1_an_async_function_is_run() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = recorded(&directory).await;
    let replayed = retrace::replay(&path).run(agent(&Provider::new(), "tides")).await.unwrap();
    assert_eq!(replayed.value.unwrap(), "do plan tides: answer 1: answer 2");
}

#[tokio::test]
async fn n2_a_fork_goes_on_live_and_every_live_span_is_stored() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = recorded(&directory).await;
    for is_strict in [true, false] {
        let live = Provider::new();
        let recording = record();
        let fork = retrace::replay(&path).from(ForkPoint::ModelCall(2));
        let fork = if is_strict { fork.strict() } else { fork.lenient() };
        let forked = fork.run(agent(&live, "tides"));
        let forked = retrace::run("forked n2").instrument(forked).await.unwrap();
        assert_eq!(forked.value.unwrap(), "do plan tides: answer 1: answer 1");
        let run = named(recording.runs(), "forked n2");
        let calls = spans(&run).iter().filter(|span| span.span_type == SpanType::LlmCall);
        assert_eq!((calls.count(), live.seen().len()), (2, 1), "{run:#?}");
    }
}

#[tokio::test]
async fn n3_the_request_of_a_model_call_is_changed() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = recorded(&directory).await;
    let live = Provider::new();
    let fork = retrace::replay(&path).from(ForkPoint::ModelCall(1)).model("gpt-4o");
    fork.messages(json!([{"role": "user", "content": "plan storms"}])).run(agent(&live, "tides")).await.unwrap();
    assert_eq!(
        live.requests()[0],
        json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "plan storms"}]})
    );
    assert_eq!(live.seen()[1], "do plan storms: answer 1");
}

#[tokio::test]
async fn n4_answers_are_the_bytes_of_the_provider_and_failures_are_failures() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let run = |provider: Provider| async move {
        [provider.chat("fail").await.unwrap_err().to_string(), provider.chat("again").await.unwrap()]
    };
    let recorded = retrace::record_cassette(&path).run(run(Provider::new())).await.unwrap().value;
    let replayed = retrace::replay(&path).run(run(Provider::new())).await.unwrap().value;
    assert_eq!(replayed, recorded);
    assert!(replayed[0].contains("HTTP 429"));
    // Streams chunk by chunk and tool loops: integration-tests/tests/replay.
}

#[tokio::test]
async fn n5_threads_are_replayed_and_concurrent_equal_calls_get_one_entry_each() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let run = |provider: Provider| async move {
        let calls = join_all((0..4).map(|_| provider.chat("same"))).await;
        let threads: Vec<_> = (0..4)
            .map(|at| {
                let provider = provider.clone();
                retrace::thread(move || provider.chat_sync(&format!("thread {at}")).unwrap())
            })
            .collect();
        let mut answers: Vec<String> = calls.into_iter().map(Result::unwrap).collect();
        answers.extend(threads.into_iter().map(|thread| thread.join().unwrap()));
        answers
    };
    let mut recorded = retrace::record_cassette(&path).run(run(Provider::new())).await.unwrap().value;
    let gone = Provider::new();
    let mut replayed = retrace::replay(&path).run(run(gone.clone())).await.unwrap().value;
    assert_eq!(gone.seen(), [""; 0]);
    recorded.sort_unstable();
    replayed.sort_unstable();
    assert_eq!(replayed, recorded, "no entry is used twice");
    // A thread without the context: nothing leaves either.
    let _ = retrace::replay(&path).run_sync(|| {
        let gone = gone.clone();
        std::thread::spawn(move || elsewhere(|| gone.chat_sync("other").unwrap_err())).join().unwrap();
    });
    assert_eq!(gone.seen(), [""; 0]);
}

#[tokio::test]
async fn n6_tools_are_not_executed_again() {
    let _alone = alone();
    static EXECUTED: AtomicUsize = AtomicUsize::new(0);

    #[retrace::record(type = tool_call, replay)]
    async fn pay(amount: u32) -> String {
        EXECUTED.fetch_add(1, Ordering::SeqCst);
        format!("paid {amount}")
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let run = |provider: Provider| async move {
        let receipt = pay(5).await;
        provider.chat(&receipt).await.unwrap()
    };
    retrace::record_cassette(&path).run(run(Provider::new())).await.unwrap();
    retrace::replay(&path).from(ForkPoint::ModelCall(1)).run(run(Provider::new())).await.unwrap();
    retrace::replay(&path).run(run(Provider::new())).await.unwrap();
    assert_eq!(EXECUTED.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn n7_no_call_leaves_beyond_a_ceiling() {
    let _alone = alone();
    let provider = Provider::new();
    let calls = retrace::limits().steps(2).scope(join_all((0..6).map(|_| provider.chat("a")))).await;
    assert_eq!((provider.seen().len(), calls.iter().filter(|call| call.is_ok()).count()), (2, 2));
}

#[tokio::test]
async fn a_hook_may_call_what_is_recorded_elsewhere() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let provider = Provider::new();
    let stamp = |value: &mut serde_json::Value| {
        if let serde_json::Value::Object(members) = value {
            members.insert(
                "stamp".to_owned(),
                (retrace::uuid().len() + retrace::now().elapsed().is_err() as usize).into(),
            );
        }
    };
    let recorded = retrace::record_cassette(&path).redact(stamp).run(agent(&provider, "tides")).await.unwrap();
    recorded.value.unwrap();
    let replayed = retrace::replay(&path).normalize(stamp).lenient().run(agent(&provider, "tides")).await.unwrap();
    replayed.value.unwrap();
}

#[test]
fn a_recording_that_is_dropped_delivers_what_is_under_way() {
    let _alone = alone();
    let recording = record();
    let processor = recording.guard.as_ref().unwrap().processor().unwrap().clone();
    let run = retrace::run("under way").open();
    drop(recording);
    let stats = processor.stats();
    assert_eq!((stats.delivered, stats.lost.total()), (1, 0), "{stats:?}");
    drop(run);
}

#[tokio::test]
async fn n8_the_golden_file_is_redacted() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let (path, golden) = (directory.path().join("run.jsonl"), directory.path().join("golden.json"));
    let provider = Provider::new();
    let recorded = retrace::record_cassette(&path)
        .name("agent")
        .redact(|value| {
            let text = value.to_string().replace("canary", "[hidden]");
            *value = serde_json::from_str(&text).unwrap();
        })
        .run(agent(&provider, "canary"))
        .await
        .unwrap();
    recorded.write_golden(&golden).unwrap();
    let text = std::fs::read_to_string(&golden).unwrap();
    assert!(
        text.contains("plan [hidden]") && text.starts_with("{\n  \"version\": 1,\n  \"name\": \"agent\""),
        "{text}"
    );
    assert!(!json_inputs(&text).contains("canary"), "{text}");
    // The answers quote the prompt: the hook of the exporter covers them.
    let recording = record_with(|configuration| {
        configuration.with_before_send(|mut record| {
            if let retrace::Record::Span(span) = &mut record {
                span.output = Some(retrace::Json::text("[hidden]"));
            }
            Some(record)
        })
    });
    recorded.write_golden(&golden).unwrap();
    drop(recording);
    let text = std::fs::read_to_string(&golden).unwrap();
    assert!(!text.contains("canary") && text.contains("\"output\": \"[hidden]\""), "{text}");
    // The hook does not stand in the way of a replay.
    retrace::replay(&path).run(agent(&Provider::new(), "canary")).await.unwrap().value.unwrap();
}

/// Inputs of the steps of a golden file: what the application's hook covers.
fn json_inputs(text: &str) -> String {
    let golden: serde_json::Value = serde_json::from_str(text).unwrap();
    golden["steps"].as_array().unwrap().iter().map(|step| step["input"].to_string()).collect()
}

#[tokio::test]
async fn n9_scopes_streams_and_interrupts_are_recorded() {
    let _alone = alone();
    let recording = record();
    retrace::run("scope")
        .scope(async |run| {
            run.metadata("version", 2).tag("beta").status("completed");
        })
        .await;
    let items: Vec<u32> = counted(3).collect().await;
    assert_eq!(items, [0, 1, 2]);
    drop(Box::pin(retrace::run("dropped").scope(async |_| std::future::pending::<()>().await)));
    let mut dropped = Box::pin(retrace::run("interrupted").scope(async |_| std::future::pending::<()>().await));
    assert!(futures_util::poll!(&mut dropped).is_pending());
    drop(dropped);
    let runs = recording.runs();
    let named = |name: &str| runs.iter().find(|run| run.name.as_deref() == Some(name)).unwrap();
    assert_eq!(metadata(named("scope"), "version"), json!(2));
    let output = named("counted").output.as_ref().map(|output| output.as_str().to_owned());
    assert_eq!(output.as_deref(), Some("[0,1,2]"));
    let interrupted = format!("{:?}", named("interrupted"));
    assert!(interrupted.contains("Failed") && interrupted.contains("cancelled"), "{interrupted}");
}

#[retrace::record(stream)]
fn counted(to: u32) -> impl stream::Stream<Item = u32> {
    stream::iter(0..to)
}

#[tokio::test]
async fn n10_an_unsampled_run_sends_nothing_and_nested_functions_are_one_run() {
    let _alone = alone();
    let recording = record_with(|configuration| {
        configuration.with_transport("http").with_sample_rate(0.0).with_failures(retrace::Failures::Off)
    });
    retrace::run("unsampled").scope(async |run| run.step("inner", SpanType::Action).in_scope(|_| ())).await;
    // Other tests record at the same time.
    let named =
        |runs: &[retrace::Trace], name: &str| runs.iter().filter(|run| run.name.as_deref() == Some(name)).count();
    assert_eq!(named(&recording.runs(), "unsampled"), 0);
    let recording = record();
    let provider = Arc::new(Provider::new());
    outer(&provider).await;
    recording.guard.as_ref().unwrap().flush().unwrap();
    let runs = stored(&recording.server);
    assert_eq!(named(&runs, "outer"), 1, "{runs:#?}");
    let outer = runs.iter().find(|run| run.name.as_deref() == Some("outer")).unwrap();
    assert_eq!(spans(outer).iter().filter(|span| span.name == "agent").count(), 1, "{runs:#?}");
}

#[retrace::record]
async fn outer(provider: &Provider) {
    agent(provider, "nested").await.unwrap();
}
