//! Consistent probability sampling: the threshold, and the `ot` entry of `tracestate` that carries it.
//!
//! OpenTelemetry specification, `trace/tracestate-probability-sampling.md` and `trace/tracestate-handling.md`.

use opentelemetry::trace::TraceState;

/// Vendor key of OpenTelemetry in `tracestate`.
const KEY: &str = "ot";
/// Maximum length of the value of that entry.
const LONGEST: usize = 256;
/// Hexadecimal digits of 56 bits.
const DIGITS: u32 = 14;
/// Number of digits that are written after the leading `f`s of a threshold.
const PRECISION: u32 = 4;
/// Minimum number of digits that a threshold is rounded to.
const SHORTEST: u32 = 6;

/// Rejection threshold: a run whose randomness is below it is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Threshold(u64);

impl Threshold {
    /// Creates the threshold of a rate from 0 to 1; `None` for 0, which keeps no run.
    ///
    /// The threshold is rounded to its written form, so that a reader of it computes the same decisions.
    pub(crate) fn of(rate: f64) -> Option<Self> {
        const WHOLE: f64 = (1_u64 << 56) as f64;
        if rate.is_nan() || rate <= 0.0 {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 2^56")]
        let exact = ((1.0 - rate.min(1.0)) * WHOLE).round() as u64;
        let leading = (exact << 8).leading_ones() / 4;
        let dropped = 4 * (DIGITS - (leading + PRECISION).clamp(SHORTEST, DIGITS));
        let unit = 1_u64 << dropped;
        let rounded = (exact + unit / 2) & !(unit - 1);
        Some(Self(rounded.min((1 << 56) - 1)))
    }

    /// Returns true if a run with this randomness is kept.
    pub(crate) fn keeps(self, randomness: u64) -> bool {
        randomness >= self.0
    }

    /// Formats the value of `th:`.
    fn text(self) -> String {
        let digits = format!("{:014x}", self.0);
        let short = digits.trim_end_matches('0');
        if short.is_empty() { "0".to_owned() } else { short.to_owned() }
    }
}

/// Sub-entries of the `ot` entry, apart from the threshold.
#[derive(Debug)]
pub(crate) struct ProbabilityState<'a> {
    /// Sub-entries other than `th`, in order.
    others: Vec<&'a str>,
    had_threshold: bool,
    randomness: Option<u64>,
}

impl<'a> ProbabilityState<'a> {
    pub(crate) fn of(state: &'a TraceState) -> Self {
        let entries = state.get(KEY).unwrap_or_default().split(';').filter(|entry| !entry.is_empty());
        let (thresholds, others): (Vec<&str>, Vec<&str>) = entries.partition(|entry| entry.starts_with("th:"));
        let randomness = others.iter().find_map(|entry| {
            let digits = entry.strip_prefix("rv:").filter(|digits| digits.len() == DIGITS as usize)?;
            let lower = digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            u64::from_str_radix(digits, 16).ok().filter(|_| lower)
        });
        Self { others, had_threshold: !thresholds.is_empty(), randomness }
    }

    /// Returns the randomness that the root states.
    pub(crate) fn randomness(&self) -> Option<u64> {
        self.randomness
    }

    /// Returns the state with this threshold in place of any other. Other sub-entries and entries stay.
    pub(crate) fn written_to(&self, state: &TraceState, threshold: Option<Threshold>) -> TraceState {
        if threshold.is_none() && !self.had_threshold {
            return state.clone();
        }
        let own = threshold.map(|threshold| format!("th:{}", threshold.text()));
        let entries = own.iter().map(String::as_str).chain(self.others.iter().copied());
        let value = entries.collect::<Vec<_>>().join(";");
        if value.is_empty() {
            state.delete(KEY).unwrap_or_else(|_| state.clone())
        } else if value.len() > LONGEST {
            state.clone()
        } else {
            state.insert(KEY, value).unwrap_or_else(|_| state.clone())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::str::FromStr as _;

    #[test]
    fn thresholds_are_those_of_the_specification() {
        for (rate, text) in [
            (1.0, "0"),
            (0.5, "8"),
            (0.25, "c"),
            (0.01, "fd70a4"),
            (0.1, "e6666"),
            (1.0 / 3.0, "aaaaab"),
            (1e-9, "fffffffbb4"),
        ] {
            let threshold = Threshold::of(rate).unwrap();
            assert!(threshold.text().starts_with(text), "{rate}: {}", threshold.text());
            assert_eq!(threshold, Threshold(u64::from_str_radix(&format!("{:0<14}", threshold.text()), 16).unwrap()));
        }
        assert_eq!(Threshold::of(0.01).unwrap().text(), "fd70a4");
        for rate in [0.0, -1.0, f64::NAN] {
            assert_eq!(Threshold::of(rate), None);
        }
    }

    #[test]
    fn the_entry_of_others_is_left_alone() {
        let state = TraceState::from_str("a=1,ot=rv:ABCDEF00000000;th:8;x:y").unwrap();
        let probability = ProbabilityState::of(&state);
        assert_eq!(probability.randomness(), None, "upper case is no randomness");
        assert_eq!(probability.written_to(&state, None).get("ot"), Some("rv:ABCDEF00000000;x:y"));
        let threshold = Threshold::of(0.25);
        assert_eq!(probability.written_to(&state, threshold).get("ot"), Some("th:c;rv:ABCDEF00000000;x:y"));
        assert_eq!(probability.written_to(&state, threshold).get("a"), Some("1"));
        let only = TraceState::from_str("ot=th:8").unwrap();
        assert_eq!(ProbabilityState::of(&only).written_to(&only, None).get("ot"), None);
    }

    proptest! {
        #[test]
        fn a_threshold_decides_as_it_reads(rate in 1e-12..=1.0_f64, randomness in 0_u64..1 << 56) {
            let threshold = Threshold::of(rate).unwrap();
            let read = u64::from_str_radix(&format!("{:0<14}", threshold.text()), 16).unwrap();
            prop_assert_eq!(threshold.keeps(randomness), randomness >= read);
            #[expect(clippy::cast_precision_loss, reason = "56 bits")]
            let share = 1.0 - read as f64 / (1_u64 << 56) as f64;
            prop_assert!((share - rate).abs() <= rate * 1e-3 + 1e-15, "{} {}", share, rate);
        }

        #[test]
        fn no_state_of_others_panics(value in "[ -~]{0,300}") {
            if let Ok(state) = TraceState::from_key_value([("ot", value)]) {
                let _ = ProbabilityState::of(&state).written_to(&state, Threshold::of(0.5));
            }
        }
    }
}
