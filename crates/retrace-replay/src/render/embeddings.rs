//! Embeddings, whose vectors most runs do not hold.

use serde_json::{Value, json};

use super::text::{count, object, text};
use super::{Answer, Api, Documents, NotReplayable};

/// Vectors in the format of the family that the model belongs to:
/// <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html>.
fn of_bedrock(answer: &Answer) -> Result<Value, NotReplayable> {
    let model = answer.model.as_deref().unwrap_or_default();
    let (vectors, input) = (&answer.embeddings, count(answer.usage.input));
    Ok(match vectors.as_slice() {
        [vector] if model.contains("titan") => {
            object([("embedding", Some(json!(vector))), ("inputTextTokenCount", input)])
        }
        _ if model.contains("nova") => {
            let embedding = |vector| json!({ "embeddingType": "TEXT", "embedding": vector });
            let list = vectors.iter().map(embedding).collect::<Vec<_>>();
            object([("embeddings", Some(list.into())), ("inputTextTokenCount", input)])
        }
        _ if model.contains("cohere") => object([
            ("id", text(answer.id.as_ref())),
            ("embeddings", Some(json!(vectors))),
            ("response_type", Some("embeddings_floats".into())),
        ]),
        _ => {
            return Err(NotReplayable::new(format!(
                "the format of vectors of the model `{model}` on Bedrock is not known"
            )));
        }
    })
}

pub(super) fn render(api: Api, answer: &Answer) -> Result<Documents, NotReplayable> {
    let vectors = &answer.embeddings;
    let [first, rest @ ..] = vectors.as_slice() else {
        return Err(NotReplayable::new("the vectors are not recorded: a run holds their length and what was embedded"));
    };
    let input = count(answer.usage.input);
    let values = |vector: &Vec<f64>| json!({ "values": vector });
    Ok(Documents::whole(&match api {
        Api::GeminiEmbedContent if rest.is_empty() => json!({ "embedding": values(first) }),
        Api::GeminiEmbedContent => json!({ "embeddings": vectors.iter().map(values).collect::<Vec<_>>() }),
        Api::VertexPredict => {
            // The counts of all texts stand with the first.
            let predictions = vectors.iter().enumerate().map(|(at, vector)| {
                let counted = count(if at == 0 { answer.usage.input } else { Some(0) });
                let statistics = object([("truncated", Some(false.into())), ("token_count", counted)]);
                json!({ "embeddings": { "values": vector, "statistics": statistics } })
            });
            json!({ "predictions": predictions.collect::<Vec<_>>() })
        }
        Api::OllamaEmbed => object([
            ("model", text(answer.model.as_ref())),
            ("embeddings", Some(json!(vectors))),
            ("prompt_eval_count", input),
        ]),
        Api::BedrockInvoke => of_bedrock(answer)?,
        Api::CohereEmbed => object([
            ("id", text(answer.id.as_ref())),
            ("embeddings", Some(json!({ "float": vectors }))),
            ("meta", input.map(|input| json!({ "billed_units": { "input_tokens": input } }))),
        ]),
        _ => {
            let data = vectors.iter().enumerate();
            let data =
                data.map(|(index, vector)| json!({ "object": "embedding", "index": index, "embedding": vector }));
            let usage = input.map(|input| json!({ "prompt_tokens": input, "total_tokens": input }));
            object([
                ("object", Some("list".into())),
                ("data", Some(data.collect::<Vec<Value>>().into())),
                ("model", Some(answer.model.clone().unwrap_or_default().into())),
                ("usage", usage),
            ])
        }
    }))
}
