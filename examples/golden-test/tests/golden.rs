//! The agent's golden test. It needs no network: model and tool are answered from `golden/bergen.jsonl`.

use example_golden_test::describe_town;

/// Used only when the cassette is recorded.
fn base_url() -> String {
    std::env::var("OPENAI_BASE_URL").unwrap_or_else(|_| "https://api.openai.com/v1".to_owned())
}

#[retrace::test(cassette = "golden/bergen.jsonl")]
async fn bergen_is_described() {
    let text = describe_town(&base_url(), "Bergen").await.unwrap();
    assert!(text.contains("seven mountains"), "{text}");
}

#[retrace::test(cassette = "golden/bergen.jsonl")]
#[should_panic(expected = "first divergence: tool_call `inhabitants` in describe-town differs from entry 0")]
async fn another_town_fails() {
    describe_town(&base_url(), "Oslo").await.unwrap();
}
