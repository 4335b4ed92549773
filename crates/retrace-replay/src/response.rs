//! Recorded HTTP responses.

/// Part of a response body as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Time from the call's start to the arrival, in milliseconds.
    pub ms: u64,
    /// Bytes, exactly as received after transfer decoding.
    pub bytes: Vec<u8>,
}

/// Response of a provider as it was recorded or rebuilt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// HTTP status code.
    pub status: u16,
    /// Header names in lower case with their values, in order; only those of the allow list.
    pub headers: Vec<(String, String)>,
    /// Time from the call's start to the head of the response, in milliseconds.
    pub head_ms: u64,
    /// Body, in the chunks in which it arrived. A body that was read at once is one chunk.
    pub chunks: Vec<Chunk>,
    /// Error that broke the body off after the last chunk; `None` where the body ended.
    pub broken: Option<String>,
}

impl Response {
    /// Returns the whole body.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        self.chunks.iter().map(|chunk| chunk.bytes.as_slice()).collect::<Vec<_>>().concat()
    }

    /// Returns the value of the first header of this name; the name is compared without regard to case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}
