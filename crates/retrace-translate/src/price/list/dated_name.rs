//! Names of models that end with a date.

/// Characters of `-20251211`.
const LENGTH: usize = 9;

/// The name with the dates in it written with dashes, as the price lists have them: `-20251211` as `-2025-12-11`. `None` if it has
/// no date that is followed by `-`, `:` or the end.
pub(super) fn with_dashes(name: &str) -> Option<String> {
    let mut dashed = String::new();
    let mut rest = name;
    while let Some((before, from_dash)) = rest.find('-').and_then(|at| rest.split_at_checked(at)) {
        let date = from_dash
            .split_at_checked(LENGTH)
            .filter(|(_, after)| after.is_empty() || after.starts_with('-') || after.starts_with(':'));
        dashed.push_str(before);
        match date.and_then(|(date, after)| Some((dated(date)?, after))) {
            Some((date, after)) => {
                dashed.push_str(&date);
                rest = after;
            }
            None => {
                dashed.push('-');
                rest = from_dash.strip_prefix('-').unwrap_or_default();
            }
        }
    }
    dashed.push_str(rest);
    (dashed != name).then_some(dashed)
}

/// `-20251211` with dashes, if it is a day of this century.
fn dated(text: &str) -> Option<String> {
    let digits = text.strip_prefix('-')?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || !digits.starts_with("20") {
        return None;
    }
    let (year, month, day) = (digits.get(..4)?, digits.get(4..6)?, digits.get(6..)?);
    let number = |text: &str| text.parse::<u32>().ok();
    // Of the years from 2000 to 2099 every fourth one is a leap year.
    let is_leap = number(year)?.is_multiple_of(4);
    let days = match number(month)? {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => return None,
    };
    (1..=days).contains(&number(day)?).then(|| format!("-{year}-{month}-{day}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_get_dashes_where_a_date_can_end() {
        for (name, expected) in [
            ("claude-opus-4-5-20251101", Some("claude-opus-4-5-2025-11-01")),
            ("m-20240229:free", Some("m-2024-02-29:free")),
            ("m-20240229-b-20251231", Some("m-2024-02-29-b-2025-12-31")),
            ("m-20250229", None),
            ("m-20251301", None),
            ("m-19991231", None),
            ("m-202512111", None),
            ("m-20251211x", None),
            ("m20251211", None),
            ("m-2025121ü", None),
            ("", None),
        ] {
            assert_eq!(with_dashes(name).as_deref(), expected, "{name}");
        }
    }
}
