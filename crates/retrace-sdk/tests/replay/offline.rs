//! A recorded run is replayed with the provider gone.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderMap;
use retrace::clients::genai::Request;
use retrace::clients::genai::interceptor::Action;
use retrace::{InRun as _, ReplayError, SpanType};
use retrace_protocol::Status;
use serde_json::json;

use crate::alone;
use crate::provider::{AnyError, Provider, elsewhere};
use crate::support::{named, record, spans, value};

#[retrace::record(name = "research")]
async fn research(provider: &Provider, topic: &str) -> Result<String, AnyError> {
    let plan = provider.chat(&format!("plan {topic}")).await?;
    let parts = retrace::step("gather", SpanType::Reasoning)
        .scope(async {
            let branches = ["neap", "spring", "slack"].map(|part| {
                let provider = provider.clone();
                retrace::spawn(
                    retrace::step("branch", SpanType::Reasoning).scope(async move { provider.chat(part).await }),
                )
            });
            let mut parts = Vec::new();
            for branch in branches {
                parts.push(branch.await.unwrap()?);
            }
            Ok::<_, AnyError>(parts)
        })
        .await?;
    Ok(format!("{plan}; {}", parts.join(", ")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_result_with_the_provider_gone() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("golden/research.jsonl");
    let provider = Provider::new();
    let recorded = retrace::record_cassette(&path).name("research").run(research(&provider, "tides")).await.unwrap();
    let recorded = recorded.value.unwrap();
    assert_eq!(provider.seen().len(), 4);
    for _ in 0..20 {
        let gone = Provider::new();
        let replayed = retrace::replay(&path).run(research(&gone, "tides")).await.unwrap();
        assert_eq!(replayed.value.unwrap(), recorded);
        assert_eq!(gone.seen(), [""; 0], "no call leaves");
        assert_eq!((replayed.report.answered, replayed.report.unused.len()), (4, 0), "{}", replayed.report);
    }
}

#[tokio::test]
async fn p4_a_changed_prompt_fails_with_its_diff_though_the_agent_swallows_the_error() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let provider = Provider::new();
    retrace::record_cassette(&path).run(async { provider.chat("plan tides").await.unwrap() }).await.unwrap();
    let gone = Provider::new();
    let run = async {
        let first = gone.chat("plan storms").await.unwrap_err();
        let refused = retrace::refusal(&*first).expect("a refusal").replay().expect("of a replay").to_string();
        assert!(refused.contains("/messages/0/content") && refused.contains("plan storms"), "{refused}");
        // The prompt that is recorded is refused now as well.
        gone.chat("plan tides").await.unwrap_err();
        "swallowed"
    };
    let error = retrace::replay(&path).strict().run(run).await.unwrap_err();
    let ReplayError::Refused { report, .. } = &error else { panic!("{error}") };
    assert_eq!((report.divergences.len(), report.refused_later), (1, 1));
    assert_eq!(gone.seen(), [""; 0]);
    let lenient =
        retrace::replay(&path).lenient().run(async { gone.chat("plan storms").await.unwrap() }).await.unwrap();
    assert_eq!(lenient.value, "plan tides: answer 1");
    assert_eq!(lenient.report.divergences.len(), 1);
}

#[tokio::test]
async fn recorded_failures_fail_again() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let provider = Provider::new();
    let run = |provider: Provider| async move { provider.chat("fail").await.unwrap_err().to_string() };
    let recorded = retrace::record_cassette(&path).run(run(provider)).await.unwrap();
    let replayed = retrace::replay(&path).run(run(Provider::new())).await.unwrap();
    assert_eq!(replayed.value, recorded.value);
    assert!(replayed.value.contains("429"), "{}", replayed.value);
}

#[tokio::test]
async fn values_of_the_clock_and_of_chance_are_replayed() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let run = || async { (retrace::now(), retrace::random(), retrace::uuid(), retrace::random()) };
    let recorded = retrace::record_cassette(&path).run(run()).await.unwrap().value;
    let replayed = retrace::replay(&path).run(run()).await.unwrap().value;
    assert_eq!(recorded, replayed);
    assert_ne!(recorded, run().await);
    assert_ne!(recorded.1, recorded.3);
}

#[tokio::test]
async fn token_ids_are_verified() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let run =
        |provider: Provider| async move { [provider.chat("ab").await.is_ok(), provider.chat("cd").await.is_ok()] };
    retrace::record_cassette(&path).run(run(Provider::new())).await.unwrap();
    let live = Provider::new();
    let verified = retrace::replay(&path).verify().run(run(live.clone())).await.unwrap();
    assert_eq!(live.seen(), ["ab", "cd"]);
    let report = verified.report;
    let reports: Vec<String> = report.verified.iter().map(|verified| verified.tokens.to_string()).collect();
    assert_eq!(reports, ["4 of 4 tokens unchanged", "4 of 4 tokens unchanged"], "{report}");
    // Another token in the recording: the second call does not leave.
    let text = fs::read_to_string(&path).unwrap().replace("\"token_ids\":[97,98,", "\"token_ids\":[97,99,");
    fs::write(&path, text).unwrap();
    let live = Provider::new();
    let error = retrace::replay(&path).verify().run(run(live.clone())).await.unwrap_err();
    assert!(error.to_string().contains("1 of 4 tokens unchanged"), "{error}");
    assert_eq!(live.seen(), ["ab"]);
}

#[test]
fn code_that_is_not_async() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let provider = Provider::new();
    let recorded = retrace::record_cassette(&path).run_sync(|| provider.chat_sync("a").unwrap()).unwrap();
    let replayed = retrace::replay(&path).run_sync(|| Provider::new().chat_sync("a").unwrap()).unwrap();
    assert_eq!(recorded.value, replayed.value);
}

#[test]
fn a_call_of_which_the_replay_is_not_known_is_refused() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let provider = Provider::new();
    retrace::record_cassette(&path).run_sync(|| provider.chat_sync("a").unwrap()).unwrap();
    let gone = Provider::new();
    retrace::replay(&path)
        .lenient()
        .run_sync(|| {
            let inner = retrace::replay(&path).run_sync(|| {
                let client = gone.clone();
                let refused = std::thread::spawn(move || elsewhere(|| client.chat_sync("a").unwrap_err())).join();
                assert!(refused.unwrap().to_string().contains("in_run()"));
            });
            inner.unwrap();
        })
        .unwrap();
    assert_eq!(gone.seen(), [""; 0]);
}

#[test]
fn calls_that_end_in_another_order_are_recorded_in_the_order_in_which_they_began() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let outer = || {
        retrace::step("outer", SpanType::ToolCall).memo_sync(|| {
            retrace::step("inner", SpanType::ToolCall).memo_sync(|| 1);
            2
        })
    };
    retrace::record_cassette(&path).run_sync(outer).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let names: Vec<&str> =
        text.lines().filter_map(|line| line.split_once("\"name\":\"")?.1.split('"').next()).collect();
    assert_eq!(names[1..], ["outer", "inner"], "{text}");
    let replayed = retrace::replay(&path).run_sync(outer).unwrap();
    assert_eq!((replayed.value, replayed.report.answered, replayed.report.unused.len()), (2, 1, 0));
}

#[test]
fn a_recording_that_fails_overwrites_nothing() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    fs::write(&path, "what was there").unwrap();
    let run = || {
        retrace::step("search canary", SpanType::ToolCall).memo_sync(|| 1);
        panic!("stop")
    };
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = retrace::record_cassette(&path).run_sync(run);
    }));
    assert!(caught.is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "what was there");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "the temporary file is gone");
    let directory_error = retrace::record_cassette(directory.path()).run_sync(|| ()).unwrap_err();
    assert!(directory_error.to_string().contains("is a directory"), "{directory_error}");
    let missing = retrace::replay(directory.path().join("none.jsonl")).run_sync(|| ()).unwrap_err();
    assert!(missing.to_string().contains("none.jsonl") && missing.to_string().contains("record it first"), "{missing}");
}

#[test]
fn a_thread_without_the_context_belongs_to_the_only_replay() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let provider = Provider::new();
    retrace::record_cassette(&path).run_sync(|| provider.chat_sync("a").unwrap()).unwrap();
    let gone = Provider::new();
    let _ = retrace::replay(&path).run_sync(|| {
        let client = gone.clone();
        std::thread::spawn(move || elsewhere(|| client.chat_sync("b").unwrap_err())).join().unwrap();
    });
    assert_eq!(gone.seen(), [""; 0], "no call leaves a strict replay");
    let outside = retrace::replay(&path).run_sync(|| {
        let client = gone.clone();
        let call = retrace::outside_replay(async move { client.chat("c").await.is_ok() });
        assert!(tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(call));
    });
    assert!(outside.is_ok());
    assert_eq!(gone.seen(), ["c"]);
}

#[tokio::test]
async fn tasks_and_threads_carry_the_replay() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let run = |provider: Provider| async move {
        let (task, blocking, thread) = (provider.clone(), provider.clone(), provider);
        let first = tokio::spawn(async move { task.chat("task").await.unwrap() }.in_run()).await.unwrap();
        let second = retrace::spawn_blocking(move || blocking.chat_sync("blocking").unwrap()).await.unwrap();
        let third = retrace::thread(move || thread.chat_sync("thread").unwrap()).join().unwrap();
        [first, second, third]
    };
    let recorded = retrace::record_cassette(&path).run(run(Provider::new())).await.unwrap().value;
    let gone = Provider::new();
    let replayed = retrace::replay(&path).run(run(gone.clone())).await.unwrap();
    assert_eq!((replayed.value, gone.seen().len(), replayed.report.answered), (recorded, 0, 3));
}

#[tokio::test]
async fn p4_a_swallowed_refusal_fails_the_run_in_the_receiver() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let run = |provider: Provider, prompt: &'static str| async move {
        let body = async |_| {
            let _ = provider.chat(prompt).await;
            "swallowed"
        };
        retrace::run("swallows").scope(body).await
    };
    retrace::record_cassette(&path).run(run(Provider::new(), "a")).await.unwrap();
    let recording = record();
    let error = retrace::replay(&path).run(run(Provider::new(), "b")).await.unwrap_err();
    assert!(matches!(error, ReplayError::Refused { .. }));
    let run = named(recording.runs(), "swallows");
    assert_eq!(run.status, Some(Status::Failed));
    let error = value(&run.metadata).to_string() + &format!("{:?}", spans(&run));
    assert!(error.contains("the request differs"), "{run:#?}");
}

/// Receives a stream of one token an event. `delivered` counts the events that were read.
async fn streamed(tokens: &[u32], delivered: &AtomicUsize) {
    let genai = retrace::clients::instrumentation();
    let body = json!({"model": "m", "stream": true, "messages": []}).to_string();
    let url = "https://api.openai.com/v1/chat/completions";
    let request = Request { method: "POST", url, body: Some(body.as_bytes()) };
    let (mut call, action) = genai.intercept(&request, &HeaderMap::new()).unwrap();
    assert!(matches!(action, Action::Pass), "{action:?}");
    call.response(200, &HeaderMap::new());
    for token in tokens {
        let event = json!({"choices": [{"index": 0, "delta": {"content": "x"}, "token_ids": [token]}]});
        call.chunk(format!("data: {event}\n\n").as_bytes());
        delivered.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
    }
    call.chunk(b"data: [DONE]\n\n");
    call.end();
}

#[tokio::test]
async fn verification_stops_a_stream_at_the_first_token_that_differs() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let delivered = AtomicUsize::new(0);
    retrace::record_cassette(&path).run(streamed(&[1, 2, 3, 4], &delivered)).await.unwrap();
    let again = AtomicUsize::new(0);
    let same = retrace::replay(&path).verify().run(streamed(&[1, 2, 3, 4], &again)).await.unwrap();
    assert_eq!(
        (same.report.verified[0].tokens.to_string().as_str(), again.into_inner()),
        ("4 of 4 tokens unchanged", 4)
    );
    let differs = AtomicUsize::new(0);
    let error = retrace::replay(&path).verify().run(streamed(&[1, 9, 3, 4], &differs)).await.unwrap_err();
    assert!(error.to_string().contains("1 of 4 tokens unchanged"), "{error}");
    assert_eq!(differs.into_inner(), 2, "what comes after the second token is not read");
}
