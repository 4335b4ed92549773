//! The packed usage of a run: what figures and removals read of it. Pure.
//!
//! Numbers have seven bits per byte, the lowest first, and a set high bit if another byte follows.

use crate::index::{PartKind, Usage};

/// Figures of a run and its parts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct RunUsage {
    pub(super) started_micros: Option<i64>,
    pub(super) micros: Option<u64>,
    pub(super) tokens: u64,
    pub(super) cost: f64,
    pub(super) has_error: bool,
    pub(super) parts: Vec<PartUsage>,
}

/// Usage of one value in a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PartUsage {
    /// `id` of the value.
    pub(super) value: i64,
    pub(super) kind: PartKind,
    /// Zero for kinds that are not called.
    pub(super) usage: Usage,
}

const STARTED: u64 = 1;
const TIMED: u64 = 2;
const FAILED: u64 = 4;

impl RunUsage {
    pub(super) fn pack(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(32 + self.parts.len() * 16);
        let flag = |is_set: bool, flag: u64| if is_set { flag } else { 0 };
        let flags = flag(self.started_micros.is_some(), STARTED)
            | flag(self.micros.is_some(), TIMED)
            | flag(self.has_error, FAILED);
        put(&mut bytes, flags);
        if let Some(started) = self.started_micros {
            bytes.extend(started.to_le_bytes());
        }
        if let Some(micros) = self.micros {
            put(&mut bytes, micros);
        }
        put(&mut bytes, self.tokens);
        put_cost(&mut bytes, self.cost);
        for PartUsage { value, kind, usage } in &self.parts {
            put(&mut bytes, u64::from(kind.as_byte()));
            put(&mut bytes, value.unsigned_abs());
            if kind.is_called() {
                let Usage { calls, errors, input_tokens, output_tokens, cost, micros } = *usage;
                [calls, errors, input_tokens, output_tokens, micros].iter().for_each(|number| put(&mut bytes, *number));
                put_cost(&mut bytes, cost);
            }
        }
        bytes
    }

    /// Reads packed usage. Returns `None` for bytes that [`RunUsage::pack`] does not write.
    pub(super) fn unpack(bytes: &[u8]) -> Option<Self> {
        let mut run = Self::default();
        let parts = &mut Vec::new();
        run.unpack_with(bytes, |part| parts.push(part))?;
        run.parts = std::mem::take(parts);
        Some(run)
    }

    /// Reads packed usage into `self`, and calls `part` with each part instead of collecting them.
    pub(super) fn unpack_with(&mut self, mut bytes: &[u8], mut part: impl FnMut(PartUsage)) -> Option<()> {
        let rest = &mut bytes;
        let flags = take(rest)?;
        self.has_error = flags & FAILED != 0;
        self.started_micros = if flags & STARTED != 0 { Some(i64::from_le_bytes(eight(rest)?)) } else { None };
        self.micros = if flags & TIMED != 0 { Some(take(rest)?) } else { None };
        self.tokens = take(rest)?;
        self.cost = take_cost(rest)?;
        while !rest.is_empty() {
            let kind = PartKind::from_byte(u8::try_from(take(rest)?).ok()?)?;
            let value = i64::try_from(take(rest)?).ok()?;
            let usage = if kind.is_called() {
                let (calls, errors, input_tokens) = (take(rest)?, take(rest)?, take(rest)?);
                let (output_tokens, micros, cost) = (take(rest)?, take(rest)?, take_cost(rest)?);
                Usage { calls, errors, input_tokens, output_tokens, cost, micros }
            } else {
                Usage::default()
            };
            part(PartUsage { value, kind, usage });
        }
        Some(())
    }
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for at in 0..10 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7F) << (at * 7);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// A cost is a byte, zero without cost, and the eight bytes of its value otherwise.
fn put_cost(bytes: &mut Vec<u8>, cost: f64) {
    bytes.push(u8::from(cost != 0.0));
    if cost != 0.0 {
        bytes.extend(cost.to_le_bytes());
    }
}

fn take_cost(bytes: &mut &[u8]) -> Option<f64> {
    if take(bytes)? == 0 { Some(0.0) } else { Some(f64::from_le_bytes(eight(bytes)?)) }
}

fn eight(bytes: &mut &[u8]) -> Option<[u8; 8]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_part() -> impl Strategy<Value = PartUsage> {
        let kind = prop::sample::select(PartKind::ALL.to_vec());
        (kind, 0..i64::MAX, prop::array::uniform5(any::<u64>()), 0.0..1e9_f64).prop_map(
            |(kind, value, numbers, cost)| {
                let [calls, errors, input_tokens, output_tokens, micros] = numbers;
                let usage = Usage { calls, errors, input_tokens, output_tokens, cost, micros };
                PartUsage { value, kind, usage: if kind.is_called() { usage } else { Usage::default() } }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(
            started_micros in any::<Option<i64>>(),
            micros in any::<Option<u64>>(),
            tokens in any::<u64>(),
            cost in prop_oneof![Just(0.0), 0.0..1e9_f64],
            has_error in any::<bool>(),
            parts in prop::collection::vec(any_part(), 0..9),
        ) {
            let run = RunUsage { started_micros, micros, tokens, cost, has_error, parts };
            let bytes = run.pack();
            prop_assert_eq!(RunUsage::unpack(&bytes), Some(run));
            // A part that is cut off is an error, never a panic; between two parts nothing shows it.
            for end in 0..bytes.len() {
                let _ = RunUsage::unpack(&bytes[..end]);
            }
        }

        #[test]
        fn other_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = RunUsage::unpack(&bytes);
        }
    }

    #[test]
    fn bytes_of_a_damaged_file_are_refused() {
        assert_eq!(RunUsage::unpack(&[]), None);
        assert_eq!(RunUsage::unpack(&[1, 1, 2]), None);
        assert_eq!(RunUsage::unpack(&[0xFF; 20]), None);
        assert_eq!(RunUsage::unpack(&[0, 0, 0, 99, 1]), None, "an unknown kind");
    }
}
