//! Scalars as the JSON mapping of protobuf writes them, and as exporters do.

use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;

/// A number, or the text of one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written<'a> {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    #[serde(borrow)]
    Text(Cow<'a, str>),
}

/// A whole number; 0 where nothing is said.
pub(super) fn whole<'de, D: Deserializer<'de>, T: TryFrom<i128> + Default>(reader: D) -> Result<T, D::Error> {
    let Some(written) = Option::<Written<'_>>::deserialize(reader)? else { return Ok(T::default()) };
    let number = match written {
        Written::Unsigned(number) => Some(i128::from(number)),
        Written::Signed(number) => Some(i128::from(number)),
        // `1e9` and `1.0` are whole numbers too.
        Written::Float(number) => integral(number),
        Written::Text(text) => text.parse().ok().or_else(|| integral(text.parse().ok()?)),
    };
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| D::Error::invalid_value(Unexpected::Other("another value"), &"a whole number in range"))
}

fn integral(number: f64) -> Option<i128> {
    #[allow(clippy::cast_possible_truncation)] // whole; what is out of range becomes the nearest, and fails later
    (number.fract() == 0.0).then_some(number as i128)
}

/// Also the words for what JSON has no number for.
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

/// Empty where nothing is said.
pub(super) fn text<'de, D: Deserializer<'de>>(reader: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(reader)?.unwrap_or_default())
}

/// An id in hex, of either case. What is none becomes empty: that costs one span and not its neighbours.
pub(super) fn hex<'de, D: Deserializer<'de>>(reader: D) -> Result<Vec<u8>, D::Error> {
    let text = Option::<Cow<'de, str>>::deserialize(reader)?.unwrap_or_default();
    let digits = text.as_bytes();
    let bytes = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    Ok(bytes.collect::<Option<_>>().unwrap_or_default())
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        b'A'..=b'F' => Some(character - b'A' + 10),
        _ => None,
    }
}
