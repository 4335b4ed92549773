//! Entries of stored runs whose parents are odd.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use retrace_protocol::{Id, Json, Span, SpanType, Timestamp, Trace};
use retrace_replay::cassette::Outcome;
use retrace_replay::render::{Fidelity, entries};
use serde_json::{Value, json};

fn span(id: &str, parent: &str, span_type: SpanType) -> Span {
    let mut span = Span::new(id.into(), "t".into(), span_type, "step", Timestamp::from_unix_micros(1));
    span.parent_id = Some(Id::from(parent));
    span
}

fn run(spans: Vec<Span>) -> Trace {
    Trace { spans: Some(spans), ..Trace::started("t".into(), Timestamp::from_unix_micros(1)) }
}

#[test]
fn parents_in_a_circle_end() {
    for span_type in [SpanType::LlmCall, SpanType::ToolCall, SpanType::Reasoning] {
        let own = run(vec![span("a", "a", span_type)]);
        let pair = run(vec![span("a", "b", span_type), span("b", "a", span_type), span("c", "a", SpanType::LlmCall)]);
        assert!(entries(&own).len() <= 1 && entries(&pair).len() <= 3);
    }
}

#[test]
fn the_depth_of_a_lane_is_bounded() {
    let chain: Vec<Span> =
        (1..3_000).map(|n| span(&n.to_string(), &(n - 1).to_string(), SpanType::Reasoning)).collect();
    let mut spans = chain;
    spans.push(span("call", "2999", SpanType::LlmCall));
    let entries = entries(&run(spans));
    assert!(entries.len() == 1 && format!("{:?}", entries.first().unwrap().entry.lane).len() < 16 * 1024);
}

/// Model call of a run, and what is rebuilt of its response.
#[allow(clippy::needless_pass_by_value)] // callers build the values in place
fn rebuilt(
    provider: &str,
    metadata: Value,
    output: Value,
) -> (Option<String>, Result<Value, String>, Vec<&'static str>) {
    let mut call = span("a", "0", SpanType::LlmCall);
    let mut all = json!({ "provider": provider, "operation": "chat", "finish_reasons": ["end_turn"] });
    all.as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
    (call.metadata, call.output) = (Some(Json::from_serialize(&all)), Some(Json::from_serialize(&output)));
    call.model = Some("m".to_owned());
    let entry = entries(&run(vec![call])).remove(0);
    let notes = match entry.fidelity {
        Fidelity::Rebuilt(notes) => notes,
        _ => Vec::new(),
    };
    let response = match entry.entry.outcome {
        Outcome::Response(response) => Ok(serde_json::from_slice(&response.body()).unwrap()),
        Outcome::NotReplayable(reason) => Err(reason),
        other => panic!("{other:?}"),
    };
    (entry.entry.endpoint, response, notes)
}

#[test]
fn an_api_that_the_run_states_decides_the_format() {
    let path = |provider: &str, api: Option<&str>| {
        let attributes = api.map_or(json!({}), |api| json!({ "retrace.api": api }));
        let metadata = json!({ "attributes": attributes, "request_model": "anthropic.claude-3" });
        rebuilt(provider, metadata, json!("At six."))
    };
    let endpoint = |provider: &str, api: Option<&str>| path(provider, api).0;
    assert_eq!(endpoint("aws.bedrock", None).unwrap(), "POST /model/anthropic.claude-3/converse");
    assert_eq!(endpoint("aws.bedrock", Some("bedrock.invoke")).unwrap(), "POST /model/anthropic.claude-3/invoke");
    assert_eq!(endpoint("cohere", None).unwrap(), "POST /v2/chat");
    assert_eq!(endpoint("cohere", Some("cohere.v1_chat")).unwrap(), "POST /v1/chat");
    let (endpoint, response, _) = path("lm_studio", Some("lmstudio.chat"));
    assert_eq!(endpoint, None);
    assert!(response.unwrap_err().contains("`lmstudio.chat` are not rebuilt"));
}

#[test]
fn tools_that_the_provider_ran_are_rebuilt_before_the_text() {
    let call = json!({ "type": "server_tool_use", "id": "s1", "name": "web_search", "input": { "query": "tides" } });
    let part = json!({ "type": "server_tool_call", "id": "s1", "name": "web_search", "server_tool_call": call });
    let (_, response, notes) = rebuilt("anthropic", json!({ "other_output": [part] }), json!("At six."));
    assert_eq!(response.unwrap()["content"], json!([call, { "type": "text", "text": "At six." }]));
    assert!(notes.iter().any(|note| note.contains("place of the provider's tools")), "{notes:?}");
    let (_, refused, _) = rebuilt("anthropic", json!({ "other_output": [{ "type": "odd" }] }), json!("At six."));
    assert!(refused.unwrap_err().contains("`odd`"));
}

#[test]
fn media_that_the_run_holds_are_rebuilt() {
    let output = |image: Value| json!([{ "type": "text", "text": "Look:" }, image]);
    let held = output(json!({ "type": "image", "mime_type": "image/png", "data": "iVBORw0KGgo=" }));
    let (_, response, _) = rebuilt("gcp.gemini", json!({}), held);
    let parts = json!([{ "text": "Look:" }, { "inlineData": { "mimeType": "image/png", "data": "iVBORw0KGgo=" } }]);
    assert_eq!(response.unwrap()["candidates"][0]["content"]["parts"], parts);
    let left_out = output(json!({ "type": "image", "mime_type": "image/png", "size": 9_000_000, "sha256": "00" }));
    let (_, refused, _) = rebuilt("gcp.gemini", json!({}), left_out);
    assert!(refused.unwrap_err().contains("a reference only"));
}
