//! Runs sent event by event: whatever comes twice, late, out of order or through several connections ends in one record
//! (PROTOCOL.md sections 5, 6 and 22).

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use proptest::prelude::*;
use retrace_local::Server;
use serde_json::{Value, json};
use support::ws::{Ws, event, span_ended, span_started, trace_ended, trace_started};
use support::{AT, Client};

const LATER: &str = "2026-01-02T03:04:06Z";

/// Without the number, as the oldest clients send it.
fn bare(mut frame: Value) -> Value {
    frame.as_object_mut().unwrap().remove("seq");
    frame
}

/// The same event again, with other fields: `null` takes one out.
fn with(mut frame: Value, data: &Value) -> Value {
    let fields = frame["data"].as_object_mut().unwrap();
    for (name, value) in data.as_object().unwrap() {
        fields.insert(name.clone(), value.clone());
    }
    fields.retain(|name, value| !value.is_null() || name == "output" || name == "parent_id");
    frame
}

/// Returns the run that is stored after one client sent these events in this order, without the mark that it is interrupted.
async fn stored(frames: &[Value]) -> Value {
    let server = Server::start().unwrap();
    Ws::open(&server).await.send_acked(frames).await;
    read(&server)
}

fn read(server: &Server) -> Value {
    let mut trace = Client::of(server).get("/api/v1/traces/t").json;
    trace.as_object_mut().unwrap().remove("live");
    trace
}

fn span(trace: &Value, id: &str) -> Value {
    let mut spans = trace["spans"].as_array().unwrap().iter().filter(|span| span["id"] == id);
    let span = spans.next().unwrap_or_else(|| panic!("no span {id} in {trace}")).clone();
    assert!(spans.next().is_none(), "one span for one id");
    span
}

#[tokio::test]
async fn a_span_that_starts_complete_is_one_span() {
    let whole = json!({"ended_at": AT, "output": "o", "duration_ms": 3, "output_tokens": 5, "cost": 0.5});
    let end = span_ended(3, "t", "s", json!("o"));
    let trace = stored(&[trace_started(1, "t"), with(span_started(2, "t", "s"), &whole), end.clone(), end]).await;
    assert_eq!(trace["spans"].as_array().unwrap().len(), 1);
    let span = span(&trace, "s");
    for (name, value) in whole.as_object().unwrap() {
        assert_eq!(&span[name], value, "{name}");
    }
}

#[tokio::test]
async fn a_fuller_start_adds_and_undoes_no_end() {
    let fuller = json!({"name": "look closely", "model": "m", "metadata": {"k": 1}, "input": null, "cost": 0.25});
    for number in [|frame: Value| frame, bare] {
        let trace = stored(&[
            number(trace_started(1, "t")),
            number(span_started(2, "t", "s")),
            number(with(span_ended(3, "t", "s", json!(4)), &json!({"error": "E"}))),
            number(with(span_started(4, "t", "s"), &fuller)),
        ])
        .await;
        let span = span(&trace, "s");
        let expected = json!({
            "id": "s", "trace_id": "t", "parent_id": null, "span_type": "tool_call", "name": "look closely",
            "started_at": AT, "input": [1, 2.5], "model": "m", "metadata": {"k": 1}, "cost": 0.25, "ended_at": AT,
            "output": 4, "duration_ms": 3, "error": "E",
        });
        assert_eq!(span, expected);
    }
}

#[tokio::test]
async fn the_last_end_holds() {
    let second = with(span_ended(9, "t", "s", json!("real")), &json!({"ended_at": LATER, "duration_ms": null}));
    let first = with(span_ended(3, "t", "s", Value::Null), &json!({"output_tokens": 7}));
    let start = [trace_started(1, "t"), span_started(2, "t", "s")];
    let [a, b] = start.clone();
    let sent = stored(&[a, b, first.clone(), second.clone()]).await;
    let end = span(&sent, "s");
    assert_eq!((&end["output"], &end["ended_at"]), (&json!("real"), &json!(LATER)));
    assert_eq!((&end["duration_ms"], &end["output_tokens"]), (&json!(3), &json!(7)), "what it does not say stays");
    // Sent again after the second, because its ack was lost: it was sent before all the same.
    let [a, b] = start.clone();
    assert_eq!(stored(&[a, b, first.clone(), second.clone(), first.clone()]).await, sent);
    // Without numbers the order is all there is.
    let [a, b] = start;
    let turned = stored(&[bare(a), bare(b), bare(second), bare(first)]).await;
    assert_eq!(span(&turned, "s")["output"], Value::Null);
}

#[tokio::test]
async fn an_end_finds_its_span_without_its_trace_and_before_its_start() {
    let lone = |seq, id: &str| with(span_ended(seq, "t", id, json!(id)), &json!({"trace_id": null}));
    let trace = stored(&[
        trace_started(1, "t"),
        span_started(2, "t", "routed"),
        lone(3, "routed"),
        lone(5, "early"),
        span_started(4, "t", "early"),
        span_ended(7, "t", "early with trace", json!("early with trace")),
        span_started(6, "t", "early with trace"),
        span_ended(8, "t", "never started", json!(0)),
        lone(9, "never started either"),
        bare(lone(0, "bare")),
        bare(span_started(0, "t", "bare")),
    ])
    .await;
    let spans = trace["spans"].as_array().unwrap();
    let ids: Vec<_> = spans.iter().map(|span| span["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 4, "an end alone is no span: {ids:?}");
    for span in spans {
        assert_eq!((&span["output"], &span["duration_ms"]), (&span["id"], &json!(3)));
    }
}

#[tokio::test]
async fn a_late_start_of_a_run_adds_and_never_resets() {
    let fuller = json!({
        "name": "better", "input": "more", "metadata": {"k": 1}, "session_id": "s", "project_id": "p", "output": null,
        "ended_at": null, "total_tokens": 99,
    });
    for number in [|frame: Value| frame, bare] {
        for fuller_seq in [1, 9] {
            let late = number(with(trace_started(fuller_seq, "t"), &fuller));
            let again = number(trace_started(1, "t"));
            let trace = stored(&[number(trace_started(1, "t")), number(trace_ended(2, "t")), again, late]).await;
            let mut expected = trace_ended(0, "t")["data"].clone();
            let more =
                json!({"name": "better", "input": "more", "metadata": {"k": 1}, "session_id": "s", "project_id": "p"});
            expected.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            expected["spans"] = json!([]);
            assert_eq!(trace, expected);
        }
    }
}

#[tokio::test]
async fn an_end_alone_stands_and_the_last_of_several_holds() {
    let server = Server::start().unwrap();
    let mut ws = Ws::open(&server).await;
    ws.send_acked(&[trace_ended(5, "t")]).await;
    let mut expected = trace_ended(5, "t")["data"].clone();
    expected["spans"] = json!([]);
    assert_eq!(read(&server), expected);
    ws.send_acked(&[trace_started(4, "t")]).await;
    expected["name"] = json!("agent");
    expected["input"] = json!({"q": 1});
    assert_eq!(read(&server), expected);

    let failed = json!({"status": "failed", "error": "E", "lossy": true, "output": null, "total_tokens": null});
    ws.send_acked(&[with(trace_ended(6, "t"), &failed), trace_ended(5, "t")]).await;
    expected["status"] = json!("failed");
    expected["error"] = json!("E");
    expected["lossy"] = json!(true);
    expected["output"] = Value::Null;
    assert_eq!(read(&server), expected);
    // Older clients do not say when it began.
    ws.send_acked(&[event("trace_ended", 7, json!({"id": "old", "ended_at": AT, "status": "completed"}))]).await;
    assert_eq!(Client::of(&server).get("/api/v1/traces/old").json["status"], "completed");
}

#[tokio::test]
async fn spans_wait_for_their_trace() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    let mut ws = Ws::open(&server).await;
    ws.send_acked(&[span_started(2, "t", "a"), span_ended(3, "t", "a", json!(1)), span_started(4, "u", "a")]).await;
    assert_eq!(client.get("/api/v1/traces/t").status, 404, "no trace yet");
    assert_eq!(client.get("/api/v1/traces").json["total"], 0);
    assert_eq!(client.get("/api/v1/traces/t/spans/a").json["output"], 1, "but its spans can be requested");
    ws.send_acked(&[trace_started(1, "t")]).await;
    assert_eq!(span(&read(&server), "a")["output"], 1);

    // An upload is such a trace too: one span is known already, another not, and an end waits.
    ws.send_acked(&[span_ended(9, "u", "c", json!("late"))]).await;
    let run = json!({"id": "u", "status": "completed", "started_at": AT, "spans": [
        with(span_started(0, "u", "b"), &json!({}))["data"], with(span_started(0, "u", "a"), &json!({"output": 5}))["data"],
        span_started(0, "u", "c")["data"],
    ]});
    assert_eq!(client.post("/api/v1/traces", &run).status, 201);
    let trace = client.get("/api/v1/traces/u").json;
    assert_eq!(trace["spans"].as_array().unwrap().len(), 3);
    assert_eq!((&span(&trace, "a")["output"], &span(&trace, "c")["output"]), (&json!(5), &json!("late")));
    assert_eq!(client.post("/api/v1/traces", &run).status, 409);
    // What is deleted is deleted whole.
    ws.send_acked(&[span_ended(10, "u", "d", json!(1))]).await;
    assert_eq!(client.delete("/api/v1/traces/u").status, 204);
    ws.send_acked(&[trace_started(11, "u"), span_started(12, "u", "d")]).await;
    let again = client.get("/api/v1/traces/u").json;
    assert_eq!((again["spans"].as_array().unwrap().len(), &span(&again, "d")["output"]), (1, &Value::Null));
}

#[tokio::test]
async fn a_start_may_bring_its_spans() {
    let spans = json!({"spans": [span_started(0, "t", "a")["data"], span_started(0, "t", "b")["data"]]});
    let start = with(trace_started(1, "t"), &spans);
    let trace = stored(&[start.clone(), span_ended(2, "t", "a", json!(1)), start, trace_ended(3, "t")]).await;
    assert_eq!((span(&trace, "a")["output"].clone(), trace["spans"].as_array().unwrap().len()), (json!(1), 2));
}

/// A run with all that is odd about order: a fuller second start, a second end, a start that is already complete.
fn odd_run() -> Vec<Value> {
    let whole = json!({"ended_at": AT, "output": "o", "duration_ms": 3, "cost": 0.5});
    vec![
        trace_started(1, "t"),
        span_started(2, "t", "a"),
        with(span_started(3, "t", "b"), &whole),
        with(span_ended(4, "t", "b", json!("o")), &json!({"output_tokens": 7})),
        with(trace_started(5, "t"), &json!({"name": "better", "input": null, "metadata": {"k": [1]}})),
        with(span_ended(6, "t", "b", json!("real")), &json!({"ended_at": LATER, "duration_ms": 9})),
        with(span_started(7, "t", "a"), &json!({"name": "fuller", "model": "m", "parent_id": "b"})),
        span_started(8, "t", "open"),
        with(span_ended(9, "t", "a", Value::Null), &json!({"error": "E"})),
        with(span_started(10, "t", "a"), &json!({"input": {"last": 1}, "metadata": {"z": 1}})),
        trace_ended(11, "t"),
        with(trace_ended(12, "t"), &json!({"status": "failed", "lossy": true, "output": null})),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_order_and_repetition_over_several_connections_ends_the_same(
        more in prop::collection::vec((any::<prop::sample::Index>(), 0..3_usize), 0..20),
        order in Just((0..12_usize).collect::<Vec<_>>()).prop_shuffle(),
        through in prop::collection::vec(0..3_usize, 12),
        cut in any::<prop::sample::Index>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (expected, found) = runtime.block_on(async {
            let frames = odd_run();
            let expected = stored(&frames).await;
            let server = Server::start().unwrap();
            let mut connections = Vec::new();
            for _ in 0..3 {
                connections.push(Ws::open(&server).await);
            }
            let mut sent: Vec<(usize, usize)> = more.iter().map(|(at, way)| (at.index(12), *way)).collect();
            sent.extend(order.into_iter().zip(through));
            let cut = cut.index(sent.len());
            for (at, (frame, way)) in sent.into_iter().enumerate() {
                if at == cut {
                    connections[way].leave().await;
                    connections[way] = Ws::open(&server).await;
                }
                connections[way].send(&frames[frame]).await;
                // Read at once only now and then, so that what waits is committed together.
                if frame % 3 == 0 {
                    connections[way].read_up_to_here_past_acks().await;
                }
            }
            for connection in &mut connections {
                connection.leave().await;
            }
            (expected, read(&server))
        });
        prop_assert_eq!(found, expected);
    }
}
