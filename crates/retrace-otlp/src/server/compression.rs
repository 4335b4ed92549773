//! Decompression of request bodies.

use std::io::Read as _;

use axum::http::{HeaderMap, header};
use flate2::read::{MultiGzDecoder, ZlibDecoder};

/// Compression of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    /// Offered by some exporters; with a zlib header, as HTTP defines it.
    Deflate,
}

/// Result of a decompression.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unpacked {
    /// The whole body.
    Whole(Vec<u8>),
    /// The body exceeds the limit.
    TooLarge,
    /// The body is damaged.
    Damaged,
}

impl Compression {
    /// Returns `None` for an unsupported encoding.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
        let value = match (values.next(), values.next()) {
            (None, _) => return Some(Self::None),
            (Some(value), None) => value.to_str().ok()?.trim(),
            (Some(_), Some(_)) => return None,
        };
        [("", Self::None), ("identity", Self::None), ("gzip", Self::Gzip), ("deflate", Self::Deflate)]
            .into_iter()
            .find_map(|(name, compression)| value.eq_ignore_ascii_case(name).then_some(compression))
    }

    /// Decompresses at most `limit` bytes.
    pub(super) fn unpack(self, packed: &[u8], limit: usize) -> Unpacked {
        let mut bytes = Vec::new();
        let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        let read = match self {
            Self::None => return Unpacked::Whole(packed.to_vec()),
            Self::Gzip => MultiGzDecoder::new(packed).take(most).read_to_end(&mut bytes),
            Self::Deflate => ZlibDecoder::new(packed).take(most).read_to_end(&mut bytes),
        };
        match read {
            Ok(_) if bytes.len() > limit => Unpacked::TooLarge,
            Ok(_) => Unpacked::Whole(bytes),
            Err(_) => Unpacked::Damaged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression as Level;
    use flate2::read::{GzEncoder, ZlibEncoder};

    fn packed(compression: Compression, bytes: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        match compression {
            Compression::None => packed.extend(bytes),
            Compression::Gzip => drop(GzEncoder::new(bytes, Level::fast()).read_to_end(&mut packed).unwrap()),
            Compression::Deflate => drop(ZlibEncoder::new(bytes, Level::fast()).read_to_end(&mut packed).unwrap()),
        }
        packed
    }

    #[test]
    fn what_was_packed_comes_out_up_to_the_limit() {
        let zeros = vec![0; 1 << 20];
        for compression in [Compression::Gzip, Compression::Deflate] {
            let small = packed(compression, &zeros);
            assert!(small.len() < 8_192);
            assert_eq!(compression.unpack(&small, zeros.len()), Unpacked::Whole(zeros.clone()));
            assert_eq!(compression.unpack(&small, zeros.len() - 1), Unpacked::TooLarge);
            let half = &small[..small.len() / 2];
            assert_eq!(compression.unpack(half, zeros.len()), Unpacked::Damaged, "{compression:?}");
            assert_eq!(compression.unpack(b"plain", 9), Unpacked::Damaged);
        }
        let twice = [packed(Compression::Gzip, b"a"), packed(Compression::Gzip, b"b")].concat();
        assert_eq!(Compression::Gzip.unpack(&twice, 9), Unpacked::Whole(b"ab".to_vec()), "gzip may come in parts");
        assert_eq!(Compression::None.unpack(b"plain", 1), Unpacked::Whole(b"plain".to_vec()), "checked before");
    }

    #[test]
    fn the_header_says_which() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, header::HeaderValue::from_static(value));
            }
            Compression::of(&headers)
        };
        assert_eq!(of(&[]), Some(Compression::None));
        assert_eq!(of(&["identity"]), Some(Compression::None));
        assert_eq!(of(&["GZIP"]), Some(Compression::Gzip));
        assert_eq!(of(&["deflate"]), Some(Compression::Deflate));
        for unknown in [&["br"][..], &["gzip, gzip"], &["gzip", "gzip"]] {
            assert_eq!(of(unknown), None, "{unknown:?}");
        }
    }
}
