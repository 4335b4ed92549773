//! A receiver that keeps nothing: it reads requests to their end, counts spans, and answers that it has them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Text that each span of a body has once.
const IN_EACH_SPAN: &[u8] = br#""span_type":"#;

/// The receiver. Its threads end with the process.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    spans: Arc<AtomicU64>,
}

impl Sink {
    /// Listens on a free port.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let spans = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&spans);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let spans = Arc::clone(&count);
                thread::spawn(move || serve(&stream, &spans));
            }
        });
        Self { address, spans }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Spans that it received.
    #[must_use]
    pub fn spans(&self) -> u64 {
        self.spans.load(Ordering::SeqCst)
    }
}

/// Answers requests of one connection until it ends.
fn serve(stream: &TcpStream, spans: &AtomicU64) {
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let (name, value) = line.split_once(':').unwrap_or((line.trim_end(), ""));
            if name.is_empty() {
                break;
            }
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let found = body.windows(IN_EACH_SPAN.len()).filter(|window| *window == IN_EACH_SPAN).count();
        spans.fetch_add(found as u64, Ordering::SeqCst);
        if writer.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}").is_err() {
            return;
        }
    }
}
