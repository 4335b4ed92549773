//! A receiver on a real socket that does what a script says, and fails loudly on what it does not expect.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::wait::HANG;

/// What the receiver does with one request.
#[derive(Clone, Debug)]
pub enum Act {
    /// Reads the request and answers.
    Answer {
        /// The status.
        status: u16,
        /// Further headers.
        headers: Vec<(&'static str, String)>,
        /// The body.
        body: String,
    },
    /// Reads the request and never answers.
    Hang,
    /// Reads the request and closes the connection instead of answering.
    Close,
    /// Reads the head and resets the connection in the middle of the body.
    ResetMidBody,
    /// Reads the request and answers something that is no HTTP.
    Garbage,
}

impl Act {
    /// Answers with a status and an empty object.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Answer { status, headers: Vec::new(), body: "{}".to_owned() }
    }

    /// Answers with a status and a reason in JSON.
    #[must_use]
    pub fn refuse(status: u16, reason: &str) -> Self {
        let body = serde_json::json!({ "error": reason }).to_string();
        Self::Answer { status, headers: Vec::new(), body }
    }

    /// The same with a header.
    #[must_use]
    pub fn with_header(self, name: &'static str, value: impl Into<String>) -> Self {
        match self {
            Self::Answer { status, mut headers, body } => {
                headers.push((name, value.into()));
                Self::Answer { status, headers, body }
            }
            other => other,
        }
    }
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which connection it came on, from 0.
    pub connection: usize,
    /// `POST` and the like.
    pub method: String,
    /// The path.
    pub path: String,
    /// The headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body; null when it is no JSON or was not read.
    pub body: Value,
    /// When it was read.
    pub at: Instant,
}

#[derive(Debug, Default)]
struct State {
    script: VecDeque<Act>,
    always: Option<Act>,
    requests: Vec<Request>,
    connections: usize,
    surprises: Vec<String>,
}

/// The receiver. Dropping it stops it, and fails the test when something unexpected happened.
#[derive(Debug)]
pub struct ScriptedPeer {
    address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl ScriptedPeer {
    /// Does the acts in order; a request beyond them is a surprise.
    #[must_use]
    pub fn playing(script: impl IntoIterator<Item = Act>) -> Self {
        Self::start(State { script: script.into_iter().collect(), ..State::default() })
    }

    /// Does the acts in order, and then the last one for ever.
    #[must_use]
    pub fn always(script: impl IntoIterator<Item = Act>, always: Act) -> Self {
        Self::start(State { script: script.into_iter().collect(), always: Some(always), ..State::default() })
    }

    fn start(state: State) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new((Mutex::new(state), Condvar::new()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                let connection = {
                    let mut state = shared.0.lock().unwrap();
                    state.connections += 1;
                    state.connections - 1
                };
                thread::spawn(move || serve(&stream, connection, &shared));
            }
        });
        Self { address, state }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.0.lock().unwrap()
    }

    /// The requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.lock().requests.clone()
    }

    /// Connections so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.lock().connections
    }

    /// Waits until there were this many requests.
    ///
    /// # Panics
    /// When they do not come within [`HANG`].
    #[must_use]
    pub fn wait_for(&self, requests: usize) -> Vec<Request> {
        let (_, changed) = &*self.state;
        let enough = |state: &mut State| state.requests.len() < requests;
        let (state, timeout) = changed.wait_timeout_while(self.lock(), HANG, enough).unwrap();
        assert!(!timeout.timed_out(), "{} of {requests} requests came", state.requests.len());
        state.requests.clone()
    }
}

impl Drop for ScriptedPeer {
    fn drop(&mut self) {
        let surprises = std::mem::take(&mut self.lock().surprises);
        if !thread::panicking() {
            assert!(surprises.is_empty(), "unexpected: {surprises:?}");
        }
    }
}

fn serve(stream: &TcpStream, connection: usize, shared: &(Mutex<State>, Condvar)) {
    let mut reader = BufReader::new(stream);
    while let Some((mut request, length)) = read_head(&mut reader, connection) {
        let act = {
            let mut state = shared.0.lock().unwrap();
            state.script.pop_front().or_else(|| state.always.clone())
        };
        if let Some(Act::ResetMidBody) = act {
            let mut some = vec![0; length / 2];
            let _ = reader.read_exact(&mut some);
            note(shared, request);
            // A close with unread data and no linger is a reset.
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
            return;
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        request.body = serde_json::from_slice(&body).unwrap_or_default();
        let surprise = format!("{} {}", request.method, request.path);
        note(shared, request);
        let mut stream = stream;
        match act {
            Some(Act::Answer { status, headers, body }) => {
                let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                let length = body.len();
                let answer = format!("HTTP/1.1 {status} Scripted\r\n{headers}content-length: {length}\r\n\r\n{body}");
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
            Some(Act::Hang) => {
                // Until the other side has had enough.
                let _ = reader.read(&mut [0]);
                return;
            }
            Some(Act::Garbage) => {
                let _ = stream.write_all(b"\x00\x01 this is no HTTP\r\n\r\n");
                return;
            }
            Some(Act::Close) => {
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
            Some(Act::ResetMidBody) | None => {
                shared.0.lock().unwrap().surprises.push(surprise);
                let _ = stream.write_all(b"HTTP/1.1 500 Unscripted\r\ncontent-length: 0\r\n\r\n");
            }
        }
    }
}

fn note(shared: &(Mutex<State>, Condvar), request: Request) {
    shared.0.lock().unwrap().requests.push(request);
    shared.1.notify_all();
}

fn read_head(reader: &mut BufReader<&TcpStream>, connection: usize) -> Option<(Request, usize)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    Some((Request { connection, method, path, headers, body: Value::Null, at: Instant::now() }, length))
}
