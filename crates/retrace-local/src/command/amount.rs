//! Parsers of times and sizes in arguments.

use std::time::Duration;

/// Units of a time, in seconds.
const TIMES: [(&str, u64); 5] = [("s", 1), ("m", 60), ("h", 60 * 60), ("d", 24 * 60 * 60), ("w", 7 * 24 * 60 * 60)];
/// Units of a size, in bytes.
const SIZES: [(&str, u64); 9] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("b", 1),
];

/// Parses a time such as `30d`.
pub(crate) fn age(text: &str) -> Result<Duration, String> {
    amount(text, &TIMES).map(Duration::from_secs).ok_or_else(|| "expected a time such as 30d, 12h or 90m".to_owned())
}

/// Parses a size in bytes such as `5GB`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    amount(text, &SIZES).ok_or_else(|| "expected a size such as 5GB, 500MB or 2GiB".to_owned())
}

fn amount(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let (number, factor) = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    number.trim().parse::<u64>().ok().filter(|number| *number > 0)?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read() {
        assert_eq!(age("30d"), Ok(Duration::from_secs(30 * 24 * 60 * 60)));
        assert_eq!(age("90m"), Ok(Duration::from_secs(90 * 60)));
        assert_eq!((size("5GB"), size("2 GiB"), size("7b")), (Ok(5_000_000_000), Ok(2 << 30), Ok(7)));
        for wrong in ["", "30", "d", "-1d", "0d", "1.5d", "99999999999999999999d", "30 parsecs"] {
            assert!(age(wrong).is_err() && size(wrong).is_err(), "{wrong}");
        }
    }
}
