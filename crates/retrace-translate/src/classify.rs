//! What a span is: the rules of MAPPING.md, "`span_type`", first match.

use retrace_protocol::SpanType;

use crate::dialect::{Class, DIALECTS, of_rank};
use crate::slot::{Held, Slot, Slots};

/// What a span is, and what Retrace calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Classified {
    pub class: Option<Class>,
    pub span_type: SpanType,
}

/// What the span is. `hinted` is asked when it names no operation.
pub(crate) fn classify(slots: &Slots<'_>, hinted: impl FnOnce() -> Option<Class>) -> Classified {
    let class = class_of(slots, hinted);
    let stated = slots.text(Slot::SpanType).and_then(span_type);
    let span_type = stated.unwrap_or(match class {
        Some(Class::Model) => SpanType::LlmCall,
        Some(Class::Tool) => SpanType::ToolCall,
        Some(Class::Agent) => SpanType::Reasoning,
        Some(Class::Action) | None => SpanType::Action,
    });
    Classified {
        class: stated.map_or(class, |stated| match stated {
            SpanType::LlmCall => Some(Class::Model),
            SpanType::ToolCall => Some(Class::Tool),
            SpanType::Reasoning => Some(Class::Agent),
            _ => Some(Class::Action),
        }),
        span_type,
    }
}

/// The type that an application states, in any case.
fn span_type(stated: &str) -> Option<SpanType> {
    SpanType::from_wire(stated).or_else(|| SpanType::from_wire(&stated.trim().to_ascii_lowercase()))
}

fn class_of(slots: &Slots<'_>, hinted: impl FnOnce() -> Option<Class>) -> Option<Class> {
    let operation = slots.get(Slot::Operation);
    if let Some(class) = slots.get(Slot::Kind).filter(|kind| kind_leads(Some(*kind))).and_then(class_in) {
        return Some(class);
    }
    let stated = operation
        .and_then(class_in)
        .into_iter()
        .chain(slots.text(Slot::McpMethod).map(|method| match method {
            "tools/call" => Class::Tool,
            _ => Class::Action,
        }))
        .min();
    let stated = stated.or_else(|| class_in(slots.get(Slot::Kind)?));
    if stated.is_some() {
        return stated;
    }
    let model = [Slot::RequestModel, Slot::ResponseModel, Slot::Model].iter().any(|slot| slots.get(*slot).is_some());
    // An operation that nobody knows is told by what it works with; without any, a provider says that a model was called.
    if model && (operation.is_some() || [Slot::Provider, Slot::System].iter().any(|slot| slots.get(*slot).is_some())) {
        Some(Class::Model)
    } else if slots.get(Slot::ToolName).is_some() {
        Some(Class::Tool)
    } else if slots.get(Slot::Conversation).is_some() {
        // Who knows all that was said, and called no model itself, led the conversation.
        Some(Class::Agent)
    } else {
        hinted()
    }
}

/// Whether a kind outweighs the operation beside it.
pub(crate) fn kind_leads(kind: Option<&Held<'_>>) -> bool {
    kind.and_then(|held| of_rank(held.rank)).is_some_and(|dialect| dialect.kind_leads)
}

/// What its dialect calls an operation or a kind of span; of a word that it does not have, what others mean by it.
fn class_in(held: &Held<'_>) -> Option<Class> {
    let class = |name: &str| {
        let own = of_rank(held.rank).and_then(|dialect| (dialect.operation)(name));
        own.or_else(|| DIALECTS.iter().find_map(|dialect| (dialect.operation)(name)))
    };
    let name = held.value.as_text()?.trim();
    // Some write the name of the enumeration's member.
    let is_capital = name.bytes().any(|byte| byte.is_ascii_uppercase());
    class(name).or_else(|| is_capital.then(|| class(&name.to_ascii_lowercase())).flatten())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::{Meaning, meaning};
    use crate::view::Value;

    fn of(attributes: &[(&'static str, &'static str)]) -> SpanType {
        let mut slots = Slots::new();
        for (i, (key, value)) in attributes.iter().enumerate() {
            let Meaning::One(rank, slot) = meaning(key) else { panic!("{key}") };
            slots.put(slot, Held { rank, attribute: Some(i), value: Value::from(*value) });
        }
        classify(&slots, || None).span_type
    }

    #[test]
    fn every_rule_of_the_table() {
        use SpanType::{Action, LlmCall, Reasoning, ToolCall};
        for (attributes, expected) in [
            (&[("retrace.span_type", "fork_point"), ("gen_ai.operation.name", "chat")][..], SpanType::ForkPoint),
            (&[("retrace.span_type", "nonsense"), ("gen_ai.operation.name", "chat")], LlmCall),
            (&[("gen_ai.operation.name", "embeddings")], LlmCall),
            (&[("gen_ai.operation.name", "execute_tool")], ToolCall),
            (&[("mcp.method.name", "tools/call")], ToolCall),
            (&[("mcp.method.name", "resources/read")], Action),
            (&[("mcp.method.name", "tools/call"), ("gen_ai.operation.name", "execute_tool")], ToolCall),
            (&[("gen_ai.operation.name", "invoke_agent"), ("gen_ai.request.model", "m")], Reasoning),
            (&[("gen_ai.operation.name", "plan")], Reasoning),
            (&[("gen_ai.operation.name", "retrieval")], Action),
            (&[("gen_ai.provider.name", "p"), ("gen_ai.request.model", "m")], LlmCall),
            (&[("gen_ai.request.model", "m")], Action),
            (&[("gen_ai.operation.name", "new"), ("gen_ai.request.model", "m")], LlmCall),
            (&[("gen_ai.operation.name", "new"), ("gen_ai.tool.name", "t")], ToolCall),
            (&[("gen_ai.tool.name", "t")], ToolCall),
            (&[("gen_ai.operation.name", "new")], Action),
            (&[("gen_ai.operation.name", "execute_task")], Reasoning),
            (&[("openinference.span.kind", "LLM")], LlmCall),
            (&[("openinference.span.kind", "UNKNOWN"), ("llm.model_name", "m"), ("llm.system", "s")], LlmCall),
            (&[("openinference.span.kind", "RETRIEVER")], Action),
            (&[("traceloop.span.kind", "tool")], ToolCall),
            (&[("traceloop.span.kind", "task"), ("gen_ai.operation.name", "chat")], LlmCall),
            (&[("llm.request.type", "rerank"), ("gen_ai.system", "p"), ("gen_ai.request.model", "m")], Action),
            (&[], Action),
        ] {
            assert_eq!(of(attributes), expected, "{attributes:?}");
        }
    }
}
