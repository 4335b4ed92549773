//! Facts that the envelopes on a tool span state beside arguments and result.

use serde_json::value::RawValue;

use crate::fields::{Field, Fields};
use crate::messages::envelope::{Envelope, arguments, input, result};

/// Facts that the envelopes on a tool span state beside arguments and result.
#[derive(Debug, Default)]
pub(crate) struct EnvelopeFacts {
    /// Id of the tool call.
    pub call_id: Option<String>,
    /// Text of a result that is an error.
    pub error: Option<String>,
}

impl EnvelopeFacts {
    pub(crate) fn of(fields: &Fields<'_>, tool: &str) -> Self {
        let stated = [Field::ToolArguments, Field::Input, Field::ToolResult, Field::Output];
        let texts = stated.into_iter().filter_map(|field| fields.value(field)?.as_json_text());
        if !texts.into_iter().any(may_state_facts) {
            return Self::default();
        }
        let opened = |fields: &Fields<'_>, field: Field, open: &dyn Fn(&RawValue) -> Option<Self>| {
            let held = fields.get(field).filter(|held| held.rank > 0)?;
            let text = held.value.as_json_text().filter(|text| text.starts_with(['{', '[']))?;
            open(serde_json::from_str(text).ok()?)
        };
        let facts = |opened: Envelope<'_>| Self {
            call_id: opened.call_id.as_deref().map(str::to_owned),
            error: opened.is_error.then(|| opened.content.to_text().into_owned()),
        };
        let request = opened(fields, Field::ToolArguments, &|raw| arguments(raw, tool).map(facts))
            .or_else(|| opened(fields, Field::Input, &|raw| input(raw, tool).map(facts)))
            .unwrap_or_default();
        let response = [Field::ToolResult, Field::Output]
            .into_iter()
            .find_map(|field| opened(fields, field, &|raw| result(raw).map(facts)))
            .unwrap_or_default();
        Self { call_id: response.call_id.or(request.call_id), error: response.error }
    }
}

/// Returns false only for a text without a member that states a fact: an id, an error or a status. Most arguments and results
/// have none, and need not be opened.
fn may_state_facts(text: &str) -> bool {
    /// Ends of the names of such members.
    const ENDS: [&[u8]; 4] = [b"id", b"Id", b"rror", b"status"];
    let bytes = text.as_bytes();
    let mut quotes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'"');
    let is_stated = |before: &[u8]| ENDS.iter().any(|end| before.ends_with(end));
    // A name may be written with escapes.
    quotes.any(|(quote, _)| bytes.get(..quote).is_some_and(is_stated)) || text.contains("\\u")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::FieldValue;
    use crate::view::Value;

    fn of(arguments: &str, result: &str) -> (Option<String>, Option<String>) {
        let mut fields = Fields::new();
        for (field, text) in [(Field::ToolArguments, arguments), (Field::ToolResult, result)] {
            fields.put(field, FieldValue { rank: 1, attribute: Some(0), value: Value::from(text) });
        }
        let facts = EnvelopeFacts::of(&fields, "look");
        (facts.call_id, facts.error)
    }

    #[test]
    fn ids_and_errors_of_every_envelope_are_found() {
        let id = |id: &str| (Some(id.to_owned()), None);
        for (arguments, result, expected) in [
            (r#"{"name":"look","args":{"a":1},"id":"c-1","type":"tool_call"}"#, "{}", id("c-1")),
            (r#"{"toolUse":{"toolUseId":"c-2","name":"look","input":{}}}"#, "", id("c-2")),
            (r#"{"name":"look","args":{},"\u0069d":"c-3"}"#, "", id("c-3")),
            ("", r#"{"type":"tool_result","tool_use_id":"c-4","content":"x"}"#, id("c-4")),
            ("", r#"{"data":{"content":"x","tool_call_id":"c-5"},"type":"tool"}"#, id("c-5")),
            ("", r#"{"jsonrpc":"2.0","error":{"message":"no"}}"#, (None, Some("no".to_owned()))),
            ("", r#"{"content":[{"type":"text","text":"no"}],"isError":true}"#, (None, Some("no".to_owned()))),
            ("", r#"{"role":"tool","content":"no","status":"ERROR"}"#, (None, Some("no".to_owned()))),
            (r#"{"city":"Bergen","days":3}"#, r#"{"forecast":["18 C"]}"#, (None, None)),
        ] {
            assert_eq!(of(arguments, result), expected, "{arguments} {result}");
        }
        assert!(may_state_facts(r#"{"id" :1}"#) && !may_state_facts(r#"{"city":"Bergen","days":3}"#));
    }
}
