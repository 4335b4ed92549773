//! Incremental decoders. Their output is bounded, so that a small body cannot expand without limit.

use std::io::{self, BufRead, ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use brotli_decompressor::Decompressor;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use ruzstd::decoding::StreamingDecoder;

/// Maximum number of decoded bytes of a body. The rest is not read.
const MAX_DECODED: usize = 32 * 1024 * 1024;
/// Number of bytes that are decoded at a time, and maximum number that wait.
const PIECE: usize = 16 * 1024;
/// Maximum size of a `zstd` body, and of its window.
const MAX_ZSTD: usize = 8 * 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// Input of a decoder. Without bytes left it would block until the body has ended.
#[derive(Debug, Default)]
struct Feed {
    bytes: Vec<u8>,
    at: usize,
    ended: bool,
}

impl BufRead for Feed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.bytes.get(self.at..).unwrap_or_default() {
            [] if !self.ended => Err(ErrorKind::WouldBlock.into()),
            rest => Ok(rest),
        }
    }

    fn consume(&mut self, amount: usize) {
        self.at = self.at.saturating_add(amount);
    }
}

impl Read for Feed {
    fn read(&mut self, place: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(place)?;
        self.consume(length);
        Ok(length)
    }
}

trait Source: Read + Send + Sync {
    fn feed(&mut self) -> &mut Feed;
}

impl Source for MultiGzDecoder<Feed> {
    fn feed(&mut self) -> &mut Feed {
        self.get_mut()
    }
}

impl Source for ZlibDecoder<Feed> {
    fn feed(&mut self) -> &mut Feed {
        self.get_mut()
    }
}

impl Source for DeflateDecoder<Feed> {
    fn feed(&mut self) -> &mut Feed {
        self.get_mut()
    }
}

impl Source for Decompressor<Feed> {
    fn feed(&mut self) -> &mut Feed {
        self.get_mut()
    }
}

enum State {
    /// No byte was read.
    Begin(Coding),
    /// The body is not encoded as its headers state.
    Plain,
    Stream(Box<dyn Source>),
    Zstd(Vec<u8>),
    Ended,
}

/// A decoder of one body.
pub(crate) struct Inflate {
    state: State,
    room: usize,
    broken: bool,
}

impl Inflate {
    /// Returns the decoder of a coding; `None` for an unknown one.
    pub(super) fn named(name: &str) -> Option<Self> {
        let coding = match name {
            "gzip" | "x-gzip" => Coding::Gzip,
            "deflate" => Coding::Deflate,
            "br" => Coding::Brotli,
            "zstd" => Coding::Zstd,
            _ => return None,
        };
        Some(Self { state: State::Begin(coding), room: MAX_DECODED, broken: false })
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    pub(super) fn push(&mut self, bytes: &[u8], found: &mut dyn FnMut(&[u8])) {
        if let (State::Begin(coding), [first, ..]) = (&self.state, bytes) {
            self.state = begin(*coding, *first);
        }
        match &mut self.state {
            State::Plain => found(bytes),
            State::Zstd(held) if held.len().saturating_add(bytes.len()) > MAX_ZSTD => self.fail(),
            State::Zstd(held) => held.extend_from_slice(bytes),
            State::Stream(_) => bytes.chunks(PIECE).for_each(|bytes| self.feed(bytes, false, found)),
            State::Begin(_) | State::Ended => {}
        }
    }

    pub(super) fn finish(&mut self, found: &mut dyn FnMut(&[u8])) {
        if let State::Stream(_) = self.state {
            self.feed(&[], true, found);
        }
        if let State::Zstd(held) = &self.state {
            let held = held.clone();
            let decoder = || StreamingDecoder::new_with_max_window_size(&*held, MAX_ZSTD as u64);
            match catch_unwind(decoder) {
                Ok(Ok(mut decoder)) => self.read(&mut decoder, found),
                _ => self.fail(),
            }
        }
        if !matches!(self.state, State::Plain) {
            self.state = State::Ended;
        }
    }

    fn fail(&mut self) {
        self.broken = true;
        self.state = State::Ended;
    }

    fn feed(&mut self, bytes: &[u8], ended: bool, found: &mut dyn FnMut(&[u8])) {
        let State::Stream(mut source) = std::mem::replace(&mut self.state, State::Ended) else { return };
        let feed = source.feed();
        feed.bytes.drain(..feed.at.min(feed.bytes.len()));
        feed.at = 0;
        feed.bytes.extend_from_slice(bytes);
        feed.ended = ended;
        self.read(&mut *source, found);
        if !self.broken {
            self.state = State::Stream(source);
        }
    }

    /// Passes on the output of a source. A panic of a decoder counts as damage.
    fn read<R: Read + ?Sized>(&mut self, source: &mut R, found: &mut dyn FnMut(&[u8])) {
        let mut place = [0; PIECE];
        loop {
            match catch_unwind(AssertUnwindSafe(|| source.read(&mut place))) {
                Ok(Ok(0)) => return,
                Ok(Ok(length)) => {
                    let kept = length.min(self.room);
                    self.room -= kept;
                    found(place.get(..kept).unwrap_or_default());
                    if kept < length {
                        return self.fail();
                    }
                }
                Ok(Err(error)) if error.kind() == ErrorKind::WouldBlock => return,
                Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(Err(_)) | Err(_) => return self.fail(),
            }
        }
    }
}

/// Chooses the decoder by the first byte if that shows more than the headers: a proxy may have decoded a body without changing
/// its headers, and `deflate` has or lacks the frame of zlib.
fn begin(coding: Coding, first: u8) -> State {
    let feed = Feed::default();
    match coding {
        Coding::Gzip if first == 0x1F => State::Stream(Box::new(MultiGzDecoder::new(feed))),
        Coding::Zstd if first == 0x28 || first & 0xF0 == 0x50 => State::Zstd(Vec::new()),
        Coding::Gzip | Coding::Zstd => State::Plain,
        Coding::Deflate if first & 0x0F == 8 => State::Stream(Box::new(ZlibDecoder::new(feed))),
        Coding::Deflate => State::Stream(Box::new(DeflateDecoder::new(feed))),
        Coding::Brotli => State::Stream(Box::new(Decompressor::new(feed, 4096))),
    }
}
