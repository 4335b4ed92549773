use std::sync::Arc;

use retrace_protocol::Id;
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;

use super::*;
use crate::store::{self, Reader};
use crate::testing::HANG;

type Client = WebSocketStream<DuplexStream>;

struct Peer {
    client: Client,
    reader: Reader,
    closing: watch::Sender<bool>,
    session: JoinHandle<()>,
    began: Instant,
}

/// Starts a session on an in-memory pipe, in a runtime with a paused clock.
async fn peer() -> Peer {
    let (writer, reader, _) = store::open(None, false).unwrap();
    let (ours, theirs) = tokio::io::duplex(1024);
    let closing = watch::Sender::new(false);
    let session = Session {
        writer,
        live: Arc::default(),
        agents: Arc::default(),
        key: None,
        limit: 1 << 20,
        closing: closing.subscribe(),
        from_browser: false,
    };
    let session = tokio::spawn(session.run(ours));
    let client = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
    Peer { client, reader, closing, session, began: Instant::now() }
}

impl Peer {
    async fn admitted() -> Self {
        let mut peer = peer().await;
        peer.send(&json!({"type": "auth", "api_key": "k", "acks": true})).await;
        assert_eq!(peer.next().await, json!({"type": "auth_ok"}));
        peer
    }

    async fn send(&mut self, frame: &Value) {
        self.client.send(Message::text(frame.to_string())).await.unwrap();
    }

    async fn next(&mut self) -> Value {
        match self.client.next().await {
            Some(Ok(Message::Text(text))) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// Returns the code with which the session closes, and the seconds until then.
    async fn closed(mut self) -> (u16, u64) {
        let code = loop {
            match self.client.next().await {
                Some(Ok(Message::Close(Some(frame)))) => break frame.code.into(),
                Some(Ok(_)) => assert!(self.began.elapsed() < 20 * PING_INTERVAL, "it does not end"),
                other => panic!("{other:?}"),
            }
        };
        let after = self.began.elapsed().as_secs();
        while let Some(Ok(_)) = self.client.next().await {}
        self.session.await.unwrap();
        (code, after)
    }
}

fn started(seq: u64, input: &str) -> Value {
    let data = json!({"id": "t", "started_at": "2026-01-02T03:04:05Z", "input": input});
    json!({"type": "trace_started", "data": data, "seq": seq})
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_no_acks_is_given_up_and_what_it_said_is_stored() {
    let mut peer = Peer::admitted().await;
    for seq in 1..=100 {
        peer.send(&started(seq, "in")).await;
    }
    // The store works in real time, so the limit is in real time too.
    let deadline = std::time::Instant::now() + HANG;
    while !peer.session.is_finished() {
        assert!(std::time::Instant::now() < deadline, "it does not end");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(peer.began.elapsed() >= PING_INTERVAL);
    assert!(peer.reader.trace(&Id::from("t"), false).unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_key_is_waited_for_five_seconds() {
    assert_eq!(peer().await.closed().await, (4001, 5));
    let mut silent = peer().await;
    silent.client.send(Message::Ping("are you there".into())).await.unwrap();
    assert!(matches!(silent.client.next().await, Some(Ok(Message::Pong(_)))));
    assert_eq!(silent.closed().await, (4001, 5), "other signs of life do not count");
}

#[tokio::test(start_paused = true)]
async fn little_is_read_of_who_has_not_shown_a_key() {
    let mut peer = peer().await;
    // A single frame with a large announced length, which arrives in pieces for as long as they are accepted.
    let stream = peer.client.get_mut();
    let mut taken = 0;
    stream.write_all(&[0x81, 0x80 | 127, 0, 0, 0, 0, 0, 15, 0, 0, 0, 0, 0, 0]).await.unwrap();
    while timeout(Duration::from_secs(1), stream.write_all(&[b'x'; 512])).await.is_ok_and(|written| written.is_ok()) {
        taken += 512;
        // After the close frame, input is read and discarded.
        if taken > 64 * 1024 {
            break;
        }
    }
    let (code, after) = peer.closed().await;
    assert!(code == 4001 && after < AUTH_TIMEOUT.as_secs(), "{code} after {after} s");
}

#[tokio::test(start_paused = true)]
async fn who_answers_pings_stays() {
    let mut peer = Peer::admitted().await;
    for ping in 1..=10 {
        assert_eq!(peer.next().await, json!({"type": "ping"}));
        assert_eq!(peer.began.elapsed().as_secs(), 30 * ping);
        tokio::time::sleep(Duration::from_secs(29)).await;
        peer.send(&json!({"type": "pong"})).await;
    }
    peer.closing.send_replace(true);
    assert_eq!(peer.closed().await.0, 1001);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_is_dropped() {
    let mut peer = Peer::admitted().await;
    assert_eq!(peer.next().await, json!({"type": "ping"}));
    peer.send(&json!({"type": "pong"})).await;
    assert_eq!(peer.next().await, json!({"type": "ping"}));
    // Other frames of the client do not count as a `pong`.
    peer.send(&json!({"type": "brand_new"})).await;
    peer.client.send(Message::Ping("here".into())).await.unwrap();
    assert_eq!(peer.closed().await, (4002, 90));
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_bounded_in_bytes_and_nothing_of_it_is_lost() {
    let mut peer = Peer::admitted().await;
    assert_eq!(peer.next().await, json!({"type": "ping"}));
    let (mut sink, mut stream) = peer.client.split();
    // Locks the database, so that nothing can be stored.
    let (held, is_held) = std::sync::mpsc::channel();
    let (let_go, wait) = std::sync::mpsc::channel::<()>();
    let reader = peer.reader.clone();
    let holder = std::thread::spawn(move || {
        let read = reader.read(|_| {
            held.send(()).unwrap();
            let _ = wait.recv();
            Ok(())
        });
        read.unwrap();
    });
    is_held.recv().unwrap();

    let text = "x".repeat(60 * 1024);
    let mut sent = 0_u64;
    while timeout(Duration::from_secs(5), sink.send(Message::text(started(sent + 1, &text).to_string()))).await.is_ok()
    {
        sent += 1;
        assert!(sent < 1000, "it takes no end");
    }
    let taken = usize::try_from(sent).unwrap() * text.len();
    assert!((QUEUE_BYTES * 9 / 10..QUEUE_BYTES * 2).contains(&taken), "{taken} bytes were taken");
    // While nothing is read, a missing `pong` does not count as silence of the client.
    tokio::time::sleep(3 * PING_INTERVAL).await;
    assert!(!peer.session.is_finished());

    // From here on the clock is real: it must not run ahead while the database works.
    tokio::time::resume();
    drop(let_go);
    holder.join().unwrap();
    // The `pong` waits behind all queued frames.
    sink.send(Message::text(r#"{"type":"pong"}"#)).await.unwrap();
    let mut acked = 0;
    while acked < sent {
        match stream.next().await {
            Some(Ok(Message::Text(text))) if text.contains("\"ack\"") => {
                acked += 1;
                assert!(text.contains(&format!("\"seq\":{acked}}}")), "{text}");
            }
            Some(Ok(Message::Text(text))) => assert_eq!(text, r#"{"type":"ping"}"#),
            other => panic!("{other:?}"),
        }
    }
    assert!(peer.reader.trace(&Id::from("t"), false).unwrap().is_some());
}
