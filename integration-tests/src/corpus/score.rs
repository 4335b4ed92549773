//! One scenario against its truth.

use std::collections::BTreeMap;

use retrace_protocol::{Span, Trace};
use serde_json::{Value, json};

/// What was found about one field of one call, tool or run.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The field.
    pub field: &'static str,
    /// Of which call or tool.
    pub at: String,
    /// How it compares.
    pub verdict: Verdict,
}

/// How a field compares with the truth.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// As it was.
    Right,
    /// Otherwise.
    Wrong {
        /// What it was.
        expected: Value,
        /// What was told.
        found: Value,
    },
    /// Not told.
    Missing {
        /// What it was.
        expected: Value,
    },
}

struct Scorer<'t> {
    /// All spans, those too that were made up from messages.
    all: Vec<&'t Span>,
    spans: BTreeMap<String, &'t Span>,
    findings: Vec<Finding>,
}

/// Compares the runs of a scenario with its truth.
#[must_use]
pub fn score(truth: &Value, traces: &[Trace]) -> Vec<Finding> {
    let all: Vec<_> = traces.iter().flat_map(|trace| trace.spans.as_deref().unwrap_or_default()).collect();
    let spans = all.iter().filter_map(|span| Some((hex(&span.id.to_otel_span()?), *span))).collect();
    let mut scorer = Scorer { all, spans, findings: Vec::new() };
    let recorded = &truth["recorded"];
    for (at, call) in list(&truth["llm_calls"]).enumerate() {
        scorer.call(at, call, &told_of(&recorded["llm_calls"][at]));
    }
    for (at, tool) in list(&truth["tool_executions"]).enumerate() {
        scorer.tool(at, tool, &recorded["tool_executions"][at]["on_span"]);
    }
    scorer.types(truth);
    scorer.totals(truth, traces);
    if let (Some(session), true) = (truth["conversation_id"].as_str(), is_there(&recorded["conversation_id"])) {
        for trace in traces {
            scorer.compare("session", "run", json!(session), json!(trace.session_id));
        }
    }
    if let (Some(user), true) = (truth["user_id"].as_str(), is_there(&recorded["user_id"])) {
        for trace in traces {
            let metadata = trace.metadata.as_ref().map_or(Value::Null, |metadata| metadata.to_value().unwrap());
            scorer.compare("user", "run", json!(user), metadata["user_id"].clone());
        }
    }
    for agent in list(&truth["agent_names"]).filter(|agent| is_there(&recorded["agent_names"][agent.as_str().unwrap()]))
    {
        let told = scorer.spans.values().any(|span| json!(span.agent_role) == *agent);
        let found = if told { agent.clone() } else { Value::Null };
        scorer.compare("agent", "run", agent.clone(), found);
    }
    scorer.findings
}

impl Scorer<'_> {
    fn compare(&mut self, field: &'static str, at: &str, expected: Value, found: Value) {
        let verdict = if expected == found {
            Verdict::Right
        } else if found.is_null() {
            Verdict::Missing { expected }
        } else {
            Verdict::Wrong { expected, found }
        };
        self.findings.push(Finding { field, at: at.to_owned(), verdict });
    }

    fn call(&mut self, at: usize, call: &Value, recorded: &Value) {
        let Some(span_id) = call["span_id"].as_str() else { return };
        let at = &*format!("call {at}");
        let Some(span) = self.spans.get(span_id).copied() else {
            return self.compare("span", at, json!(span_id), Value::Null);
        };
        // Several calls of one span have one record: what the last one answered.
        let shared = call.get("span_shared_with_calls").is_some();
        let metadata = span.metadata.as_ref().map_or(Value::Null, |metadata| metadata.to_value().unwrap());
        let has = |field: &str| recorded[field] == true;

        if has("model_response") {
            self.compare("model", at, call["model_response"].clone(), json!(span.model));
        } else if has("model_request") {
            self.compare("model", at, call["model_request"].clone(), json!(span.model));
        }
        for (field, truth, found) in [
            ("response id", "response_id", &metadata["response_id"]),
            ("temperature", "temperature", &metadata["sampling"]["temperature"]),
            ("top_p", "top_p", &metadata["sampling"]["top_p"]),
            ("max_tokens", "max_tokens", &metadata["sampling"]["max_tokens"]),
            ("seed", "seed", &metadata["sampling"]["seed"]),
            ("cached tokens", "cached_input_tokens", &metadata["usage"]["cache_read_tokens"]),
            ("cache-writing tokens", "cache_creation_input_tokens", &metadata["usage"]["cache_creation_tokens"]),
            ("reasoning tokens", "reasoning_tokens", &metadata["usage"]["reasoning_tokens"]),
        ] {
            if has(truth) && !call[truth].is_null() {
                self.compare(field, at, number(&call[truth]), number(found));
            }
        }
        if has("streaming") && call["streaming"] == true {
            self.compare("streaming", at, json!(true), metadata["streaming"].clone());
        }
        for (field, total, plain, found) in [
            ("input tokens", "input_tokens_total", "input_tokens", span.input_tokens),
            ("output tokens", "output_tokens_total", "output_tokens", span.output_tokens),
        ] {
            let expected = if call[total].is_null() { &call[plain] } else { &call[total] };
            if (has(plain) || has(total)) && !expected.is_null() {
                self.compare(field, at, expected.clone(), json!(found));
            }
        }
        if has("input_messages") {
            let input = span.input.as_ref().map_or(Value::Null, |input| input.to_value().unwrap());
            let told: Vec<Value> = list(&input["messages"]).map(message).collect();
            let mut expected: Vec<Value> = list(&call["input_messages"]).map(message).collect();
            // A text that the library changed before it recorded it cannot be had back.
            for (at, each) in list(&recorded["input_messages_each"]).enumerate() {
                if each["content"] == false {
                    expected[at]["text"] = told.get(at).map_or(Value::Null, |told| told["text"].clone());
                }
            }
            let roles = |messages: &[Value]| Value::from_iter(messages.iter().map(|message| message["role"].clone()));
            self.compare("roles", at, roles(&expected), roles(&told));
            self.compare("messages", at, json!(expected), if told.is_empty() { Value::Null } else { json!(told) });
        }
        let output = span.output.as_ref().map_or(Value::Null, |output| output.to_value().unwrap());
        if has("output_text") && !call["output_text"].is_null() && !shared {
            let texts: Vec<_> = match &call["output_texts"] {
                Value::Array(texts) => texts.clone(),
                _ => vec![call["output_text"].clone()],
            };
            let told = if output.is_array() { output.clone() } else { json!([output]) };
            // Of a stream that broke off the truth has the part that was sent before it did.
            let broken = call["error"]["mid_stream"] == true;
            if broken {
                let begins =
                    told[0].as_str().is_some_and(|told| told.starts_with(call["output_text"].as_str().unwrap()));
                self.compare("texts", at, json!(true), json!(begins));
            } else {
                self.compare("texts", at, json!(texts), told);
            }
        }
        if has("output_tool_calls") && !shared {
            let with_ids = has("output_tool_call_ids");
            let calls = |calls: &Value| Value::from_iter(list(calls).map(|call| tool_call(call, with_ids)));
            self.compare("tool calls", at, calls(&call["output_tool_calls"]), calls(&metadata["tool_calls"]));
        }
        let aliases = &recorded["finish_reasons_as"];
        let is_told = |reason: &Value| is_there(&aliases[reason.as_str().unwrap_or_default()]);
        if has("finish_reasons") || list(&call["finish_reasons"]).any(is_told) {
            let told: Vec<_> = list(&metadata["finish_reasons"]).cloned().collect();
            let expected: Vec<_> = list(&call["finish_reasons"]).cloned().collect();
            let same = told.len() == expected.len()
                && told.iter().zip(&expected).all(|(told, expected)| {
                    told == expected || list(&aliases[expected.as_str().unwrap_or_default()]).any(|alias| alias == told)
                });
            let found = if same { json!(expected) } else { json!(told) };
            self.compare("finish reasons", at, json!(expected), found);
        }
        if recorded["error"]["any_error_attr"] == true {
            let told = span.error.as_deref().unwrap_or_default();
            let message = call["error"]["message"].as_str().unwrap_or_default();
            let expects_message = recorded["error"]["message"] == true;
            let found =
                if span.error.is_none() { Value::Null } else { json!(!expects_message || told.contains(message)) };
            self.compare("error", at, json!(true), found);
        } else if call["error"].is_null() {
            self.compare("error", at, Value::Null, json!(span.error));
        }
    }

    fn tool(&mut self, at: usize, tool: &Value, recorded: &Value) {
        let Some(span_id) = tool["span_id"].as_str() else { return };
        let at = &*format!("tool {at}");
        let Some(span) = self.spans.get(span_id).copied() else {
            return self.compare("span", at, json!(span_id), Value::Null);
        };
        let metadata = span.metadata.as_ref().map_or(Value::Null, |metadata| metadata.to_value().unwrap());
        if recorded["name"] == true {
            self.compare("tool name", at, tool["name"].clone(), json!(span.name));
        }
        if recorded["tool_call_id"] == true {
            self.compare("tool call id", at, tool["tool_call_id"].clone(), metadata["tool_call_id"].clone());
        }
        let value =
            |json: &Option<retrace_protocol::Json>| json.as_ref().map_or(Value::Null, |json| json.to_value().unwrap());
        if recorded["arguments"] == true {
            self.compare("tool arguments", at, tool["arguments"].clone(), value(&span.input));
        }
        if recorded["result"] == true && !tool["result"].is_null() {
            self.compare("tool result", at, tool["result"].clone(), value(&span.output));
        }
        let again = self.all.iter().filter(|other| other.id != span.id && other.span_type == span.span_type);
        let again = again.filter(|other| {
            let metadata = other.metadata.as_ref().map_or(Value::Null, |metadata| metadata.to_value().unwrap());
            tool["tool_call_id"].is_string() && metadata["tool_call_id"] == tool["tool_call_id"]
        });
        let again = again.count();
        self.compare("tool told once", at, json!(0), json!(again));
        if recorded["error"] == true && recorded["span_status_error"] == true {
            let message = tool["error"].as_str().unwrap_or_default();
            let found = span.error.as_ref().map_or(Value::Null, |told| json!(told.contains(message)));
            self.compare("tool error", at, json!(true), found);
        }
    }

    fn types(&mut self, truth: &Value) {
        for (span_id, kind) in truth["span_types"].as_object().into_iter().flatten() {
            let expected = match kind.as_str().unwrap_or_default() {
                "llm" | "embedding" | "llm_duplicate" | "llm_unmatched" => "llm_call",
                "tool" | "tool_unmatched" => "tool_call",
                "agent" => "reasoning",
                _ => continue,
            };
            let found = self.spans.get(span_id).map_or(Value::Null, |span| json!(span.span_type));
            self.compare("span type", span_id, json!(expected), found);
        }
    }

    /// Totals are expected where every call recorded what it used.
    fn totals(&mut self, truth: &Value, traces: &[Trace]) {
        let calls = list(&truth["llm_calls"]).zip(list(&truth["recorded"]["llm_calls"]));
        let complete = calls.into_iter().all(|(call, recorded)| {
            let used = |field: &str, total: &str| {
                let is_recorded = |field: &str| told_of(recorded)[field] == true;
                call[field].is_null() || call[field] == 0 || is_recorded(field) || is_recorded(total)
            };
            used("input_tokens", "input_tokens_total") && used("output_tokens", "output_tokens_total")
        });
        if complete {
            // With what was read from a cache, or spent on thinking, where a provider counts that apart.
            let used = |call: &Value, field: &str, total: &str| {
                call[total].as_u64().or_else(|| call[field].as_u64()).unwrap_or(0)
            };
            let expected: u64 = list(&truth["llm_calls"])
                .filter(|call| !call["span_id"].is_null())
                .map(|call| {
                    used(call, "input_tokens", "input_tokens_total")
                        + used(call, "output_tokens", "output_tokens_total")
                })
                .sum();
            let told: u64 = traces.iter().filter_map(|trace| trace.total_tokens).sum();
            self.compare("totals", "run", json!(expected), json!(told));
        }
    }
}

/// A message as both sides can say it.
fn message(message: &Value) -> Value {
    let parts = || list(&message["content"]);
    let is_text = |part: &&Value| part["type"] == "text";
    let text = match &message["content"] {
        Value::Array(_) => {
            parts().filter(is_text).filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n")
        }
        Value::String(text) => text.clone(),
        _ => String::new(),
    };
    let media = list(&message["images"]).count() + parts().filter(|part| !is_text(part)).count();
    let calls: Vec<_> = list(&message["tool_calls"]).map(|call| tool_call(call, true)).collect();
    json!({"role": message["role"], "text": text, "calls": calls, "media": media, "answers": message["tool_call_id"]})
}

fn tool_call(call: &Value, with_id: bool) -> Value {
    let id = if with_id { call["id"].clone() } else { Value::Null };
    json!({"id": id, "name": call["name"], "arguments": call["arguments"]})
}

/// A number in one form: 0.2 and 0.20 are the same.
fn number(value: &Value) -> Value {
    value.as_f64().map_or_else(|| value.clone(), |number| json!(number))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// What was recorded of a call: on its span, or in log records tied to that.
fn told_of(recorded: &Value) -> Value {
    either(&recorded["on_span"], &recorded["in_logs"])
}

/// What one of the two has.
fn either(one: &Value, other: &Value) -> Value {
    match (one, other) {
        (Value::Bool(one), Value::Bool(other)) => json!(one | other),
        (Value::Object(one), Value::Object(other)) => {
            let keys = one.keys().chain(other.keys().filter(|key| !one.contains_key(*key)));
            keys.map(|key| {
                let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                (key.clone(), either(&of(one), &of(other)))
            })
            .collect()
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() && one.iter().all(Value::is_object) => {
            one.iter().zip(other).map(|(one, other)| either(one, other)).collect()
        }
        (Value::Array(one), Value::Array(other)) => one.iter().chain(other).cloned().collect(),
        (Value::Null, other) => other.clone(),
        (one, _) => one.clone(),
    }
}

/// Whether `recorded` says that something was found: `true`, or the places where.
fn is_there(recorded: &Value) -> bool {
    match recorded {
        Value::Bool(there) => *there,
        Value::Array(places) => !places.is_empty(),
        Value::Object(places) => !places.is_empty(),
        _ => false,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
