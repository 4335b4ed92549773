//! Frames in both directions.

use retrace_protocol::ServerFrame;

use super::*;
use crate::remote::Command;
use crate::transport::ws::connection_loop::{AHEAD_BYTES, STALL};
use crate::transport::ws::{BATCH_BYTES, INCOMING, OUTGOING};

const PING: &str = r#"{"type":"ping"}"#;
const PONG: &str = r#"{"type":"pong"}"#;

#[tokio::test(start_paused = true)]
async fn frames_arrive_whole_and_in_order() {
    let (link, mut receiver) = opened().await;
    let sizes = [0, 1, 20, 60, 125, 126, 127, 1_000, 65_535, 65_536, 70_000, 3_000_000];
    let sending = tokio::spawn(async move {
        for (number, bytes) in sizes.into_iter().enumerate() {
            put(&link, &frame(number, bytes)).await;
        }
        put(&link, "\u{1f980} é").await;
        link
    });
    for (number, bytes) in sizes.into_iter().enumerate() {
        assert_eq!(read_text(&mut receiver).await, frame(number, bytes));
    }
    assert_eq!(read_text(&mut receiver).await, "\u{1f980} é");
    sending.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_the_receiver_says_is_read_and_what_is_no_frame_harms_nobody() {
    let (mut link, mut receiver) = opened().await;
    for text in [
        r#"{"type":"auth_ok"}"#,
        r#"{"type":"ack","id":"a","seq":1}"#,
        r#"{"type":"brand_new"}"#,
        "rt_secret is no JSON",
        r#"{"no":"type"}"#,
        r#"{"type":"halt"}"#,
    ] {
        say(&mut receiver, text).await;
    }
    receiver.send(Message::binary(&b"\xff\x00"[..])).await.unwrap();
    receiver.send(Message::Pong(vec![7].into())).await.unwrap();
    say(&mut receiver, r#"{"type":"error","error":"e"}"#).await;

    assert_eq!(acked(&mut link, 1).await, [1]);
    assert!(matches!(next(&mut link).await, Incoming::Frame(ServerFrame::Unknown(_))));
    for _ in 0..2 {
        let Incoming::Odd(odd) = next(&mut link).await else { panic!("a frame") };
        assert!(odd.contains("no frame") && !odd.contains(KEY), "{odd}");
    }
    assert!(matches!(next(&mut link).await, Incoming::Frame(ServerFrame::Halt { .. })));
    let Incoming::Odd(odd) = next(&mut link).await else { panic!("a frame") };
    assert_eq!(odd, "a binary message of 2 bytes");
    assert!(matches!(next(&mut link).await, Incoming::Frame(ServerFrame::Error { .. })));
}

#[tokio::test(start_paused = true)]
async fn acks_come_together_in_their_order_before_what_was_said_after_them() {
    let (mut link, mut receiver) = opened().await;
    // These are too many for one batch.
    let count = 3 * BATCH_BYTES as u64 / 40;
    let saying = tokio::spawn(async move {
        for number in 0..count {
            say(&mut receiver, &format!(r#"{{"type":"ack","id":"a","seq":{number}}}"#)).await;
        }
        say(&mut receiver, r#"{"type":"halt"}"#).await;
        receiver
    });
    let (mut numbers, mut pieces) = (Vec::new(), 0);
    let last = loop {
        match next(&mut link).await {
            Incoming::Acks(acks) => {
                assert!(acks.len() <= BATCH_BYTES / 30, "{}", acks.len());
                numbers.extend(acks.iter().filter_map(Ack::seq_number));
                pieces += 1;
            }
            other => break other,
        }
    };
    assert!(numbers.iter().copied().eq(0..count), "{numbers:?}");
    assert!(pieces < count / 10, "{pieces}");
    assert!(matches!(last, Incoming::Frame(ServerFrame::Halt { .. })));
    saying.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn every_ping_is_answered() {
    let (mut link, mut receiver) = opened().await;
    for _ in 0..3 {
        say(&mut receiver, PING).await;
    }
    for _ in 0..3 {
        assert_eq!(read_text(&mut receiver).await, PONG);
    }
    receiver.send(Message::Ping(vec![9].into())).await.unwrap();
    assert_eq!(read(&mut receiver).await, Message::Pong(vec![9].into()));
    assert!(link.incoming.try_recv().is_err(), "nobody needs to know");
}

/// Sends frames as fast as possible.
fn flat_out(link: &Link, bytes: usize) -> tokio::task::JoinHandle<()> {
    let outgoing = link.outgoing.clone();
    tokio::spawn(async move {
        for number in 0.. {
            if outgoing.send(vec![frame(number, bytes).into()]).await.is_err() {
                return;
            }
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_pong_does_not_wait_behind_more_than_what_was_taken() {
    let (link, mut receiver) = opened().await;
    let sending = flat_out(&link, 1_000);
    for _ in 0..500 {
        read_text(&mut receiver).await;
    }
    // No bytes move any more: the pipe and the buffers are full.
    tokio::time::sleep(Duration::from_secs(1)).await;
    say(&mut receiver, PING).await;
    let (mut before, mut pong) = (0, false);
    while !pong {
        let text = read_text(&mut receiver).await;
        pong = text.as_str() == PONG;
        before += text.len();
    }
    assert!(before > AHEAD_BYTES / 2, "it was flat out: {before}");
    assert!(before < AHEAD_BYTES + 2 * PIPE, "{before}");
    sending.abort();
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_talks_without_reading_is_read() {
    let (mut link, mut receiver) = opened().await;
    let sending = flat_out(&link, 100_000);
    for number in 0..2_000 {
        say(&mut receiver, PING).await;
        say(&mut receiver, &format!(r#"{{"type":"ack","id":"a","seq":{number}}}"#)).await;
        assert_eq!(acked(&mut link, 1).await, [number]);
    }
    sending.abort();
    let mut pongs = 0;
    while let Ok(text) = timeout(Duration::from_secs(1), read_text(&mut receiver)).await {
        pongs += usize::from(text.as_str() == PONG);
    }
    assert!((1..=20).contains(&pongs), "one answers for all before it: {pongs}");
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_bounded() {
    let (link, _receiver) = opened().await;
    let mut taken = 0;
    while timeout(Duration::from_secs(1), put(&link, &frame(0, 1_000))).await.is_ok() {
        taken += 1;
    }
    assert!(taken <= OUTGOING + (AHEAD_BYTES + PIPE) / 1_000 + 2, "{taken}");
}

#[tokio::test(start_paused = true)]
async fn while_nobody_reads_what_came_the_rest_goes_on() {
    let (mut link, mut receiver) = opened().await;
    let news = |number: usize| format!(r#"{{"type":"news","seq":{number}}}"#);
    let (mut cause, mut sent) = (0, 0);
    while timeout(Duration::from_secs(1), say(&mut receiver, &news(cause))).await.is_ok() {
        cause += 1;
    }
    assert!(cause > INCOMING, "{cause}");
    // This is longer than the limit of silence, which does not count because the reader causes it.
    for _ in 0..10 {
        put(&link, &frame(sent, 100)).await;
        assert_eq!(read_text(&mut receiver).await, frame(sent, 100));
        sent += 1;
        tokio::time::sleep(STALL / 5).await;
    }
    tokio::time::sleep(STALL * 5).await;
    for expected in 0..cause {
        let Incoming::Frame(ServerFrame::Unknown(news)) = next(&mut link).await else { panic!("no news") };
        assert_eq!(news.get("seq").and_then(Value::as_u64), Some(expected as u64));
    }
}

#[tokio::test(start_paused = true)]
async fn frames_are_not_logged() {
    static LOGGED: std::sync::Mutex<String> = std::sync::Mutex::new(String::new());
    struct All;
    impl log::Log for All {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            LOGGED.lock().unwrap().push_str(&record.args().to_string());
        }
        fn flush(&self) {}
    }
    log::set_logger(&All).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let (near, mut far) = tokio::io::duplex(PIPE);
    let link = link(ready(Ok(near)), upgrade(&HeaderMap::new()), "rt_to_be_logged".into(), false);
    let server = async {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut request_text = Vec::new();
        while !request_text.ends_with(b"\r\n\r\n") {
            request_text.push(far.read_u8().await.unwrap());
        }
        let request_text = String::from_utf8(request_text).unwrap();
        let key = request_text.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
        );
        far.write_all(answer.as_bytes()).await.unwrap();
        far.write_all(b"\x81\x12{\"type\":\"auth_ok\"}").await.unwrap();
        put(&link, "run_to_be_logged").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    server.await;
    log::set_max_level(log::LevelFilter::Off);
    let logged = LOGGED.lock().unwrap();
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert!(logged.contains("auth_ok"), "the library logs what it reads");
    for secret in ["rt_to_be_logged", "run_to_be_logged"] {
        assert!(!logged.contains(secret) && !logged.contains(&hex(secret)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_serves_states_it_and_takes_long_commands() {
    let (near, far) = tokio::io::duplex(PIPE);
    let mut link = link(ready(Ok(near)), upgrade(&HeaderMap::new()), KEY.into(), true);
    let mut receiver = accept_async(far).await.unwrap();
    let auth = json!({"type":"auth","api_key":KEY,"resumable":true,"replay_generation":1,"acks":true});
    assert_eq!(read_json(&mut receiver).await, auth);
    say(&mut receiver, r#"{"type":"auth_ok"}"#).await;
    assert!(matches!(next(&mut link).await, Incoming::Open));
    let cassette = json!([{"name": "x".repeat(crate::transport::ws::socket::MESSAGE_BYTES)}]);
    let data = json!({"traceId": "t", "traceName": "agent", "input": null, "cassette": cassette});
    let frame = json!({"type": "replay", "data": data}).to_string();
    say(&mut receiver, &frame).await;
    let Incoming::Command(Command::Replay(replay), bytes) = next(&mut link).await else { panic!("no command") };
    assert_eq!((replay.trace_name.as_str(), bytes), ("agent", frame.len()));
    assert_eq!(replay.cassette, Some(cassette));
}
