//! US dollars as people read them.

/// Returns US dollars as a text: cents, and below them three digits that are not zeros, such as `$2.00` or `$0.0000037`.
#[must_use]
pub fn dollars(dollars: f64) -> String {
    if dollars == 0.0 || !dollars.is_finite() {
        return format!("${dollars}");
    }
    let mut decimals = 2;
    while decimals < 12 && dollars.abs() * 10_f64.powi(decimals) < 100.0 {
        decimals += 1;
    }
    let text = format!("{dollars:.*}", usize::try_from(decimals).unwrap_or_default());
    let cut = text.trim_end_matches('0');
    // Never fewer than cents.
    let cents = text.find('.').map_or(text.len(), |dot| dot + 3).min(text.len());
    format!("${}", text.get(..cut.len().max(cents)).unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_keep_the_digits_that_are_not_zeros() {
        let texts = [0.0, 2.0, 12.345, 0.1, 0.0125, 0.000_027, 9.75e-5, 1e-15].map(dollars);
        assert_eq!(
            texts,
            ["$0", "$2.00", "$12.35", "$0.10", "$0.0125", "$0.000027", "$0.0000975", "$0.00"],
            "three digits, and no trailing zeros beyond the cents"
        );
    }
}
