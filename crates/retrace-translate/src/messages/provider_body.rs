//! Request and response bodies of provider APIs, for spans that record only those.

use std::borrow::Cow;

use retrace_protocol::message::Text;
use retrace_protocol::parse;
use serde::Deserialize;
use serde_json::value::RawValue;
use smallvec::smallvec;

use crate::json::{JsonObject, elements};
use crate::json::{label_of, text_of};
use crate::messages::lists;
use crate::messages::provider_message::{message, messages, parts_of};
use crate::messages::{Turn, TurnPart};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Request<'a> {
    /// Messages of OpenAI and Anthropic.
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    /// Messages of Gemini.
    #[serde(borrow)]
    contents: Option<&'a RawValue>,
    /// Items of OpenAI's Responses API, or texts to embed.
    #[serde(borrow, alias = "inputs")]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt: Option<&'a RawValue>,
    #[serde(borrow, alias = "instructions", alias = "systemInstruction", alias = "system_instruction")]
    system: Option<&'a RawValue>,
    /// Everything but the messages, in Gemini's SDKs.
    #[serde(borrow)]
    config: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config<'a> {
    #[serde(borrow, alias = "systemInstruction")]
    system_instruction: Option<&'a RawValue>,
}

/// Reads the messages of a request; returns `None` if the JSON is no request.
pub(crate) fn request(json: &str) -> Option<Vec<Turn<'_>>> {
    if json.trim_start().starts_with('[') {
        return texts(parse::from_str(json)?).or_else(|| messages(json));
    }
    // The arguments of the function that sends the request: the request, and options.
    let given = JsonObject::read(json).filter(|members| members.len() == 1).and_then(|members| members.list(&["args"]));
    match given {
        Some(given) => request_object(given.first()?.get()),
        None => request_object(json),
    }
}

fn request_object(json: &str) -> Option<Vec<Turn<'_>>> {
    let request: Request<'_> = object(json)?;
    let messages_value = request.messages.or(request.contents).or(request.input).or(request.prompt)?;
    let mut turns = Vec::new();
    let configured = || object::<Config<'_>>(request.config?.get())?.system_instruction;
    if let Some(system) = request.system.or_else(configured).filter(|raw| raw.get() != "null") {
        let parts = message(system).map_or_else(|| parts_of(system), |turn| turn.parts);
        turns.push(Turn { role: Cow::Borrowed("system"), parts, ..Turn::default() });
    }
    match text_of(messages_value) {
        Some(text) => turns.push(user(text)),
        None => {
            let messages_value = batch(messages_value);
            turns.extend(texts(messages_value).or_else(|| messages(messages_value.get()))?);
        }
    }
    Some(turns)
}

/// Returns the inner list of a batch with one list of messages, as `LangChain` writes it; any other value unchanged.
fn batch(raw: &RawValue) -> &RawValue {
    let inner = elements(raw).and_then(|list| match list.as_slice() {
        [one] if one.get().starts_with('[') => Some(*one),
        _ => None,
    });
    inner.unwrap_or(raw)
}

/// Returns true if a JSON text is a request or a response, rather than a message, and has more than [`request`] and
/// [`response`] read.
pub(crate) fn has_more(json: &str) -> bool {
    const SAID: [&str; 7] = ["messages", "contents", "input", "inputs", "prompt", "choices", "candidates"];
    const SYSTEM: [&str; 4] = ["system", "instructions", "systemInstruction", "system_instruction"];
    if !json.trim_start().starts_with('{') {
        return false;
    }
    let Some(members) = JsonObject::read(json).map(JsonObject::into_entries) else { return false };
    let count = |names: &[&str]| members.iter().filter(|(name, _)| names.contains(&&**name)).count();
    let (messages_value, system) = (count(&SAID), count(&SYSTEM));
    let is_read = messages_value <= 1 && system <= 1 && messages_value + system == members.len();
    !is_read && messages(json).is_none() && (request(json).is_some() || response(json).is_some())
}

/// Reads a list of texts, each of which is a message.
fn texts(raw: &RawValue) -> Option<Vec<Turn<'_>>> {
    let list: Vec<&RawValue> = parse::from_str(raw.get())?;
    let texts = list.into_iter().map(|raw| text_of(raw).map(user)).collect::<Option<Vec<_>>>()?;
    (!texts.is_empty()).then_some(texts)
}

fn user(text: Text<'_>) -> Turn<'_> {
    Turn { role: Cow::Borrowed("user"), parts: smallvec![TurnPart::Text(text)], ..Turn::default() }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Response<'a> {
    /// Choices of OpenAI.
    #[serde(borrow)]
    choices: Option<Vec<&'a RawValue>>,
    /// Candidates of Gemini.
    #[serde(borrow)]
    candidates: Option<Vec<&'a RawValue>>,
    /// Items of OpenAI's Responses API, or the object with the message in Bedrock's Converse API.
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<Vec<&'a RawValue>>,
    /// Generations of `LangChain`: a list for each prompt.
    #[serde(borrow)]
    generations: Option<&'a RawValue>,
    /// Content of a single candidate of Gemini.
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    /// Role in Anthropic's response, or in a single message.
    #[serde(borrow)]
    role: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow, alias = "responseId", alias = "response_id")]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    /// Text of an aggregated stream, or of a completion.
    #[serde(borrow, alias = "combined_chunk_content")]
    text: Option<&'a RawValue>,
    #[serde(borrow, alias = "stop_reason", alias = "stopReason", alias = "finishReason")]
    finish_reason: Option<&'a RawValue>,
}

impl<'a> Response<'a> {
    /// Returns the items of the output.
    fn items(&self) -> Option<Vec<&'a RawValue>> {
        elements(self.output?)
    }

    /// Returns the message in the output.
    fn output_message(&self) -> Option<&'a RawValue> {
        JsonObject::read(self.output?.get())?.get(&["message"])
    }

    /// Returns true if the response is one message rather than a list.
    fn is_message(&self) -> bool {
        let is_candidate = || self.content.is_some_and(|content| content.get().starts_with('{'));
        self.role.is_some() || self.message.is_some() || is_candidate()
    }
}

/// Facts that a response states beside its messages.
#[derive(Debug, Default)]
pub(crate) struct ResponseFacts {
    /// Response id of the provider.
    pub id: Option<String>,
    /// Finish reason of each choice that states one.
    pub finish_reasons: Vec<String>,
}

impl ResponseFacts {
    /// Reads a response; returns `None` if the JSON is no response.
    pub(crate) fn read(json: &str) -> Option<Self> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Choice<'a> {
            #[serde(borrow, alias = "finishReason")]
            finish_reason: Option<&'a RawValue>,
        }
        let response: Response<'_> = object(json)?;
        let is_message = response.is_message();
        let is_items = response.items().is_some();
        let output = response.output.filter(|_| is_items || response.output_message().is_some());
        let of_choices = response.choices.or(response.candidates);
        let alone = match (&of_choices, output) {
            (None, Some(_)) if is_items => response.status,
            (None, Some(_)) => response.finish_reason,
            (None, None) if is_message => response.finish_reason,
            (Some(_), _) => None,
            (None, None) => return None,
        };
        let choices = of_choices.unwrap_or_default().into_iter();
        let choices = choices.filter_map(|raw| parse::from_str::<Choice<'_>>(raw.get())?.finish_reason);
        let finish_reasons = choices.chain(alone).filter_map(label_of).map(Cow::into_owned).collect();
        Some(Self { id: response.id.and_then(label_of).map(Cow::into_owned), finish_reasons })
    }
}

/// Reads the messages of a response, one for each choice; returns `None` if the JSON is no response.
pub(crate) fn response(json: &str) -> Option<Vec<Turn<'_>>> {
    if json.trim_start().starts_with('[') {
        return messages(json);
    }
    let response: Response<'_> = object(json)?;
    if let Some(inner) = response.output_message() {
        let finish_reason = response.finish_reason.and_then(label_of);
        return Some(vec![Turn { finish_reason, ..message(inner)? }]);
    }
    if let Some(items) = response.items() {
        // Its items are one response together.
        let turns = lists::each(items, message)?;
        let parts = turns.into_iter().flat_map(|turn| turn.parts).collect();
        return Some(vec![Turn { role: Cow::Borrowed("assistant"), parts, ..Turn::default() }]);
    }
    let is_message = response.is_message();
    match response.choices.or(response.candidates).or(response.messages) {
        Some(list) => lists::each(list, message),
        None if response.generations.is_some() => {
            let batches = elements(response.generations?)?;
            lists::each(batches.into_iter().flat_map(|one| elements(one).unwrap_or(vec![one])).collect(), generation)
        }
        None if is_message => messages(json),
        None => {
            let parts = smallvec![TurnPart::Text(text_of(response.text?)?)];
            let finish_reason = response.finish_reason.and_then(label_of);
            Some(vec![Turn { role: Cow::Borrowed("assistant"), parts, finish_reason, ..Turn::default() }])
        }
    }
}

/// Reads the message of one `LangChain` generation, with its finish reason.
fn generation(raw: &RawValue) -> Option<Turn<'_>> {
    let mut turn = message(raw)?;
    if turn.finish_reason.is_none() {
        turn.finish_reason = JsonObject::read(raw.get()).and_then(|members| langchain_finish_reason(&members));
    }
    Some(turn)
}

/// Returns the finish reason of a `LangChain` generation: beside its message, or in what the provider stated about the message.
pub(crate) fn langchain_finish_reason<'a>(generation: &JsonObject<'a>) -> Option<Cow<'a, str>> {
    let reason = |info: JsonObject<'a>| info.label(&["finish_reason", "stop_reason", "finishReason"]);
    let beside = || reason(generation.object(&["generation_info", "generationInfo"])?);
    let within = || {
        let message = generation.object(&["message"])?;
        let message = message.object(&["kwargs", "data"]).unwrap_or(message);
        let stated = |name| reason(message.object(&[name])?);
        stated("response_metadata").or_else(|| stated("additional_kwargs"))
    };
    beside().or_else(within)
}

fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    if json.trim_start().starts_with('{') { parse::from_str(json) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{answer, conversation};

    fn request_messages(json: &str) -> serde_json::Value {
        serde_json::to_value(conversation(Vec::new(), request(json).unwrap())).unwrap()["messages"].take()
    }

    #[test]
    fn requests_of_every_provider_are_read() {
        let expected =
            serde_json::json!([{"role": "system", "content": "be terse"}, {"role": "user", "content": "hi"}]);
        for json in [
            r#"{"model":"m","messages":[{"role":"system","content":"be terse"},{"role":"user","content":"hi"}]}"#,
            r#"{"system":"be terse","messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}],"max_tokens":9}"#,
            r#"{"instructions":"be terse","input":"hi"}"#,
            r#"{"instructions":"be terse","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"hi"}]}]}"#,
            r#"{"systemInstruction":{"parts":[{"text":"be terse"}]},"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#,
            r#"{"config":{"system_instruction":"be terse","top_p":1},"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#,
        ] {
            assert_eq!(request_messages(json), expected, "{json}");
        }
        assert_eq!(request_messages(r#"{"input":["a","b"]}"#).as_array().unwrap().len(), 2);
        for other in ["hi", "7", "{}", r#"{"query":"hi"}"#, r#"{"messages":[7]}"#] {
            assert!(request(other).is_none(), "{other}");
        }
    }

    #[test]
    fn what_is_beside_the_messages_is_noticed() {
        for whole in [
            r#"{"messages":[{"role":"user","content":"hi"}],"temperature":1}"#,
            r#"{"system":"be terse","messages":[{"role":"user","content":"hi"}],"tools":[]}"#,
            r#"{"messages":[{"role":"user","content":"hi"}],"input":"and this"}"#,
            r#"{"choices":[{"message":{"role":"assistant","content":"yes"}}],"usage":{}}"#,
        ] {
            assert!(has_more(whole), "{whole}");
        }
        for read in [
            r#"{"messages":[{"role":"user","content":"hi"}]}"#,
            r#"{"system":"be terse","prompt":"hi"}"#,
            r#"{"role":"user","content":"hi"}"#,
            r#"{"query":"hi"}"#,
            r#"[{"role":"user","content":"hi"}]"#,
            "hi",
        ] {
            assert!(!has_more(read), "{read}");
        }
    }

    #[test]
    fn answers_of_every_provider_are_read() {
        for json in [
            r#"{"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"yes"}}]}"#,
            r#"{"choices":[{"text":"yes","finish_reason":"stop"}]}"#,
            r#"{"role":"assistant","content":[{"type":"text","text":"yes"}],"stop_reason":"stop"}"#,
            r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"yes"}]},"finishReason":"stop"}]}"#,
            r#"{"content":{"role":"model","parts":[{"text":"yes"}]},"finish_reason":"stop","usage_metadata":{}}"#,
            r#"{"output":{"message":{"role":"assistant","content":[{"text":"yes"}]}},"stopReason":"stop","usage":{}}"#,
        ] {
            let answer = answer(response(json).unwrap());
            assert_eq!(answer.output.unwrap().as_str(), "\"yes\"", "{json}");
            assert_eq!(answer.finish_reasons, ["stop"], "{json}");
        }
        let items = r#"{"output":[{"type":"reasoning","summary":[{"type":"summary_text","text":"hm"}]},
            {"type":"message","role":"assistant","content":[{"type":"output_text","text":"yes"}]},
            {"type":"function_call","id":"fc_1","call_id":"call_1","name":"f","arguments":"{}"}]}"#;
        let answer = answer(response(items).unwrap());
        assert_eq!((answer.output.unwrap().as_str(), answer.reasoning.unwrap().as_str()), ("\"yes\"", "\"hm\""));
        assert_eq!(answer.tool_calls.unwrap().as_str(), r#"[{"id":"call_1","name":"f","arguments":{}}]"#);
        assert!(response("{}").is_none() && response("yes").is_none());
    }

    #[test]
    fn an_answer_has_an_id_and_reasons_to_stop() {
        for (json, id, reasons) in [
            (
                r#"{"id":"c","choices":[{"finish_reason":"stop"},{"finish_reason":"length"}]}"#,
                "c",
                &["stop", "length"][..],
            ),
            (r#"{"id":"m","role":"assistant","content":[],"stop_reason":"end_turn"}"#, "m", &["end_turn"]),
            (r#"{"responseId":"g","candidates":[{"finishReason":"STOP"}]}"#, "g", &["STOP"]),
            (r#"{"id":"r","output":[],"status":"completed"}"#, "r", &["completed"]),
            (r#"{"id":"a","content":{"parts":[]},"finishReason":"STOP"}"#, "a", &["STOP"]),
        ] {
            let answered = ResponseFacts::read(json).unwrap();
            assert_eq!(
                (answered.id.as_deref(), answered.finish_reasons),
                (Some(id), reasons.iter().map(|r| (*r).to_owned()).collect())
            );
        }
        for other in [r#"{"id":"x"}"#, "[]", "text", r#"{"id":"x","status":"done"}"#] {
            assert!(ResponseFacts::read(other).is_none(), "{other}");
        }
    }
}
