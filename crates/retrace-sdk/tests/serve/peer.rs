//! A scripted receiver: it confirms what it gets, sends what a test gives it, and answers claims as a test states.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::support::LIMIT;

/// Time between two looks.
const POLL: Duration = Duration::from_millis(5);

/// What the receiver has seen.
#[derive(Default)]
pub(crate) struct State {
    /// First frames of the connections.
    pub(crate) auths: Vec<Value>,
    /// Paths and bodies of claims.
    pub(crate) claims: Vec<(String, Value)>,
    /// Statuses of the next claims; 200 after them.
    claim_statuses: VecDeque<u16>,
    /// Connections are closed as those with a bad key are.
    refuses_keys: bool,
    /// Runs by id, as the frames and requests state them, in the order in which they began.
    runs: Vec<Map<String, Value>>,
    spans: BTreeMap<String, Vec<Map<String, Value>>>,
    open: Vec<UnboundedSender<Order>>,
}

enum Order {
    Send(Value),
    Cut,
}

type Shared = Arc<(Mutex<State>, Condvar)>;

pub(crate) struct Peer {
    url: String,
    shared: Shared,
}

impl Peer {
    pub(crate) fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Shared::default();
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(connection(stream, Arc::clone(&of_thread)));
                }
            });
        });
        Self { url, shared }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap()
    }

    /// Waits until `look` finds something.
    pub(crate) fn wait<T>(&self, what: &str, mut look: impl FnMut(&State) -> Option<T>) -> T {
        let mut found: Option<T> = None;
        let deadline = Instant::now() + LIMIT;
        let mut state = self.lock();
        loop {
            found = found.or_else(|| look(&state));
            if let Some(found) = found {
                return found;
            }
            assert!(Instant::now() < deadline, "{what}: {:?} {:#?}", state.auths, state.runs);
            // Some of what is waited for happens in this process.
            state = self.shared.1.wait_timeout(state, POLL).unwrap().0;
        }
    }

    /// Waits for a connection on which commands are taken, other than the first so many.
    pub(crate) fn wait_served_after(&self, connections: usize) {
        self.wait("a connection that serves", |state| {
            let serves = state.auths.iter().skip(connections).any(|auth| auth["resumable"] == true);
            (serves && !state.is_alone()).then_some(())
        });
    }

    /// Sends a frame on the newest connection.
    pub(crate) fn send(&self, frame: Value) {
        assert!(self.lock().open.last().unwrap().send(Order::Send(frame)).is_ok());
    }

    /// Refuses the key from now on.
    pub(crate) fn refuse_keys(&self) {
        self.lock().refuses_keys = true;
    }

    /// Ends all connections without a close frame.
    pub(crate) fn cut(&self) {
        self.lock().open.drain(..).for_each(|open| drop(open.send(Order::Cut)));
    }

    /// Answers the next claims so.
    pub(crate) fn answer_claims(&self, statuses: impl IntoIterator<Item = u16>) {
        self.lock().claim_statuses.extend(statuses);
    }

    pub(crate) fn claims(&self) -> Vec<(String, Value)> {
        self.lock().claims.clone()
    }

    /// Waits until a run of this name has ended, and returns it with its spans.
    pub(crate) fn ended(&self, name: &str) -> Value {
        self.all_ended(name, 1).remove(0)
    }

    /// Waits until so many runs of this name have ended.
    pub(crate) fn all_ended(&self, name: &str, count: usize) -> Vec<Value> {
        self.wait(&format!("{count} runs named {name}"), |state| {
            let ended: Vec<Value> = state.ended().into_iter().filter(|run| run["name"] == name).collect();
            (ended.len() >= count).then_some(ended)
        })
    }

    /// Names of all runs that began.
    pub(crate) fn names(&self) -> Vec<String> {
        self.lock().runs.iter().map(|run| run["name"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

impl State {
    /// Returns true if no connection is open.
    pub(crate) fn is_alone(&self) -> bool {
        self.open.iter().all(UnboundedSender::is_closed)
    }

    /// Number of runs of a name that began.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.runs.iter().filter(|run| run["name"] == name).count()
    }

    /// Runs that have ended, with their spans.
    pub(crate) fn ended(&self) -> Vec<Value> {
        let ended = self.runs.iter().filter(|run| run.contains_key("ended_at"));
        let whole = ended.map(|run| {
            let mut run = run.clone();
            let spans = run["id"].as_str().and_then(|id| self.spans.get(id)).cloned().unwrap_or_default();
            run.insert("spans".to_owned(), spans.into_iter().map(Value::Object).collect());
            Value::Object(run)
        });
        whole.collect()
    }

    fn event(&mut self, kind: &str, data: &Map<String, Value>) {
        let id = data.get("id").cloned().unwrap_or_default();
        match kind {
            "trace_started" | "trace_ended" => {
                let known = self.runs.iter_mut().find(|run| run["id"] == id);
                match known {
                    Some(run) => run.extend(data.clone()),
                    None => self.runs.push(data.clone()),
                }
            }
            "span_started" | "span_ended" => {
                let trace = data["trace_id"].as_str().unwrap().to_owned();
                let spans = self.spans.entry(trace).or_default();
                match spans.iter_mut().find(|span| span["id"] == id) {
                    Some(span) => span.extend(data.clone()),
                    None => spans.push(data.clone()),
                }
            }
            _ => {}
        }
    }
}

async fn connection(stream: TcpStream, shared: Shared) {
    let mut first = [0; 7];
    while stream.peek(&mut first).await.is_ok_and(|read| read < first.len() && read > 0) {}
    if &first == b"GET /ws" { ws(stream, shared).await } else { http(stream, shared).await }
}

async fn ws(stream: TcpStream, shared: Shared) {
    let Ok(mut socket) = accept_async(stream).await else { return };
    let (open, mut orders) = unbounded_channel();
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Send(frame)) => if socket.send(Message::text(frame.to_string())).await.is_err() { return },
                Some(Order::Cut) | None => return,
            },
            message = socket.next() => {
                let Some(Ok(message)) = message else { return };
                let Message::Text(text) = message else { continue };
                let frame: Value = serde_json::from_str(&text).unwrap();
                let kind = frame["type"].as_str().unwrap();
                if kind == "auth" && shared.0.lock().unwrap().refuses_keys {
                    let reason = CloseFrame { code: 4001.into(), reason: "no such key".into() };
                    let _ = socket.close(Some(reason)).await;
                    return;
                }
                if kind == "auth" {
                    if socket.send(Message::text(r#"{"type":"auth_ok"}"#)).await.is_err() {
                        return;
                    }
                    let mut state = shared.0.lock().unwrap();
                    state.auths.push(frame);
                    state.open.push(open.clone());
                } else if let Some(data) = frame["data"].as_object() {
                    shared.0.lock().unwrap().event(kind, data);
                    let ack = json!({"type": "ack", "id": data["id"], "seq": frame["seq"]});
                    if socket.send(Message::text(ack.to_string())).await.is_err() {
                        return;
                    }
                }
                shared.1.notify_all();
            }
        }
    }
}

async fn http(stream: TcpStream, shared: Shared) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut line, mut length) = (String::new(), 0);
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let path = line.split_whitespace().nth(1).unwrap().to_owned();
        loop {
            let mut header = String::new();
            stream.read_line(&mut header).await.unwrap();
            let Some((name, value)) = header.trim_end().split_once(": ") else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let status = {
            let mut state = shared.0.lock().unwrap();
            if path.ends_with("/replay/claim") {
                state.claims.push((path, body));
                state.claim_statuses.pop_front().unwrap_or(200)
            } else {
                let mut run = body.as_object().cloned().unwrap();
                for span in run.remove("spans").and_then(|spans| spans.as_array().cloned()).unwrap_or_default() {
                    state.event("span_started", span.as_object().unwrap());
                }
                state.event("trace_started", &run);
                201
            }
        };
        shared.1.notify_all();
        let answer = format!("HTTP/1.1 {status} Scripted\r\ncontent-length: 2\r\n\r\n{{}}");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
