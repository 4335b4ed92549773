//! Definitions of the tools offered to a model.

use std::borrow::Cow;
use std::collections::BTreeMap;

use retrace_protocol::Json;
use retrace_protocol::json::is_strict;
use retrace_protocol::message::decode;
use retrace_protocol::parse;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::label_of;

/// Definitions of the tools offered to a model.
#[derive(Debug, Default)]
pub(crate) struct ToolDefinitions {
    /// Schemas of the parameters, by function name.
    pub schemas: Option<Json>,
    /// Descriptions, by function name.
    pub descriptions: Option<Json>,
    /// Definitions of tools that are no functions, such as those that the provider runs.
    pub provided: Option<Json>,
}

#[derive(Deserialize)]
struct Definition<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    description: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "inputSchema", alias = "input_schema", alias = "parameters_json_schema")]
    parameters: Option<&'a RawValue>,
    /// The definition itself, in OpenAI's API.
    #[serde(borrow, default)]
    function: Option<&'a RawValue>,
    /// The definition itself, in OpenInference.
    #[serde(borrow, default)]
    tool: Option<Wrapped<'a>>,
    #[serde(borrow, default, rename = "tool.json_schema")]
    dotted: Option<&'a RawValue>,
    /// Several definitions, in Gemini's API.
    #[serde(borrow, default, alias = "functionDeclarations")]
    function_declarations: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct Wrapped<'a> {
    #[serde(borrow, default)]
    json_schema: Option<&'a RawValue>,
}

/// Returns the definitions one by one, including those that are grouped.
fn each(definitions: Vec<&RawValue>) -> Vec<&RawValue> {
    let together = |raw: &&RawValue| raw.get().contains("eclarations\"");
    if !definitions.iter().any(together) {
        return definitions;
    }
    let declared = |raw| parse::from_str::<Definition<'_>>(RawValue::get(raw))?.function_declarations;
    definitions.into_iter().flat_map(|raw| declared(raw).unwrap_or_else(|| vec![raw])).collect()
}

/// Reads a list of tool definitions; returns `None` for an unknown form.
pub(crate) fn read_tool_definitions(json: &str) -> Option<ToolDefinitions> {
    let definitions: Vec<&RawValue> = parse::from_str(json)?;
    if !definitions.is_empty() && definitions.iter().all(|raw| raw.get().starts_with('"')) {
        // Each definition is a JSON text, since an attribute can hold a list of texts.
        let each: Vec<_> = definitions.into_iter().map(decode).collect();
        let list = format!("[{}]", each.join(","));
        return (each.iter().all(|text| text.starts_with('{')) && is_strict(&list))
            .then(|| read_tool_definitions(&list))
            .flatten();
    }
    let mut schemas = BTreeMap::new();
    let mut descriptions = BTreeMap::new();
    let mut provided = Vec::new();
    for raw in each(definitions) {
        let mut definition: Definition<'_> = parse::from_str(raw.get())?;
        if let Some(inner) = definition.dotted.or_else(|| definition.tool?.json_schema) {
            definition = parse::from_str(inner.get())?;
        }
        let kind = definition.kind.and_then(label_of);
        if definition.parameters.is_none() && kind.is_some_and(|kind| kind != "function") {
            provided.push(raw);
            continue;
        }
        if let Some(inner) = definition.function {
            definition = parse::from_str(inner.get())?;
        }
        let name: Cow<'_, str> = definition.name.and_then(label_of)?;
        if let Some(description) = definition.description.and_then(label_of) {
            descriptions.insert(name.clone(), description);
        }
        let schema = definition.parameters.filter(|raw| raw.get() != "null");
        schemas.insert(name, schema.map_or(Cow::Borrowed("{}"), |raw| Cow::Borrowed(raw.get())));
    }
    let schemas: BTreeMap<_, _> =
        schemas.iter().filter_map(|(name, text)| Some((name, serde_json::from_str::<&RawValue>(text).ok()?))).collect();
    let some = |json: Json, empty: bool| (!empty).then_some(json);
    Some(ToolDefinitions {
        schemas: some(Json::from_serialize(&schemas), schemas.is_empty()),
        descriptions: some(Json::from_serialize(&descriptions), descriptions.is_empty()),
        provided: some(Json::from_serialize(&provided), provided.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_shape_of_a_definition_is_read() {
        let json = r#"[
            {"type":"function","name":"a","description":"does a","parameters":{"type":"object"}},
            {"type":"function","name":"b","inputSchema":{"type":"string"}},
            {"type":"function","function":{"name":"c","parameters":{"x":1}}},
            {"name":"d","input_schema":{},"description":null},
            {"tool":{"json_schema":{"type":"function","function":{"name":"f","parameters":{"y":1}}}}},
            {"tool.json_schema":{"name":"g","input_schema":{}}},
            {"type":"web_search","name":"e"},
            {"type":"code_interpreter"},
            {"functionDeclarations":[{"name":"h","parameters":{"type":"OBJECT"}},{"name":"i"}]},
            {"function_declarations":[{"name":"j","parameters_json_schema":{"z":1}}]}
        ]"#;
        let offered = read_tool_definitions(json).unwrap();
        assert_eq!(
            offered.schemas.unwrap().as_str(),
            r#"{"a":{"type":"object"},"b":{"type":"string"},"c":{"x":1},"d":{},"f":{"y":1},"g":{},"h":{"type":"OBJECT"},"i":{},"j":{"z":1}}"#
        );
        assert_eq!(
            offered.provided.unwrap().as_str(),
            r#"[{"type":"web_search","name":"e"},{"type":"code_interpreter"}]"#
        );
        assert_eq!(offered.descriptions.unwrap().as_str(), r#"{"a":"does a"}"#);
    }

    #[test]
    fn definitions_may_be_texts() {
        let texts = r#"["{\"name\":\"a\",\"parameters\":{\"x\":1}}","{\"type\":\"web_search\"}"]"#;
        let offered = read_tool_definitions(texts).unwrap();
        assert_eq!(offered.schemas.unwrap().as_str(), r#"{"a":{"x":1}}"#);
        assert_eq!(offered.provided.unwrap().as_str(), r#"[{"type":"web_search"}]"#);
    }

    #[test]
    fn other_shapes_are_left_alone() {
        for other in ["", "{}", "[1]", r#"["a"]"#, r#"["{}, 1"]"#, r#"["{"]"#, r#"[{"type":"function"}]"#] {
            assert!(read_tool_definitions(other).is_none(), "{other}");
        }
    }
}
