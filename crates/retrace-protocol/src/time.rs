//! Timestamps in wire format.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A timestamp: ISO 8601 UTC, microseconds, `Z` (PROTOCOL.md section 3).
///
/// The fraction has six digits and is absent if it is zero. A text of another form (three digits from the TypeScript SDK, no
/// `Z` from a naive Python date) is kept unchanged; [`Timestamp::unix_micros`] still reads it.
///
/// ```
/// use retrace_protocol::Timestamp;
///
/// let t = Timestamp::from_unix_nanos(1_795_345_548_254_518_999);
/// assert_eq!(t.to_string(), "2026-11-22T11:05:48.254518Z");
/// assert_eq!(t.unix_micros(), Some(1_795_345_548_254_518));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Timestamp(Repr);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    Micros(u64),
    Text(Box<str>),
}

/// Length of a timestamp with a fraction in bytes.
const LENGTH: usize = "2026-11-22T11:05:48.254518Z".len();
/// Length up to the fraction or the `Z` in bytes.
const LENGTH_OF_SECONDS: usize = "2026-11-22T11:05:48".len();
const SECONDS_PER_DAY: u64 = 24 * 60 * 60;
const NANOS_PER_MICRO: u64 = 1_000;
const MICROS_PER_SECOND: u64 = 1_000_000;
/// Last microsecond of the year 9999, the last year with four digits.
const MAX_MICROS: u64 = 253_402_300_800 * MICROS_PER_SECOND - 1;

impl Timestamp {
    /// Converts nanoseconds since 1970 UTC, the unit of OpenTelemetry. Fractions of a microsecond are truncated.
    #[must_use]
    pub const fn from_unix_nanos(nanos: u64) -> Self {
        Self(Repr::Micros(nanos / NANOS_PER_MICRO))
    }

    /// Converts microseconds since 1970 UTC; a time after the year 9999 becomes its last microsecond.
    #[must_use]
    pub const fn from_unix_micros(micros: u64) -> Self {
        Self(Repr::Micros(if micros > MAX_MICROS { MAX_MICROS } else { micros }))
    }

    /// Returns microseconds since 1970 UTC; `None` if the text is no timestamp. A text without a zone is read as UTC.
    #[must_use]
    pub fn unix_micros(&self) -> Option<u64> {
        match &self.0 {
            Repr::Micros(micros) => Some(*micros),
            Repr::Text(text) => parse(text),
        }
    }

    /// Returns the text in wire format.
    #[must_use]
    pub fn as_text(&self) -> Cow<'_, str> {
        match &self.0 {
            Repr::Micros(_) => Cow::Owned(self.to_string()),
            Repr::Text(text) => Cow::Borrowed(text),
        }
    }
}

/// Writes a timestamp of the wire's range. Each span has two, and a library's `Display` takes about twice as long.
fn written(micros: u64, text: &mut [u8; LENGTH]) -> &str {
    let (seconds, fraction) = (micros / MICROS_PER_SECOND, micros % MICROS_PER_SECOND);
    let (days, second) = (seconds / SECONDS_PER_DAY, seconds % SECONDS_PER_DAY);
    let (year, month, day) = civil(days);
    let two_digits = |number: u64| {
        let number = u8::try_from(number % 100).unwrap_or_default();
        [b'0' + number / 10, b'0' + number % 10]
    };
    let date = [year / 100, year, month, day].map(two_digits);
    let time = [second / 3600, second / 60 % 60, second % 60].map(two_digits);
    let fractions = [fraction / 10_000, fraction / 100, fraction].map(two_digits);
    let ([[y0, y1], [y2, y3], [m0, m1], [d0, d1]], [[h0, h1], [n0, n1], [s0, s1]]) = (date, time);
    let [[f0, f1], [f2, f3], [f4, f5]] = fractions;
    *text = [
        y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', n0, n1, b':', s0, s1, b'.', f0, f1, f2, f3, f4,
        f5, b'Z',
    ];
    let length = match text.get_mut(LENGTH_OF_SECONDS) {
        Some(point) if fraction == 0 => {
            *point = b'Z';
            LENGTH_OF_SECONDS + 1
        }
        _ => LENGTH,
    };
    text.get(..length).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
}

/// Returns year, month and day of a day since 1970. In years that begin in March, a leap day is the last day, and the lengths
/// of the months follow a straight line: 153 days in five months.
const fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_BEFORE_1970: u64 = 719_468; // since March of the year 0
    const DAYS_PER_400_YEARS: u64 = 146_097;
    let days = days + DAYS_BEFORE_1970;
    let (era, day) = (days / DAYS_PER_400_YEARS, days % DAYS_PER_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (400 * era + year + later, month, day)
}

/// Reads RFC 3339 with 0 to 9 fraction digits, with `Z`, an offset in `±hh:mm`, or no zone at all.
fn parse(text: &str) -> Option<u64> {
    let (local, offset_minutes) = split_zone(text)?;
    let time = humantime::parse_rfc3339_weak(local).ok()?;
    let micros = i128::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok()?;
    let utc = micros - i128::from(offset_minutes) * 60 * i128::from(MICROS_PER_SECOND);
    u64::try_from(utc).ok()
}

fn split_zone(text: &str) -> Option<(&str, i32)> {
    if let Some(local) = text.strip_suffix(['Z', 'z']) {
        return Some((local, 0));
    }
    let Some(at) = text.len().checked_sub("+00:00".len()) else { return Some((text, 0)) };
    let (Some(local), Some(zone)) = (text.get(..at), text.get(at..)) else { return Some((text, 0)) };
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) if local.contains(':') => (-1, digits),
        _ => return Some((text, 0)),
    };
    let (hours, minutes) = digits.split_once(':')?;
    Some((local, sign * (hours.parse::<i32>().ok()? * 60 + minutes.parse::<i32>().ok()?)))
}

impl From<SystemTime> for Timestamp {
    /// A time before 1970 becomes 1970: it is a clock error, and the wire has no form for it.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self::from_unix_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }
}

impl From<&str> for Timestamp {
    fn from(text: &str) -> Self {
        if let Some(micros) = text.ends_with('Z').then(|| parse(text)).flatten().filter(|m| *m <= MAX_MICROS)
            && written(micros, &mut [0; LENGTH]) == text
        {
            return Self(Repr::Micros(micros));
        }
        Self(Repr::Text(text.into()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Micros(micros) => f.write_str(written(*micros, &mut [0; LENGTH])),
            Repr::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Repr::Micros(micros) => serializer.serialize_str(written(*micros, &mut [0; LENGTH])),
            Repr::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a timestamp string")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
                Ok(Timestamp::from(text))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_whole_second_has_no_fraction() {
        assert_eq!(Timestamp::from_unix_micros(1_767_323_045_000_000).to_string(), "2026-01-02T03:04:05Z");
    }

    #[test]
    fn other_forms_are_kept_and_still_read() {
        for (text, micros) in [
            ("2026-01-02T03:04:05.123Z", 1_767_323_045_123_000),
            ("2026-01-02T03:04:05.123456", 1_767_323_045_123_456),
            ("2026-01-02T03:04:05.123456789Z", 1_767_323_045_123_456),
            ("2026-01-02T05:04:05+02:00", 1_767_323_045_000_000),
            ("2026-01-02T01:34:05.5-01:30", 1_767_323_045_500_000),
        ] {
            let t = Timestamp::from(text);
            assert_eq!(t.to_string(), text);
            assert_eq!(t.unix_micros(), Some(micros), "{text}");
        }
        for text in
            ["", "yesterday", "2026-13-02T03:04:05Z", "1969-12-31T23:59:59Z", "é+00:00", "2026-01-02T03:04:05é00:00"]
        {
            assert_eq!(Timestamp::from(text).to_string(), text);
            assert_eq!(Timestamp::from(text).unix_micros(), None, "{text}");
        }
    }

    #[test]
    fn times_off_the_calendar_are_held_at_its_ends() {
        assert_eq!(Timestamp::from(UNIX_EPOCH - Duration::from_secs(1)).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp::from_unix_micros(u64::MAX).to_string(), "9999-12-31T23:59:59.999999Z");
        assert_eq!(Timestamp::from_unix_nanos(u64::MAX).to_string(), "2554-07-21T23:34:33.709551Z");
    }

    #[test]
    fn each_day_is_the_one_after_the_day_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..=MAX_MICROS / MICROS_PER_SECOND / SECONDS_PER_DAY {
            assert_eq!(civil(days), (year, month, day));
            let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = match month {
                2 => 28 + u64::from(is_leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            (year, month, day) = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                (_, day) if day == last => (year, month + 1, 1),
                _ => (year, month, day + 1),
            };
        }
        assert_eq!((year, month, day), (10_000, 1, 1));
    }

    proptest! {
        #[test]
        fn every_microsecond_comes_back(micros in 0..=MAX_MICROS) {
            let t = Timestamp::from_unix_micros(micros);
            let back: Timestamp = serde_json::from_str(&serde_json::to_string(&t).unwrap()).unwrap();
            prop_assert_eq!(&back, &t);
            prop_assert_eq!(back.unix_micros(), Some(micros));
        }

        #[test]
        fn every_day_is_written_as_the_calendar_has_it(days in 0..=MAX_MICROS / MICROS_PER_SECOND / SECONDS_PER_DAY, rest in 0..SECONDS_PER_DAY * MICROS_PER_SECOND) {
            for micros in [days * SECONDS_PER_DAY * MICROS_PER_SECOND, days * SECONDS_PER_DAY * MICROS_PER_SECOND + rest] {
                let time = UNIX_EPOCH + Duration::from_micros(micros);
                let expected = match micros % MICROS_PER_SECOND {
                    0 => humantime::format_rfc3339_seconds(time).to_string(),
                    _ => humantime::format_rfc3339_micros(time).to_string(),
                };
                prop_assert_eq!(Timestamp::from_unix_micros(micros).to_string(), expected);
            }
        }

        #[test]
        fn no_text_panics(text: String) {
            let t = Timestamp::from(text.as_str());
            prop_assert_eq!(t.to_string(), text);
            let _ = t.unix_micros();
        }
    }
}
