//! Rules by which the price lists know names. Names come in lower case.

/// A rule for a name.
#[derive(Debug)]
pub(super) enum Rule {
    All(&'static [Rule]),
    Any(&'static [Rule]),
    Contains(&'static str),
    EndsWith(&'static str),
    Equals(&'static str),
    Lacks(&'static str),
    /// No part of the name that follows a dash, up to the next dash or the end, is this one.
    LacksSegment(&'static str),
    /// The name begins like this, or is this if the flag is set; `#` stands for a digit.
    Shape(&'static str, bool),
    StartsWith(&'static str),
}

impl Rule {
    pub(super) fn holds(&self, name: &str) -> bool {
        match self {
            Self::All(rules) => rules.iter().all(|rule| rule.holds(name)),
            Self::Any(rules) => rules.iter().any(|rule| rule.holds(name)),
            Self::Contains(part) => name.contains(part),
            Self::EndsWith(end) => name.ends_with(end),
            Self::Equals(whole) => name == *whole,
            Self::Lacks(part) => !name.contains(part),
            Self::LacksSegment(segment) => !name.split('-').skip(1).any(|part| part == *segment),
            Self::Shape(shape, is_whole) => has_shape(name, shape, *is_whole),
            Self::StartsWith(begin) => name.starts_with(begin),
        }
    }
}

fn has_shape(name: &str, shape: &str, is_whole: bool) -> bool {
    let begins = name.len() >= shape.len() && (!is_whole || name.len() == shape.len());
    let fits = |(byte, expected): (u8, u8)| if expected == b'#' { byte.is_ascii_digit() } else { byte == expected };
    begins && name.bytes().zip(shape.bytes()).all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_holds_for_its_names_alone() {
        for (rule, holds, fails) in [
            (Rule::Equals("a-b"), "a-b", "a-bc"),
            (Rule::StartsWith("a-"), "a-b", "b-a-"),
            (Rule::EndsWith("-b"), "a-b", "a-bc"),
            (Rule::Contains("-"), "a-b", "ab"),
            (Rule::Lacks("/"), "a-b", "x/a"),
            (Rule::LacksSegment("tts"), "gpt-ttsx", "gpt-tts"),
            (Rule::LacksSegment("tts"), "tts-1", "gpt-4o-tts-2025"),
            (Rule::Shape("m-####", true), "m-2026", "m-20261"),
            (Rule::Shape("m-#", false), "m-2026", "m-x"),
            (Rule::Shape("m-##", false), "m-20", "m-2"),
            (Rule::All(&[Rule::StartsWith("a"), Rule::EndsWith("b")]), "ab", "a"),
            (Rule::Any(&[Rule::Equals("a"), Rule::Equals("b")]), "b", "c"),
        ] {
            assert!(rule.holds(holds), "{rule:?} {holds}");
            assert!(!rule.holds(fails), "{rule:?} {fails}");
        }
    }
}
