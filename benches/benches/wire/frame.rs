//! Text frames of a WebSocket, as bytes.

use std::io::{self, Read};

/// Puts a text frame behind what is there. What a client sends is masked, here with zeros: the text stands as it is.
pub(crate) fn put(out: &mut Vec<u8>, text: &str, from_client: bool) {
    let mask = if from_client { 0x80 } else { 0 };
    out.push(0x81);
    match text.len() {
        length @ 0..126 => out.push(mask | u8::try_from(length).unwrap()),
        length @ 126..=0xffff => {
            out.push(mask | 126);
            out.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            out.push(mask | 127);
            out.extend(u64::try_from(length).unwrap().to_be_bytes());
        }
    }
    if from_client {
        out.extend([0; 4]);
    }
    out.extend_from_slice(text.as_bytes());
}

/// Frames as they come.
#[derive(Debug)]
pub(crate) struct Frames<S> {
    stream: S,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl<S: Read> Frames<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, bytes: vec![0; 1 << 20], start: 0, end: 0 }
    }

    /// Reads the head of a request or an answer, up to the empty line.
    pub(crate) fn head(&mut self) -> io::Result<String> {
        loop {
            let head = &self.bytes[self.start..self.end];
            if let Some(length) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&head[..length]).into_owned();
                self.start += length + 4;
                return Ok(head);
            }
            self.more()?;
        }
    }

    /// Waits for more bytes, once.
    pub(crate) fn more(&mut self) -> io::Result<()> {
        self.bytes.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        assert!(self.end < self.bytes.len(), "no frame here is so large");
        match self.stream.read(&mut self.bytes[self.end..])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.end += read;
                Ok(())
            }
        }
    }

    /// The next frame that is here, if all of it is: its text, empty for a frame that holds none.
    pub(crate) fn next(&mut self) -> Option<&str> {
        let bytes = &mut self.bytes[self.start..self.end];
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (length, mut at) = match second & 0x7f {
            126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())), 4),
            127 => (usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap())).unwrap(), 10),
            length => (usize::from(length), 2),
        };
        let mut mask = [0; 4];
        if second & 0x80 != 0 {
            mask.copy_from_slice(bytes.get(at..at + 4)?);
            at += 4;
        }
        let text = bytes.get_mut(at..at + length)?;
        if mask != [0; 4] {
            for piece in text.chunks_mut(4) {
                piece.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
            }
        }
        self.start += at + length;
        if first == 0x81 { Some(std::str::from_utf8(text).unwrap()) } else { Some("") }
    }
}
