//! `InvokeModel` of Amazon Bedrock, whose answers have the format of the model's own API:
//! <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html>.

use serde_json::{Value, json};

use super::text::{count, object, pieces, text};
use super::text_generation::only_text;
use super::{Answer, Documents, NotReplayable, anthropic, bedrock, cohere_v1, openai_chat};

/// Families of models by a part of their ids, in the order in which they are looked for.
const FAMILIES: [(&str, Family); 12] = [
    ("claude", Family::Claude),
    ("nova", Family::Nova),
    ("llama", Family::Llama),
    ("titan", Family::Titan),
    ("pixtral", Family::OpenAi),
    ("mistral-large-2407", Family::OpenAi),
    ("mistral", Family::Mistral),
    ("mixtral", Family::Mistral),
    ("command-r", Family::Cohere),
    ("gpt-oss", Family::OpenAi),
    ("deepseek.v3", Family::OpenAi),
    ("qwen", Family::OpenAi),
];

#[derive(Clone, Copy)]
enum Family {
    Claude,
    Nova,
    Llama,
    Titan,
    Mistral,
    Cohere,
    OpenAi,
}

/// Writes an answer in the format of the family that its model belongs to.
pub(super) fn render(answer: &Answer, streamed: bool) -> Result<Documents, NotReplayable> {
    answer.only_choice()?;
    let model = answer.model.as_deref().unwrap_or_default().to_ascii_lowercase();
    let Some((_, family)) = FAMILIES.iter().find(|(part, _)| model.contains(part)) else {
        return Err(NotReplayable::new(format!("the format of the model `{model}` on Bedrock is not known")));
    };
    let documents = match family {
        Family::Claude => anthropic::render(answer, streamed)?,
        Family::Cohere => cohere_v1::render(answer, streamed)?,
        Family::OpenAi => openai_chat::render(answer, streamed)?,
        Family::Nova if streamed => return nova(answer),
        Family::Nova => bedrock::render(answer, false)?,
        Family::Llama | Family::Titan | Family::Mistral => generation(*family, answer, streamed)?,
    };
    match streamed {
        true => framed(documents.documents()),
        false => Ok(documents),
    }
}

/// Formats that hold a text.
fn generation(family: Family, answer: &Answer, streamed: bool) -> Result<Documents, NotReplayable> {
    let choice = answer.only_choice()?;
    let (written, _) = only_text(choice, false)?;
    let usage = &answer.usage;
    if usage.cache_read.is_some() || usage.cache_creation.is_some() || usage.reasoning.is_some() {
        return Err(NotReplayable::new("tokens of caches or of reasoning are recorded, and this format counts none"));
    }
    let document = |piece: &str, is_last: bool| {
        let reason = text(choice.finish_reason.as_ref().filter(|_| is_last)).unwrap_or_default();
        let (input, output) = (count(usage.input.filter(|_| is_last)), count(usage.output.filter(|_| is_last)));
        let metrics = || object([("inputTokenCount", input.clone()), ("outputTokenCount", output.clone())]);
        match family {
            Family::Llama => object([
                ("generation", Some(piece.into())),
                ("prompt_token_count", input),
                ("generation_token_count", output),
                ("stop_reason", Some(reason)),
            ]),
            Family::Titan if streamed => object([
                ("outputText", Some(piece.into())),
                ("index", Some(0.into())),
                ("totalOutputTextTokenCount", output),
                ("completionReason", Some(reason)),
                ("inputTextTokenCount", input),
            ]),
            Family::Titan => {
                let result = object([
                    ("tokenCount", output),
                    ("outputText", Some(piece.into())),
                    ("completionReason", Some(reason)),
                ]);
                object([("inputTextTokenCount", input), ("results", Some(json!([result])))])
            }
            // Counts stand in headers, which a rebuilt response has not, and at the end of a stream.
            _ => json!({
                "outputs": [{ "text": piece, "stop_reason": reason }],
                "amazon-bedrock-invocationMetrics": metrics(),
            }),
        }
    };
    if !streamed {
        return Ok(Documents::whole(&document(written, true)));
    }
    let mut documents: Vec<Value> = pieces(written).map(|piece| document(piece, false)).collect();
    documents.push(document("", true));
    Ok(Documents::lines(&documents))
}

#[cfg(not(feature = "bedrock"))]
fn framed(_: Vec<Value>) -> Result<Documents, NotReplayable> {
    Err(NotReplayable::new("streams of Bedrock are rebuilt with the feature `bedrock` of `retrace-replay` only"))
}

/// Puts each document into a frame.
#[cfg(feature = "bedrock")]
#[expect(clippy::unnecessary_wraps, reason = "without the feature it fails")]
fn framed(documents: Vec<Value>) -> Result<Documents, NotReplayable> {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    let frame =
        |document: Value| super::frames::event("chunk", &json!({ "bytes": STANDARD.encode(document.to_string()) }));
    let chunks = documents.into_iter().map(frame).collect();
    Ok(Documents { content_type: "application/vnd.amazon.eventstream", chunks })
}

/// Nova streams the events of Converse.
fn nova(answer: &Answer) -> Result<Documents, NotReplayable> {
    let events = bedrock::events(answer)?;
    framed(events.into_iter().map(|(kind, event)| json!({ kind: event })).collect())
}
