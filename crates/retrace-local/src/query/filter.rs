//! The filter of runs that lists, figures and sessions share.

use retrace_protocol::Timestamp;
use retrace_protocol::read::Refusal;

use super::bad;

/// Longest search, in bytes, and its largest number of words.
const SEARCH_BYTES: usize = 1_000;
const SEARCH_WORDS: usize = 20;
/// Largest number of values of one parameter.
const VALUES: usize = 50;
/// A last word of at least this length also matches as a prefix.
const PREFIX_CHARS: usize = 3;

/// Repeatable parameters, each a kind of part: a run must have one of the values.
pub(crate) const PARTS: [&str; 4] = ["model", "tool", "agent", "tag"];
/// Parameters, each a kind of part that a run has at most one of.
const TEXTS: [&str; 3] = ["session", "user", "environment"];
/// Numeric parameters with bounds: the name after `min_` and `max_`, the column, and the factor to the column's unit.
const NUMBERS: [(&str, &str, f64); 4] =
    [("cost", "cost", 1.0), ("tokens", "tokens", 1.0), ("ms", "micros", 1000.0), ("spans", "spans", 1.0)];

/// Selects runs; all by default. Each field is an additional condition.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Filter {
    /// A query of the full-text index.
    pub(crate) search: Option<String>,
    /// Lower bound of the start time, inclusive, in microseconds since 1970 UTC.
    pub(crate) from: Option<i64>,
    /// Upper bound of the start time, exclusive.
    pub(crate) to: Option<i64>,
    /// Kinds of parts that a run has at most one of, each with the required value.
    pub(crate) texts: Vec<(&'static str, String)>,
    /// Kinds of parts that may be repeated, each with its accepted values.
    pub(crate) parts: Vec<(&'static str, Vec<String>)>,
    /// Columns, `>=` or `<=`, and a bound.
    pub(crate) bounds: Vec<(&'static str, &'static str, f64)>,
    pub(crate) has_error: Option<bool>,
    pub(crate) golden: Option<bool>,
}

impl Filter {
    pub(crate) const fn new() -> Self {
        Self {
            search: None,
            from: None,
            to: None,
            texts: Vec::new(),
            parts: Vec::new(),
            bounds: Vec::new(),
            has_error: None,
            golden: None,
        }
    }

    /// Returns true if the filter selects all runs.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::new()
    }

    /// Parses a query string. Unknown and empty parameters are ignored.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let mut filter = Self::new();
        let mut seen = Vec::new();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            let Some(name) = known(&name) else { continue };
            if value.is_empty() {
                continue;
            }
            if PARTS.contains(&name) {
                filter.part(name, value.into_owned())?;
                continue;
            }
            if seen.contains(&name) {
                return Err(bad(name, "given twice"));
            }
            seen.push(name);
            match name {
                "q" => filter.search = Some(search(name, &value)?),
                "from" => filter.from = Some(time(name, &value)?),
                "to" => filter.to = Some(time(name, &value)?),
                "has_error" => filter.has_error = Some(truth(name, &value)?),
                "golden" => filter.golden = Some(truth(name, &value)?),
                _ if TEXTS.contains(&name) => filter.texts.push((name, value.into_owned())),
                _ => filter.bounds.extend(bound(name, &value)?),
            }
        }
        Ok(filter)
    }

    /// Returns the kinds of parts, each with its accepted values.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&'static str, &[String])> {
        let texts = self.texts.iter().map(|(kind, value)| (*kind, std::slice::from_ref(value)));
        texts.chain(self.parts.iter().map(|(kind, values)| (*kind, values.as_slice())))
    }

    fn part(&mut self, kind: &'static str, value: String) -> Result<(), Refusal> {
        let at = self.parts.iter().position(|(known, _)| *known == kind);
        match at.and_then(|at| self.parts.get_mut(at)) {
            Some((_, values)) if values.len() >= VALUES => return Err(bad(kind, format!("more than {VALUES} values"))),
            Some((_, values)) => values.push(value),
            None => self.parts.push((kind, vec![value])),
        }
        Ok(())
    }
}

/// Returns the name of a parameter if it belongs to the filter.
fn known(name: &str) -> Option<&'static str> {
    const OTHERS: [&str; 13] = [
        "q",
        "from",
        "to",
        "has_error",
        "golden",
        "min_cost",
        "max_cost",
        "min_tokens",
        "max_tokens",
        "min_ms",
        "max_ms",
        "min_spans",
        "max_spans",
    ];
    OTHERS.iter().chain(&PARTS).chain(&TEXTS).copied().find(|known| *known == name)
}

/// Converts a search to the syntax of the full-text index: all words are required, in any order. A token between two
/// blanks is one phrase, whose parts must be in this order, as in `gpt-4o`.
fn search(name: &str, text: &str) -> Result<String, Refusal> {
    if text.len() > SEARCH_BYTES {
        return Err(bad(name, format!("longer than {SEARCH_BYTES} bytes")));
    }
    let is_blank = |char: char| char.is_whitespace() || char == '"' || char.is_control();
    let words = text.split(is_blank).filter(|word| word.chars().any(char::is_alphanumeric));
    let words: Vec<&str> = words.collect();
    if words.is_empty() || words.len() > SEARCH_WORDS {
        return Err(bad(name, format!("expected 1 to {SEARCH_WORDS} words with letters or digits")));
    }
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    let is_prefix = words.last().is_some_and(|word| {
        text.ends_with(word) && word.ends_with(char::is_alphanumeric) && word.chars().count() >= PREFIX_CHARS
    });
    Ok(format!("{}{}", quoted.join(" "), if is_prefix { "*" } else { "" }))
}

fn time(name: &str, text: &str) -> Result<i64, Refusal> {
    let micros = Timestamp::from(text).unix_micros().and_then(|micros| i64::try_from(micros).ok());
    micros.ok_or_else(|| bad(name, "expected a time such as 2026-01-02T03:04:05Z"))
}

fn truth(name: &str, text: &str) -> Result<bool, Refusal> {
    text.parse().map_err(|_| bad(name, "expected `true` or `false`"))
}

fn bound(name: &str, text: &str) -> Result<Option<(&'static str, &'static str, f64)>, Refusal> {
    let number: f64 = text.parse().map_err(|_| bad(name, "expected a number"))?;
    if !number.is_finite() || number < 0.0 {
        return Err(bad(name, "expected a number from 0 on"));
    }
    let (is_least, what) = match name.strip_prefix("min_") {
        Some(what) => (true, what),
        None => (false, name.strip_prefix("max_").unwrap_or_default()),
    };
    let found = NUMBERS.iter().find(|(known, ..)| *known == what);
    Ok(found.map(|(_, column, factor)| (*column, if is_least { ">=" } else { "<=" }, number * factor)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_is_a_condition() {
        let filter = Filter::parse(
            "q=gpt-4o%20B%C3%BCcher&from=1970-01-01T00:00:01Z&to=1970-01-01T00:00:02Z&model=a&model=b&tag=t&user=u&min_cost=0.5\
             &max_ms=3&has_error=true&golden=false&limit=5&environment=",
        )
        .unwrap();
        assert_eq!(filter.search.as_deref(), Some(r#""gpt-4o" "Bücher"*"#));
        assert_eq!((filter.from, filter.to), (Some(1_000_000), Some(2_000_000)));
        assert_eq!(filter.parts, [("model", vec!["a".to_owned(), "b".to_owned()]), ("tag", vec!["t".to_owned()])]);
        assert_eq!(filter.texts, [("user", "u".to_owned())]);
        assert_eq!(filter.bounds, [("cost", ">=", 0.5), ("micros", "<=", 3000.0)]);
        assert_eq!((filter.has_error, filter.golden), (Some(true), Some(false)));
        assert!(Filter::parse("limit=3&status=failed&q=").unwrap().is_empty());
    }

    #[test]
    fn a_search_is_never_a_query_of_its_own() {
        let search = |text: &str| Filter::parse(&format!("q={text}")).unwrap().search.unwrap();
        assert_eq!(search("a+OR+b"), r#""a" "OR" "b""#);
        assert_eq!(search("%22x%22+AND+NEAR(y)*"), r#""x" "AND" "NEAR(y)*""#);
        assert_eq!(search("run"), r#""run"*"#);
        assert_eq!(search("run+"), r#""run""#);
        assert_eq!(search("%22a+b"), r#""a" "b""#);
    }

    #[test]
    fn a_bad_parameter_is_named() {
        let many = "model=x&".repeat(51);
        for (text, name) in [
            ("q=%2B%2B", "q"),
            ("from=yesterday", "from"),
            ("to=1", "to"),
            ("has_error=1", "has_error"),
            ("min_cost=-1", "min_cost"),
            ("max_tokens=x", "max_tokens"),
            ("max_ms=inf", "max_ms"),
            ("user=a&user=b", "user"),
            (many.as_str(), "model"),
        ] {
            let refusal = Filter::parse(text).unwrap_err();
            assert_eq!(refusal.field.as_deref(), Some(name), "{text}");
            assert!(refusal.error.contains(name), "{}", refusal.error);
        }
    }
}
