//! Envelopes: members that protocols and frameworks put around arguments, results and messages.
//!
//! Known envelopes are MCP requests and results, JSON-RPC, messages serialized by `LangChain`, what its callbacks get of a tool,
//! `toolUse` and `toolResult` of Bedrock, `tool_result` of Anthropic, the `args` and `kwargs` of a Python function, and
//! `LlamaIndex`'s `ToolOutput`.

use std::borrow::Cow;

use retrace_protocol::Json;
use retrace_protocol::message::{Embedded, decode};
use serde_json::value::RawValue;

use crate::json::{JsonObject, elements};
use crate::json::{label_of, text_of};
use crate::messages::embedded;

/// Maximum number of nested envelopes.
const DEPTH: usize = 5;
/// Members of an MCP result.
const MCP: [&str; 8] =
    ["meta", "_meta", "content", "structuredContent", "structured_content", "isError", "is_error", "resultType"];
/// Types of text parts.
const TEXT: [&str; 3] = ["text", "input_text", "output_text"];
/// Types of `LangChain` messages, with their roles.
const LANGCHAIN: [(&str, &str); 7] = [
    ("human", "user"),
    ("ai", "assistant"),
    ("system", "system"),
    ("tool", "tool"),
    ("function", "tool"),
    ("developer", "developer"),
    ("chat", "user"),
];

/// Content of an envelope.
#[derive(Debug)]
pub(crate) enum EnvelopeContent<'a> {
    Raw(&'a RawValue),
    /// Joined text of several parts, or a text that is no JSON.
    Text(String),
}

impl EnvelopeContent<'_> {
    /// Returns the content as JSON if it is JSON, else as a text.
    pub(crate) fn to_json(&self) -> Json {
        match self {
            Self::Raw(raw) => Json::from_serialize(&embedded(raw)),
            Self::Text(text) => structured(text).unwrap_or_else(|| Json::text(text)),
        }
    }

    /// Returns the content as a text.
    pub(crate) fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Raw(raw) if text_of(raw).is_some() => decode(raw),
            Self::Raw(raw) => Cow::Borrowed(raw.get()),
            Self::Text(text) => Cow::Borrowed(text),
        }
    }
}

fn structured(text: &str) -> Option<Json> {
    text.trim_start().starts_with(['{', '[']).then(|| Json::parse_strict(text)).flatten()
}

/// An opened envelope.
#[derive(Debug)]
pub(crate) struct Envelope<'a> {
    pub content: EnvelopeContent<'a>,
    /// Id of the tool call.
    pub call_id: Option<Cow<'a, str>>,
    /// True if the result is an error.
    pub is_error: bool,
    /// True if the other members of the envelope are empty or redundant.
    pub is_whole: bool,
}

/// Opens the envelope of a tool result; returns `None` for a result without one.
pub(crate) fn result(raw: &RawValue) -> Option<Envelope<'_>> {
    result_within(raw, DEPTH)
}

/// Returns the content of a tool result without its envelope.
pub(crate) fn result_content(raw: &RawValue) -> Embedded<'_> {
    match result(raw).map(|opened| opened.content) {
        Some(EnvelopeContent::Raw(inner)) => embedded(inner),
        Some(content @ EnvelopeContent::Text(_)) => Embedded::Owned(content.to_json()),
        None => embedded(raw),
    }
}

fn result_within(raw: &RawValue, depth: usize) -> Option<Envelope<'_>> {
    let depth = depth.checked_sub(1)?;
    if let Some(parts) = elements(raw) {
        return listed(&parts, depth);
    }
    let members = JsonObject::read(raw.get())?;
    if let Some((inner, _)) = langchain(&members) {
        return result_within(inner, depth);
    }
    if members.get(&["jsonrpc"]).is_some() {
        if let Some(error) = members.get(&["error"]) {
            let message = JsonObject::read(error.get()).and_then(|error| error.get(&["message"]));
            let content = EnvelopeContent::Raw(message.unwrap_or(error));
            return Some(Envelope { content, call_id: None, is_error: true, is_whole: false });
        }
        let inner = members.get(&["result"])?;
        return Some(result_within(inner, depth).unwrap_or_else(|| plain(inner)));
    }
    if let Some(inner) = members.get(&["toolResult", "tool_result"]).filter(|_| members.len() == 1) {
        return result_within(inner, depth);
    }
    if let Some(returned) = tool_output(&members) {
        return Some(returned);
    }
    // The result and the keyword arguments of a `LangChain` callback.
    let is_object = |raw: &RawValue| raw.get().starts_with('{');
    if members.len() == 2 && members.get(&["kwargs"]).is_some_and(is_object) {
        let inner = members.get(&["output"])?;
        let opened = result_within(inner, depth).unwrap_or_else(|| plain(inner));
        return Some(Envelope { is_whole: false, ..opened });
    }
    if let Some(inner) = members.get(&["output"]).filter(|_| members.len() == 1) {
        // An object that the tool itself returned is no envelope, unless it contains one.
        return result_within(inner, depth).filter(|_| inner.get().starts_with('{'));
    }
    let content = members.get(&["content"]);
    let call_id = members.label(&["tool_call_id", "tool_use_id", "toolUseId", "call_id"]);
    let kind = members.label(&["type"]);
    let role = members.label(&["role"]);
    let is_message = matches!(kind.as_deref(), Some("tool" | "tool_result"))
        || role.is_some_and(|role| role.eq_ignore_ascii_case("tool") || role.eq_ignore_ascii_case("function"))
        || call_id.is_some();
    let failed = members.label(&["status"]).is_some_and(|status| status.eq_ignore_ascii_case("error"))
        || members.get(&["is_error", "isError"]).is_some_and(|raw| raw.get() == "true");
    if let Some(content) = content.filter(|_| is_message) {
        let content = match elements(content) {
            Some(parts) => listed(&parts, depth).map_or(EnvelopeContent::Raw(content), |opened| opened.content),
            None => EnvelopeContent::Raw(content),
        };
        const SAID: [&str; 11] = [
            "content",
            "tool_call_id",
            "tool_use_id",
            "toolUseId",
            "call_id",
            "type",
            "role",
            "status",
            "name",
            "is_error",
            "isError",
        ];
        let is_whole = members.entries().iter().all(|(name, raw)| SAID.contains(&&**name) || is_nothing(raw));
        return Some(Envelope { content, call_id, is_error: failed, is_whole });
    }
    mcp(&members, failed)
}

/// Opens a `ToolOutput` of `LlamaIndex`.
fn tool_output<'a>(members: &JsonObject<'a>) -> Option<Envelope<'a>> {
    let (output, _) = (members.get(&["raw_output"])?, members.get(&["raw_input"])?);
    members.label(&["tool_name"])?;
    let is_error = members.get(&["is_error"]).is_some_and(|raw| raw.get() == "true");
    let text = members.list(&["blocks"]).and_then(|blocks| texts(&blocks)).map(EnvelopeContent::Text);
    let content = text.unwrap_or_else(|| EnvelopeContent::Raw(members.get(&["content"]).unwrap_or(output)));
    Some(Envelope { content, call_id: None, is_error, is_whole: false })
}

/// Opens the result of an MCP server. A member that MCP does not define shows that the object is the tool's own.
fn mcp<'a>(members: &JsonObject<'a>, is_error: bool) -> Option<Envelope<'a>> {
    let parts = members.list(&["content"])?;
    if !members.entries().iter().all(|(name, _)| MCP.contains(&&**name)) {
        return None;
    }
    let is_typed = |raw: &&RawValue| JsonObject::read(raw.get()).is_some_and(|part| part.label(&["type"]).is_some());
    let structured = members.get(&["structuredContent", "structured_content"]);
    let is_mcp = structured.is_some() || members.get(&["isError", "is_error"]).is_some();
    if !(parts.iter().all(is_typed) && (is_mcp || !parts.is_empty())) {
        return None;
    }
    let text = texts(&parts);
    let content = match (&text, structured) {
        (Some(text), _) => EnvelopeContent::Text(text.clone()),
        (None, Some(structured)) if parts.is_empty() => EnvelopeContent::Raw(structured),
        (None, _) => EnvelopeContent::Raw(members.get(&["content"])?),
    };
    let is_repeated = structured.is_none_or(|structured| match &text {
        Some(text) => repeats(structured, text),
        None => parts.is_empty(),
    });
    let rest = members.entries().iter().filter(|(name, _)| name.to_ascii_lowercase().contains("meta"));
    let is_whole = is_repeated && rest.into_iter().all(|(_, raw)| is_nothing(raw));
    Some(Envelope { content, call_id: None, is_error, is_whole })
}

/// Returns true if the structured content of an MCP result repeats its text.
fn repeats(structured: &RawValue, text: &str) -> bool {
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    let Some(structured) = value(structured.get()) else { return false };
    let read = value(text);
    let is_it = |one: &serde_json::Value| Some(one) == read.as_ref() || one.as_str() == Some(text);
    is_it(&structured)
        || structured.as_object().is_some_and(|object| object.len() == 1 && object.get("result").is_some_and(is_it))
}

/// Opens a list: text parts become their text, and a single element of another kind is an envelope.
fn listed<'a>(parts: &[&'a RawValue], depth: usize) -> Option<Envelope<'a>> {
    if let Some(text) = texts(parts) {
        return Some(Envelope { content: EnvelopeContent::Text(text), call_id: None, is_error: false, is_whole: true });
    }
    let [one] = parts else { return None };
    let members = JsonObject::read(one.get())?;
    match members.get(&["json"]).filter(|_| members.len() == 1) {
        Some(inner) => Some(plain(inner)),
        None if members.get(&["toolResult"]).is_some() || langchain(&members).is_some() => result_within(one, depth),
        None => None,
    }
}

fn plain(raw: &RawValue) -> Envelope<'_> {
    Envelope { content: EnvelopeContent::Raw(raw), call_id: None, is_error: false, is_whole: true }
}

/// Joins the texts of parts that are all text, one on each line.
fn texts(parts: &[&RawValue]) -> Option<String> {
    let text = |raw: &&RawValue| {
        let part = JsonObject::read(raw.get())?;
        let is_text = match part.label(&["type"]) {
            Some(kind) => TEXT.contains(&&*kind),
            None => part.len() == 1,
        };
        let text = part.get(&["text"]).filter(|text| is_text && text_of(text).is_some())?;
        Some(decode(text).into_owned())
    };
    let texts: Vec<String> = parts.iter().map(text).collect::<Option<_>>()?;
    (!texts.is_empty()).then(|| texts.join("\n"))
}

/// Opens the envelope around the arguments of the tool `tool`; returns `None` for arguments without one.
pub(crate) fn arguments<'a>(raw: &'a RawValue, tool: &str) -> Option<Envelope<'a>> {
    let mut members = JsonObject::read(raw.get())?;
    // `kwargs` alone may be an argument.
    let of_function = || function_arguments(&members).filter(|_| members.len() > 1);
    if let Some(given) = of_function().or_else(|| callback_input(&members)) {
        return Some(given);
    }
    let mut is_call = false;
    if members.label(&["method"]).as_deref() == Some("tools/call") {
        members = members.object(&["params"])?;
        is_call = true;
    } else if let Some(inner) = members.object(&["toolUse", "params", "function"])
        && (members.len() == 1 || members.get(&["function"]).is_some_and(|_| members.label(&["type"]).is_some()))
    {
        is_call = members.get(&["params"]).is_none();
        members = inner;
    }
    let called = members.label(&["tool_name", "toolName", "name"]);
    is_call |= members.label(&["type"]).is_some_and(|kind| matches!(&*kind, "tool_call" | "tool_use"));
    is_call |= members.get(&["tool_name", "toolName"]).is_some();
    is_call |= called.as_deref() == Some(tool);
    let inner = members.get(&["arguments", "args", "input"]).filter(|_| is_call && called.is_some())?;
    const CALLED: [&str; 10] =
        ["arguments", "args", "input", "name", "tool_name", "toolName", "type", "id", "toolUseId", "tool_call_id"];
    let rest = members.entries().iter().filter(|(name, _)| !CALLED.contains(&&**name));
    // A member that no call has shows that the object is the arguments themselves.
    if rest.clone().any(|(name, raw)| !is_nothing(raw) && !name.contains("meta")) {
        return None;
    }
    let is_whole = rest.into_iter().all(|(_, raw)| is_nothing(raw)) && called.as_deref() == Some(tool);
    let call_id = members.label(&["toolUseId", "tool_call_id", "id"]);
    Some(Envelope { content: EnvelopeContent::Raw(inner), call_id, is_error: false, is_whole })
}

/// Opens the input of a tool: as [`arguments`], or those of the function that was called with one object, `{"args":[{…}]}`, or with
/// one object and the options of the call, as the tools of the Vercel AI SDK are, or with keywords, `{"kwargs":{…}}`. Where a
/// library states arguments as such, these are arguments.
pub(crate) fn input<'a>(raw: &'a RawValue, tool: &str) -> Option<Envelope<'a>> {
    let bare = || {
        let members = JsonObject::read(raw.get()).filter(|members| members.len() == 1)?;
        function_arguments(&members)
    };
    arguments_of_call(raw).or_else(bare).or_else(|| arguments(raw, tool))
}

fn arguments_of_call(raw: &RawValue) -> Option<Envelope<'_>> {
    let given = JsonObject::read(raw.get()).filter(|members| members.len() == 1)?.list(&["args"])?;
    let (inner, options) = match given.as_slice() {
        [inner] => (*inner, None),
        [inner, options] => (*inner, Some(JsonObject::read(options.get())?)),
        _ => return None,
    };
    let call_id = options.as_ref().and_then(|options| options.label(&["toolCallId"]));
    let is_object = JsonObject::read(&decode(inner)).is_some() || inner.get().starts_with('{');
    let is_known = options.is_none() || call_id.is_some();
    (is_object && is_known).then(|| Envelope {
        content: EnvelopeContent::Raw(inner),
        call_id,
        is_error: false,
        is_whole: options.is_none(),
    })
}

/// Opens the arguments of a Python function that has only keyword arguments: `{"args": [], "kwargs": {…}}`.
fn function_arguments<'a>(members: &JsonObject<'a>) -> Option<Envelope<'a>> {
    /// A parameter of every tool in smolagents.
    const FLAG: &str = "sanitize_inputs_outputs";
    let given = members.get(&["kwargs"]).filter(|raw| raw.get().starts_with('{'))?;
    let is_wrapper = members.entries().iter().all(|(name, raw)| match &**name {
        "kwargs" => true,
        "args" => raw.get().starts_with('[') && is_nothing(raw),
        name => name == FLAG,
    });
    is_wrapper.then(|| plain(given))
}

/// Opens what a callback of `LangChain` gets of a tool: its input as a text and as an object, with tags and metadata.
fn callback_input<'a>(members: &JsonObject<'a>) -> Option<Envelope<'a>> {
    const MEMBERS: [&str; 5] = ["input_str", "inputs", "tags", "metadata", "kwargs"];
    let text = members.get(&["input_str"])?;
    if !members.entries().iter().all(|(name, _)| MEMBERS.contains(&&**name)) || members.len() < 3 {
        return None;
    }
    let given = members.get(&["inputs"]).filter(|raw| raw.get().starts_with('{'));
    let call_id = members.object(&["kwargs"]).and_then(|kwargs| kwargs.label(&["tool_call_id"]));
    let content = EnvelopeContent::Raw(given.unwrap_or(text));
    Some(Envelope { content, call_id, is_error: false, is_whole: false })
}

/// Opens a message serialized by `LangChain`: `{"type":…,"data":{…}}` or a constructor with `kwargs`. Returns its content and
/// its role.
pub(crate) fn langchain<'a>(members: &JsonObject<'a>) -> Option<(&'a RawValue, &'static str)> {
    let is_object = |raw: &&RawValue| raw.get().starts_with('{');
    if let Some(inner) = members.get(&["data"]).filter(is_object).filter(|_| members.len() == 2) {
        return Some((inner, langchain_role(&members.label(&["type"])?)?));
    }
    members.get(&["lc"])?;
    let inner = members.get(&["kwargs"]).filter(is_object)?;
    let path = members.list(&["id"])?;
    let class = path.last().and_then(|last| label_of(last))?;
    let class = class.strip_suffix("Chunk").unwrap_or(&class).strip_suffix("Message")?.to_ascii_lowercase();
    Some((inner, langchain_role(&class)?))
}

/// Returns the role of a `LangChain` message type.
pub(crate) fn langchain_role(kind: &str) -> Option<&'static str> {
    let kind = kind.strip_suffix("Chunk").unwrap_or(kind);
    let kind = kind.strip_suffix("Message").unwrap_or(kind);
    LANGCHAIN.iter().find(|(name, _)| name.eq_ignore_ascii_case(kind)).map(|(_, role)| *role)
}

/// Returns true for a value without content.
fn is_nothing(raw: &RawValue) -> bool {
    let text = raw.get();
    matches!(text, "null" | "false" | "\"\"")
        || text
            .strip_prefix(['{', '['])
            .and_then(|rest| rest.strip_suffix(['}', ']']))
            .is_some_and(|within| within.trim().is_empty())
}
