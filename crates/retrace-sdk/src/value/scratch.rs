//! Text in the making, in a buffer that each thread keeps for it.

use std::cell::Cell;
use std::str;
use std::{fmt, io, mem};

/// Most bytes of the buffer that a thread keeps. A longer text takes its buffer with it.
const KEPT_BYTES: usize = 16 * 1024;
/// Bytes that a new buffer has room for.
const NEW_BYTES: usize = 256;

thread_local! {
    /// The buffer, while it is not in use.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Text in the making. The buffer goes back to the thread when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch(Vec<u8>);

impl Scratch {
    /// Takes the buffer of the thread. Code that runs meanwhile and needs one as well gets another.
    pub(crate) fn new() -> Self {
        // A thread that ends has no such place any more.
        let mut bytes = BUFFER.try_with(Cell::take).unwrap_or_default();
        if bytes.capacity() == 0 {
            bytes.reserve(NEW_BYTES);
        }
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn push_str(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Removes everything beyond this length.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// A writer that takes bytes until the text is `limit` bytes long, and no more.
    pub(crate) fn bounded(&mut self, limit: usize) -> Bounded<'_> {
        Bounded { bytes: &mut self.0, limit, is_full: false }
    }

    /// The text, without a character that was cut at its end.
    pub(crate) fn into_text(mut self) -> String {
        if let Err(error) = str::from_utf8(&self.0) {
            self.0.truncate(error.valid_up_to());
        }
        if self.0.capacity() > KEPT_BYTES {
            return String::from_utf8(mem::take(&mut self.0)).unwrap_or_default();
        }
        str::from_utf8(&self.0).unwrap_or_default().to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if (1..=KEPT_BYTES).contains(&self.0.capacity()) {
            self.0.clear();
            let bytes = mem::take(&mut self.0);
            let _ = BUFFER.try_with(|buffer| buffer.set(bytes));
        }
    }
}

/// A writer that takes so many bytes and no more.
#[derive(Debug)]
pub(crate) struct Bounded<'a> {
    bytes: &'a mut Vec<u8>,
    limit: usize,
    is_full: bool,
}

impl Bounded<'_> {
    /// Returns true if not all bytes were taken.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    #[inline]
    fn push(&mut self, bytes: &[u8]) -> bool {
        let room = self.limit.saturating_sub(self.bytes.len());
        self.is_full |= bytes.len() > room;
        self.bytes.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        !self.is_full
    }
}

impl io::Write for Bounded<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.push(bytes) {
            true => Ok(()),
            false => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.push(text.as_bytes()) { Ok(()) } else { Err(fmt::Error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_text_ends_at_its_limit_between_characters() {
        let mut scratch = Scratch::new();
        let mut writer = scratch.bounded(4);
        writer.write_all(b"ab").unwrap();
        assert!(!writer.is_full());
        assert!(writer.write_all("čxy".as_bytes()).is_err() && writer.is_full());
        assert_eq!(scratch.into_text(), "abč");
        let mut scratch = Scratch::new();
        assert!(scratch.bounded(3).write_all("abč".as_bytes()).is_err());
        assert_eq!(scratch.into_text(), "ab");
    }

    #[test]
    fn two_texts_at_a_time_have_two_buffers() {
        let (mut outer, mut inner) = (Scratch::new(), Scratch::new());
        outer.push_str("outer");
        inner.push_str("inner");
        assert_eq!((inner.into_text(), outer.into_text()), ("inner".to_owned(), "outer".to_owned()));
        assert!(Scratch::new().is_empty());
    }

    #[test]
    fn a_thread_keeps_no_large_buffer() {
        let mut scratch = Scratch::new();
        scratch.push_str(&"x".repeat(KEPT_BYTES + 1));
        assert_eq!(scratch.into_text().len(), KEPT_BYTES + 1);
        assert!(Scratch::new().0.capacity() <= KEPT_BYTES);
    }
}
