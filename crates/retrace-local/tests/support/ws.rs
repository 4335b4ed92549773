//! A WebSocket client that sends any frame, valid or not.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use retrace_local::Server;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{AT, HANG};

pub struct Ws {
    pub socket: WebSocketStream<TcpStream>,
}

/// Shakes hands with these headers beside the usual ones.
pub async fn connect(server: &Server, headers: &[(&'static str, &str)]) -> Result<Ws, Error> {
    connect_to(server.addr(), &server.ws_url(), headers).await
}

async fn connect_to(addr: SocketAddr, url: &str, headers: &[(&'static str, &str)]) -> Result<Ws, Error> {
    let mut request = url.into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let stream = TcpStream::connect(addr).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let no_limits = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    let (socket, _) = tokio_tungstenite::client_async_with_config(request, stream, Some(no_limits)).await?;
    Ok(Ws { socket })
}

impl Ws {
    /// A connection that has shown its key and wants acks.
    pub async fn open(server: &Server) -> Self {
        Self::open_at(server.addr()).await
    }

    pub async fn open_at(addr: SocketAddr) -> Self {
        let mut ws = connect_to(addr, &format!("ws://{addr}/ws/v1/stream"), &[]).await.unwrap();
        ws.auth(json!({"type": "auth", "api_key": "rt_any", "acks": true})).await;
        ws
    }

    /// Shows a key that is taken.
    pub async fn auth(&mut self, frame: Value) {
        self.send(&frame).await;
        assert_eq!(self.next().await, json!({"type": "auth_ok"}));
    }

    pub async fn send(&mut self, frame: &Value) {
        self.text(&frame.to_string()).await;
    }

    pub async fn text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// The next message of any kind.
    pub async fn message(&mut self) -> Option<Result<Message, Error>> {
        timeout(HANG, self.socket.next()).await.unwrap()
    }

    /// The next text frame.
    pub async fn next(&mut self) -> Value {
        match self.message().await {
            Some(Ok(Message::Text(text))) => serde_json::from_str(&text).unwrap(),
            other => panic!("no text: {other:?}"),
        }
    }

    /// Sends events and waits for the acks of all of them.
    pub async fn send_acked(&mut self, frames: &[Value]) {
        for frame in frames {
            self.send(frame).await;
        }
        for frame in frames {
            assert_eq!(self.next().await, ack(frame));
        }
    }

    /// The close frame that comes next, as code and reason; the server must then end the connection.
    pub async fn closed(&mut self) -> (u16, String) {
        let Some(Ok(Message::Close(Some(frame)))) = self.message().await else { panic!("no close frame") };
        while let Some(Ok(_)) = self.message().await {}
        (frame.code.into(), frame.reason.to_string())
    }

    /// Waits until the server has read all that was sent: it answers this after it.
    pub async fn read_up_to_here(&mut self) {
        self.socket.send(Message::Ping("here".into())).await.unwrap();
        let answer = self.message().await;
        assert!(matches!(&answer, Some(Ok(Message::Pong(text))) if text == "here"), "{answer:?}");
    }

    /// Leaves without a close frame, and waits until the server has stored what it had read.
    pub async fn leave(&mut self) {
        self.socket.get_mut().shutdown().await.unwrap();
        while let Some(Ok(_)) = self.message().await {}
    }

    /// As [`Ws::read_up_to_here`], when acks may be on their way.
    pub async fn read_up_to_here_past_acks(&mut self) {
        self.socket.send(Message::Ping("here".into())).await.unwrap();
        while !matches!(self.message().await, Some(Ok(Message::Pong(_)))) {}
    }
}

/// The ack of an event.
pub fn ack(frame: &Value) -> Value {
    let mut ack = json!({"type": "ack", "id": frame["data"]["id"]});
    if !frame["seq"].is_null() {
        ack["seq"] = frame["seq"].clone();
    }
    ack
}

pub fn event(kind: &str, seq: u64, data: Value) -> Value {
    json!({"type": kind, "data": data, "seq": seq})
}

pub fn trace_started(seq: u64, id: &str) -> Value {
    let data = json!({
        "id": id, "status": "running", "total_tokens": 0, "total_cost": 0.0, "total_duration_ms": 0, "started_at": AT,
        "name": "agent", "input": {"q": 1},
    });
    event("trace_started", seq, data)
}

pub fn span_started(seq: u64, trace_id: &str, id: &str) -> Value {
    let data = json!({
        "id": id, "trace_id": trace_id, "parent_id": null, "span_type": "tool_call", "name": "look", "started_at": AT,
        "input": [1, 2.50],
    });
    event("span_started", seq, data)
}

pub fn span_ended(seq: u64, trace_id: &str, id: &str, output: Value) -> Value {
    event(
        "span_ended",
        seq,
        json!({"id": id, "trace_id": trace_id, "ended_at": AT, "output": output, "duration_ms": 3}),
    )
}

pub fn trace_ended(seq: u64, id: &str) -> Value {
    let data = json!({
        "id": id, "started_at": AT, "ended_at": AT, "output": "done", "status": "completed", "total_tokens": 7,
        "total_cost": 0.5, "total_duration_ms": 9, "span_count": 1,
    });
    event("trace_ended", seq, data)
}
