//! Steps whose recorded result is used.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use retrace::{Effects, ReplayError, SpanType, StepError};
use serde::{Deserialize, Serialize};

use crate::alone;
use crate::provider::AnyError;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Page {
    title: String,
}

/// How often the steps of one test were executed.
type Executed = Arc<AtomicUsize>;

fn executed(executed: &Executed) -> usize {
    executed.load(Ordering::SeqCst)
}

#[retrace::record(type = tool_call, replay, effects = none, skip(count))]
async fn search(count: &Executed, query: &str) -> Result<Vec<Page>, AnyError> {
    count.fetch_add(1, Ordering::SeqCst);
    match query {
        "" => Err("an empty query".into()),
        _ => Ok(vec![Page { title: format!("{query} {}", executed(count)) }]),
    }
}

#[retrace::record(type = tool_call, replay, skip(count))]
fn add(count: &Executed, a: u32, b: u32) -> u32 {
    count.fetch_add(1, Ordering::SeqCst);
    a + b
}

#[retrace::record(type = tool_call, replay)]
async fn coded(code: u8) -> Result<u8, String> {
    if code == 0 { Err("zero".to_owned()) } else { Ok(code) }
}

#[tokio::test]
async fn a_recorded_result_is_used() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let run = |count: Executed| async move {
        let found = search(&count, "tides").await.unwrap();
        let failed = search(&count, "").await.unwrap_err().to_string();
        let sum = add(&count, 1, 2);
        let by_hand = {
            let count = Arc::clone(&count);
            let step = retrace::step("fetch", SpanType::ToolCall).input("a").effects(Effects::Idempotent);
            step.memo(async move { Some(count.fetch_add(1, Ordering::SeqCst)) }).await
        };
        let tried: Result<u8, StepError> = retrace::step("tried", SpanType::ToolCall).try_memo(async { Ok(7) }).await;
        (found, failed, sum, by_hand, tried.unwrap(), coded(0).await, coded(2).await)
    };
    let count = Executed::default();
    let recorded = retrace::record_cassette(&path).run(run(Arc::clone(&count))).await.unwrap().value;
    assert_eq!(executed(&count), 4);
    let replayed = retrace::replay(&path).run(run(Arc::clone(&count))).await.unwrap();
    assert_eq!(replayed.value, recorded);
    assert_eq!(executed(&count), 4, "nothing is executed again");
    assert_eq!((replayed.report.answered, replayed.report.unused.len()), (7, 0), "{}", replayed.report);
}

#[tokio::test]
async fn other_arguments_are_refused() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let count = Executed::default();
    retrace::record_cassette(&path)
        .run(async {
            search(&count, "tides").await.unwrap();
            add(&count, 1, 2);
        })
        .await
        .unwrap();
    let error = retrace::replay(&path)
        .run(async {
            let refused = search(&count, "storms").await.unwrap_err();
            assert!(refused.downcast_ref::<StepError>().unwrap().replay().is_some());
        })
        .await
        .unwrap_err();
    assert!(error.to_string().contains("/query"), "{error}");
    // A step without an error to state it by ends the run, `async` or not.
    let mut went_on = false;
    let error = retrace::replay(&path)
        .run(async {
            search(&count, "tides").await.unwrap();
            add(&count, 2, 2);
            went_on = true;
        })
        .await
        .unwrap_err();
    assert!(matches!(error, ReplayError::Refused { .. }), "{error}");
    let error = retrace::replay(&path)
        .run(async {
            retrace::step("add", SpanType::ToolCall).input(9).memo(async { 1u32 }).await;
            went_on = true;
        })
        .await
        .unwrap_err();
    assert!(matches!(error, ReplayError::Refused { .. }), "{error}");
    assert!(!went_on);
    assert_eq!(executed(&count), 2);
}

#[tokio::test]
async fn a_result_of_another_type_is_refused() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let step = || retrace::step("count", SpanType::ToolCall);
    retrace::record_cassette(&path).run(async { step().memo(async { 1u32 }).await }).await.unwrap();
    let error = retrace::replay(&path).run(async { step().memo(async { "text".to_owned() }).await }).await.unwrap_err();
    assert!(error.to_string().contains("does not fit"), "{error}");
}

#[tokio::test]
async fn steps_that_are_executed_are_reported() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let run = || async { retrace::step("send_mail", SpanType::ToolCall).scope(async {}).await };
    retrace::record_cassette(&path).run(run()).await.unwrap();
    let report = retrace::replay(&path).run(run()).await.unwrap().report;
    assert_eq!(report.executed.len(), 1);
    assert!(report.to_string().contains("executed, no result is recorded: tool_call `send_mail`"), "{report}");
}
