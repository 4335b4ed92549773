//! `AnyValue`: one of several kinds, named by its key.

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Message, Of, double, list, text, whole};

impl Message for AnyValue {
    fn read<'de, D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_map(Kinds)
    }
}

struct Kinds;

impl<'de> Visitor<'de> for Kinds {
    type Value = AnyValue;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object with a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AnyValue, A::Error> {
        let mut value = None;
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            let read = match &*key {
                "stringValue" | "string_value" => {
                    map.next_value::<Option<Text>>()?.map(|Text(text)| Value::StringValue(text))
                }
                "boolValue" | "bool_value" => map.next_value::<Option<bool>>()?.map(Value::BoolValue),
                "intValue" | "int_value" => map.next_value::<Option<Int>>()?.map(|Int(number)| Value::IntValue(number)),
                "doubleValue" | "double_value" => {
                    map.next_value::<Option<Double>>()?.map(|Double(number)| Value::DoubleValue(number))
                }
                "arrayValue" | "array_value" => map.next_value::<Option<Array>>()?.map(|array| {
                    // An empty element is kept, so that the others keep their positions.
                    let values = array.values.into_iter().flatten();
                    let values = values.map(|value| value.map_or_else(AnyValue::default, |Of(value)| value)).collect();
                    Value::ArrayValue(ArrayValue { values })
                }),
                "kvlistValue" | "kvlist_value" => map
                    .next_value::<Option<Pairs>>()?
                    .map(|pairs| Value::KvlistValue(KeyValueList { values: pairs.values })),
                "bytesValue" | "bytes_value" => {
                    map.next_value::<Option<Bytes>>()?.map(|Bytes(bytes)| Value::BytesValue(bytes))
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    None
                }
            };
            value = read.or(value);
        }
        Ok(AnyValue { value })
    }
}

#[derive(Deserialize)]
struct Text(#[serde(deserialize_with = "text")] String);

#[derive(Deserialize)]
struct Int(#[serde(deserialize_with = "whole")] i64);

#[derive(Deserialize)]
struct Double(#[serde(deserialize_with = "double")] f64);

#[derive(Default, Deserialize)]
#[serde(default)]
struct Array {
    values: Option<Vec<Option<Of<AnyValue>>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Pairs {
    #[serde(deserialize_with = "list")]
    values: Vec<KeyValue>,
}

/// Base64 of either alphabet, with or without padding.
struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(reader)?;
        let alphabet = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
        let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let bytes = GeneralPurpose::new(alphabet, config).decode(&*text);
        Ok(Self(bytes.map_err(|_| D::Error::custom("expected bytes as base64"))?))
    }
}
