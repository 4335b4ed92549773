//! One request of a receiver: checked, claimed, and run.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Poll;

use opentelemetry_retrace::__private::Warnings;
use opentelemetry_retrace::remote::{Claim, Commands, Lease};
use retrace_protocol::command::{Replay, Resume};
use retrace_protocol::metadata::{
    CASCADE_REPLAY, CASSETTE_SIZE, DETERMINISTIC_REPLAY, FORK_EXECUTION_ID, FORK_ID, FORK_OF, FORK_POINT, REPLAY_OF,
};
use serde_json::{Map, Value};

use super::ServeBuilder;
use super::arguments::{ArgumentError, Arguments, Ignored};
use super::cassette::{LiveFrom, Recording, any_request};
use super::function::{Execution, Resumable, unless_panicked};
use crate::ForkPoint;
use crate::carry::InContext;
use crate::recorded::rerun::Rerun;
use crate::replay::{ReplayBuilder, ReplayError};

/// Variable that a warning about a recording names.
const CASSETTE_VARIABLE: &str = "RETRACE_ALLOW_REMOTE_CASSETTE=true";

/// Runs a function from a fork point. A function that is not served is a run that failed, so that the fork ends with the
/// reason instead of with its lease.
pub(super) async fn resume(serve: &ServeBuilder, commands: &Commands, resume: Resume, warnings: &mut Warnings) {
    let function = serve.function(&resume.trace_name, warnings);
    let execution_id = resume.execution_id.as_ref().and_then(Value::as_str);
    let lease = match execution_id {
        None => None,
        Some(execution_id) => match commands.claim(&resume.fork_id, execution_id, serve.heartbeat).await {
            Claim::Held(lease) => Some(lease),
            Claim::Superseded => {
                warnings.note("serve", "a fork is not run: a newer replay of it supersedes this one");
                return;
            }
            _ => return,
        },
    };
    let metadata = vec![
        (FORK_ID, resume.fork_id.clone().into()),
        (FORK_OF, resume.trace_id.clone().into()),
        (FORK_POINT, resume.fork_point_span_id.clone().into()),
        (FORK_EXECUTION_ID, resume.execution_id.clone().unwrap_or_default()),
        (CASCADE_REPLAY, true.into()),
    ];
    let input = resume.modified_input.clone().filter(|input| !input.is_null());
    let rerun = Rerun::new(format!("Fork: {}", resume.trace_name), input, metadata);
    let prepared = function.and_then(|function| prepare_resume(serve, commands, function, resume, warnings));
    finish(&rerun, prepared, lease, warnings).await;
}

/// Runs a function with what it calls answered from a recording.
pub(super) async fn replay(serve: &ServeBuilder, commands: &Commands, replay: Replay, warnings: &mut Warnings) {
    let function = serve.function(&replay.trace_name, warnings);
    if !commands.allows_cassettes() {
        let text =
            format!("the receiver requests a replay from its recording, which is not allowed: set {CASSETTE_VARIABLE}");
        return warnings.warn("cassette", &text);
    }
    let size = replay.cassette.as_ref().and_then(Value::as_array).map_or(0, Vec::len);
    let metadata = vec![
        (REPLAY_OF, replay.trace_id.clone().into()),
        (DETERMINISTIC_REPLAY, true.into()),
        (CASSETTE_SIZE, size.into()),
    ];
    let rerun = Rerun::new(format!("Replay: {}", replay.trace_name), replay.input.clone(), metadata);
    let prepared = function.and_then(|function| prepare_replay(serve, function, replay, warnings));
    finish(&rerun, prepared, None, warnings).await;
}

/// An execution, and the recording that answers what it calls.
type Prepared = (Execution, Option<ReplayBuilder>);

fn prepare_resume(
    serve: &ServeBuilder,
    commands: &Commands,
    function: &Resumable,
    resume: Resume,
    warnings: &mut Warnings,
) -> Result<Prepared, String> {
    let Resume { modified_input, original_args, original_kwargs, cassette, fork_point_index, other, .. } = resume;
    let mut ignored = Vec::new();
    let arguments = Arguments::recorded(function.parameters, original_args, original_kwargs, &mut ignored);
    let arguments = arguments.and_then(|mut arguments| {
        arguments.modify(function.parameters, modified_input.as_ref(), &mut ignored)?;
        Ok(arguments)
    });
    warn_ignored(function, &ignored, warnings);
    let arguments = arguments.map_err(|error: ArgumentError| error.to_string())?;
    let substitutions = other.get("substitutions").and_then(Value::as_object).filter(|members| !members.is_empty());
    let cassette = cassette.filter(|cassette| !cassette.is_null());
    if cassette.is_some() && !commands.allows_cassettes() {
        let text = format!("the recording that the receiver sends is not used: set {CASSETTE_VARIABLE} to allow it");
        warnings.warn("cassette", &text);
        if substitutions.is_some() {
            return Err(format!(
                "the change at the fork point needs the recording of the run: set {CASSETTE_VARIABLE}"
            ));
        }
        return Ok((function.execution(arguments), None));
    }
    let Some(cassette) = cassette else {
        if other.get("cassetteOmitted") == Some(&Value::Bool(true)) {
            return Err("the recording of the run is too large for the receiver to send".to_owned());
        }
        if substitutions.is_some() {
            return Err(
                "the change at the fork point needs the recording of the run, and the receiver sends none".to_owned()
            );
        }
        return Ok((function.execution(arguments), None));
    };
    let recording = Recording::read(&cassette, function.name)?;
    let live_from = recording.live_from(&resume.fork_point_span_id, fork_point_index.as_ref())?;
    let changes_call = substitutions.is_some_and(|members| members.iter().any(changes));
    if changes_call && !matches!(live_from, LiveFrom::Entry { is_own: true, .. }) {
        return Err("the span at the fork point is no model call or tool that is executed, and cannot be changed: \
                    fork at another span"
            .to_owned());
    }
    let is_lenient = other.get("mode").and_then(Value::as_str) == Some("lenient") || live_from == LiveFrom::End;
    let mut builder = builder(serve, recording);
    if is_lenient {
        builder = builder.lenient();
    }
    if let LiveFrom::Entry { ordinal, .. } = live_from {
        builder = builder.from(ForkPoint::Ordinal(ordinal));
        // Without an index the receiver wants all spans (PROTOCOL.md section 19).
        if fork_point_index.as_ref().is_some_and(|index| !index.is_null()) {
            builder = builder.leave_out_recorded_spans();
        }
    }
    if let Some(substitutions) = substitutions {
        builder = substituted(builder, substitutions)?;
    }
    Ok((function.execution(arguments), Some(builder)))
}

fn prepare_replay(
    serve: &ServeBuilder,
    function: &Resumable,
    replay: Replay,
    warnings: &mut Warnings,
) -> Result<Prepared, String> {
    let Replay { input, cassette, mut other, .. } = replay;
    let mut ignored = Vec::new();
    let (args, kwargs) = match (other.remove("originalArgs"), other.remove("originalKwargs")) {
        // A receiver that states the recorded call states the names.
        (Some(args @ Value::Array(_)), Some(kwargs @ Value::Object(_))) => (Some(args), Some(kwargs)),
        _ => match input {
            None | Some(Value::Null) => (None, None),
            Some(args @ Value::Array(_)) => (Some(args), None),
            Some(argument) => (Some(Value::Array(vec![argument])), None),
        },
    };
    let arguments = Arguments::recorded(function.parameters, args, kwargs, &mut ignored);
    warn_ignored(function, &ignored, warnings);
    let arguments = arguments.map_err(|error| error.to_string())?;
    let cassette =
        cassette.filter(|cassette| !cassette.is_null()).ok_or("the receiver sends no recording to replay")?;
    let recording = Recording::read(&cassette, function.name)?;
    Ok((function.execution(arguments), Some(builder(serve, recording))))
}

fn builder(serve: &ServeBuilder, recording: Recording) -> ReplayBuilder {
    let mut builder = crate::replay("").cassette(recording.cassette).one_run();
    if recording.matches_in_order {
        builder = builder.tolerance(any_request());
    }
    serve.allowed.iter().fold(builder, ReplayBuilder::allow_external)
}

/// Returns true if a member states a change: a result of a tool may be null, elsewhere null states nothing.
fn changes((name, value): (&String, &Value)) -> bool {
    name == "tool_output" || !value.is_null()
}

/// Changes the call at the fork point.
fn substituted(builder: ReplayBuilder, substitutions: &Map<String, Value>) -> Result<ReplayBuilder, String> {
    substitutions.iter().filter(|member| changes(*member)).try_fold(builder, |builder, (name, value)| {
        Ok(match (name.as_str(), value) {
            ("tool_output", output) => builder.tool_output(output),
            ("tool_arguments", arguments) => builder.tool_arguments(arguments),
            ("messages", messages @ Value::Array(_)) => builder.messages(messages),
            ("model", Value::String(model)) => builder.model(model.as_str()),
            ("parameters", Value::Object(parameters)) => {
                parameters.iter().fold(builder, |builder, (name, value)| builder.parameter(name.as_str(), value))
            }
            (name, _) => {
                return Err(format!(
                    "the change {} at the fork point is not understood",
                    super::arguments::shown(name)
                ));
            }
        })
    })
}

fn warn_ignored(function: &Resumable, ignored: &[Ignored], warnings: &mut Warnings) {
    for ignored in ignored {
        warnings.warn("arguments", &format!("{}: {ignored}", function.name));
    }
}

/// Runs what is prepared, and records why nothing could be run otherwise.
async fn finish(rerun: &Rerun, prepared: Result<Prepared, String>, lease: Option<Lease>, warnings: &mut Warnings) {
    let problem = match prepared {
        Err(problem) => Some(problem),
        Ok((execution, recording)) => {
            let is_blocking = execution.is_blocking();
            let run = InContext::new(in_recording(execution, recording), rerun.context());
            match superseded_or(run, lease, is_blocking, rerun).await {
                Ended::Run(result) => result.err(),
                Ended::Superseded => {
                    warnings.note("serve", "a fork is cancelled: a newer replay of it supersedes this one");
                    None
                }
                Ended::Panicked => {
                    warnings.note("serve", "a function that was run again panicked");
                    Some("the function panicked".to_owned())
                }
            }
        }
    };
    if let Some(problem) = problem.filter(|_| !rerun.has_begun()) {
        record_failure(rerun, &problem);
    }
}

/// Records a run that failed before the function was called.
fn record_failure(rerun: &Rerun, message: &str) {
    let _current = rerun.context().attach();
    crate::run(rerun.name().to_owned()).fail(message).start().end();
}

async fn in_recording(execution: Execution, recording: Option<ReplayBuilder>) -> Result<(), String> {
    let returned = match recording {
        None => execution.run().await,
        Some(builder) => match builder.run(execution.run()).await {
            Ok(replayed) => replayed.value,
            // The run states it.
            Err(ReplayError::Refused { refused, .. }) => return Err(refused.to_string()),
            Err(error) => return Err(error.to_string()),
        },
    };
    returned.map_err(|error| error.to_string())
}

enum Ended {
    Run(Result<(), String>),
    Superseded,
    Panicked,
}

/// Polls a run until it ends or its lease is lost. The future of an `async` function is dropped then.
async fn superseded_or(
    run: impl Future<Output = Result<(), String>> + Send,
    lease: Option<Lease>,
    is_blocking: bool,
    rerun: &Rerun,
) -> Ended {
    let mut run = Box::pin(run);
    {
        let mut ends = pin!(unless_panicked(run.as_mut()));
        let mut lost = pin!(async {
            match lease {
                Some(mut lease) => lease.superseded().await,
                None => std::future::pending().await,
            }
        });
        let ended = std::future::poll_fn(|task| match ends.as_mut().poll(task) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending => lost.as_mut().poll(task).map(|()| None),
        });
        match ended.await {
            Some(Some(result)) => return Ended::Run(result),
            Some(None) => return Ended::Panicked,
            None => {}
        }
    }
    if is_blocking {
        rerun.cancel();
        let _: Option<Result<(), String>> = unless_panicked(Pin::as_mut(&mut run)).await;
    }
    Ended::Superseded
}
