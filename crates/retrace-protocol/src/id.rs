//! Ids on the wire and their mapping to OpenTelemetry.
//!
//! Retrace writes trace and span ids as UUID strings (PROTOCOL.md section 3). An OpenTelemetry trace id has the same 128 bits;
//! a span id has 64, which are the first half of a Retrace span id, whose second half comes from the trace.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Id of a trace or a span: 36 characters of lower-case UUID, or any other text.
///
/// A canonical UUID is stored in 16 bytes without allocation. Any other string is valid on the wire (PROTOCOL.md section 3) and
/// is kept unchanged, so that an id is passed on as it was received.
///
/// ```
/// use retrace_protocol::Id;
///
/// let trace = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes();
/// assert_eq!(Id::from_otel_trace(trace).to_string(), "0af76519-16cd-43dd-8448-eb211c80319c");
/// assert_eq!(Id::from_otel_trace(trace).to_otel_trace(), Some(trace));
/// ```
#[derive(Clone)]
pub struct Id(Repr);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    Uuid(Uuid),
    Text(Box<str>),
}

/// Variant bits of RFC 4122 at the top of byte 8; the mask keeps the rest of that byte.
const VARIANT: u8 = 0b1000_0000;
const VARIANT_MASK: u8 = 0b0011_1111;

impl Id {
    /// Returns the Retrace trace id of an OpenTelemetry trace: the same 128 bits.
    #[must_use]
    pub const fn from_otel_trace(trace_id: [u8; 16]) -> Self {
        Self(Repr::Uuid(Uuid::from_bytes(trace_id)))
    }

    /// Returns the Retrace span id of an OpenTelemetry span.
    ///
    /// The first 16 hex digits are the OpenTelemetry span id; the rest is the second half of the trace id with the variant bits
    /// of RFC 4122. The first half alone identifies the span in a trace: see [`Id::to_otel_span`].
    #[must_use]
    pub const fn from_otel_span(trace_id: [u8; 16], span_id: [u8; 8]) -> Self {
        let [s0, s1, s2, s3, s4, s5, s6, s7] = span_id;
        let [.., t8, t9, t10, t11, t12, t13, t14, t15] = trace_id;
        let variant = (t8 & VARIANT_MASK) | VARIANT;
        Self(Repr::Uuid(Uuid::from_bytes([s0, s1, s2, s3, s4, s5, s6, s7, variant, t9, t10, t11, t12, t13, t14, t15])))
    }

    /// Returns the OpenTelemetry trace id with the same bits; `None` for an id that is no canonical UUID.
    #[must_use]
    pub fn to_otel_trace(&self) -> Option<[u8; 16]> {
        match &self.0 {
            Repr::Uuid(uuid) => Some(*uuid.as_bytes()),
            Repr::Text(_) => None,
        }
    }

    /// Returns the OpenTelemetry span id in the first 16 hex digits; `None` for an id that is no canonical UUID.
    ///
    /// For a trace id this is the parent id that Retrace's own SDKs write into `traceparent` (PROTOCOL.md section 17).
    #[must_use]
    pub fn to_otel_span(&self) -> Option<[u8; 8]> {
        self.to_otel_trace()?.first_chunk().copied()
    }

    /// Returns true if the id has the form of RFC 4122: a canonical UUID whose variant bits are set and whose version is 1 to
    /// 8.
    #[must_use]
    pub fn is_rfc4122(&self) -> bool {
        match &self.0 {
            Repr::Uuid(uuid) => {
                uuid.get_variant() == uuid::Variant::RFC4122 && (1..=8).contains(&uuid.get_version_num())
            }
            Repr::Text(_) => false,
        }
    }

    /// Returns the text in wire format.
    #[must_use]
    pub fn as_text(&self) -> Cow<'_, str> {
        match &self.0 {
            // Without a formatter, which takes several times as long.
            Repr::Uuid(uuid) => Cow::Owned((*uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer())).to_owned()),
            Repr::Text(text) => Cow::Borrowed(text),
        }
    }
}

impl From<&str> for Id {
    fn from(text: &str) -> Self {
        // `Uuid` also reads upper case, braces and bare digits, which it would change; they stay text.
        match Uuid::try_parse(text) {
            Ok(uuid) if *text == *uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()) => Self(Repr::Uuid(uuid)),
            _ => Self(Repr::Text(text.into())),
        }
    }
}

impl From<String> for Id {
    fn from(text: String) -> Self {
        match Self::from(text.as_str()) {
            Self(Repr::Text(_)) => Self(Repr::Text(text.into_boxed_str())),
            canonical => canonical,
        }
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Id {}

impl Hash for Id {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Uuid(uuid) => f.write_str(uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer())),
            Repr::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.as_text(), f)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Repr::Uuid(uuid) => serializer.serialize_str(uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer())),
            Repr::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Id;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id string")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Id, E> {
                Ok(Id::from(text))
            }
            fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Id, E> {
                Ok(Id::from(text))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRACE: [u8; 16] = 0x4bf9_2f35_77b3_4da6_13ce_929d_0e0e_4736_u128.to_be_bytes();

    #[test]
    fn a_span_id_starts_with_the_otel_span_and_ends_with_the_trace() {
        let span = Id::from_otel_span(TRACE, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
        assert_eq!(span.to_string(), "00f067aa-0ba9-02b7-93ce-929d0e0e4736");
        assert_eq!(span.to_otel_span(), Some(0x00f0_67aa_0ba9_02b7_u64.to_be_bytes()));
    }

    #[test]
    fn the_span_named_by_the_first_half_of_a_uuid_trace_is_the_trace_itself() {
        let trace = Id::from("0af76519-16cd-43dd-8448-eb211c80319c");
        let otel = trace.to_otel_trace().unwrap();
        assert_eq!(Id::from_otel_span(otel, trace.to_otel_span().unwrap()), trace);
    }

    #[test]
    fn only_canonical_uuids_are_read_as_uuids() {
        for odd in ["", "run-7", "0AF76519-16CD-43DD-8448-EB211C80319C", "0af7651916cd43dd8448eb211c80319c"] {
            let id = Id::from(odd);
            assert_eq!(id.to_string(), odd);
            assert_eq!(id.to_otel_trace(), None);
            assert!(!id.is_rfc4122());
            assert_eq!(serde_json::to_string(&id).unwrap(), format!("{odd:?}"));
        }
    }

    #[test]
    fn rfc_4122_depends_on_version_and_variant() {
        assert!(Id::from("0af76519-16cd-43dd-8448-eb211c80319c").is_rfc4122());
        assert!(!Id::from("0af76519-16cd-03dd-8448-eb211c80319c").is_rfc4122(), "version 0");
        assert!(!Id::from("0af76519-16cd-43dd-c448-eb211c80319c").is_rfc4122(), "another variant");
    }

    proptest! {
        #[test]
        fn otel_ids_come_back(trace: [u8; 16], span: [u8; 8]) {
            prop_assert_eq!(Id::from_otel_trace(trace).to_otel_trace(), Some(trace));
            let id = Id::from_otel_span(trace, span);
            prop_assert_eq!(id.to_otel_span(), Some(span));
            prop_assert_eq!(Id::from(id.to_string()), id);
        }

        #[test]
        fn any_text_comes_back(text: String) {
            let json = serde_json::to_string(&Id::from(text.as_str())).unwrap();
            prop_assert_eq!(serde_json::from_str::<Id>(&json).unwrap().to_string(), text);
        }
    }
}
