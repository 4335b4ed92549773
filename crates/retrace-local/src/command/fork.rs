//! `retrace-local fork`

use std::time::{Duration, Instant};

use clap::Args;
use retrace_protocol::{Span, Status, Trace};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::receiver::{Source, plain};
use super::{Ending, diff, print_json, runs, show};
use crate::say;

#[derive(Args)]
pub(crate) struct ForkCommand {
    /// The id of the run.
    #[arg(value_name = "RUN")]
    run: String,

    /// The span to fork at: its id, or its number as `retrace-local show` prints it.
    #[arg(long, value_name = "SPAN")]
    span: String,

    /// Change something at the span, such as `messages.1.content=text`, `model=name`, `parameters.temperature=0.2`,
    /// `tool_arguments.city=Oslo` or `tool_output=text`, or an argument of the function, `input.question=text`. A value takes
    /// the place of a text as text; any other value is read as JSON if it is JSON. Can be given repeatedly. In Rust a tool takes
    /// another output if it is recorded with `replay`, `memo` or `memo_with`, and other arguments with `memo_with`; a change that
    /// the agent does not apply fails the fork.
    #[arg(long, value_name = "PATH=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,

    /// How calls before the span are treated: strict answers them from the recording and refuses one that differs, such as by a
    /// new input; lenient answers it all the same; live executes them again.
    #[arg(long, value_name = "MODE", default_value = "strict")]
    mode: String,

    /// Wait until the new run has ended, and compare it with the old one: status 0 when it is the same but for what the fork
    /// changed, 1 when it differs, 2 when there is none to compare, or when it failed and the old one did not.
    #[arg(long)]
    wait: bool,

    /// How long to wait, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, requires = "wait")]
    timeout: u64,

    #[command(flatten)]
    source: Source,

    /// Print the fork as the receiver answers it; with --wait together with the comparison.
    #[arg(long)]
    json: bool,
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((path, value)) if !path.is_empty() => Ok((path.to_owned(), value.to_owned())),
        _ => Err("expected PATH=VALUE, such as messages.1.content=hello".to_owned()),
    }
}

impl ForkCommand {
    pub(crate) fn run(self) -> Result<Ending, String> {
        if self.source.is_file() {
            return Err("a fork is executed by an agent that is connected to a running receiver: give its --url instead of --db".into());
        }
        let receiver = self.source.open()?;
        let run: Trace = runs::read(&receiver, &self.run)?;
        let span = find(&run, &self.span)?;
        let mut body = settings(span, &self.set)?;
        body.insert("trace_id".to_owned(), self.run.as_str().into());
        body.insert("span_id".to_owned(), span.id.as_text().into());
        body.insert("mode".to_owned(), self.mode.as_str().into());
        let created = State::of(&receiver.post("/api/v1/forks", &Value::Object(body))?)?;
        let mut answer = receiver.post(&format!("/api/v1/forks/{}/replay", created.id), &json!({}))?;
        let mut fork = State::of(&answer)?;
        if !self.wait {
            if self.json {
                return print_json(&answer);
            }
            say(&format!("fork {} is {}", fork.id, fork.status));
            return Ok(Ending::Same);
        }
        let (began, limit) = (Instant::now(), Duration::from_secs(self.timeout));
        let execution = fork.execution_id.clone();
        // Each request is a long poll.
        while fork.status == "running" {
            let State { id, version, .. } = &fork;
            if began.elapsed() > limit {
                let seconds = limit.as_secs();
                return Err(format!(
                    "the fork {id} still runs after {seconds} s: give a longer --timeout, or look at the agent"
                ));
            }
            answer = receiver.get(&format!("/api/v1/forks/{id}?after={version}&status=running"))?;
            fork = State::of(&answer)?;
            if fork.execution_id != execution {
                let id = &fork.id;
                return Err(format!(
                    "the fork {id} was started again meanwhile: its newer execution is the one to wait for"
                ));
            }
        }
        let State { id, status, result_trace_id, error, .. } = fork;
        let result = result_trace_id.filter(|_| status == "completed" || status == "failed");
        let Some(result) = result else {
            let reason = plain(error.as_deref().unwrap_or("it left no run"));
            return Err(format!("the fork {id} is {status}: {reason}"));
        };
        let compared: Value = receiver.get(&format!("/api/v1/forks/{id}/diff"))?;
        let ending = Ending::of(&compared);
        if self.json {
            print_json(&json!({"fork": answer, "diff": compared}))?;
        } else {
            say(&format!("fork {id} is {status}: run {}", plain(&result)));
            diff::print(&compared);
        }
        if status == "failed" && run.status != Some(Status::Failed) {
            let reason = error.map_or_else(|| "its run states no reason".to_owned(), |error| lines(&error));
            return Err(format!("the fork {id} failed: {reason}"));
        }
        Ok(ending)
    }
}

/// The members of a fork that the command uses.
#[derive(Deserialize)]
struct State {
    id: String,
    status: String,
    version: u64,
    execution_id: Option<String>,
    result_trace_id: Option<String>,
    error: Option<String>,
}

impl State {
    fn of(answer: &Value) -> Result<Self, String> {
        Self::deserialize(answer)
            .map_err(|error| format!("the receiver answered a fork that cannot be read ({error}): check its version"))
    }
}

/// A text of several lines, each of them without control characters.
fn lines(text: &str) -> String {
    text.lines().map(plain).collect::<Vec<_>>().join("\n")
}

fn find<'t>(run: &'t Trace, wanted: &str) -> Result<&'t Span, String> {
    let spans = run.spans.as_deref().unwrap_or_default();
    let by_number = || {
        let number = wanted.parse::<usize>().ok()?;
        show::ordered(spans).get(number).map(|step| step.span)
    };
    spans.iter().find(|span| span.id.as_text() == wanted).or_else(by_number).ok_or_else(|| {
        format!("the run has no span {}: take its id or its number from `retrace-local show`", plain(wanted))
    })
}

/// Converts the settings to members of a fork. Paths refer to the recorded values of the span.
fn settings(span: &Span, set: &[(String, String)]) -> Result<Map<String, Value>, String> {
    let recorded =
        |json: Option<&retrace_protocol::Json>| json.and_then(|json| json.to_value().ok()).unwrap_or_default();
    let input = recorded(span.input.as_ref());
    let (mut substitutions, mut modified_input) = (Map::new(), None);
    for (path, value) in set {
        let (name, rest) = path.split_once('.').map_or((path.as_str(), None), |(name, rest)| (name, Some(rest)));
        let target = match name {
            "input" => modified_input.get_or_insert_with(|| if rest.is_some() { json!({}) } else { Value::Null }),
            "model" => substitutions.entry(name).or_insert_with(|| span.model.clone().unwrap_or_default().into()),
            "messages" => substitutions.entry(name).or_insert_with(|| input.get(name).cloned().unwrap_or_default()),
            "parameters" => substitutions.entry(name).or_insert_with(|| json!({})),
            "tool_arguments" => substitutions.entry(name).or_insert_with(|| input.clone()),
            "tool_output" => substitutions.entry(name).or_insert_with(|| recorded(span.output.as_ref())),
            _ => {
                return Err(format!(
                    "`{}` cannot be set: a path begins with messages, model, parameters, tool_arguments, tool_output or input",
                    plain(name)
                ));
            }
        };
        let place = match rest {
            None => target,
            Some(rest) => at_path(target, rest).ok_or_else(|| {
                format!("the span has recorded nothing at `{}`: see `retrace-local show --json`", plain(path))
            })?,
        };
        let is_text = place.is_string();
        *place = match serde_json::from_str(value) {
            Ok(json) if !is_text => json,
            _ => value.as_str().into(),
        };
    }
    let mut members = Map::new();
    members.extend(modified_input.map(|input| ("modified_input".to_owned(), input)));
    if !substitutions.is_empty() {
        members.insert("substitutions".to_owned(), Value::Object(substitutions));
    }
    Ok(members)
}

/// Returns the value at a dotted path. The last member of an object may be new.
fn at_path<'v>(value: &'v mut Value, path: &str) -> Option<&'v mut Value> {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let place = match value {
        Value::Array(items) => items.get_mut(name.parse::<usize>().ok()?)?,
        Value::Object(members) => match rest {
            None => members.entry(name).or_insert(Value::Null),
            Some(_) => members.get_mut(name)?,
        },
        _ => return None,
    };
    match rest {
        Some(rest) => at_path(place, rest),
        None => Some(place),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Span {
        serde_json::from_value(json!({
            "id": "s", "trace_id": "t", "span_type": "llm_call", "name": "chat", "started_at": "2026-01-02T03:04:05Z",
            "model": "m", "input": {"messages": [{"role": "system", "content": "be"}, {"role": "user", "content": "1"}]},
            "output": {"city": "Oslo", "n": 1},
        }))
        .unwrap()
    }

    fn set(settings_of: &[&str]) -> Result<Value, String> {
        let set: Vec<_> = settings_of.iter().map(|text| setting(text).unwrap()).collect();
        settings(&call(), &set).map(Value::Object)
    }

    #[test]
    fn a_path_changes_what_was_recorded() {
        let changed =
            set(&["messages.1.content=2", "model=n", "parameters.temperature=0.5", "parameters.stop=end"]).unwrap();
        let messages = json!([{"role": "system", "content": "be"}, {"role": "user", "content": "2"}]);
        let parameters = json!({"temperature": 0.5, "stop": "end"});
        assert_eq!(changed, json!({"substitutions": {"messages": messages, "model": "n", "parameters": parameters}}));
        assert_eq!(set(&["tool_output.n=2"]).unwrap()["substitutions"]["tool_output"], json!({"city": "Oslo", "n": 2}));
        assert_eq!(set(&["tool_output={\"a\":1}"]).unwrap()["substitutions"]["tool_output"], json!({"a": 1}));
        assert_eq!(set(&["input.q=new", "input.n=2"]).unwrap(), json!({"modified_input": {"q": "new", "n": 2}}));
        assert_eq!(set(&["input=a=b"]).unwrap(), json!({"modified_input": "a=b"}));
        assert_eq!(set(&[]).unwrap(), json!({}));
    }

    #[test]
    fn a_path_that_leads_nowhere_is_an_error() {
        assert!(set(&["messages.7.content=x"]).unwrap_err().contains("messages.7.content"));
        assert!(set(&["prompt=x"]).unwrap_err().contains("`prompt` cannot be set"));
        assert!(setting("x").is_err() && setting("=x").is_err());
    }

    #[test]
    fn a_span_is_found_by_id_and_by_number() {
        let run = Trace { spans: Some(vec![call(), Span { id: "0".into(), ..call() }]), ..Trace::default() };
        assert_eq!(find(&run, "s").unwrap().id, "s".into());
        assert_eq!(find(&run, "0").unwrap().id, "0".into(), "an id goes before a number");
        assert_eq!(find(&run, "1").unwrap().id, "0".into());
        assert!(find(&run, "2").unwrap_err().contains("retrace-local show"));
    }
}
