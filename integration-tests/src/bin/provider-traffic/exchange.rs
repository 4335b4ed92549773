//! The recordings.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// One request with its response.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The file, and which exchange in it.
    pub name: String,
    /// The folder: the provider.
    pub provider: String,
    pub url: String,
    pub request_headers: Vec<(String, String)>,
    pub request: Vec<u8>,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub response: Vec<u8>,
    pub streamed: bool,
    pub truth: Value,
}

/// How a response is cut into pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Split {
    Whole,
    /// After each event or line.
    Lines,
    Random,
    Bytes,
}

impl Split {
    pub(crate) const ALL: [Self; 4] = [Self::Whole, Self::Lines, Self::Random, Self::Bytes];

    pub(crate) fn pieces(self, bytes: &[u8], seed: u64) -> Vec<Vec<u8>> {
        let mut random = fastrand::Rng::with_seed(seed ^ bytes.len() as u64);
        let mut rest = bytes;
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let length = match self {
                Self::Whole => rest.len(),
                Self::Lines => rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1),
                Self::Random => random.usize(1..=rest.len().min(200)),
                Self::Bytes => 1,
            };
            let (piece, after) = rest.split_at(length);
            pieces.push(piece.to_vec());
            rest = after;
        }
        pieces
    }
}

/// All of a folder, in order.
pub(crate) fn read(folder: &Path) -> Result<Vec<Exchange>, Box<dyn Error>> {
    let truth: BTreeMap<String, Vec<Value>> = serde_json::from_slice(&fs::read(folder.join("truth.json"))?)?;
    let mut exchanges = Vec::new();
    for (file, facts) in truth {
        let recorded: Value = serde_json::from_slice(&fs::read(folder.join(&file))?)?;
        let list = match recorded.get("exchanges").and_then(Value::as_array) {
            Some(list) => list.clone(),
            None => vec![recorded],
        };
        if list.len() != facts.len() {
            return Err(format!("{file}: {} exchanges, {} facts", list.len(), facts.len()).into());
        }
        for (place, (exchange, truth)) in list.iter().zip(facts).enumerate() {
            exchanges.push(one(format!("{file}#{place}"), exchange, truth)?);
        }
    }
    Ok(exchanges)
}

fn one(name: String, recorded: &Value, truth: Value) -> Result<Exchange, Box<dyn Error>> {
    let (request, response) = (&recorded["request"], &recorded["response"]);
    let headers = |of: &Value| -> Vec<(String, String)> {
        let list = of["headers"].as_object().into_iter().flatten();
        list.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
    };
    let stream = response.get("sse").or(response.get("ndjson")).and_then(Value::as_str);
    let frames = response.get("eventstream_base64").and_then(Value::as_str);
    let body = match (stream, frames) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (None, Some(frames)) => STANDARD.decode(frames)?,
        (None, None) => serde_json::to_vec(&response["body"])?,
    };
    Ok(Exchange {
        provider: name.split('/').next().unwrap_or_default().to_owned(),
        url: request["url"].as_str().ok_or("a request without a URL")?.to_owned(),
        request_headers: headers(request),
        request: serde_json::to_vec(&request["body"])?,
        status: u16::try_from(response["status"].as_u64().ok_or("a response without a status")?)?,
        headers: headers(response),
        response: body,
        streamed: stream.or(frames).is_some(),
        truth,
        name,
    })
}
