//! Compression of request bodies, if it is configured and the receiver supports it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::HeaderValue;

use crate::config::Compression;
use crate::delivery::Body;
use crate::log;

/// Shorter bodies are sent uncompressed: the head of the request is as long.
#[cfg(feature = "gzip")]
const SHORTEST: u64 = 1024;
/// Longer bodies are compressed on a thread beside the worker's, which reads acks meanwhile.
#[cfg(feature = "gzip")]
const LONG: u64 = 256 * 1024;

/// Compresses bodies until a receiver refuses one. Clones share that state.
#[derive(Clone, Debug)]
pub(crate) struct Compressor {
    #[cfg_attr(not(feature = "gzip"), expect(dead_code, reason = "there is nothing to pack with"))]
    compression: Compression,
    is_refused: Arc<AtomicBool>,
}

impl Compressor {
    pub(crate) fn new(compression: Compression) -> Self {
        Self { compression, is_refused: Arc::default() }
    }

    /// Value of the `Content-Encoding` header.
    #[expect(clippy::unused_self, reason = "there is only one way")]
    pub(crate) fn encoding(&self) -> HeaderValue {
        HeaderValue::from_static("gzip")
    }

    /// Records that the receiver does not support the encoding: it is not used again.
    pub(crate) fn refused(&self) {
        if !self.is_refused.swap(true, Ordering::Relaxed) {
            log::info("compression", "the receiver takes no gzip; bodies are sent as they are from now on");
        }
    }

    /// Returns the compressed body, if compression is on and makes it shorter.
    #[cfg(feature = "gzip")]
    pub(crate) async fn pack(&self, body: &Body) -> Option<Body> {
        let wanted = self.compression == Compression::Gzip && !self.is_refused.load(Ordering::Relaxed);
        if !wanted || body.length() < SHORTEST {
            return None;
        }
        let packed = if body.length() < LONG {
            gzip(body)
        } else {
            let body = body.clone();
            tokio::task::spawn_blocking(move || gzip(&body)).await.ok().flatten()
        };
        packed.filter(|packed| packed.length() < body.length())
    }

    /// Returns `None`, because the feature is off.
    #[cfg(not(feature = "gzip"))]
    #[expect(clippy::unused_async, reason = "packing may wait")]
    pub(crate) async fn pack(&self, _: &Body) -> Option<Body> {
        None
    }
}

#[cfg(feature = "gzip")]
fn gzip(body: &Body) -> Option<Body> {
    use std::io::Write as _;

    let room = usize::try_from(body.length() / 4).unwrap_or_default();
    let mut packer = flate2::write::GzEncoder::new(Vec::with_capacity(room), flate2::Compression::fast());
    for piece in body.pieces() {
        packer.write_all(piece).ok()?;
    }
    let mut packed = Body::default();
    packed.push(packer.finish().ok()?.into());
    Some(packed)
}

#[cfg(all(test, feature = "gzip"))]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn body(pieces: &[String]) -> Body {
        let mut body = Body::default();
        pieces.iter().for_each(|piece| body.push(piece.clone().into()));
        body
    }

    #[tokio::test]
    async fn what_is_packed_is_shorter_and_the_same() {
        let compressor = Compressor::new(Compression::Gzip);
        for length in [600, 200_000] {
            let pieces = [format!("{}a", "x".repeat(length)), "y".repeat(length)];
            let packed = compressor.pack(&body(&pieces)).await.unwrap();
            assert!(packed.length() < length as u64 / 10);
            let mut plain = String::new();
            let bytes: Vec<u8> = packed.pieces().flatten().copied().collect();
            flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut plain).unwrap();
            assert_eq!(plain, pieces.concat());
        }
    }

    #[tokio::test]
    async fn what_is_short_or_dense_or_refused_or_not_wanted_is_left_as_it_is() {
        let long = body(&["x".repeat(5_000)]);
        let compressor = Compressor::new(Compression::Gzip);
        assert!(compressor.pack(&body(&["x".repeat(1_000)])).await.is_none());
        let dense: String = std::iter::repeat_with(|| fastrand::char('\u{3400}'..'\u{9fff}')).take(500).collect();
        assert!(compressor.pack(&body(&[dense])).await.is_none_or(|packed| packed.length() < 1_500));
        assert!(compressor.pack(&long).await.is_some());
        compressor.clone().refused();
        assert!(compressor.pack(&long).await.is_none(), "nor by any clone");
        assert!(Compressor::new(Compression::None).pack(&long).await.is_none());
    }
}
