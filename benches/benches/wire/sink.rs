//! Receiver that acknowledges every event and stores nothing.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::frame::{Frames, put};

/// Listens on a free port and returns its URL. `on_event` is called with the text of every event.
pub(crate) fn start(on_event: impl Fn(&str) + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for connection in listener.incoming() {
            let on_event = on_event.clone();
            thread::spawn(move || connection.and_then(|stream| serve(&stream, &on_event)));
        }
    });
    url
}

/// Serves one connection until the client closes it.
fn serve(mut stream: &TcpStream, on_event: &impl Fn(&str)) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut frames = Frames::new(stream);
    let head = frames.head()?;
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
    });
    match key {
        Some(key) => confirm_events(stream, key, &mut frames, on_event),
        // A request after the last frame is accepted unread.
        None => stream.write_all(b"HTTP/1.1 201 Created\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"),
    }
}

/// Accepts the upgrade of a client that sent `key`, and acknowledges its events until it closes the connection.
pub(crate) fn confirm_events(
    mut stream: &TcpStream,
    key: &str,
    frames: &mut Frames<&TcpStream>,
    on_event: &impl Fn(&str),
) -> io::Result<()> {
    let accept = derive_accept_key(key.as_bytes());
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
    )?;
    let (mut out, mut ack) = (Vec::new(), String::new());
    loop {
        while let Some(text) = frames.next() {
            if text.starts_with(r#"{"type":"auth""#) {
                put(&mut out, r#"{"type":"auth_ok"}"#, false);
            } else if let Some((id, seq)) = ack_fields(text) {
                on_event(text);
                ack.clear();
                let _ = write!(ack, r#"{{"type":"ack","id":"{id}","seq":{seq}}}"#);
                put(&mut out, &ack, false);
            }
        }
        stream.write_all(&out)?;
        out.clear();
        frames.more()?;
    }
}

/// Returns the id and the sequence number of an event. In events of this project's sender the id is the first field of the data,
/// and the number is the last field.
fn ack_fields(text: &str) -> Option<(&str, &str)> {
    let (_, id) = text.split_once(r#""id":""#)?;
    let (_, seq) = text.rsplit_once(r#""seq":"#)?;
    Some((id.split_once('"')?.0, seq.strip_suffix('}')?))
}
