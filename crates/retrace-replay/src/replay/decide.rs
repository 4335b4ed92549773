//! Decision about a call: answered, let out, or refused.

use retrace_protocol::SpanType;
use serde_json::Value;

use super::matching::Match;
use super::{Call, Decision, Mode, RefusalReason, Refused, Replay};
use crate::cassette::{CassetteError, Effects, Entry, Outcome};
use crate::report::{CallId, Divergence, LiveCall, LiveReason, Verified};
use crate::{Diff, Fingerprint, Lane, TokenReport, redact};

impl Replay {
    /// Decides about a call. After the first refusal every call is refused.
    pub fn decide(&mut self, mut call: Call<'_>) -> Decision {
        let id = CallId::of(&call);
        if self.is_poisoned {
            self.report.refused_later += 1;
            return Decision::Refuse(self.refused(id, RefusalReason::Poisoned));
        }
        // Only a fork changes what is sent.
        let sent = if self.fork.is_some() { call.request.clone() } else { Value::Null };
        let decided = self.find_redacted(&mut call).and_then(|found| self.decide_match(&call, &id, found, sent));
        match decided {
            Ok(Ok(decision)) => decision,
            Ok(Err(reason)) => self.refuse(id, reason),
            Err(error) => self.refuse(id, RefusalReason::Cassette(error.to_string())),
        }
    }

    /// States what a live call has used.
    pub fn end_live(&mut self, ticket: usize, tokens: Option<u64>, cost_usd: Option<f64>) {
        if let Some(live) = self.report.live.get_mut(ticket) {
            live.tokens = tokens;
            live.cost_usd = cost_usd;
        }
    }

    /// Passes a place that is marked as a fork point. Never refused: a mark has no result.
    pub fn mark(&mut self, lane: &Lane, name: &str) {
        if let Some(at) = self.find_value(lane, SpanType::ForkPoint, name) {
            self.has_forked |= self.fork.is_some_and(|fork| at >= fork);
        }
    }

    /// Returns the recorded value of a source that differs in each run, such as the clock. `None` where the recording has none
    /// left and after the fork point; never refused, since making a value has no effects.
    ///
    /// # Errors
    /// Those of [`Cassette::entry`](crate::cassette::Cassette::entry).
    pub fn value(&mut self, lane: &Lane, name: &str) -> Result<Option<Entry>, CassetteError> {
        match self.find_value(lane, SpanType::Action, name) {
            Some(at) if self.fork.is_none_or(|fork| at < fork) => {
                self.report.answered += 1;
                self.cassette.entry(at)
            }
            _ => Ok(None),
        }
    }

    /// Takes the next entry of a kind whose requests are all equal. It does not bind the lane: any lane has such entries.
    fn find_value(&mut self, lane: &Lane, span_type: SpanType, name: &str) -> Option<usize> {
        let request = Value::Null;
        let call = Call { lane, span_type, name, model: None, request, effects: Effects::None, inner: None };
        let at = self.first_unused(&call)?;
        self.take(at, &call);
        Some(at)
    }

    /// States how many tokens of a live response are the recorded ones. After a mismatch every later call is refused.
    pub fn end_verified(&mut self, ticket: usize, tokens: TokenReport) {
        // Beyond the list a call has no name, and is compared all the same.
        let call = self.report.live.get(ticket).map(|live| live.call.clone()).unwrap_or_default();
        if tokens.mismatch.is_some() {
            self.poison(call.clone(), RefusalReason::Tokens(tokens));
        }
        self.report.verified.push(Verified { call, tokens });
    }

    /// Refuses the run for a reason that the caller finds, such as a recorded result that its type cannot hold.
    pub fn poison(&mut self, call: CallId, reason: RefusalReason) -> Refused {
        self.is_poisoned = true;
        let refused = *self.refused(call, reason);
        self.report.refusal.get_or_insert_with(|| refused.clone());
        refused
    }

    /// Notes a step that is executed though the recording may hold its result, by its own lane. Returns the refusal where the fork
    /// changes this step.
    pub fn note_executed(&mut self, step: &Lane) -> Option<Refused> {
        let own = step.segments().last()?;
        let lane = step.truncated(step.segments().len() - 1);
        let span_type = SpanType::ToolCall.as_str();
        let call = CallId { ordinal: None, lane: lane.to_string(), span_type, name: own.name.to_string() };
        self.report.note_executed(&call);
        let entry = self.cassette.index().get(self.unapplied()?)?;
        if entry.step != Some(own.ordinal) || self.cassette.name(entry) != &*own.name {
            return None;
        }
        let (point, lanes) = (self.cassette.lane(entry), self.cassette.lanes());
        let candidates = self.bindings.candidates(&lane, lanes);
        let is_candidate = candidates.iter().any(|at| lanes.get(*at) == Some(point));
        // Which of several lanes it is depends on calls that are not made yet.
        self.may_have_executed_point |= is_candidate;
        (is_candidate && candidates.len() == 1).then(|| self.not_applied(true)).flatten()
    }

    /// Ends an outermost step of the replay. Returns the refusal where the changes at the fork point had to be applied in it, and
    /// were not. A step that is bound to no recorded one decides nothing: [`end`](Self::end) does.
    pub fn end_step(&mut self, step: &Lane) -> Option<Refused> {
        let entry = self.cassette.index().get(self.unapplied()?)?;
        let recorded = self.bindings.get(step)?;
        let is_inside = self.cassette.lane(entry).is_within(recorded);
        is_inside.then(|| self.not_applied(self.may_have_executed_point)).flatten()
    }

    /// Ends the replay. Returns the refusal where the changes at the fork point were not applied.
    pub fn end(&mut self) -> Option<Refused> {
        self.not_applied(self.may_have_executed_point)
    }

    /// Returns the place of the fork point if its changes are to be applied still.
    fn unapplied(&self) -> Option<usize> {
        let changes = self.options.fork.as_ref().is_some_and(|fork| !fork.substitutions.is_empty());
        self.fork.filter(|_| changes && !self.has_substituted && !self.is_poisoned)
    }

    fn not_applied(&mut self, is_executed: bool) -> Option<Refused> {
        let call = self.recorded_id(self.unapplied()?);
        let names = self.options.fork.as_ref().map(|fork| fork.substitutions.names()).unwrap_or_default();
        Some(self.poison(call, RefusalReason::NotApplied { names, is_executed }))
    }

    /// Finds the entry of a call. The request is redacted if it is not equal to a recorded one as it is: most hold no credentials, and
    /// to look for them costs more than all else.
    fn find_redacted(&mut self, call: &mut Call<'_>) -> Result<Match, CassetteError> {
        let normalize = self.options.normalize.clone();
        let normalized = normalize.as_ref().map(|normalize| {
            let mut request = call.request.clone();
            normalize(&mut request);
            request
        });
        let print = Fingerprint::of(call.name, call.model, normalized.as_ref().unwrap_or(&call.request));
        if let Some(at) = self.find_equal(call, print) {
            return Ok(Match::Equal(at));
        }
        redact(&mut call.request);
        if let Some(normalize) = normalize {
            normalize(&mut call.request);
        }
        self.find(call, Fingerprint::of(call.name, call.model, &call.request))
    }

    fn decide_match(
        &mut self,
        call: &Call<'_>,
        id: &CallId,
        found: Match,
        sent: Value,
    ) -> Result<Result<Decision, RefusalReason>, CassetteError> {
        let is_model_call = call.span_type == SpanType::LlmCall;
        Ok(match found {
            Match::Equal(at) => {
                self.take(at, call);
                match self.fork {
                    Some(fork) if at >= fork => self.at_fork(call, id, at, None, sent)?,
                    _ => self.answer(at, id)?,
                }
            }
            Match::Differs(at, diff) if self.fork.is_some_and(|fork| at >= fork) || self.has_passed(at) => {
                self.take(at, call);
                self.at_fork(call, id, at, Some(diff), sent)?
            }
            Match::Differs(at, diff) => {
                let expected = self.recorded_id(at);
                let is_tolerated = self.tolerates(at, call, &diff)?;
                if self.options.mode == Mode::Update {
                    self.take(at, call);
                    self.report.divergences.push(Divergence { expected, got: id.clone(), diff });
                    return Ok(Ok(self.live(id, LiveReason::Changed, None)));
                }
                if !is_tolerated && self.options.mode == Mode::Strict {
                    let divergence = Divergence { expected: expected.clone(), got: id.clone(), diff: diff.clone() };
                    self.report.divergences.push(divergence);
                    return Ok(Err(match self.fork {
                        None => RefusalReason::Differs { expected, diff },
                        Some(_) => RefusalReason::DiffersBeforeFork { expected, diff },
                    }));
                }
                self.take(at, call);
                let divergence = Divergence { expected, got: id.clone(), diff };
                match is_tolerated {
                    true => self.report.tolerated.push(divergence),
                    false => self.report.divergences.push(divergence),
                }
                self.answer(at, id)?
            }
            Match::None(nearest) => {
                let is_external = !is_model_call && call.effects == Effects::External;
                let is_allowed = self.options.allowed.contains(call.name);
                let nearest_id = nearest.as_ref().map(|(at, _)| self.recorded_id(*at));
                let diff = nearest.map(|(_, diff)| diff);
                match (self.has_forked, self.options.mode) {
                    (true, _) if is_external && !is_allowed => {
                        Err(RefusalReason::External { expected: nearest_id, diff })
                    }
                    (true, _) => Ok(self.live(id, LiveReason::AfterFork, None)),
                    (false, Mode::Lenient | Mode::Update) => Ok(self.live(id, LiveReason::NothingLeft, None)),
                    (false, Mode::Strict) => Err(RefusalReason::NothingLeft { nearest: nearest_id, diff }),
                }
            }
        })
    }

    /// Returns true if the lane of an entry before the fork point has gone on past that point.
    fn has_passed(&self, at: usize) -> bool {
        let lane = |at: usize| self.cassette.index().get(at).map(|entry| self.cassette.lane(entry));
        self.has_forked
            && self.fork.is_some_and(|fork| match (lane(fork), lane(at)) {
                // The fork point lies in this lane or in a step of it.
                (Some(fork), Some(at)) => fork.is_within(at),
                _ => false,
            })
    }

    /// Decides about a call that is matched at or after the fork point.
    fn at_fork(
        &mut self,
        call: &Call<'_>,
        id: &CallId,
        at: usize,
        diff: Option<Diff>,
        mut sent: Value,
    ) -> Result<Result<Decision, RefusalReason>, CassetteError> {
        let is_point = self.fork == Some(at);
        self.has_forked = true;
        let substitutions =
            self.options.fork.as_ref().filter(|_| is_point).map(|fork| fork.substitutions.clone()).unwrap_or_default();
        if call.span_type == SpanType::LlmCall {
            let altered = match substitutions.changes_request() {
                false => None,
                true => match substitutions.apply(&mut sent) {
                    Ok(()) => {
                        self.has_substituted = true;
                        Some(sent)
                    }
                    Err(error) => return Ok(Err(RefusalReason::Substitution(error.to_string()))),
                },
            };
            let reason = if is_point { LiveReason::ForkPoint } else { LiveReason::AfterFork };
            return Ok(Ok(self.live(id, reason, altered)));
        }
        if let Some(output) = substitutions.tool_output {
            self.report.substituted.push(id.clone());
            self.has_substituted = true;
            return Ok(Ok(Decision::Substitute(output)));
        }
        if let Some(arguments) = substitutions.tool_arguments {
            self.has_substituted = true;
            return Ok(Ok(self.live(id, LiveReason::ForkPoint, Some(arguments))));
        }
        match diff {
            None => self.answer(at, id),
            Some(diff) if call.effects == Effects::External && !self.options.allowed.contains(call.name) => {
                Ok(Err(RefusalReason::External { expected: Some(self.recorded_id(at)), diff: Some(diff) }))
            }
            Some(_) => Ok(Ok(self.live(id, LiveReason::AfterFork, None))),
        }
    }

    fn answer(&mut self, at: usize, id: &CallId) -> Result<Result<Decision, RefusalReason>, CassetteError> {
        let Some(entry) = self.cassette.entry(at)? else {
            return Ok(Err(RefusalReason::NothingLeft { nearest: None, diff: None }));
        };
        match &entry.outcome {
            Outcome::NotReplayable(reason) if self.options.mode == Mode::Strict => {
                Ok(Err(RefusalReason::NotReplayable(reason.clone())))
            }
            Outcome::NotReplayable(_) => Ok(Ok(self.live(id, LiveReason::NotReplayable, None))),
            Outcome::Response(_) if self.options.verify && entry.span_type == SpanType::LlmCall => {
                let recorded_tokens = entry.token_ids;
                if recorded_tokens.is_empty() {
                    self.report.unverified.push(id.clone());
                }
                Ok(Ok(match self.live(id, LiveReason::Verified, None) {
                    Decision::Live { altered, ticket, .. } => Decision::Live { altered, ticket, recorded_tokens },
                    other => other,
                }))
            }
            _ => {
                if entry.concurrent {
                    self.report.ambiguities.push(id.clone());
                }
                self.report.answered += 1;
                Ok(Ok(Decision::Answer(Box::new(entry))))
            }
        }
    }

    fn live(&mut self, id: &CallId, reason: LiveReason, altered: Option<Value>) -> Decision {
        let is_altered = altered.is_some();
        let call = LiveCall { call: id.clone(), reason, is_altered, tokens: None, cost_usd: None };
        let ticket = self.report.note_live(call);
        Decision::Live { altered, ticket, recorded_tokens: Vec::new() }
    }

    /// Marks an entry as used, and what happened inside of its step as answered with it.
    fn take(&mut self, at: usize, call: &Call<'_>) {
        if let Some(used) = self.used.get_mut(at) {
            *used = true;
        }
        let Some(entry) = self.cassette.index().get(at) else { return };
        if let Some(step) = entry.step {
            let inner = self.cassette.lane(entry).child(call.name, step);
            if let Some(live) = call.inner {
                self.bindings.bind(live, &inner);
            }
            self.covered.insert(inner);
        }
    }

    fn tolerates(&mut self, at: usize, call: &Call<'_>, diff: &Diff) -> Result<bool, CassetteError> {
        if self.options.tolerance.is_exact() {
            return Ok(false);
        }
        let Some(entry) = self.cassette.entry(at)? else { return Ok(false) };
        let expected = entry.request.to_value().unwrap_or_default();
        Ok(self.options.tolerance.allows(call.name, &expected, &call.request, diff))
    }

    fn refuse(&mut self, id: CallId, reason: RefusalReason) -> Decision {
        self.is_poisoned = true;
        let refused = self.refused(id, reason);
        self.report.refusal = Some((*refused).clone());
        Decision::Refuse(refused)
    }

    fn refused(&self, call: CallId, reason: RefusalReason) -> Box<Refused> {
        Box::new(Refused { call, cassette: self.cassette.file().to_owned(), reason })
    }
}
