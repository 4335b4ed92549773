//! A WebSocket receiver that takes any key, confirms every event and remembers it.

use std::sync::{Arc, Mutex};
use std::thread;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

/// The receiver; serves one connection after the other, as long as the test's process lives.
#[derive(Debug)]
pub(crate) struct Receiver {
    url: String,
    frames: Arc<Mutex<Vec<Value>>>,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let frames = Arc::default();
        let heard = Arc::clone(&frames);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    serve(stream, &heard).await;
                }
            });
        });
        Self { url, frames }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What it has read so far, the first frame included.
    pub(crate) fn frames(&self) -> Vec<Value> {
        self.frames.lock().unwrap().clone()
    }
}

async fn serve(stream: tokio::net::TcpStream, heard: &Mutex<Vec<Value>>) {
    let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let frame: Value = serde_json::from_str(&text).unwrap();
        let answer = match frame["type"].as_str() {
            Some("auth") => json!({"type": "auth_ok"}),
            _ => json!({"type": "ack", "id": frame["data"]["id"], "seq": frame["seq"]}),
        };
        // What is remembered was read before it is confirmed: a shutdown that was confirmed has nothing more to come.
        heard.lock().unwrap().push(frame);
        if socket.send(Message::text(answer.to_string())).await.is_err() {
            break;
        }
    }
}
