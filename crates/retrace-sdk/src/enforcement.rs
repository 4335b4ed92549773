//! Enforcement by the receiver: a check after each recorded span of a run, whose verdict the next model call waits for.

use std::ffi::OsString;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::{Duration, Instant};

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_instrumentation_genai::interceptor::Ready;
use opentelemetry_retrace::__private::{Method, Requests, StatusCode, warn_of_setting};
use retrace_protocol::enforcement::{EnforcementCheck, EnforcementHold, EnforcementVerdict};
use retrace_protocol::{Id, endpoint};
use retrace_replay::{EnforcementError, Used, Verdict};

/// Most time of one request.
const REQUEST: Duration = Duration::from_secs(5);
/// Pause before the first question about a hold, and the longest one. Each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Name of the log lines about failed checks.
const LOG: &str = "enforcement";

/// Variable that switches the check on.
const ENABLED: &str = "RETRACE_SERVER_ENFORCEMENT";
/// Variable of the time that a held call waits.
const HOLD_WAIT: &str = "RETRACE_ENFORCEMENT_HOLD_WAIT_SECONDS";
/// Longest value that a warning shows, in bytes. A longer one is more likely a key, or text, than a setting.
const SHOWN_BYTES: usize = 32;

/// Settings of `RETRACE_SERVER_ENFORCEMENT` and `RETRACE_ENFORCEMENT_HOLD_WAIT_SECONDS`; what is set in code comes first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ServerEnforcement {
    pub(crate) is_enabled: Option<bool>,
    pub(crate) hold_wait: Option<Duration>,
}

impl ServerEnforcement {
    /// Returns the check, if it is switched on. A variable that cannot be read is a warning.
    pub(crate) fn resolve(self, requests: Option<Requests>) -> Option<ServerCheck> {
        let (hold_wait, warnings) = self.resolve_by(&|name| std::env::var_os(name));
        warnings.into_iter().for_each(warn_of_setting);
        let hold_wait = hold_wait?;
        if requests.is_none() {
            warn_of_setting("enforcement by the receiver has no effect: recording is switched off".to_owned());
        }
        Some(ServerCheck { requests: requests?, hold_wait })
    }

    /// Returns the time that a held call waits, or `None` if the check is switched off, and warnings. Values that cannot be
    /// read protect: the check is on then, and no held call waits.
    fn resolve_by(self, read: &dyn Fn(&str) -> Option<OsString>) -> (Option<Duration>, Vec<String>) {
        const ON: [&str; 6] = ["true", "1", "yes", "on", "y", "enabled"];
        const OFF: [&str; 6] = ["false", "0", "no", "off", "n", "disabled"];
        let mut warnings = Vec::new();
        let is_enabled = self.is_enabled.unwrap_or_else(|| match setting(read, ENABLED) {
            None => false,
            Some(Ok(text)) if OFF.iter().any(|off| text.eq_ignore_ascii_case(off)) => false,
            Some(Ok(text)) if ON.iter().any(|on| text.eq_ignore_ascii_case(on)) => true,
            Some(value) => {
                let problem = problem(&value);
                warnings.push(format!("{ENABLED}{problem} is neither on nor off, and counts as on: use true or false"));
                true
            }
        });
        if !is_enabled {
            return (None, warnings);
        }
        let hold_wait = self.hold_wait.unwrap_or_else(|| {
            let value = setting(read, HOLD_WAIT);
            match value.as_ref().map(|value| value.as_ref().ok().and_then(|text| text.parse::<u32>().ok())) {
                None => Duration::ZERO,
                Some(Some(seconds)) => Duration::from_secs(seconds.into()),
                Some(None) => {
                    let problem = value.as_ref().map_or_else(String::new, problem);
                    warnings
                        .push(format!("{HOLD_WAIT}{problem} is not a whole number: held calls are refused at once"));
                    Duration::ZERO
                }
            }
        });
        (Some(hold_wait), warnings)
    }
}

/// Returns the trimmed text of a variable, or an error if it is not valid UTF-8. An empty variable is unset.
fn setting(read: &dyn Fn(&str) -> Option<OsString>, name: &str) -> Option<Result<String, OsString>> {
    match read(name)?.into_string().map(|text| text.trim().to_owned()) {
        Ok(text) if text.is_empty() => None,
        value => Some(value),
    }
}

/// Formats a value for a warning.
fn problem(value: &Result<String, OsString>) -> String {
    match value {
        Ok(text) if text.len() <= SHOWN_BYTES => format!("={text:?}"),
        Ok(_) => "=\"…\"".to_owned(),
        Err(_) => ", which is not valid UTF-8,".to_owned(),
    }
}

/// Checks of spans by a receiver.
#[derive(Clone, Debug)]
pub(crate) struct ServerCheck {
    requests: Requests,
    /// How long a held call waits for a decision.
    hold_wait: Duration,
}

/// A span that is checked.
#[derive(Clone, Debug)]
pub(crate) struct CheckedSpan {
    pub(crate) trace_id: TraceId,
    /// Invalid where the span is not recorded.
    pub(crate) span_id: SpanId,
    /// Name and hash of the arguments of a tool.
    pub(crate) tool: Option<(String, Option<String>)>,
}

/// Checks of one run.
#[derive(Debug)]
pub(crate) struct RunChecks {
    server: ServerCheck,
    /// Process in which the run began. In the child of a fork nothing answers the requests of the parent.
    process: u32,
    state: Mutex<CheckState>,
}

#[derive(Debug, Default)]
struct CheckState {
    under_way: usize,
    /// Verdict that ends the run: no later call leaves.
    refusal: Option<EnforcementError>,
    wakers: Vec<Waker>,
}

/// A check that is under way. Dropped in whatever way, it no longer is.
struct UnderWay(Arc<RunChecks>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let wakers = {
            let mut state = self.0.state();
            state.under_way = state.under_way.saturating_sub(1);
            if state.under_way == 0 { std::mem::take(&mut state.wakers) } else { Vec::new() }
        };
        // A waker may poll at once.
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl RunChecks {
    pub(crate) fn new(server: ServerCheck) -> Arc<Self> {
        Arc::new(Self { server, process: std::process::id(), state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, CheckState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the verdict that ended the run.
    pub(crate) fn refusal(&self) -> Option<EnforcementError> {
        self.state().refusal.clone()
    }

    /// Begins the check of a span that has ended. Blocks for nothing.
    pub(crate) fn begin(self: &Arc<Self>, span: &CheckedSpan, used: Used) {
        if span.trace_id == TraceId::INVALID || self.refusal().is_some() {
            return;
        }
        let trace_id = span.trace_id.to_bytes();
        let run_id = Id::from_otel_trace(trace_id).to_string();
        let (tool_name, tool_args_hash) = span.tool.clone().unzip();
        let check = EnforcementCheck {
            run_id: run_id.clone(),
            proposed_tokens: used.tokens,
            proposed_usd: used.usd,
            project_id: self.server.requests.project_id().map(ToOwned::to_owned),
            trace_id: Some(run_id),
            span_id: (span.span_id != SpanId::INVALID)
                .then(|| Id::from_otel_span(trace_id, span.span_id.to_bytes()).to_string()),
            tool_name,
            tool_args_hash: tool_args_hash.flatten(),
        };
        self.state().under_way += 1;
        let under_way = UnderWay(Arc::clone(self));
        let server = self.server.clone();
        let task = async move {
            if let Some(refusal) = server.check(&check).await {
                under_way.0.state().refusal.get_or_insert(refusal);
            }
            drop(under_way);
        };
        if !self.server.requests.spawn(task) {
            self.server.requests.warn(LOG, "a span is not checked: too many checks are under way");
        }
    }

    /// Returns what the next call waits for, if any check is under way.
    pub(crate) fn ready(self: &Arc<Self>) -> Option<Ready> {
        if self.state().under_way == 0 || self.process != std::process::id() {
            return None;
        }
        let checks = Arc::clone(self);
        Some(Box::pin(poll_fn(move |task| checks.poll_settled(task))))
    }

    fn poll_settled(&self, task: &TaskContext<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.under_way == 0 {
            return Poll::Ready(());
        }
        if !state.wakers.iter().any(|waker| waker.will_wake(task.waker())) {
            state.wakers.push(task.waker().clone());
        }
        Poll::Pending
    }
}

impl ServerCheck {
    /// Returns the verdict where it is no leave. A receiver that fails has none: the ceilings of the process remain.
    async fn check(&self, check: &EnforcementCheck) -> Option<EnforcementError> {
        let body = serde_json::to_string(check).ok()?;
        let answer = self.requests.request(Method::POST, endpoint::ENFORCEMENT_CHECK, Some(body), REQUEST).await;
        let verdict: EnforcementVerdict = match answer {
            Ok((StatusCode::OK | StatusCode::ACCEPTED, body)) => match serde_json::from_slice(&body) {
                Ok(verdict) => verdict,
                Err(_) => return self.ignored("its answer is not a verdict"),
            },
            Ok((status, _)) => return self.ignored(&format!("it answers {status}")),
            Err(error) => return self.ignored(&error),
        };
        let refusal = |kind: Verdict, reason: String| {
            let policy_id = verdict.policy_id.clone();
            Some(EnforcementError { verdict: kind, reason, limit: None, used: None, policy_id })
        };
        let reason = verdict.reason.clone().unwrap_or_else(|| "a policy of the receiver applies".to_owned());
        match (verdict.verdict.as_str(), &verdict.hold_id) {
            ("block", _) => refusal(Verdict::Block, reason),
            ("hold", Some(hold_id)) if !self.hold_wait.is_zero() => match self.hold(hold_id, &reason).await {
                Ok(()) => None,
                Err(reason) => refusal(Verdict::Hold, reason),
            },
            ("hold", _) => refusal(Verdict::Hold, format!("{reason}; approve it, and run again")),
            _ => None,
        }
    }

    fn ignored(&self, why: &str) -> Option<EnforcementError> {
        self.requests
            .warn(LOG, &format!("the receiver gives no verdict ({why}): only the ceilings of this process hold"));
        None
    }

    /// Waits for the decision on a hold. A receiver that fails meanwhile has not approved it.
    async fn hold(&self, id: &str, reason: &str) -> Result<(), String> {
        let path = endpoint::enforcement_hold(id);
        let deadline = Instant::now().checked_add(self.hold_wait);
        let mut pause = FIRST_PAUSE;
        loop {
            let answer = self.requests.request(Method::GET, &path, None, REQUEST).await;
            if let Ok((StatusCode::OK, body)) = &answer
                && let Ok(hold) = serde_json::from_slice::<EnforcementHold>(body)
            {
                let reason = hold.reason.as_deref().unwrap_or(reason);
                match hold.status.as_str() {
                    "approved" => return Ok(()),
                    "denied" => return Err(format!("the hold was denied: {reason}")),
                    "expired" => return Err(format!("the hold expired before it was decided: {reason}")),
                    _ => {}
                }
            }
            let left = deadline.map_or(pause, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                let waited = self.hold_wait.as_secs_f64();
                return Err(match answer {
                    Ok((StatusCode::OK, _)) => format!("the hold was not decided within {waited} s: {reason}"),
                    Ok((status, _)) => format!("the receiver answers {status} about the hold: {reason}"),
                    Err(error) => format!("the receiver does not answer about the hold ({error}): {reason}"),
                });
            }
            Requests::sleep(pause.min(left)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Resolves an environment of two variables, without settings in code.
    fn resolved(enabled: &str, hold_wait: &str) -> (Option<Duration>, Vec<String>) {
        ServerEnforcement::default().resolve_by(&|name| match name {
            ENABLED => Some(OsString::from(enabled)),
            HOLD_WAIT => Some(OsString::from(hold_wait)),
            _ => None,
        })
    }

    #[test]
    fn the_check_is_on_unless_it_is_clearly_off() {
        for on in ["true", "1", "yes", "on", "y", "enabled", "TRUE", " On\t"] {
            assert_eq!(resolved(on, ""), (Some(Duration::ZERO), Vec::new()), "{on:?}");
        }
        for off in ["false", "0", "no", "off", "n", "disabled", "FALSE", " Off\n", "", " "] {
            assert_eq!(resolved(off, ""), (None, Vec::new()), "{off:?}");
        }
        for unclear in ["tru", "offf", "2", "\"false\"", "none"] {
            let (hold_wait, warnings) = resolved(unclear, "");
            let expected = format!("{ENABLED}={unclear:?} is neither on nor off, and counts as on: use true or false");
            assert_eq!((hold_wait, warnings), (Some(Duration::ZERO), vec![expected]), "{unclear:?}");
        }
    }

    #[test]
    fn a_wait_that_cannot_be_read_is_none() {
        assert_eq!(resolved("on", "300"), (Some(Duration::from_secs(300)), Vec::new()));
        for unclear in ["-1", "1.5", "5 min", "4294967296"] {
            let (hold_wait, warnings) = resolved("on", unclear);
            assert_eq!(hold_wait, Some(Duration::ZERO));
            assert!(warnings[0].starts_with(&format!("{HOLD_WAIT}={unclear:?} is not a whole number")), "{warnings:?}");
        }
        assert_eq!(resolved("off", "5 min"), (None, Vec::new()));
    }

    #[cfg(unix)]
    #[test]
    fn what_is_not_text_protects_and_is_not_shown() {
        use std::os::unix::ffi::OsStringExt as _;
        let read = |_: &str| Some(OsString::from_vec(b"off\xff".to_vec()));
        let (hold_wait, warnings) = ServerEnforcement::default().resolve_by(&read);
        assert_eq!((hold_wait, warnings.len()), (Some(Duration::ZERO), 2));
        assert!(warnings.iter().all(|warning| warning.contains("not valid UTF-8")), "{warnings:?}");
        let (_, warnings) = resolved("rt_live_0123456789abcdef0123456789abcdef", "");
        assert!(warnings[0].contains("=\"…\"") && !warnings[0].contains("rt_live"), "{warnings:?}");
    }

    #[test]
    fn code_comes_before_the_environment() {
        let code = ServerEnforcement { is_enabled: Some(false), hold_wait: None };
        assert_eq!(code.resolve_by(&|_| Some(OsString::from("what"))), (None, Vec::new()));
        let wait = Duration::from_secs(7);
        let code = ServerEnforcement { is_enabled: Some(true), hold_wait: Some(wait) };
        assert_eq!(code.resolve_by(&|_| Some(OsString::from("what"))), (Some(wait), Vec::new()));
    }
}
