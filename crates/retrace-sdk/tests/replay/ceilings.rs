//! Ceilings: what the provider sees is what they state.

use retrace::{InRun as _, SpanType};

use crate::alone;
use crate::provider::Provider;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_provider_sees_as_many_requests_as_the_ceiling_states() {
    let _alone = alone();
    let provider = Provider::new();
    let client = provider.clone();
    let refused = retrace::limits()
        .steps(5)
        .scope(async move {
            let tasks: Vec<_> = (0..10)
                .map(|_| {
                    let client = client.clone();
                    tokio::spawn(async move { client.chat("a").await }.in_run())
                })
                .collect();
            let threads: Vec<_> = (0..10)
                .map(|_| {
                    let client = client.clone();
                    retrace::thread(move || client.chat_sync("b"))
                })
                .collect();
            let mut refused = Vec::new();
            for task in tasks {
                refused.extend(task.await.unwrap().err());
            }
            for thread in threads {
                refused.extend(thread.join().unwrap().err());
            }
            refused
        })
        .await;
    assert_eq!(provider.seen().len(), 5);
    assert_eq!(refused.len(), 15);
    for error in refused {
        let refused = retrace::refusal(&*error).unwrap();
        let enforcement = refused.enforcement().unwrap();
        assert_eq!(
            (enforcement.limit, enforcement.used, enforcement.policy_id.as_deref()),
            (Some(5.0), Some(6.0), Some("local"))
        );
    }
}

#[tokio::test]
async fn the_answer_that_crosses_a_ceiling_is_delivered() {
    let _alone = alone();
    let provider = Provider::new();
    let client = provider.clone();
    retrace::limits()
        .tokens(20)
        .scope(async move {
            assert!(client.chat("a").await.is_ok(), "15 tokens");
            assert!(client.chat("b").await.is_ok(), "30 tokens");
            assert!(client.chat("c").await.unwrap_err().to_string().contains("30 tokens"));
        })
        .await;
    assert_eq!(provider.seen(), ["a", "b"]);
}

#[cfg(feature = "prices")]
#[tokio::test]
async fn dollars_are_counted_by_the_price_table() {
    let _alone = alone();
    let provider = Provider::new();
    let client = provider.clone();
    let error = retrace::limits()
        .usd(0.000_000_1)
        .scope(async move {
            client.chat("a").await.unwrap();
            client.chat("b").await.unwrap_err().to_string()
        })
        .await;
    assert!(error.contains("the run has used $0.00000") && error.ends_with("and may use $0.0000001"), "{error}");
    assert_eq!(provider.seen(), ["a"]);
}

#[test]
fn tool_steps_count_and_outside_of_the_scope_nothing_is_limited() {
    let _alone = alone();
    let provider = Provider::new();
    retrace::limits().steps(2).in_scope(|| {
        retrace::step("search", SpanType::ToolCall).in_scope(|_| ());
        provider.chat_sync("a").unwrap();
        provider.chat_sync("b").unwrap_err();
    });
    // Other tests replay at the same time, and a call without a context would be theirs.
    let client = provider.clone();
    let outside = retrace::outside_replay(async move { client.chat("c").await.unwrap() });
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(outside);
    assert_eq!(provider.seen(), ["a", "c"]);
}

#[test]
fn a_replayed_call_costs_nothing() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let provider = Provider::new();
    let run = |provider: &Provider| (0..3).map(|_| provider.chat_sync("a").unwrap()).collect::<Vec<_>>();
    let recorded = retrace::record_cassette(&path).run_sync(|| run(&provider)).unwrap().value;
    let replayed = retrace::limits().steps(1).in_scope(|| retrace::replay(&path).run_sync(|| run(&provider))).unwrap();
    assert_eq!(replayed.value, recorded);
}
