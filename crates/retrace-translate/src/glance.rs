//! What the attributes of a span tell at a glance, without translating it.

use crate::dialect::{Meaning, meaning};
use crate::slot::Slot;
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

/// Looks at the attributes of a span: a lookup for each key, and a copy of what it names.
pub fn glance<'a, V: FnOnce() -> Value<'a>>(attributes: impl IntoIterator<Item = (&'a str, V)>) -> Glance {
    let mut glance = Glance::default();
    let mut name = None;
    for (key, value) in attributes {
        let meaning = meaning(key);
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
        let agent = of(&[("gen_ai.agent.id", "7"), ("gen_ai.agent.name", "planner")]);
        assert_eq!(agent.agent_id.as_deref(), Some("7"));
    }
}
