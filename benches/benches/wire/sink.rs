//! A receiver that confirms whatever comes, and stores nothing.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::frame::{Frames, put};

/// Listens on a free port; `heard` is given every event. Returns its address.
pub(crate) fn start(heard: impl Fn(&str) + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for connection in listener.incoming() {
            let heard = heard.clone();
            thread::spawn(move || connection.and_then(|stream| confirm(&stream, &heard)));
        }
    });
    url
}

/// Until the client goes.
fn confirm(mut stream: &TcpStream, heard: &impl Fn(&str)) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut frames = Frames::new(stream);
    let head = frames.head()?;
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
    });
    let Some(key) = key else {
        // A request after the last frame: all that is said here is yes.
        return stream.write_all(b"HTTP/1.1 201 Created\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    };
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
            } else if let Some((id, seq)) = about(text) {
                heard(text);
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

/// What an ack repeats of an event of this project's sender: the id comes first in the data, the number last of all.
fn about(text: &str) -> Option<(&str, &str)> {
    let (_, id) = text.split_once(r#""id":""#)?;
    let (_, seq) = text.rsplit_once(r#""seq":"#)?;
    Some((id.split_once('"')?.0, seq.strip_suffix('}')?))
}
