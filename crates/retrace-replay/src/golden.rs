//! The golden file of the official SDK, version 1 (PROTOCOL.md section 20), read and written.

use std::io::{Read, Write};

use retrace_protocol::golden::{GoldenCassette, GoldenStep, Tolerance as GoldenTolerance};
use retrace_protocol::{Id, Json, SpanType, Status, Timestamp};
use serde_json::ser::PrettyFormatter;

use crate::cassette::{Cassette, CassetteError, CassetteProblem, Entry, Header, Origin, Outcome};
use crate::tolerance::{Rule, Tolerance};

/// Version of the file that this reads and writes.
pub const GOLDEN_VERSION: u32 = 1;
/// Most bytes of a golden file.
pub const MAX_GOLDEN_BYTES: u64 = 256 * 1024 * 1024;

/// Reads a golden file. `file` names it in errors.
///
/// # Errors
/// The reader's; a file that is not a golden file or has a newer version.
pub fn read(file: &str, reader: impl Read) -> Result<GoldenCassette, CassetteError> {
    let fail = |line, problem| CassetteError::new(file, line, problem);
    let mut text = Vec::new();
    let read = reader.take(MAX_GOLDEN_BYTES + 1).read_to_end(&mut text);
    let read = read.map_err(|error| CassetteError::io(file, None, error))?;
    if read as u64 > MAX_GOLDEN_BYTES {
        return Err(fail(None, CassetteProblem::TooLong(MAX_GOLDEN_BYTES)));
    }
    #[derive(serde::Deserialize)]
    struct Version {
        version: u32,
    }
    let on_line = |error: &serde_json::Error| match error.is_eof() {
        true => fail(Some(error.line() as u64), CassetteProblem::Cut),
        false => fail(Some(error.line() as u64), CassetteProblem::Malformed(error.to_string())),
    };
    let Version { version } = serde_json::from_slice(&text).map_err(|error| on_line(&error))?;
    if version > GOLDEN_VERSION {
        return Err(fail(None, CassetteProblem::NewerVersion(version.to_string())));
    }
    serde_json::from_slice(&text).map_err(|error| on_line(&error))
}

/// Writes a golden file as the official SDK does: indented by two spaces.
///
/// # Errors
/// The writer's.
pub fn write(file: &str, golden: &GoldenCassette, mut writer: impl Write) -> Result<(), CassetteError> {
    use serde::Serialize as _;

    let mut serializer = serde_json::Serializer::with_formatter(&mut writer, PrettyFormatter::with_indent(b"  "));
    golden.serialize(&mut serializer).map_err(|error| CassetteError::io(file, None, error.into()))?;
    writer.write_all(b"\n").and_then(|()| writer.flush()).map_err(|error| CassetteError::io(file, None, error))
}

/// Makes a golden file of a cassette, whose entries were redacted when they were written. Reads every entry once.
///
/// The input of a step is its recorded request; the output of a model call is the body of its response, as JSON or text.
///
/// # Errors
/// Those of [`Cassette::entry`].
pub fn from_cassette(cassette: &mut Cassette, status: Status) -> Result<GoldenCassette, CassetteError> {
    let header = cassette.header().clone();
    let mut steps = Vec::with_capacity(cassette.index().len());
    for at in 0..cassette.index().len() {
        let Some(entry) = cassette.entry(at)? else { continue };
        let (output, error) = match entry.outcome {
            Outcome::Value(value) => (Some(value), None),
            Outcome::Error(error) => (None, Some(error)),
            Outcome::NotReplayable(_) | Outcome::Mark => (None, None),
            Outcome::Response(response) => {
                let body = String::from_utf8_lossy(&response.body()).into_owned();
                let output = Json::parse_strict(&body).unwrap_or_else(|| Json::text(&body));
                match response.status >= 400 {
                    true => (None, Some(format!("HTTP {}: {body}", response.status))),
                    false => (Some(output), None),
                }
            }
        };
        let input = Some(entry.request).filter(|request| !request.is_null());
        let index = steps.len() as u64;
        steps.push(GoldenStep {
            index,
            span_type: entry.span_type,
            name: entry.name,
            model: entry.model,
            input,
            output,
            error,
        });
    }
    let name = if header.name.is_empty() { "trace".to_owned() } else { header.name };
    Ok(GoldenCassette {
        version: GOLDEN_VERSION,
        name,
        trace_id: Id::from(header.run_id.unwrap_or_default()),
        recorded_at: Timestamp::from(header.recorded_at.as_deref().unwrap_or_default()),
        status,
        steps,
        tolerance: None,
    })
}

/// Makes cassette entries of a golden file: the results of tool steps as values, and model calls as *not replayable*, since the
/// file holds no response of the provider.
#[must_use]
pub fn entries(golden: &GoldenCassette) -> (Header, Vec<Entry>) {
    let mut header = Header::new(golden.name.clone());
    header.run_id = Some(golden.trace_id.to_string()).filter(|id| !id.is_empty());
    header.recorded_at = Some(golden.recorded_at.to_string());
    header.origin = Origin::Run;
    let entries = golden.steps.iter().map(|step| {
        let mut entry = Entry::new(step.span_type, step.name.clone(), step.input.clone().unwrap_or_else(Json::null));
        entry.ordinal = step.index;
        entry.model.clone_from(&step.model);
        entry.outcome = match (&step.error, &step.output, step.span_type) {
            (Some(error), _, _) => Outcome::Error(error.clone()),
            (None, _, SpanType::LlmCall) => {
                Outcome::NotReplayable("a golden file holds no response of the provider".to_owned())
            }
            (None, Some(output), _) => Outcome::Value(output.clone()),
            (None, None, SpanType::ForkPoint) => Outcome::Mark,
            (None, None, _) => Outcome::Value(Json::null()),
        };
        entry
    });
    (header, entries.collect())
}

/// Reads the tolerance of a golden file: `exact` is [`Rule::Exact`], any other name [`Rule::Shape`], the nearest rule that needs no
/// model to judge.
#[must_use]
pub fn tolerance(stated: &GoldenTolerance) -> Tolerance {
    let rule = |name: &str| if name == "exact" { Rule::Exact } else { Rule::Shape };
    let default = stated.default.as_deref().map(rule).unwrap_or_default();
    let by_name = stated.steps.iter().map(|(name, stated)| (name.clone(), rule(stated)));
    by_name.fold(Tolerance::default().with_default(default), |tolerance, (name, rule)| tolerance.with(name, rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{
  "version": 1,
  "name": "research",
  "trace_id": "f37ab6fa-1071-4019-a3d7-9b5e3d1b19ae",
  "recorded_at": "2026-11-22T11:08:08.194749Z",
  "status": "completed",
  "steps": [
    {
      "index": 0,
      "span_type": "tool_call",
      "name": "lookup",
      "model": null,
      "input": {"b":1,"a":"x"},
      "output": 1,
      "error": null
    },
    {
      "index": 1,
      "span_type": "llm_call",
      "name": "openai.chat.completions.create",
      "model": "gpt-4o",
      "input": {"messages":[{"role":"user","content":"hi"}]},
      "output": "Hello!",
      "error": null
    }
  ],
  "tolerance": {
    "default": "exact",
    "steps": {
      "lookup": "semantic"
    }
  }
}
"#;

    #[test]
    fn a_file_is_read_and_written() {
        let golden = read("golden.json", FILE.as_bytes()).unwrap();
        let mut written = Vec::new();
        write("golden.json", &golden, &mut written).unwrap();
        assert_eq!(read("golden.json", written.as_slice()).unwrap(), golden);
        let ours: serde_json::Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(ours, serde_json::from_str::<serde_json::Value>(FILE).unwrap());
        assert!(written.starts_with(b"{\n  \"version\": 1,\n  \"name\": \"research\""));
        let (header, entries) = entries(&golden);
        assert_eq!(header.run_id.as_deref(), Some("f37ab6fa-1071-4019-a3d7-9b5e3d1b19ae"));
        assert_eq!(entries[0].outcome, Outcome::Value(Json::parse_strict("1").unwrap()));
        assert!(matches!(entries[1].outcome, Outcome::NotReplayable(_)));
        assert!(!tolerance(golden.tolerance.as_ref().unwrap()).is_exact());
    }

    #[test]
    fn bad_files_are_refused_with_their_line() {
        let cut = read("golden.json", &FILE.as_bytes()[..200]).unwrap_err();
        assert!(matches!(cut.problem(), CassetteProblem::Cut), "{cut}");
        let newer = read("golden.json", FILE.replace("\"version\": 1", "\"version\": 2").as_bytes()).unwrap_err();
        assert!(matches!(newer.problem(), CassetteProblem::NewerVersion(_)), "{newer}");
        let wrong = read("golden.json", FILE.replace("\"index\": 1", "\"index\": \"x\"").as_bytes()).unwrap_err();
        assert_eq!(wrong.line(), Some(18), "{wrong}");
    }
}
