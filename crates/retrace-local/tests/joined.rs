//! Spans of a run that another process records, by HTTP: before that process sends anything of it, and after.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use retrace_local::Server;
use serde_json::{Value, json};
use support::ws::{Ws, event, span_ended, span_started, trace_ended, trace_started};
use support::{Client, run};

/// What a service sends that was called in the run `t`: one span below one of the caller's.
fn joined(span: &str) -> Value {
    json!({"id": "t", "name": "POST /ask", "status": "running", "started_at": "2026-01-02T03:04:06Z",
        "metadata": {"otel": {"trace_id": "t", "joined": true}},
        "spans": [{"id": span, "trace_id": "t", "parent_id": "a", "span_type": "action", "name": "POST /ask",
            "started_at": "2026-01-02T03:04:06Z", "ended_at": "2026-01-02T03:04:07Z", "duration_ms": 1000}]})
}

fn whole() -> Value {
    let mut whole = run("t");
    whole["name"] = json!("planner");
    whole
}

fn ids(trace: &Value) -> Vec<&str> {
    let mut ids: Vec<_> = trace["spans"].as_array().unwrap().iter().map(|span| span["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn they_are_there_whichever_comes_first() {
    for callee_first in [true, false] {
        let server = Server::start().unwrap();
        let client = Client::of(&server);
        let own: Vec<String> = ids(&whole()).into_iter().map(str::to_owned).collect();
        if callee_first {
            assert_eq!(client.post("/api/v1/traces", &joined("x1")).status, 201);
            let trace = client.get("/api/v1/traces/t").json;
            assert_eq!((&trace["name"], &trace["status"]), (&json!("POST /ask"), &json!("running")));
            assert_eq!(trace.get("live"), None, "nobody knows whether it is under way");
            assert_eq!(client.post("/api/v1/traces", &whole()).status, 200);
        } else {
            assert_eq!(client.post("/api/v1/traces", &whole()).status, 201);
            assert_eq!(client.post("/api/v1/traces", &joined("x1")).status, 200);
        }
        assert_eq!(client.post("/api/v1/traces", &joined("x1")).status, 200, "once more is once");
        assert_eq!(client.post("/api/v1/traces", &joined("x2")).status, 200);
        let trace = client.get("/api/v1/traces/t").json;
        let mut expected: Vec<&str> = own.iter().map(String::as_str).chain(["x1", "x2"]).collect();
        expected.sort_unstable();
        assert_eq!(ids(&trace), expected);
        for field in ["name", "status", "started_at", "ended_at", "metadata"] {
            assert_eq!(trace.get(field), whole().get(field), "{field} is the caller's to say");
        }
        assert_eq!(client.post("/api/v1/traces", &whole()).status, 409, "the run itself is created once");
    }
}

/// Of a run of several processes the totals are those of all its spans, and each usage counts once.
#[test]
fn the_totals_are_those_of_all_spans() {
    for callee_first in [true, false] {
        let server = Server::start().unwrap();
        let client = Client::of(&server);
        let mut callee = joined("x1");
        callee["spans"][0]["parent_id"] = json!("b");
        let mut call = callee["spans"][0].clone();
        (call["id"], call["parent_id"], call["span_type"]) = (json!("x2"), json!("x1"), json!("llm_call"));
        (call["input_tokens"], call["output_tokens"], call["cost"]) = (json!(20), json!(3), json!(0.5));
        callee["spans"].as_array_mut().unwrap().push(call);
        let mut caller = whole();
        (caller["total_tokens"], caller["total_cost"]) = (json!(0), json!(0));
        let own = caller["spans"].as_array().unwrap().len();
        caller["span_count"] = json!(own);
        let usage = |span: &Value| ["input_tokens", "output_tokens"].map(|name| span[name].as_u64().unwrap_or(0));
        let tokens: u64 = caller["spans"].as_array().unwrap().iter().flat_map(usage).sum();
        let bodies = if callee_first { [&callee, &caller] } else { [&caller, &callee] };
        bodies.into_iter().for_each(|body| assert!(client.post("/api/v1/traces", body).status < 300));
        for trace in [&client.get("/api/v1/traces/t").json, &client.get("/api/v1/traces").json["traces"][0]] {
            assert_eq!((&trace["total_tokens"], &trace["span_count"]), (&json!(tokens + 23), &json!(own + 2)));
        }
    }
}

/// A service records the call of its client, which another process records.
#[tokio::test]
async fn a_server_repeats_the_call_of_its_client() {
    let server = Server::start().unwrap();
    let (mut one, mut other) = (Ws::open(&server).await, Ws::open(&server).await);
    let mut call = joined("a")["spans"][0].clone();
    (call["parent_id"], call["span_type"]) = (Value::Null, json!("llm_call"));
    (call["input_tokens"], call["metadata"]) = (json!(100), json!({"response_id": "r"}));
    one.send_acked(&[trace_started(1, "t"), event("span_started", 2, call)]).await;
    let mut served = joined("x")["spans"][0].clone();
    served["input_tokens"] = json!(103);
    served["metadata"] = json!({"otel": {"kind": "server", "joined": true}, "attributes": {"gen_ai.request.id": "r"}});
    other.send_acked(&[event("span_started", 1, served)]).await;
    one.send_acked(&[trace_ended(3, "t")]).await;
    let trace = Client::of(&server).get("/api/v1/traces/t").json;
    assert_eq!((&trace["total_tokens"], ids(&trace)), (&json!(100), vec!["a", "x"]));
}

#[tokio::test]
async fn a_caller_that_streams_is_joined_as_well() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    assert_eq!(client.post("/api/v1/traces", &joined("x1")).status, 201);
    let mut ws = Ws::open(&server).await;
    ws.send_acked(&[trace_started(1, "t"), span_started(2, "t", "s1")]).await;
    let trace = client.get("/api/v1/traces/t").json;
    assert_eq!((&trace["live"], ids(&trace)), (&json!(true), vec!["s1", "x1"]));
    assert_eq!(client.post("/api/v1/traces", &joined("x2")).status, 200);
    ws.send_acked(&[span_ended(3, "t", "s1", json!("done")), trace_ended(4, "t")]).await;
    let trace = client.get("/api/v1/traces/t").json;
    assert_eq!((&trace["status"], ids(&trace)), (&json!("completed"), vec!["s1", "x1", "x2"]));
}

#[test]
fn what_is_lost_of_them_is_lost_of_the_run() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    client.upload(&whole());
    let mut lossy = joined("x1");
    lossy["lossy"] = json!(true);
    assert_eq!(client.post("/api/v1/traces", &lossy).status, 200);
    assert_eq!(client.get("/api/v1/traces/t").json["lossy"], true);
}

#[tokio::test]
async fn two_processes_that_stream_into_one_run_do_not_meet() {
    let server = Server::start().unwrap();
    let (mut one, mut other) = (Ws::open(&server).await, Ws::open(&server).await);
    // Each counts from 1.
    other.send_acked(&[span_started(1, "t", "b"), span_ended(2, "t", "b", json!("b"))]).await;
    one.send_acked(&[trace_started(1, "t"), event("span_started", 2, joined("x")["spans"][0].clone())]).await;
    one.send_acked(&[span_started(3, "t", "a"), span_ended(4, "t", "a", json!("a")), trace_ended(5, "t")]).await;
    let trace = Client::of(&server).get("/api/v1/traces/t").json;
    assert_eq!((ids(&trace), &trace["status"]), (vec!["a", "b", "x"], &json!("completed")));
}
