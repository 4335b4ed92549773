//! Receiver in a process of its own. It accepts every request and acknowledges every WebSocket event.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::frame::Frames;
use crate::ws_sink;

/// Listens on a free port, prints it, and answers until it is killed.
pub(crate) fn serve() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    for connection in listener.incoming() {
        thread::spawn(move || connection.map(|stream| answer(&stream)));
    }
}

fn answer(stream: &TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::with_capacity(1 << 18, stream);
    let mut line = String::new();
    let mut discarded = vec![0; 1 << 18];
    loop {
        let mut length = 0;
        let mut patch = false;
        let mut key = None;
        loop {
            line.clear();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("sec-websocket-key")
            {
                key = Some(value.trim().to_owned());
            }
            let head = line.trim_end().to_ascii_lowercase();
            if head.is_empty() {
                break;
            }
            patch |= head.starts_with("patch");
            if let Some(value) = head.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        if let Some(key) = key {
            // A client of a WebSocket waits for the response to its upgrade, so nothing is buffered behind the head.
            return ws_sink::confirm_events(stream, &key, &mut Frames::new(stream), &|_| ()).ok();
        }
        while length > 0 {
            let part = length.min(discarded.len());
            reader.read_exact(discarded.get_mut(..part)?).ok()?;
            length -= part;
        }
        // OTLP expects 200, a created run 201; neither exporter reads the body.
        let status = if patch { "200 OK" } else { "201 Created" };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        (&mut &*stream).write_all(answer.as_bytes()).ok()?;
    }
}

/// Process of a sink. It ends when this value is dropped.
pub(crate) struct Sink {
    process: Child,
    pub url: String,
}

impl Sink {
    pub(crate) fn start() -> Self {
        let mut process =
            Command::new(std::env::current_exe().unwrap()).arg("--sink").stdout(Stdio::piped()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Self { process, url: url.trim().to_owned() }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
