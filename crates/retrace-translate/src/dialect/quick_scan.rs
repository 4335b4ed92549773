//! Session, agent and kind of a span, read from its attributes without a translation.

use crate::dialect::{KeyMeaning, dialect_of_rank, home_of, meaning_at};
use crate::fields::Field;
use crate::view::Value;

/// Facts about a span and its run that a few attributes show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuickScan {
    /// The span is a GenAI span.
    pub genai: bool,
    /// Session of the run.
    pub session_id: Option<String>,
    /// Id of the agent; its name if no id is known.
    pub agent_id: Option<String>,
}

/// Scans the attributes of a span with this name and instrumentation scope; `scope` is empty if it is not known.
///
/// Costs a lookup for each key and a copy of each value that is returned. Keys without a namespace count only on spans of the
/// libraries that [`is_own_span`](super::is_own_span) knows.
pub fn quick_scan<'a, V: FnOnce() -> Value<'a>>(
    name: &str,
    scope: &str,
    attributes: impl IntoIterator<Item = (&'a str, V)>,
) -> QuickScan {
    let home = home_of(name, scope);
    let genai = home.and_then(dialect_of_rank).is_some_and(|dialect| dialect.genai);
    let mut scan = QuickScan { genai, ..QuickScan::default() };
    let mut name = None;
    for (key, value) in attributes {
        let meaning = meaning_at(home, key);
        scan.genai |= meaning.is_genai();
        let target = match meaning {
            KeyMeaning::Field(_, Field::SessionId) => &mut scan.session_id,
            KeyMeaning::Field(_, Field::AgentId) => &mut scan.agent_id,
            KeyMeaning::Field(_, Field::AgentName) => &mut name,
            _ => continue,
        };
        if let Some(label) = value().to_label() {
            *target = Some(label.into_owned());
        }
    }
    scan.agent_id = scan.agent_id.or(name);
    scan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_finds_agent_and_session() {
        let of = |pairs: &[(&'static str, &'static str)]| {
            quick_scan("", "", pairs.iter().map(|(key, value)| (*key, || Value::from(*value))))
        };
        assert_eq!(of(&[("http.route", "/")]), QuickScan::default());
        let agent = of(&[("gen_ai.agent.name", "planner"), ("gen_ai.conversation.id", "s-1")]);
        assert_eq!((agent.genai, agent.agent_id.as_deref()), (true, Some("planner")));
        assert_eq!(agent.session_id.as_deref(), Some("s-1"));
        let own = |span: &str| quick_scan(span, "", [("agent_id", || Value::from("a-1"))]);
        let (own, other) = (own("claude_code.llm_request"), own("request"));
        assert_eq!((own.genai, own.agent_id.as_deref()), (true, Some("a-1")));
        assert_eq!(other, QuickScan::default(), "a key without a namespace means nothing elsewhere");
        let agent = of(&[("gen_ai.agent.id", "7"), ("gen_ai.agent.name", "planner")]);
        assert_eq!(agent.agent_id.as_deref(), Some("7"));
    }
}
