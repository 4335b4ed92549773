//! A client that only writes frames that were made before, and counts acks.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Instant;

use crate::Cost;
use crate::frame::{Frames, put};
use crate::other::{Other, cpu_seconds};

/// Most frames that are written and not confirmed.
pub(crate) const WINDOW: usize = 1_000;

/// Tells everything, and waits for the last ack.
pub(crate) fn tell(other: &mut Other, frames: &[Vec<u8>]) -> Cost {
    let address = other.url.strip_prefix("http://").unwrap().to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.set_nodelay(true).unwrap();
    write!(
        stream,
        "GET /ws/v1/stream HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    .unwrap();
    let mut answers = Frames::new(stream.try_clone().unwrap());
    assert!(answers.head().unwrap().starts_with("HTTP/1.1 101"));
    let mut out = Vec::new();
    put(&mut out, r#"{"type":"auth","api_key":"rt_local","acks":true}"#, true);
    stream.write_all(&out).unwrap();
    while answers.next().is_none_or(|text| text != r#"{"type":"auth_ok"}"#) {
        answers.more().unwrap();
    }

    let (began, cpu, there) = (Instant::now(), cpu_seconds(), other.cpu_seconds());
    let (mut written, mut confirmed) = (0, 0);
    while confirmed < frames.len() {
        out.clear();
        let until = frames.len().min(confirmed + WINDOW);
        frames[written..until].iter().for_each(|frame| out.extend_from_slice(frame));
        written = until;
        stream.write_all(&out).unwrap();
        answers.more().unwrap();
        while let Some(text) = answers.next() {
            assert!(!text.starts_with(r#"{"type":"error""#), "{text}");
            confirmed += usize::from(text.starts_with(r#"{"type":"ack""#));
        }
    }
    let (wall_seconds, here) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    #[allow(clippy::cast_precision_loss)]
    Cost { events: frames.len() as f64, wall_seconds, here, there: other.cpu_seconds() - there }
}
