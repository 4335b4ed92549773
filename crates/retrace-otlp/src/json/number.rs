//! Scalars in the JSON mapping of protobuf, with the deviations of exporters.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;

/// A number, or a string with a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written<'a> {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    #[serde(borrow)]
    Text(Cow<'a, str>),
}

/// Decodes an integer; 0 for `null`.
pub(super) fn whole<'de, D: Deserializer<'de>, T: TryFrom<i128> + Default>(reader: D) -> Result<T, D::Error> {
    Option::<Written<'_>>::deserialize(reader)?.map_or_else(|| Ok(T::default()), Written::whole)
}

impl Written<'_> {
    fn whole<T: TryFrom<i128>, E: Error>(self) -> Result<T, E> {
        let number = match self {
            Self::Unsigned(number) => Some(i128::from(number)),
            Self::Signed(number) => Some(i128::from(number)),
            // `1e9` and `1.0` are integers too.
            Self::Float(number) => integral(number),
            Self::Text(text) => text.parse().ok().or_else(|| integral(text.parse().ok()?)),
        };
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| E::invalid_value(Unexpected::Other("another value"), &"a whole number in range"))
    }
}

/// Decodes an enum from its number or its name; 0 for `null`.
pub(super) fn named<'de, D: Deserializer<'de>, E: Named>(reader: D) -> Result<i32, D::Error> {
    let Some(written) = Option::<Written<'_>>::deserialize(reader)? else { return Ok(0) };
    if let Written::Text(name) = &written
        && let Some(number) = E::number(name)
    {
        return Ok(number);
    }
    written.whole()
}

/// An enum of the protocol.
pub(super) trait Named {
    /// Returns the number of a name.
    fn number(name: &str) -> Option<i32>;
}

macro_rules! named {
    ($($kind:ty),*) => {
        $(impl Named for $kind {
            fn number(name: &str) -> Option<i32> {
                Self::from_str_name(name).map(|value| value as i32)
            }
        })*
    };
}

named!(
    opentelemetry_proto::tonic::trace::v1::span::SpanKind,
    opentelemetry_proto::tonic::trace::v1::status::StatusCode,
    opentelemetry_proto::tonic::logs::v1::SeverityNumber
);

fn integral(number: f64) -> Option<i128> {
    #[allow(clippy::cast_possible_truncation)] // whole; what is out of range becomes the nearest, and fails later
    (number.fract() == 0.0).then_some(number as i128)
}

/// Decodes a number, including the strings for values without a JSON number.
pub(super) fn double<'de, D: Deserializer<'de>>(reader: D) -> Result<f64, D::Error> {
    #[allow(clippy::cast_precision_loss)] // a float was meant
    Ok(match Written::deserialize(reader)? {
        Written::Unsigned(number) => number as f64,
        Written::Signed(number) => number as f64,
        Written::Float(number) => number,
        Written::Text(text) => text
            .parse()
            .map_err(|_| D::Error::invalid_value(Unexpected::Other("another text"), &"a number, NaN or Infinity"))?,
    })
}

/// Decodes a string; empty for `null`.
pub(super) fn text<'de, D: Deserializer<'de>>(reader: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(reader)?.unwrap_or_default())
}

/// Lengths of padded base64 ids: of a trace and of a span.
const BASE64_CHARS: [usize; 2] = [24, 12];

/// Decodes an id in hex of either case, or in the base64 that protobuf uses for other bytes. An invalid id becomes
/// empty, which affects only its span.
pub(super) fn hex<'de, D: Deserializer<'de>>(reader: D) -> Result<Vec<u8>, D::Error> {
    let text = Option::<Cow<'de, str>>::deserialize(reader)?.unwrap_or_default();
    let digits = text.as_bytes();
    let bytes = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    let bytes = bytes.collect::<Option<_>>();
    let base64 = || STANDARD.decode(&*text).ok().filter(|_| BASE64_CHARS.contains(&text.len()) && text.ends_with('='));
    Ok(bytes.or_else(base64).unwrap_or_default())
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        b'A'..=b'F' => Some(character - b'A' + 10),
        _ => None,
    }
}
