//! Content codings: the copy of a body that is read is decoded; the bytes of the caller are not changed.
//!
//! Feature `decompress` has `gzip`, `deflate`, `br` and `zstd`. `gzip`, `deflate` and `br` are decoded as they arrive, 16 KiB
//! at a time. `zstd` is decoded when the body has ended, since its decoder holds back a whole window. A body with another
//! coding, or with several, is not read.

#[cfg(feature = "decompress")]
mod inflate;

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

/// Maximum length of a recorded coding name in bytes.
const MAX_NAME: usize = 64;

/// A decoder of one body.
#[derive(Default)]
pub(crate) enum Decoder {
    /// The body is not coded.
    #[default]
    Identity,
    /// The body is not read; the name of its coding.
    Unread(String),
    #[cfg(feature = "decompress")]
    Coded(inflate::Inflate),
}

impl Decoder {
    /// Returns the decoder for the headers of a message.
    ///
    /// Audio, images and video are not read: their media type takes the place of the coding.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if ["audio/", "image/", "video/"].iter().any(|media| kind.starts_with(media)) {
            return Self::unread(kind.split(';').next().unwrap_or_default().trim());
        }
        let values = headers.get_all(CONTENT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let named = values.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase());
        let names: Vec<String> = named.filter(|name| !name.is_empty() && name != "identity").collect();
        match names.as_slice() {
            [] => Self::Identity,
            [name] => Self::named(name),
            names => Self::unread(&names.join(", ")),
        }
    }

    /// Returns the decoder of a request body, whose headers are unknown, by its first bytes, which no JSON has.
    pub(crate) fn of_request(body: &[u8]) -> Self {
        match body {
            [0x1F, 0x8B, ..] => Self::named("gzip"),
            [0x28, 0xB5, 0x2F, 0xFD, ..] => Self::named("zstd"),
            _ => Self::Identity,
        }
    }

    fn named(name: &str) -> Self {
        #[cfg(feature = "decompress")]
        if let Some(inflate) = inflate::Inflate::named(name) {
            return Self::Coded(inflate);
        }
        Self::unread(name)
    }

    fn unread(name: &str) -> Self {
        Self::Unread(name.chars().take(MAX_NAME).collect())
    }

    /// Returns the coding of a body that is not read.
    pub(crate) fn unread_coding(&self) -> Option<&str> {
        if let Self::Unread(name) = self { Some(name) } else { None }
    }

    /// Returns true if the body is damaged, truncated, or longer than the limit.
    pub(crate) fn is_broken(&self) -> bool {
        match self {
            #[cfg(feature = "decompress")]
            Self::Coded(inflate) => inflate.is_broken(),
            _ => false,
        }
    }

    /// Reads the next bytes and passes on what is decoded.
    pub(crate) fn push(&mut self, bytes: &[u8], found: &mut dyn FnMut(&[u8])) {
        match self {
            Self::Identity => found(bytes),
            Self::Unread(_) => {}
            #[cfg(feature = "decompress")]
            Self::Coded(inflate) => inflate.push(bytes, found),
        }
    }

    /// Ends the body and passes on the rest.
    pub(crate) fn finish(&mut self, found: &mut dyn FnMut(&[u8])) {
        #[cfg(feature = "decompress")]
        if let Self::Coded(inflate) = self {
            inflate.finish(found);
        }
        let _ = found;
    }
}
