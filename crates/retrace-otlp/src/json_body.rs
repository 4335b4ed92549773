//! JSON bodies of requests.

use std::borrow::Cow;

use retrace_protocol::json::{non_finite_to_null, without_lone_surrogates};
use retrace_protocol::read::Refusal;
use serde::de::DeserializeOwned;

/// Longest reason of a refusal, in characters: the official client logs the first 300 of a response (PROTOCOL.md
/// section 9.2), and a reason may quote a value of any length.
const REASON_CHARS: usize = 300;

/// Parses a JSON object, including two deviations: the official client writes the bare words `NaN` and `Infinity`
/// (PROTOCOL.md section 3), and unpaired surrogates. Neither is a reason to lose a run, so if a body is otherwise
/// invalid, the words become `null` and the surrogates U+FFFD.
///
/// A valid body costs one parse; another one is parsed again, at most three times.
///
/// # Errors
/// Returns a refusal if the text is not a JSON object of this type; the reason names the field.
pub fn json_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let text = std::str::from_utf8(body).map_err(|error| whole(format!("the body is not UTF-8: {error}")))?;
    // Serde also deserializes a struct from an array, field by field; this protocol requires an object.
    if !text.trim_start().starts_with('{') {
        return Err(whole("the body is not a JSON object".into()));
    }
    json_text(text)
}

/// Parses JSON with the same deviations as [`json_body`].
///
/// # Errors
/// Returns a refusal if the text is no JSON of this type.
pub(crate) fn json_text<T: DeserializeOwned>(text: &str) -> Result<T, Refusal> {
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    let finite = non_finite_to_null(text);
    if let Cow::Owned(text) = &finite
        && let Ok(value) = serde_json::from_str(text)
    {
        return Ok(value);
    }
    let text = without_lone_surrogates(&finite);
    let mut reader = serde_json::Deserializer::from_str(&text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(refusal)?;
    reader.end().map_err(|error| whole(error.to_string()))?;
    Ok(value)
}

/// Returns a refusal of the body as a whole.
fn whole(reason: String) -> Refusal {
    Refusal { error: shortened(reason), field: None }
}

/// Converts a parse error to a refusal with the reason and the field.
fn refusal(error: serde_path_to_error::Error<serde_json::Error>) -> Refusal {
    // `.` is the body itself, and `?` a part of a value without a path.
    let path = error.path().to_string();
    let path = Some(path.trim_end_matches('?').trim_end_matches('.').to_owned()).filter(|path| !path.is_empty());
    let error = error.into_inner();
    if !error.is_data() {
        return Refusal { error: shortened(format!("the body is not JSON: {error}")), field: path };
    }
    let reason = error.to_string();
    // The position in the text is less useful than the path, and is wrong if words were replaced.
    let reason = reason.rsplit_once(" at line ").map_or(reason.as_str(), |(reason, _)| reason);
    let missing = reason.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
    let field = match (path, missing) {
        (Some(path), Some(missing)) => Some(format!("{path}.{missing}")),
        (path, missing) => path.or_else(|| missing.map(str::to_owned)),
    };
    Refusal { error: shortened(reason.to_owned()), field }
}

fn shortened(mut reason: String) -> String {
    if let Some((at, _)) = reason.char_indices().nth(REASON_CHARS) {
        reason.truncate(at);
        reason.push('…');
    }
    reason
}
