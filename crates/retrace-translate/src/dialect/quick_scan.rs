//! What the attributes of a span tell at a glance, without translating it.

use crate::dialect::{Meaning, home_of, meaning_at, of_rank};
use crate::fields::Slot;
use crate::view::Value;

/// What a span says of the run that it belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// It is a GenAI span.
    pub genai: bool,
    /// The session.
    pub session_id: Option<String>,
    /// The agent's id, else its name.
    pub agent_id: Option<String>,
}

/// Looks at the attributes of a span: a lookup for each key, and a copy of what it names. Attributes without a namespace mean
/// nothing here; [`glance_at`] knows those of a library that names its spans.
pub fn glance<'a, V: FnOnce() -> Value<'a>>(attributes: impl IntoIterator<Item = (&'a str, V)>) -> Glance {
    glance_at("", "", attributes)
}

/// [`glance`] at a span with this name, of this instrumentation scope; an empty scope where it is not known.
pub fn glance_at<'a, V: FnOnce() -> Value<'a>>(
    name: &str,
    scope: &str,
    attributes: impl IntoIterator<Item = (&'a str, V)>,
) -> Glance {
    let home = home_of(name, scope);
    let genai = home.and_then(of_rank).is_some_and(|dialect| dialect.genai);
    let mut glance = Glance { genai, ..Glance::default() };
    let mut name = None;
    for (key, value) in attributes {
        let meaning = meaning_at(home, key);
        glance.genai |= meaning.is_genai();
        let place = match meaning {
            Meaning::One(_, Slot::SessionId) => &mut glance.session_id,
            Meaning::One(_, Slot::AgentId) => &mut glance.agent_id,
            Meaning::One(_, Slot::AgentName) => &mut name,
            _ => continue,
        };
        if let Some(label) = value().to_label() {
            *place = Some(label.into_owned());
        }
    }
    glance.agent_id = glance.agent_id.or(name);
    glance
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glance_tells_who_and_in_which_session() {
        let of = |pairs: &[(&'static str, &'static str)]| {
            glance(pairs.iter().map(|(key, value)| (*key, || Value::from(*value))))
        };
        assert_eq!(of(&[("http.route", "/")]), Glance::default());
        let agent = of(&[("gen_ai.agent.name", "planner"), ("gen_ai.conversation.id", "s-1")]);
        assert_eq!((agent.genai, agent.agent_id.as_deref()), (true, Some("planner")));
        assert_eq!(agent.session_id.as_deref(), Some("s-1"));
        let own = |span: &str| glance_at(span, "", [("agent_id", || Value::from("a-1"))]);
        let (own, other) = (own("claude_code.llm_request"), own("request"));
        assert_eq!((own.genai, own.agent_id.as_deref()), (true, Some("a-1")));
        assert_eq!(other, Glance::default(), "a key without a namespace means nothing elsewhere");
        let agent = of(&[("gen_ai.agent.id", "7"), ("gen_ai.agent.name", "planner")]);
        assert_eq!(agent.agent_id.as_deref(), Some("7"));
    }
}
