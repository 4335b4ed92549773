//! One WebSocket: how it is let in, what it is answered, and how it ends (PROTOCOL.md sections 4 to 7).

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::time::Instant;

use futures_util::SinkExt as _;
use retrace_local::{Server, TraceQuery};
use retrace_protocol::Status;
use serde_json::{Value, json};
use support::ws::{Ws, ack, connect, event, span_ended, span_started, trace_ended, trace_started};
use support::{AT, Client, HANG};
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};

fn keyed() -> Server {
    Server::builder().with_api_key("rt_right").start().unwrap()
}

#[tokio::test]
async fn a_run_is_streamed_acked_and_read_back() {
    let server = Server::start().unwrap();
    let mut ws = Ws::open(&server).await;
    let frames =
        [trace_started(1, "t"), span_started(2, "t", "s"), span_ended(3, "t", "s", json!(4)), trace_ended(4, "t")];
    ws.send_acked(&frames).await;
    let streamed = Client::of(&server).get("/api/v1/traces/t").json;
    let span = json!({
        "id": "s", "trace_id": "t", "parent_id": null, "span_type": "tool_call", "name": "look", "started_at": AT,
        "input": [1, 2.5], "ended_at": AT, "output": 4, "duration_ms": 3,
    });
    let mut expected = frames[0]["data"].clone();
    expected.as_object_mut().unwrap().extend(frames[3]["data"].as_object().unwrap().clone());
    expected["spans"] = json!([span]);
    assert_eq!(streamed, expected, "the same as an upload of the whole");
    assert_eq!(server.wait_for_end(&"t".into(), HANG).unwrap().unwrap().status, Some(Status::Completed));
}

#[tokio::test]
async fn the_right_key_lets_in_and_another_does_not() {
    let server = keyed();
    let mut ws = connect(&server, &[]).await.unwrap();
    ws.auth(json!({"type": "auth", "api_key": "rt_right"})).await;
    for wrong in ["", "rt_wrong", "rt_righ", "rt_right "] {
        let mut ws = connect(&server, &[("x-retrace-key", "rt_right")]).await.unwrap();
        ws.send(&json!({"type": "auth", "api_key": wrong, "acks": true})).await;
        let (code, reason) = ws.closed().await;
        assert_eq!(code, 4001);
        assert!(reason.contains("key") && (wrong.is_empty() || !reason.contains(wrong)), "{reason}");
    }
}

#[tokio::test]
async fn nothing_comes_before_the_key_and_nothing_else_is_taken_for_it() {
    let server = keyed();
    for first in [
        Message::text(trace_started(1, "t").to_string()),
        Message::text("garbage"),
        Message::text(""),
        Message::text(r#"{"type":"auth"}"#),
        Message::text(r#"{"type":"auth","api_key":7}"#),
        Message::text(r#"{"type":"pong"}"#),
        Message::text("[".repeat(10_000)),
        Message::binary("binary"),
    ] {
        let mut ws = connect(&server, &[]).await.unwrap();
        ws.socket.send(first.clone()).await.unwrap();
        assert_eq!(ws.closed().await.0, 4001, "{first:?}");
    }
    let mut ws = connect(&server, &[]).await.unwrap();
    ws.read_up_to_here().await;
    ws.auth(json!({"type": "auth", "api_key": "rt_right"})).await;
    assert_eq!(server.traces(&TraceQuery::new()).unwrap().total, 0);
}

#[tokio::test]
async fn who_has_not_shown_a_key_may_not_send_much() {
    let server = keyed();
    let mut ws = connect(&server, &[]).await.unwrap();
    // It may stop reading before all is sent, so that the sending may fail.
    let _ = ws.socket.send(Message::text("x".repeat(1 << 20))).await;
    match ws.message().await {
        Some(Ok(Message::Close(Some(frame)))) => assert_eq!(u16::from(frame.code), 4001),
        other => panic!("{other:?}"),
    }
    // Sent at once, a key and what follows it are taken.
    let mut ws = connect(&server, &[]).await.unwrap();
    let auth = json!({"type": "auth", "api_key": "rt_right", "acks": true});
    let mut large = trace_started(1, "t");
    large["data"]["input"] = json!("x".repeat(100_000));
    ws.socket.feed(Message::text(auth.to_string())).await.unwrap();
    ws.socket.feed(Message::text(large.to_string())).await.unwrap();
    ws.socket.flush().await.unwrap();
    assert_eq!(ws.next().await, json!({"type": "auth_ok"}));
    assert_eq!(ws.next().await, ack(&large));
}

#[tokio::test]
async fn pages_and_strangers_are_kept_out() {
    let server = Server::start().unwrap();
    let own = format!("http://{}", server.addr());
    for origin in ["https://evil.example", "null", &own] {
        let mut ws = connect(&server, &[("origin", origin)]).await.unwrap();
        assert_eq!(ws.closed().await.0, 4003, "{origin}");
    }
    for (headers, status) in [
        (&[("host", "evil.example")][..], 403),
        (&[("host", "evil.example"), ("origin", "https://evil.example")], 403),
        (&[("sec-websocket-version", "12")], 426),
        (&[("upgrade", "h2c")], 426),
    ] {
        let Err(Error::Http(answer)) = connect(&server, headers).await else { panic!("{headers:?} was let in") };
        assert_eq!(answer.status().as_u16(), status, "{headers:?}");
    }
    assert_eq!(Client::of(&server).get("/ws/v1/stream").status, 426);
    assert_eq!(Client::of(&server).post("/ws/v1/stream", &json!({})).status, 405);
}

#[tokio::test]
async fn acks_go_to_the_client_that_requested_them() {
    let server = Server::start().unwrap();
    for auth in [json!({"type": "auth", "api_key": "k"}), json!({"type": "auth", "api_key": "k", "acks": false})] {
        let mut ws = connect(&server, &[]).await.unwrap();
        ws.auth(auth).await;
        ws.send(&trace_started(1, "t")).await;
        ws.send(&event("trace_ended", 2, json!({"id": ""}))).await;
        assert_eq!(ws.next().await["type"], "error", "the only answer");
    }
    let mut ws = Ws::open(&server).await;
    // A number need not be there, follow the last, or be new.
    let mut bare = trace_started(0, "u");
    bare.as_object_mut().unwrap().remove("seq");
    ws.send_acked(&[trace_started(9, "t"), trace_started(3, "t"), bare.clone(), bare, trace_started(u64::MAX, "t")])
        .await;
}

#[tokio::test]
async fn a_refused_frame_names_the_field_and_stops_nothing() {
    let server = Server::start().unwrap();
    let mut ws = Ws::open(&server).await;
    for (frame, field) in [
        (event("span_started", 1, json!({"id": "s", "trace_id": "SECRET"})), Some("span_type")),
        (event("trace_started", 2, json!({"id": "t", "started_at": "SECRET"})), Some("started_at")),
        (event("trace_ended", 3, json!({"id": "t", "status": "SECRET"})), Some("status")),
        (event("span_ended", 4, json!({"id": "SECRET".repeat(200), "ended_at": AT})), Some("id")),
        (json!("SECRET"), None),
    ] {
        ws.send(&frame).await;
        let error = ws.next().await;
        let text = error["error"].as_str().unwrap();
        assert_eq!((&error["type"], &error["seq"]), (&json!("error"), frame.get("seq").unwrap_or(&Value::Null)));
        assert!(field.is_none_or(|field| text.contains(&format!("`{field}`"))), "{text}");
        assert!(!text.contains("SECRET"), "{text}");
    }
    ws.text("{").await;
    assert_eq!(ws.next().await["type"], "error");
    // Passed over: what is unknown, a second key, an answer to no question.
    for frame in [json!({"type": "brand_new", "data": {"x": 1}, "seq": 5}), json!({"type": "auth", "api_key": "k"})] {
        ws.send(&frame).await;
    }
    ws.send(&json!({"type": "pong"})).await;
    ws.send_acked(&[trace_started(6, "t")]).await;
}

#[tokio::test]
async fn what_json_lacks_is_read_as_null() {
    let server = Server::start().unwrap();
    let mut ws = Ws::open(&server).await;
    let text = trace_started(1, "t").to_string().replace(r#"{"q":1}"#, r#"[NaN, Infinity, -Infinity, "NaN"]"#);
    ws.text(&text).await;
    assert_eq!(ws.next().await["type"], "ack");
    let trace = Client::of(&server).get("/api/v1/traces/t").json;
    assert_eq!(trace["input"], json!([null, null, null, "NaN"]));
}

#[tokio::test]
async fn deep_values_are_stored_and_kill_nobody() {
    let server = Server::start().unwrap();
    let mut ws = Ws::open(&server).await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    ws.text(&trace_started(1, "t").to_string().replace(r#"{"q":1}"#, &deep)).await;
    assert_eq!(ws.next().await["type"], "ack");
    assert_eq!(server.trace(&"t".into()).unwrap().unwrap().input.unwrap().as_str(), deep);
    ws.text(&format!(r#"{{"type":"new","data":{deep}}}"#)).await;
    ws.send_acked(&[trace_ended(2, "t")]).await;
}

#[tokio::test]
async fn what_is_no_text_ends_the_connection() {
    let server = Server::builder().with_max_body_bytes(100_000).start().unwrap();
    let mut ws = Ws::open(&server).await;
    ws.send_acked(&[trace_started(1, "t")]).await;
    ws.socket.send(Message::binary("x")).await.unwrap();
    assert_eq!(ws.closed().await.0, 1003);

    let mut ws = Ws::open(&server).await;
    let frame = Frame::message(&b"\xff\xfe"[..], OpCode::Data(Data::Text), true);
    ws.socket.send(Message::Frame(frame)).await.unwrap();
    assert_eq!(ws.closed().await.0, 1007);

    let mut ws = Ws::open(&server).await;
    ws.socket.get_mut().write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(ws.closed().await.0, 1002);

    let fits = |bytes: usize| {
        let mut frame = trace_started(1, "u");
        frame["data"]["input"] = json!("");
        let bare = frame.to_string().len();
        frame["data"]["input"] = json!("x".repeat(bytes - bare));
        frame
    };
    let mut ws = Ws::open(&server).await;
    ws.send_acked(&[fits(100_000)]).await;
    ws.send(&fits(100_001)).await;
    assert_eq!(ws.closed().await.0, 1009);
    let mut ws = Ws::open(&server).await;
    let _ = ws.socket.send(Message::text("x".repeat(30_000_000))).await;
    let last = ws.message().await;
    assert!(matches!(&last, Some(Ok(Message::Close(Some(frame)))) if u16::from(frame.code) == 1009), "{last:?}");
    // In pieces it is as long.
    let mut ws = Ws::open(&server).await;
    for at in 0..3 {
        let code = OpCode::Data(if at == 0 { Data::Text } else { Data::Continue });
        let piece = Frame::message("x".repeat(50_000), code, at == 2);
        ws.socket.send(Message::Frame(piece)).await.unwrap();
    }
    assert_eq!(ws.closed().await.0, 1009);
}

#[tokio::test]
async fn half_a_frame_is_none_and_what_came_before_it_is_kept() {
    let server = Server::start().unwrap();
    let mut ws = Ws::open(&server).await;
    ws.send_acked(&[trace_started(1, "t")]).await;
    ws.send(&span_started(2, "t", "a")).await;
    // The head of a frame of 200 bytes, and ten of them.
    let stream = ws.socket.get_mut();
    stream.write_all(&[0x81, 0x80 | 126, 0, 200, 0, 0, 0, 0]).await.unwrap();
    stream.write_all(br#"{"type":"t"#).await.unwrap();
    ws.leave().await;
    let mut ws = Ws::open(&server).await;
    ws.send_acked(&[span_started(3, "t", "b"), trace_ended(4, "t")]).await;
    let spans = server.trace(&"t".into()).unwrap().unwrap().spans.unwrap();
    let ids: Vec<String> = spans.iter().map(|span| span.id.to_string()).collect();
    assert_eq!(ids, ["a", "b"]);
}

#[tokio::test]
async fn frames_of_a_client_that_disconnects_are_stored() {
    let server = Server::start().unwrap();
    let mut ws = Ws::open(&server).await;
    for frame in [trace_started(1, "t"), trace_ended(2, "t")] {
        ws.socket.feed(Message::text(frame.to_string())).await.unwrap();
    }
    ws.socket.close(None).await.unwrap();
    let mut last = None;
    while let Some(Ok(message)) = ws.message().await {
        last = Some(message);
    }
    assert!(matches!(last, Some(Message::Close(_))), "{last:?}");
    assert!(server.wait_for_end(&"t".into(), HANG).unwrap().is_some());
}

#[tokio::test]
async fn a_stop_closes_connections_and_stores_what_was_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("runs.db");
    let server = Server::builder().with_db(&path).start().unwrap();
    let mut quiet = connect(&server, &[]).await.unwrap();
    let mut ws = Ws::open(&server).await;
    ws.send_acked(&[trace_started(1, "t")]).await;
    for seq in 2..200 {
        ws.send(&span_started(seq, "t", &seq.to_string())).await;
    }
    let began = Instant::now();
    let stopping = tokio::task::spawn_blocking(move || server.stop());
    let mut acked = 1;
    let code = loop {
        match ws.message().await {
            Some(Ok(Message::Text(_))) => acked += 1,
            Some(Ok(Message::Close(Some(frame)))) => break u16::from(frame.code),
            Some(Ok(Message::Pong(_))) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((code, quiet.closed().await.0), (1001, 1001));
    while let Some(Ok(_)) = ws.message().await {}
    stopping.await.unwrap();
    assert!(began.elapsed() < HANG);
    let server = Server::builder().with_db(&path).start().unwrap();
    let trace = server.trace(&"t".into()).unwrap().unwrap();
    assert!(trace.spans.unwrap().len() + 1 >= acked);
}
