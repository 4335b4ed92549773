//! Frames of `application/vnd.amazon.eventstream` as they arrive, cut anywhere:
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html>.
//!
//! A frame is a prelude (length of the frame, length of the headers, their checksum), headers, a payload and a checksum. The
//! decoder is not that of `aws-smithy-eventstream`: `aws-smithy-types`, which it needs, brings a dozen crates (`time`,
//! `base64-simd`, `bytes-utils`, `http-body-util`) into the build of every application, and its decoder holds frames of any
//! length. This one needs `crc32fast`, and its buffer is bounded.

/// Longest frame that the format allows: 24 MiB of payload, 128 KiB of headers.
const MAX_FRAME: usize = 24 * 1024 * 1024 + MAX_HEADERS + OVERHEAD;
/// Longest frame that is held. A longer one is skipped.
const MAX_HELD: usize = 4 * 1024 * 1024;
const MAX_HEADERS: usize = 128 * 1024;
const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;
const OVERHEAD: usize = PRELUDE + CHECKSUM;
/// Capacity of the buffer that stays between frames.
const KEPT_CAPACITY: usize = 64 * 1024;

/// A whole frame whose checksums are right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// `:message-type`: `event`, `exception` or `error`.
    pub(crate) message_type: &'a str,
    /// `:event-type`, `:exception-type` or `:error-code`.
    pub(crate) name: &'a str,
    /// `:error-message`, of a frame of type `error`.
    pub(crate) error_message: Option<&'a str>,
    pub(crate) payload: &'a [u8],
}

/// The decoder. Holds at most one frame of 4 MiB.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The frame so far, prelude included.
    buffer: Vec<u8>,
    /// Length of the frame; 0 until the prelude is whole.
    length: usize,
    /// Bytes left of a frame that is too long to be held.
    skip: usize,
    skipped: u64,
    failed: bool,
}

impl Decoder {
    /// Returns true if the stream breaks off inside of a frame here, or has a wrong checksum or length. No frame follows
    /// one that is wrong.
    pub(crate) fn is_broken(&self) -> bool {
        self.failed || self.skip > 0 || !self.buffer.is_empty()
    }

    /// Bytes of the frames that were too long.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Reads on, and gives each frame that ends here.
    pub(crate) fn push(&mut self, mut bytes: &[u8], found: &mut dyn FnMut(Frame<'_>)) {
        while !bytes.is_empty() && !self.failed {
            if self.skip > 0 {
                let skip = self.skip.min(bytes.len());
                self.skip -= skip;
                bytes = bytes.get(skip..).unwrap_or_default();
                continue;
            }
            let whole = if self.length == 0 { PRELUDE } else { self.length };
            let (part, rest) = bytes.split_at(bytes.len().min(whole.saturating_sub(self.buffer.len())));
            self.buffer.extend_from_slice(part);
            bytes = rest;
            if self.buffer.len() < whole {
                return;
            }
            if self.length == 0 {
                self.begin();
            } else {
                self.failed = frame(&self.buffer).map(&mut *found).is_none();
                self.clear();
            }
        }
    }

    /// Reads the prelude.
    fn begin(&mut self) {
        let lengths = prelude(&self.buffer);
        match lengths {
            Some((length, _)) if length <= MAX_HELD => self.length = length,
            Some((length, headers)) => {
                self.skip = length - PRELUDE;
                self.skipped += (length - OVERHEAD - headers) as u64;
                self.clear();
            }
            None => {
                self.failed = true;
                self.clear();
            }
        }
    }

    fn clear(&mut self) {
        self.length = 0;
        self.buffer.clear();
        self.buffer.shrink_to(KEPT_CAPACITY);
    }
}

/// The length of the frame and that of its headers. `None` where they cannot be right.
fn prelude(bytes: &[u8]) -> Option<(usize, usize)> {
    let (lengths, _) = bytes.split_at_checked(8)?;
    let mut rest = bytes;
    let length = usize::try_from(u32::from_be_bytes(take(&mut rest)?)).ok()?;
    let headers = usize::try_from(u32::from_be_bytes(take(&mut rest)?)).ok()?;
    let right = u32::from_be_bytes(take(&mut rest)?) == crc32fast::hash(lengths);
    let possible = length <= MAX_FRAME && headers <= MAX_HEADERS && headers.checked_add(OVERHEAD)? <= length;
    (right && possible).then_some((length, headers))
}

/// Reads a whole frame. `None` where its checksum or its headers are wrong.
fn frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let (_, headers) = prelude(bytes)?;
    let (content, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM)?)?;
    if checksum != crc32fast::hash(content).to_be_bytes() {
        return None;
    }
    let (mut headers, payload) = content.get(PRELUDE..)?.split_at_checked(headers)?;
    let mut frame = Frame { payload, ..Frame::default() };
    while !headers.is_empty() {
        let (name, value) = header(&mut headers)?;
        match (name, value) {
            (b":message-type", Some(value)) => frame.message_type = value,
            (b":event-type" | b":exception-type" | b":error-code", Some(value)) => frame.name = value,
            (b":error-message", Some(value)) => frame.error_message = Some(value),
            _ => {}
        }
    }
    Some(frame)
}

/// Takes a header: its name, and its value where that is a text.
fn header<'a>(bytes: &mut &'a [u8]) -> Option<(&'a [u8], Option<&'a str>)> {
    let [length] = take(bytes)?;
    let name = slice(bytes, usize::from(length))?;
    let [kind] = take(bytes)?;
    let length = match kind {
        0 | 1 => 0,
        2 => 1,
        3 => 2,
        4 => 4,
        5 | 8 => 8,
        6 | 7 => usize::from(u16::from_be_bytes(take(bytes)?)),
        9 => 16,
        _ => return None,
    };
    let value = slice(bytes, length)?;
    Some((name, std::str::from_utf8(value).ok().filter(|_| kind == 7)))
}

fn slice<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn take<const LENGTH: usize>(bytes: &mut &[u8]) -> Option<[u8; LENGTH]> {
    slice(bytes, LENGTH)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(headers: &[u8], payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(OVERHEAD + headers.len() + payload.len()).unwrap();
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend(u32::try_from(headers.len()).unwrap().to_be_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        bytes.extend([headers, payload].concat());
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        bytes
    }

    fn text(name: &str, value: &str) -> Vec<u8> {
        let mut bytes = vec![u8::try_from(name.len()).unwrap()];
        bytes.extend(name.bytes());
        bytes.push(7);
        bytes.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        bytes.extend(value.bytes());
        bytes
    }

    /// The frames as text, and whether the stream is broken.
    fn read(pieces: &[&[u8]]) -> (Vec<String>, bool) {
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        for piece in pieces {
            decoder.push(piece, &mut |frame| frames.push(format!("{frame:?}")));
        }
        (frames, decoder.is_broken())
    }

    fn frame_of(name: &str, payload: &[u8]) -> Vec<u8> {
        encode(&[text(":message-type", "event"), text(":event-type", name)].concat(), payload)
    }

    #[test]
    fn headers_of_every_type_are_passed_over() {
        let mut headers = Vec::new();
        for (kind, value) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (5, 8), (8, 8), (9, 16)] {
            headers.extend([1, b'x', kind]);
            headers.extend(vec![0xFF; value]);
        }
        headers.extend([1, b'x', 6, 0, 2, 1, 2]);
        headers.extend(text(":event-type", "chunk"));
        let mut decoder = Decoder::default();
        let mut names = 0;
        decoder.push(&encode(&headers, b"{}"), &mut |frame| {
            assert_eq!((frame.name, frame.payload), ("chunk", &b"{}"[..]));
            names += 1;
        });
        assert_eq!((names, decoder.is_broken()), (1, false));
        headers.extend([1, b'x', 10]);
        assert_eq!(read(&[&encode(&headers, b"")]), (vec![], true));
    }

    #[test]
    fn no_frame_follows_one_that_is_damaged() {
        let (one, two) = (frame_of("a", b"{}"), frame_of("b", b"{}"));
        for place in 0..one.len() {
            let mut damaged = one.clone();
            damaged[place] ^= 1;
            let bytes = [two.clone(), damaged, two.clone()].concat();
            let (frames, broken) = read(&[&bytes]);
            assert_eq!((frames.len(), broken), (1, true), "byte {place}");
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_skipped_and_not_held() {
        let long = frame_of("a", &vec![b'x'; MAX_HELD]);
        let mut decoder = Decoder::default();
        let mut names = Vec::new();
        for piece in [long, frame_of("b", b"{}")].concat().chunks(9999) {
            decoder.push(piece, &mut |frame| names.push(frame.name.to_owned()));
            assert!(decoder.buffer.capacity() <= KEPT_CAPACITY);
        }
        assert_eq!((names, decoder.is_broken()), (vec!["b".to_owned()], false));
        assert_eq!(decoder.skipped(), MAX_HELD as u64);
        let mut lying = (u32::MAX).to_be_bytes().to_vec();
        lying.extend([0; 4]);
        lying.extend(crc32fast::hash(&lying).to_be_bytes());
        assert_eq!(read(&[&lying]), (vec![], true));
    }

    proptest! {
        #[test]
        fn frames_do_not_depend_on_the_cuts(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..5), lost in 0..30_usize, length in 1..60_usize) {
            let mut bytes: Vec<u8> = payloads.iter().flat_map(|payload| frame_of("e", payload)).collect();
            bytes.truncate(bytes.len() - lost);
            let whole = read(&[&bytes]);
            prop_assert_eq!(whole.1, lost > 0);
            let pieces: Vec<&[u8]> = bytes.chunks(length).collect();
            prop_assert_eq!(read(&pieces), whole);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), headers in prop::collection::vec(any::<u8>(), 0..40)) {
            let whole = read(&[&bytes]);
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(read(&single), whole);
            read(&[&encode(&headers, &bytes)]);
        }
    }
}
