//! Classification of spans: the first matching rule of MAPPING.md, "`span_type`".

use retrace_protocol::SpanType;

use crate::dialect::{Class, DIALECTS, dialect_of_rank};
use crate::fields::{Field, FieldValue, Fields};

/// Class of a span and its type in Retrace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Classified {
    pub class: Option<Class>,
    pub span_type: SpanType,
}

/// Classifies a span. `hinted` is called if the span names no operation.
pub(crate) fn classify(fields: &Fields<'_>, hinted: impl FnOnce() -> Option<Class>) -> Classified {
    let class = class_of(fields, hinted);
    let stated = fields.text(Field::SpanType).and_then(stated_type);
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

/// Reads the type that an application states, in any case.
pub(crate) fn stated_type(stated: &str) -> Option<SpanType> {
    SpanType::from_wire(stated).or_else(|| SpanType::from_wire(&stated.trim().to_ascii_lowercase()))
}

fn class_of(fields: &Fields<'_>, hinted: impl FnOnce() -> Option<Class>) -> Option<Class> {
    let operation = fields.get(Field::Operation);
    if let Some(class) = fields.get(Field::Kind).filter(|kind| kind_leads(Some(*kind))).and_then(class_in) {
        return Some(class);
    }
    let stated = operation
        .and_then(class_in)
        .into_iter()
        .chain(fields.text(Field::McpMethod).map(|method| match method {
            "tools/call" => Class::Tool,
            _ => Class::Action,
        }))
        .min();
    let stated = stated.or_else(|| class_in(fields.get(Field::Kind)?));
    if stated.is_some() {
        return stated;
    }
    let model =
        [Field::RequestModel, Field::ResponseModel, Field::Model].iter().any(|field| fields.get(*field).is_some());
    // An unknown operation is classified by its attributes; without an operation, a provider shows that a model was called.
    if model
        && (operation.is_some() || [Field::Provider, Field::System].iter().any(|field| fields.get(*field).is_some()))
    {
        Some(Class::Model)
    } else if fields.get(Field::ToolName).is_some() {
        Some(Class::Tool)
    } else if fields.get(Field::Conversation).is_some() {
        // A span that has the whole conversation and called no model itself is an agent.
        Some(Class::Agent)
    } else {
        hinted()
    }
}

/// Returns true if a kind overrides the operation beside it.
pub(crate) fn kind_leads(kind: Option<&FieldValue<'_>>) -> bool {
    kind.and_then(|held| dialect_of_rank(held.rank)).is_some_and(|dialect| dialect.kind_leads)
}

/// Returns the class of an operation or kind in its dialect; for a name unknown there, the class that other dialects give it.
fn class_in(held: &FieldValue<'_>) -> Option<Class> {
    let name = held.value.as_text()?;
    let own = dialect_of_rank(held.rank).and_then(|dialect| (dialect.operation)(name));
    own.or_else(|| DIALECTS.iter().find_map(|dialect| (dialect.operation)(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::{KeyMeaning, meaning};
    use crate::view::Value;

    fn of(attributes: &[(&'static str, &'static str)]) -> SpanType {
        let mut fields = Fields::new();
        for (i, (key, value)) in attributes.iter().enumerate() {
            let KeyMeaning::Field(rank, field) = meaning(key) else { panic!("{key}") };
            fields.put(field, FieldValue { rank, attribute: Some(i), value: Value::from(*value) });
        }
        classify(&fields, || None).span_type
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
