//! Images, audio and files in messages: carried by reference, or inline if they are small.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use retrace_protocol::message::Media;
use sha2::{Digest, Sha256};

use crate::messages::Source;

/// Maximum length of inline content, in characters of base64. Larger content is reduced to type, size and hash, which bounds
/// the size of runs with many screenshots and leaves room for thumbnails.
pub const INLINE_MEDIA_CHARS: usize = 16 * 1024;

/// Number of characters that are decoded at a time, so that hashing 20 MB needs no 15 MB buffer. A multiple of 4.
const PIECE_CHARS: usize = 8 * 1024;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Returns the kind of medium of a MIME type.
pub(crate) fn kind_of(mime_type: Option<&str>) -> Cow<'static, str> {
    Cow::Borrowed(match mime_type.and_then(|mime| mime.split('/').next()) {
        Some("image") => "image",
        Some("audio") => "audio",
        Some("video") => "video",
        _ => "file",
    })
}

/// Returns the medium as it is carried: inline content above [`INLINE_MEDIA_CHARS`] becomes its size and hash.
pub(crate) fn reference<'a>(kind: Cow<'a, str>, mime_type: Option<Cow<'a, str>>, source: Source<'a>) -> Media<'a> {
    let mut media = Media { kind, mime_type, uri: None, file_id: None, data: None, size: None, sha256: None };
    let data = match source {
        Source::Uri(uri) => {
            let Some((mime, data)) = split_data_uri(&uri) else {
                // The signature of a URL is a credential.
                media.uri = Some(match genai_redact::url(&uri) {
                    Cow::Owned(redacted) => Cow::Owned(redacted),
                    Cow::Borrowed(_) => uri,
                });
                return media;
            };
            media.mime_type = media.mime_type.or(mime);
            data
        }
        Source::File(id) => {
            media.file_id = Some(id);
            return media;
        }
        Source::Base64(data) => data,
        Source::Unknown => return media,
    };
    if data.len() <= INLINE_MEDIA_CHARS {
        media.data = Some(data);
    } else {
        let (size, sha256) = digest(&data);
        media.size = Some(size);
        media.sha256 = sha256;
    }
    media
}

/// Splits a `data:` URI into MIME type and base64; returns `None` for any other URI.
fn split_data_uri<'a>(uri: &Cow<'a, str>) -> Option<(Option<Cow<'a, str>>, Cow<'a, str>)> {
    const SCHEME: &str = "data:";
    const ENCODING: &str = ";base64,";

    let mime_end = SCHEME.len() + uri.strip_prefix(SCHEME)?.find(ENCODING)?;
    let mime = slice(uri, SCHEME.len()..mime_end).filter(|mime| !mime.is_empty());
    Some((mime, slice(uri, mime_end + ENCODING.len()..uri.len())?))
}

/// Returns a part of a text, borrowed if the text is.
fn slice<'a>(text: &Cow<'a, str>, range: Range<usize>) -> Option<Cow<'a, str>> {
    Some(match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(range)?),
        Cow::Owned(text) => Cow::Owned(text.get(range)?.to_owned()),
    })
}

/// Returns size and SHA-256 of base64 content. For text that is no base64, returns the length of the text and no hash.
fn digest(data: &str) -> (u64, Option<String>) {
    let mut hash = Sha256::new();
    let mut size = 0_u64;
    let mut buffer = [0_u8; PIECE_CHARS];
    for piece in data.trim().as_bytes().chunks(PIECE_CHARS) {
        let Some(decoded) = BASE64.decode_slice(piece, &mut buffer).ok().and_then(|len| buffer.get(..len)) else {
            return (data.len() as u64, None);
        };
        hash.update(decoded);
        size += decoded.len() as u64;
    }
    let hex = hash.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}"); // writing to a String cannot fail
        hex
    });
    (size, Some(hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(source: Source<'_>) -> Media<'_> {
        reference("image".into(), None, source)
    }

    #[test]
    fn small_content_stays_and_large_content_becomes_a_hash() {
        let small = of(Source::Base64("aGk=".into()));
        assert_eq!((small.data.as_deref(), small.size), (Some("aGk="), None));
        // A group of 4 characters is 3 bytes: 15,000 zero bytes.
        let large = of(Source::Base64("AAAA".repeat(5_000).into()));
        assert_eq!((large.data.as_deref(), large.size), (None, Some(15_000)));
        let zeros = Sha256::digest(vec![0_u8; 15_000]).iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(large.sha256, Some(zeros));
    }

    #[test]
    fn padding_may_be_there_or_not() {
        let padded = format!("{}aGk=", "AAAA".repeat(5_000));
        let bare = padded.trim_end_matches('=').to_owned();
        assert_eq!(digest(&padded), digest(&bare));
        assert_eq!(digest(&padded).0, 15_002);
    }

    #[test]
    fn what_is_no_base64_has_a_size_only() {
        assert_eq!(digest(&"?".repeat(20_000)), (20_000, None));
    }

    #[test]
    fn data_uris_are_taken_apart_and_others_kept() {
        for uri in [Cow::Borrowed("data:image/png;base64,aGk="), Cow::Owned("data:image/png;base64,aGk=".to_owned())] {
            let media = of(Source::Uri(uri));
            assert_eq!((media.mime_type.as_deref(), media.data.as_deref()), (Some("image/png"), Some("aGk=")));
        }
        let bare = of(Source::Uri("data:;base64,aGk=".into()));
        assert_eq!((bare.mime_type, bare.data.as_deref()), (None, Some("aGk=")));
        for uri in ["https://example.org/a.png", "data:text/plain,hi", "data:"] {
            assert_eq!(of(Source::Uri(uri.into())).uri.as_deref(), Some(uri));
        }
    }

    #[test]
    fn the_kind_follows_the_mime_type() {
        for (mime, kind) in
            [(Some("image/png"), "image"), (Some("audio/wav"), "audio"), (Some("x"), "file"), (None, "file")]
        {
            assert_eq!(kind_of(mime), kind);
        }
    }
}
