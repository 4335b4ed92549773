//! APIs that answer with a text: OpenAI's legacy completions, Ollama's generate, Hugging Face's text-generation-inference and IBM's
//! watsonx.

use serde_json::{Value, json};

use super::openai_chat::{tokens, usage};
use super::text::{count, object, pieces, text};
use super::{Answer, Choice, ChoicePart, Documents, NotReplayable};

/// The only text of a choice; reasoning beside it where the format has a place for it.
pub(super) fn only_text(choice: &Choice, has_reasoning: bool) -> Result<(&str, Option<&str>), NotReplayable> {
    let (mut written, mut reasoning) = (None, None);
    for part in &choice.parts {
        let (place, text) = match part {
            ChoicePart::Text(text) => (&mut written, text),
            ChoicePart::Reasoning(text) if has_reasoning => (&mut reasoning, text),
            ChoicePart::Provider(part) => return Err(part.refusal()),
            _ => return Err(NotReplayable::new("the answer has more than a text, and this API answers with one")),
        };
        if place.replace(text.as_str()).is_some() {
            return Err(NotReplayable::new("the answer has several texts, and this API answers with one"));
        }
    }
    Ok((written.unwrap_or_default(), reasoning))
}

/// Log-probabilities of legacy completions: lists beside each other, without the texts, which no run records.
fn logprobs(answer: &Answer) -> Option<Value> {
    (!answer.logprobs.is_empty())
        .then(|| json!({ "tokens": [], "token_logprobs": answer.logprobs, "top_logprobs": null, "text_offset": [] }))
}

pub(super) fn completions(answer: &Answer, streamed: bool) -> Result<Documents, NotReplayable> {
    if answer.choices.is_empty() {
        answer.only_choice()?;
    }
    let document = |choices: Vec<Value>, usage: Option<Value>| {
        object([
            ("id", Some(answer.id.clone().unwrap_or_default().into())),
            ("object", Some("text_completion".into())),
            ("created", Some(answer.created.into())),
            ("model", Some(answer.model.clone().unwrap_or_default().into())),
            ("service_tier", text(answer.service_tier.as_ref())),
            ("system_fingerprint", text(answer.system_fingerprint.as_ref())),
            ("choices", Some(choices.into())),
            ("usage", usage),
        ])
    };
    let choice = |index: usize, piece: &str, reason: Option<&String>, has_tokens: bool| {
        let has_tokens = has_tokens && index == 0;
        let ids = (has_tokens && !answer.token_ids.is_empty()).then(|| json!(answer.token_ids));
        object([
            ("text", Some(piece.into())),
            ("index", Some(index.into())),
            ("logprobs", Some(logprobs(answer).filter(|_| has_tokens).unwrap_or_default())),
            ("token_ids", ids),
            ("finish_reason", Some(text(reason).unwrap_or_default())),
        ])
    };
    let texts = answer.choices.iter().map(|choice| Ok((only_text(choice, false)?.0, choice.finish_reason.as_ref())));
    let texts = texts.collect::<Result<Vec<_>, _>>()?.into_iter().enumerate();
    if !streamed {
        let choices = texts.map(|(index, (text, reason))| choice(index, text, reason, true)).collect();
        return Ok(Documents::whole(&document(choices, usage(&answer.usage))));
    }
    let mut chunks = Vec::new();
    for (index, (text, reason)) in texts {
        chunks.extend(pieces(text).map(|piece| document(vec![choice(index, piece, None, false)], None)));
        chunks.push(document(vec![choice(index, "", reason, true)], None));
    }
    chunks.extend(usage(&answer.usage).map(|usage| document(Vec::new(), Some(usage))));
    Ok(Documents::events(&chunks, false).done())
}

pub(super) fn ollama_generate(answer: &Answer, streamed: bool) -> Result<Documents, NotReplayable> {
    let choice = answer.only_choice()?;
    let (written, thinking) = only_text(choice, true)?;
    let tokens = tokens(answer);
    let line = |thinking: Option<&str>, response: &str, done: bool| {
        object([
            ("model", Some(answer.model.clone().unwrap_or_default().into())),
            ("created_at", Some("1970-01-01T00:00:00Z".into())),
            ("response", Some(response.into())),
            ("thinking", thinking.map(Value::from)),
            ("done", Some(done.into())),
            ("done_reason", text(choice.finish_reason.as_ref().filter(|_| done))),
            ("prompt_eval_count", count(answer.usage.input.filter(|_| done))),
            ("eval_count", count(answer.usage.output.filter(|_| done))),
            ("logprobs", (done && !tokens.is_empty()).then(|| tokens.clone().into())),
        ])
    };
    if !streamed {
        return Ok(Documents::whole(&line(thinking, written, true)));
    }
    let mut lines: Vec<Value> =
        pieces(thinking.unwrap_or_default()).map(|piece| line(Some(piece), "", false)).collect();
    lines.extend(pieces(written).map(|piece| line(None, piece, false)));
    lines.push(line(None, "", true));
    Ok(Documents::lines(&lines))
}

pub(super) fn hugging_face(answer: &Answer, streamed: bool) -> Result<Documents, NotReplayable> {
    let choice = answer.only_choice()?;
    let (written, _) = only_text(choice, false)?;
    let number = answer.logprobs.len().max(answer.token_ids.len());
    let token = |at: usize, piece: &str| {
        object([
            ("id", answer.token_ids.get(at).map(|id| json!(id))),
            ("text", Some(piece.into())),
            ("logprob", answer.logprobs.get(at).map(|logprob| json!(logprob))),
            ("special", Some(false.into())),
        ])
    };
    let details = |tokens: Option<Vec<Value>>| {
        object([
            ("finish_reason", text(choice.finish_reason.as_ref())),
            ("generated_tokens", count(answer.usage.output)),
            ("input_length", count(answer.usage.input)),
            ("seed", Some(Value::Null)),
            ("tokens", tokens.map(Value::from)),
        ])
    };
    if !streamed {
        let tokens = (0..number).map(|at| token(at, "")).collect();
        return Ok(Documents::whole(&json!({ "generated_text": written, "details": details(Some(tokens)) })));
    }
    let pieces: Vec<&str> = pieces(written).collect();
    let last = number.max(pieces.len()).max(1) - 1;
    let event = |at: usize| {
        let is_last = at == last;
        json!({
            "index": at + 1,
            "token": token(at, pieces.get(at).copied().unwrap_or_default()),
            "generated_text": is_last.then_some(written),
            "details": is_last.then(|| details(None)),
        })
    };
    Ok(Documents::events(&(0..=last).map(event).collect::<Vec<_>>(), false))
}

pub(super) fn watsonx(answer: &Answer, streamed: bool) -> Result<Documents, NotReplayable> {
    let choice = answer.only_choice()?;
    let (written, _) = only_text(choice, false)?;
    if !answer.token_ids.is_empty() {
        return Err(NotReplayable::new("ids of tokens are recorded, and this API answers with none"));
    }
    let document = |piece: &str, is_last: bool| {
        let reason = text(choice.finish_reason.as_ref()).filter(|_| is_last);
        let tokens: Vec<Value> = answer.logprobs.iter().map(|logprob| json!({ "logprob": logprob })).collect();
        let result = object([
            ("generated_text", Some(piece.into())),
            ("generated_token_count", count(answer.usage.output.filter(|_| is_last))),
            ("input_token_count", count(answer.usage.input.filter(|_| is_last))),
            ("stop_reason", reason.or_else(|| (!is_last).then(|| "not_finished".into()))),
            ("generated_tokens", (is_last && !tokens.is_empty()).then(|| tokens.into())),
        ]);
        object([
            ("id", text(answer.id.as_ref())),
            ("model_id", Some(answer.model.clone().unwrap_or_default().into())),
            ("created_at", Some("1970-01-01T00:00:00Z".into())),
            ("results", Some(json!([result]))),
        ])
    };
    if !streamed {
        return Ok(Documents::whole(&document(written, true)));
    }
    let mut events: Vec<Value> = pieces(written).map(|piece| document(piece, false)).collect();
    events.push(document("", true));
    Ok(Documents::events(&events, false))
}
