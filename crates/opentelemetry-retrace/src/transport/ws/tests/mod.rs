//! Scripted receiver on the other end of a pipe in memory, under a clock that moves only when nothing else
//! does.

mod endings;
mod opening;
#[cfg(feature = "_rustls")]
mod proxied;
mod sockets;
mod traffic;

use std::future::ready;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderMap;
use retrace_protocol::{Ack, endpoint};
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, accept_async};

use super::upgrade::Upgrade;
use super::{Link, link};
use crate::config::{BaseUrl, Config, Settings};
use crate::delivery::{CloseReason, Closed};
use crate::pipeline_state::Incoming;

const KEY: &str = "rt_secret";
/// Capacity of the pipe, each way.
const PIPE: usize = 4 * 1024;

type Receiver = WebSocketStream<DuplexStream>;

fn config(settings: Settings) -> Config {
    settings.resolve(&|_| None).0.unwrap().unwrap()
}

fn upgrade(headers: &HeaderMap) -> Upgrade {
    let base = BaseUrl::parse("http://127.0.0.1:3001/base/", "test", &[]).unwrap();
    Upgrade::new(&base, endpoint::STREAM, headers).unwrap()
}

/// Creates a link, and the other end of its pipe.
fn piped() -> (Link, DuplexStream) {
    let (near, far) = tokio::io::duplex(PIPE);
    (link(ready(Ok(near)), upgrade(&HeaderMap::new()), KEY.into(), false), far)
}

/// Creates a link whose upgrade was answered and whose key was read.
async fn keyed() -> (Link, Receiver) {
    let (link, far) = piped();
    let mut receiver = accept_async(far).await.unwrap();
    let auth = json!({"type":"auth","api_key":KEY,"resumable":false,"replay_generation":1,"acks":true});
    assert_eq!(read_json(&mut receiver).await, auth);
    (link, receiver)
}

/// Creates a link that is open.
async fn opened() -> (Link, Receiver) {
    let (mut link, mut receiver) = keyed().await;
    say(&mut receiver, r#"{"type":"auth_ok"}"#).await;
    assert!(matches!(next(&mut link).await, Incoming::Open));
    (link, receiver)
}

async fn say(receiver: &mut Receiver, text: &str) {
    receiver.send(Message::text(text)).await.unwrap();
}

async fn read(receiver: &mut Receiver) -> Message {
    receiver.next().await.unwrap().unwrap()
}

async fn read_text(receiver: &mut Receiver) -> Utf8Bytes {
    match read(receiver).await {
        Message::Text(text) => text,
        other => panic!("no text: {other:?}"),
    }
}

async fn read_json(receiver: &mut Receiver) -> Value {
    serde_json::from_str(&read_text(receiver).await).unwrap()
}

async fn next(link: &mut Link) -> Incoming {
    let next = timeout(Duration::from_secs(600), link.incoming.recv()).await;
    next.expect("nothing came").expect("it ended without a word")
}

/// Waits for the end of the link; returns it and the seconds that it took. Nothing may follow.
async fn closed(link: &mut Link) -> (Closed, u64) {
    let began = Instant::now();
    let Incoming::Closed(closed) = next(link).await else { panic!("it is not over") };
    let took = began.elapsed().as_secs();
    assert!(link.incoming.recv().await.is_none());
    assert!(!format!("{closed:?}{link:?}").contains(KEY), "{closed:?}");
    (closed, took)
}

fn close_frame(code: u16, reason: &str) -> Message {
    Message::Close(Some(CloseFrame { code: code.into(), reason: reason.into() }))
}

async fn put(link: &Link, text: &str) {
    link.outgoing.send(vec![text.to_owned().into()]).await.unwrap();
}

/// Returns the numbers of the next `count` acks, which may arrive in any number of pieces.
async fn acked(link: &mut Link, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let Incoming::Acks(acks) = next(link).await else { panic!("no ack") };
        numbers.extend(acks.iter().filter_map(Ack::seq_number));
    }
    assert_eq!(numbers.len(), count);
    numbers
}

/// Creates a text frame of about `bytes` bytes, with a number in it.
fn frame(number: usize, bytes: usize) -> String {
    format!(r#"{{"type":"span_ended","seq":{number},"data":"{}"}}"#, "x".repeat(bytes))
}
