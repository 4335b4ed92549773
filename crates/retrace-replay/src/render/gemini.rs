//! Gemini's `generateContent`: <https://ai.google.dev/api/generate-content>.

use serde_json::{Value, json};

use super::text::{count, object, pieces, text};
use super::{Answer, ChoicePart, Documents, NotReplayable, Usage};

fn usage(usage: &Usage) -> Option<Value> {
    let candidates = usage.output.map(|output| output.saturating_sub(usage.reasoning.unwrap_or(0)));
    (!usage.is_empty()).then(|| {
        object([
            ("promptTokenCount", count(usage.input)),
            ("candidatesTokenCount", count(candidates)),
            ("totalTokenCount", count(usage.total())),
            ("thoughtsTokenCount", count(usage.reasoning)),
            ("cachedContentTokenCount", count(usage.cache_read)),
        ])
    })
}

/// A part, and in a stream its pieces.
fn parts(part: &ChoicePart, streamed: bool) -> Result<Vec<Value>, NotReplayable> {
    let texts = |text: &str, of: fn(&str) -> Value| -> Vec<Value> {
        if streamed { pieces(text).map(of).collect() } else { vec![of(text)] }
    };
    Ok(match part {
        ChoicePart::Text(text) => texts(text, |text| json!({ "text": text })),
        ChoicePart::Reasoning(text) => texts(text, |text| json!({ "text": text, "thought": true })),
        ChoicePart::Refusal(_) => {
            return Err(NotReplayable::new("the answer has a refusal as a part, and a candidate has none"));
        }
        ChoicePart::ToolCall { id, name, arguments } => {
            let given = match arguments {
                Some(given @ Value::Object(_)) => Some(given.clone()),
                Some(_) => {
                    return Err(NotReplayable::new(format!("the arguments of the call of `{name}` are no object")));
                }
                None => None,
            };
            let call = object([("id", text(id.as_ref())), ("name", Some(name.as_str().into())), ("args", given)]);
            vec![json!({ "functionCall": call })]
        }
        ChoicePart::Provider(part) => vec![part.to_gemini()],
    })
}

pub(super) fn render(answer: &Answer, streamed: bool) -> Result<Documents, NotReplayable> {
    if answer.choices.is_empty() {
        answer.only_choice()?;
    }
    let document = |candidates: Vec<Value>, usage: Option<Value>| {
        object([
            ("candidates", Some(candidates.into())),
            ("usageMetadata", usage),
            ("modelVersion", text(answer.model.as_ref())),
            ("responseId", text(answer.id.as_ref())),
        ])
    };
    let tokens = |index: usize| {
        let count = if index == 0 { answer.logprobs.len().max(answer.token_ids.len()) } else { 0 };
        let chosen = (0..count).map(|at| {
            object([
                ("token", Some("".into())),
                ("tokenId", answer.token_ids.get(at).map(|id| json!(id))),
                ("logProbability", answer.logprobs.get(at).map(|logprob| json!(logprob))),
            ])
        });
        (count > 0).then(|| json!({ "chosenCandidates": chosen.collect::<Vec<_>>(), "topCandidates": [] }))
    };
    let candidate = |index: usize, parts: Vec<Value>, reason: Option<&String>, tokens: Option<Value>| {
        object([
            ("content", Some(json!({ "role": "model", "parts": parts }))),
            ("finishReason", text(reason)),
            ("index", Some(index.into())),
            ("logprobsResult", tokens),
        ])
    };
    let mut documents = Vec::new();
    let mut candidates = Vec::new();
    for (index, choice) in answer.choices.iter().enumerate() {
        let mut all = Vec::new();
        for part in &choice.parts {
            all.extend(parts(part, streamed)?);
        }
        let reason = choice.finish_reason.as_ref();
        if streamed {
            documents
                .extend(all.into_iter().map(|part| document(vec![candidate(index, vec![part], None, None)], None)));
            candidates.push(candidate(index, Vec::new(), reason, tokens(index)));
        } else {
            candidates.push(candidate(index, all, reason, tokens(index)));
        }
    }
    documents.push(document(candidates, usage(&answer.usage)));
    Ok(match documents.as_slice() {
        [whole] if !streamed => Documents::whole(whole),
        _ => Documents::events(&documents, false),
    })
}
