//! Connections before the key is accepted.

use http::HeaderValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// Returns the request that the receiver gets, and how the link ends after this answer.
async fn answered(headers: HeaderMap, answer: &str) -> (String, Closed, u64) {
    let (near, mut far) = tokio::io::duplex(PIPE);
    let mut link = link(ready(Ok(near)), upgrade(&headers), KEY.into(), false);
    let mut request_text = Vec::new();
    while !request_text.ends_with(b"\r\n\r\n") {
        request_text.push(far.read_u8().await.unwrap());
    }
    far.write_all(answer.as_bytes()).await.unwrap();
    let (closed, took) = closed(&mut link).await;
    (String::from_utf8(request_text).unwrap(), closed, took)
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_that_is_refused_says_whether_to_come_back() {
    use CloseReason::{NoStream, NotConnected};
    for (line, reason) in [
        ("401 Unauthorized", NoStream),
        ("403 Forbidden", NoStream),
        ("404 Not Found", NoStream),
        ("426 Upgrade Required", NoStream),
        ("405 Method Not Allowed", NoStream),
        ("501 Not Implemented", NoStream),
        ("200 OK", NoStream),
        ("302 Found\r\nlocation: ws://127.0.0.1:9/elsewhere", NoStream),
        ("408 Request Timeout", NotConnected),
        ("429 Too Many Requests", NotConnected),
        ("503 Service Unavailable", NotConnected),
    ] {
        let answer = format!("HTTP/1.1 {line}\r\ncontent-length: 29\r\n\r\n{{\"error\":\"not rt_secret, no\"}}");
        let (_, closed, took) = answered(HeaderMap::new(), &answer).await;
        assert_eq!((closed.reason, took), (reason, 0), "{line}: {closed:?}");
        assert!(closed.cause.contains(line.split(' ').next().unwrap()), "{closed:?}");
        assert_eq!(closed.peer_message.as_deref(), Some("not …, no"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_answer_is_no_connection() {
    for answer in ["\x15\x03\x01 rt_secret garbage\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\n"] {
        let (_, closed, took) = answered(HeaderMap::new(), answer).await;
        assert_eq!((closed.reason, took), (CloseReason::NotConnected, 0), "{closed:?}");
    }
    let (mut link, far) = piped();
    drop(far);
    assert_eq!(closed(&mut link).await.0.reason, CloseReason::NotConnected);
}

#[tokio::test(start_paused = true)]
async fn a_silent_receiver_gets_five_seconds_for_the_upgrade_and_five_for_the_key() {
    let (_, upgrade, took) = answered(HeaderMap::new(), "HTTP/1.1 101").await;
    assert_eq!((upgrade.reason, took), (CloseReason::NotConnected, 5));

    let (mut link, mut receiver) = keyed().await;
    receiver.send(Message::Ping(vec![1].into())).await.unwrap();
    let (key, took) = closed(&mut link).await;
    assert_eq!((key.reason, took), (CloseReason::NotConnected, 5));
    assert_ne!(upgrade.cause, key.cause);
}

#[tokio::test(start_paused = true)]
async fn the_upgrade_carries_the_configured_headers_and_neither_key_nor_origin() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("x-team", "a"),
        ("x-team", "b"),
        ("origin", "https://evil.example"),
        ("sec-websocket-protocol", "p"),
        ("connection", "close"),
        ("user-agent", "other"),
    ] {
        headers.append(name, HeaderValue::from_static(value));
    }
    let (request_text, ..) = answered(headers, "HTTP/1.1 404 Not Found\r\n\r\n").await;
    let request_text = request_text.to_ascii_lowercase();
    assert!(request_text.starts_with("get /base/ws/v1/stream http/1.1\r\n"), "{request_text}");
    for part in [
        "\r\nhost: 127.0.0.1:3001\r\n",
        "\r\nconnection: upgrade\r\n",
        "\r\nsec-websocket-version: 13\r\n",
        "\r\nx-team: a\r\n",
        "\r\nx-team: b\r\n",
        concat!("\r\nuser-agent: opentelemetry-retrace/", env!("CARGO_PKG_VERSION"), "\r\n"),
    ] {
        assert!(request_text.contains(part), "{part:?} in {request_text}");
    }
    for part in [KEY, "x-retrace", "origin", "evil", "protocol", "extensions", "other", "close"] {
        assert!(!request_text.contains(part), "{part:?} in {request_text}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_frame_must_be_auth_ok() {
    for (first, peer_message) in [
        (r#"{"type":"error","error":"Rate limit for rt_secret"}"#, Some("Rate limit for …")),
        (r#"{"type":"error"}"#, None),
        (r#"{"type":"ping"}"#, None),
        ("auth_ok", None),
    ] {
        let (mut link, mut receiver) = keyed().await;
        say(&mut receiver, first).await;
        let (closed, took) = closed(&mut link).await;
        assert_eq!((closed.reason, took), (CloseReason::NotConnected, 0), "{closed:?}");
        assert_eq!(closed.peer_message.as_deref(), peer_message);
    }
    let (mut link, mut receiver) = keyed().await;
    receiver.send(Message::binary(&b"auth_ok"[..])).await.unwrap();
    assert_eq!(closed(&mut link).await.0.reason, CloseReason::NotConnected);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_key_is_told_from_other_ends() {
    for (code, reason) in [
        (4001, CloseReason::Unauthorized),
        (4003, CloseReason::NoStream),
        (1011, CloseReason::NotConnected),
        (1000, CloseReason::NotConnected),
    ] {
        let (mut link, mut receiver) = keyed().await;
        receiver.send(close_frame(code, "no such key: rt_secret")).await.unwrap();
        let (closed, took) = closed(&mut link).await;
        assert_eq!((closed.reason, took), (reason, 0), "{code}");
        assert_eq!(closed.peer_message.as_deref(), Some("no such key: …"));
        assert!(closed.cause.contains(&code.to_string()), "{closed:?}");
        assert!(matches!(read(&mut receiver).await, Message::Close(Some(_))), "it was answered");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_but_the_key_is_sent_before_it_is_taken() {
    let (mut link, mut receiver) = keyed().await;
    put(&link, "early").await;
    assert!(timeout(Duration::from_secs(1), read(&mut receiver)).await.is_err());
    say(&mut receiver, r#"{"type":"auth_ok"}"#).await;
    assert!(matches!(next(&mut link).await, Incoming::Open));
    assert_eq!(read_text(&mut receiver).await, "early");
}

#[tokio::test(start_paused = true)]
async fn closing_while_connecting_ends_at_once() {
    let (mut link, mut receiver) = keyed().await;
    link.close();
    let (closed, took) = closed(&mut link).await;
    assert_eq!((closed.reason, took), (CloseReason::Ended, 0));
    assert!(!matches!(receiver.next().await, Some(Ok(_))));
}
