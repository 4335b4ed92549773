//! Enforcement (PROTOCOL.md section 20): verdicts of the policies, and holds that wait for a decision.
//!
//! Holds are in memory only: they are decided within minutes. After a restart a request for an earlier hold is answered
//! 404, which clients treat as not approved.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use retrace_protocol::Timestamp;
use retrace_protocol::endpoint::{self, route};
use retrace_protocol::enforcement::{
    Decision, EnforcementCheck, EnforcementHold, EnforcementHolds, EnforcementVerdict, HoldDecision,
};
use retrace_protocol::read::Refusal;

use super::error::ApiError;
use super::http::{App, PathId, answer};
use crate::ingest::{self, MAX_ID_BYTES};
use crate::policy::{Policies, Policy, PolicyVerdict};

/// Largest number of holds. The oldest that is not pending is removed for a new one.
const MAX_HOLDS: usize = 1024;

/// The policies, and their holds.
#[derive(Debug)]
pub(super) struct Enforcement {
    policies: Policies,
    holds: Mutex<VecDeque<Hold>>,
    /// Makes the ids of this process differ from those of an earlier one.
    epoch: u128,
    next: AtomicU64,
}

#[derive(Debug)]
struct Hold {
    id: String,
    policy_id: String,
    reason: String,
    check: EnforcementCheck,
    /// True if an approval covers one tool call, not the run.
    is_about_tools: bool,
    created_at: SystemTime,
    time: Duration,
    expires: Instant,
    decision: Option<Decision>,
}

impl Hold {
    fn status(&self, now: Instant) -> &'static str {
        match self.decision {
            Some(Decision::Approve) => "approved",
            Some(Decision::Deny) => "denied",
            None if now >= self.expires => "expired",
            None => "pending",
        }
    }

    fn is_pending(&self, now: Instant) -> bool {
        self.decision.is_none() && now < self.expires
    }

    /// Returns true if this hold decides the check.
    fn covers(&self, policy: &Policy, check: &EnforcementCheck) -> bool {
        let is_same_call = self.check.tool_name == check.tool_name && self.check.tool_args_hash == check.tool_args_hash;
        self.policy_id == policy.id && self.check.run_id == check.run_id && (!self.is_about_tools || is_same_call)
    }

    fn record(&self, now: Instant) -> EnforcementHold {
        EnforcementHold {
            id: Some(self.id.clone()),
            status: self.status(now).to_owned(),
            reason: Some(self.reason.clone()),
            policy_id: Some(self.policy_id.clone()),
            check: Some(self.check.clone()),
            created_at: Some(Timestamp::from(self.created_at)),
            expires_at: self.created_at.checked_add(self.time).map(Timestamp::from),
        }
    }
}

/// Error of a decision.
#[derive(Debug, PartialEq, Eq)]
enum DecisionError {
    Unknown,
    /// The hold has this status already.
    Ended(&'static str),
}

impl Enforcement {
    pub(super) fn new(policies: Policies) -> Self {
        let epoch = UNIX_EPOCH.elapsed().unwrap_or_default().as_micros();
        Self { policies, holds: Mutex::default(), epoch, next: AtomicU64::new(1) }
    }

    fn holds(&self) -> MutexGuard<'_, VecDeque<Hold>> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Evaluates a check. While a hold is pending, it also holds repeated checks; once it is approved, the policies
    /// after it decide.
    fn check(&self, check: &EnforcementCheck, now: Instant) -> EnforcementVerdict {
        for policy in self.policies.applying(check) {
            let reason = policy.reason.clone().unwrap_or_else(|| format!("the policy {:?} applies", policy.id));
            let verdict = |verdict: &str, reason: String, hold_id: Option<String>| EnforcementVerdict {
                verdict: verdict.to_owned(),
                reason: Some(reason),
                policy_id: Some(policy.id.clone()),
                hold_id,
            };
            match policy.verdict {
                PolicyVerdict::Allow => break,
                PolicyVerdict::Block => return verdict("block", reason, None),
                PolicyVerdict::Hold => {}
            }
            let mut holds = self.holds();
            match holds.iter().rev().find(|hold| hold.covers(policy, check)) {
                Some(hold) if hold.decision == Some(Decision::Approve) => continue,
                Some(hold) if hold.decision == Some(Decision::Deny) => {
                    return verdict("block", hold.reason.clone(), None);
                }
                Some(hold) if hold.is_pending(now) => return verdict("hold", reason, Some(hold.id.clone())),
                _ => {}
            }
            let time = policy.hold_time();
            let Some(expires) = make_room(&mut holds, now).then(|| now.checked_add(time)).flatten() else {
                return verdict("block", format!("{MAX_HOLDS} calls wait for a decision; {reason}"), None);
            };
            let id = format!("hold-{:x}-{}", self.epoch, self.next.fetch_add(1, Ordering::Relaxed));
            holds.push_back(Hold {
                id: id.clone(),
                policy_id: policy.id.clone(),
                reason: reason.clone(),
                check: check.clone(),
                is_about_tools: policy.is_about_tools(),
                created_at: SystemTime::now(),
                time,
                expires,
                decision: None,
            });
            return verdict("hold", reason, Some(id));
        }
        EnforcementVerdict { verdict: "allow".to_owned(), reason: None, policy_id: None, hold_id: None }
    }

    fn hold(&self, id: &str, now: Instant) -> Option<EnforcementHold> {
        self.holds().iter().find(|hold| hold.id == id).map(|hold| hold.record(now))
    }

    fn list(&self, now: Instant) -> EnforcementHolds {
        EnforcementHolds { holds: self.holds().iter().map(|hold| hold.record(now)).collect() }
    }

    /// Decides a hold. The same decision may be sent twice.
    fn decide(&self, id: &str, decision: HoldDecision, now: Instant) -> Result<EnforcementHold, DecisionError> {
        let mut holds = self.holds();
        let hold = holds.iter_mut().find(|hold| hold.id == id).ok_or(DecisionError::Unknown)?;
        if !hold.is_pending(now) && hold.decision != Some(decision.decision) {
            return Err(DecisionError::Ended(hold.status(now)));
        }
        hold.decision = Some(decision.decision);
        if let Some(reason) = decision.reason {
            hold.reason = reason;
        }
        Ok(hold.record(now))
    }
}

/// Removes an ended hold if the limit is reached. Returns false if all holds are pending.
fn make_room(holds: &mut VecDeque<Hold>, now: Instant) -> bool {
    if holds.len() < MAX_HOLDS {
        return true;
    }
    let ended = holds.iter().position(|hold| !hold.is_pending(now));
    ended.and_then(|at| holds.remove(at)).is_some()
}

type Shared = State<Arc<App>>;
type Answer = Result<Response, ApiError>;

/// Returns the routes.
pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route(endpoint::ENFORCEMENT_CHECK, post(check))
        .route(endpoint::ENFORCEMENT_HOLDS, get(list))
        .route(route::ENFORCEMENT_HOLD, get(hold).post(decide))
}

async fn check(State(app): Shared, request: Request) -> Answer {
    let (check, _) = app.bodies.json(request).await?.parse(ingest::json::<EnforcementCheck>).await?;
    check_length(&check)?;
    Ok(answer(StatusCode::OK, &app.enforcement.check(&check, Instant::now())))
}

/// Rejects long names, because a hold keeps them in memory.
fn check_length(check: &EnforcementCheck) -> Result<(), ApiError> {
    let named = [
        ("run_id", Some(&check.run_id)),
        ("project_id", check.project_id.as_ref()),
        ("trace_id", check.trace_id.as_ref()),
        ("span_id", check.span_id.as_ref()),
        ("tool_name", check.tool_name.as_ref()),
        ("tool_args_hash", check.tool_args_hash.as_ref()),
    ];
    match named.into_iter().find(|(_, text)| text.is_some_and(|text| text.len() > MAX_ID_BYTES)) {
        Some((field, _)) => {
            let error = format!("{field} is longer than {MAX_ID_BYTES} bytes");
            Err(Refusal { error, field: Some(field.to_owned()) }.into())
        }
        None => Ok(()),
    }
}

async fn list(State(app): Shared) -> Answer {
    Ok(answer(StatusCode::OK, &app.enforcement.list(Instant::now())))
}

async fn hold(State(app): Shared, PathId(id): PathId) -> Answer {
    let id = id.as_text();
    let hold = app.enforcement.hold(&id, Instant::now()).ok_or_else(|| no_hold(&id))?;
    Ok(answer(StatusCode::OK, &hold))
}

async fn decide(State(app): Shared, PathId(id): PathId, request: Request) -> Answer {
    let (decision, _) = app.bodies.json(request).await?.parse(ingest::json::<HoldDecision>).await?;
    if decision.reason.as_ref().is_some_and(|reason| reason.len() > MAX_ID_BYTES) {
        let error = format!("reason is longer than {MAX_ID_BYTES} bytes");
        return Err(Refusal { error, field: Some("reason".to_owned()) }.into());
    }
    let id = id.as_text();
    match app.enforcement.decide(&id, decision, Instant::now()) {
        Ok(hold) => Ok(answer(StatusCode::OK, &hold)),
        Err(DecisionError::Unknown) => Err(no_hold(&id)),
        Err(DecisionError::Ended(status)) => {
            Err(ApiError::new(StatusCode::CONFLICT, format!("the hold {id} is {status} already")))
        }
    }
}

fn no_hold(id: &str) -> ApiError {
    ApiError::not_found(format!("there is no hold {id}: it was forgotten, or made by a receiver that has ended"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::{check, policies};

    const PAYMENTS: &str = r#"{"policies": [
        {"id": "payments", "verdict": "hold", "reason": "a person looks at payments", "when": {"tools": ["pay"]}, "hold_seconds": 60},
        {"id": "tokens", "verdict": "block", "when": {"tokens_above": 100}}
    ]}"#;

    fn decision(decision: Decision) -> HoldDecision {
        HoldDecision { decision, reason: None }
    }

    #[test]
    fn a_hold_is_one_until_it_is_decided() {
        let enforcement = Enforcement::new(policies(PAYMENTS));
        let now = Instant::now();
        let held = enforcement.check(&check(Some("pay"), 0), now);
        assert_eq!((held.verdict.as_str(), held.policy_id.as_deref()), ("hold", Some("payments")));
        assert_eq!(enforcement.check(&check(Some("pay"), 0), now), held);
        let id = held.hold_id.unwrap();
        assert_eq!(enforcement.hold(&id, now).unwrap().status, "pending");
        let other = EnforcementCheck { tool_args_hash: Some("aa".into()), ..check(Some("pay"), 0) };
        assert_ne!(enforcement.check(&other, now).hold_id.unwrap(), id, "other arguments are another call");

        enforcement.decide(&id, decision(Decision::Approve), now).unwrap();
        assert_eq!(enforcement.hold(&id, now).unwrap().status, "approved");
        assert_eq!(enforcement.check(&check(Some("pay"), 0), now).verdict, "allow");
        assert_eq!(enforcement.check(&check(Some("pay"), 101), now).policy_id.as_deref(), Some("tokens"));
        assert!(enforcement.decide(&id, decision(Decision::Approve), now).is_ok());
        assert_eq!(enforcement.decide(&id, decision(Decision::Deny), now), Err(DecisionError::Ended("approved")));
        assert_eq!(enforcement.decide("hold-0", decision(Decision::Deny), now), Err(DecisionError::Unknown));
    }

    #[test]
    fn a_denied_call_is_blocked_and_an_expired_one_is_held_anew() {
        let enforcement = Enforcement::new(policies(PAYMENTS));
        let now = Instant::now();
        let id = enforcement.check(&check(Some("pay"), 0), now).hold_id.unwrap();
        let denied = HoldDecision { decision: Decision::Deny, reason: Some("not today".into()) };
        enforcement.decide(&id, denied, now).unwrap();
        let blocked = enforcement.check(&check(Some("pay"), 0), now);
        assert_eq!((blocked.verdict.as_str(), blocked.reason.as_deref()), ("block", Some("not today")));

        let run = EnforcementCheck { run_id: "second".into(), ..check(Some("pay"), 0) };
        let id = enforcement.check(&run, now).hold_id.unwrap();
        let later = now + Duration::from_secs(60);
        assert_eq!(enforcement.hold(&id, later).unwrap().status, "expired");
        assert_eq!(enforcement.decide(&id, decision(Decision::Approve), later), Err(DecisionError::Ended("expired")));
        assert_ne!(enforcement.check(&run, later).hold_id.unwrap(), id);
    }

    #[test]
    fn holds_are_bounded() {
        let enforcement = Enforcement::new(policies(PAYMENTS));
        let now = Instant::now();
        let of = |run: usize| EnforcementCheck { run_id: run.to_string(), ..check(Some("pay"), 0) };
        let first = enforcement.check(&of(0), now).hold_id.unwrap();
        (1..MAX_HOLDS).for_each(|run| drop(enforcement.check(&of(run), now)));
        let blocked = enforcement.check(&of(MAX_HOLDS), now);
        assert_eq!(blocked.verdict, "block", "{blocked:?}");
        enforcement.decide(&first, decision(Decision::Deny), now).unwrap();
        assert_eq!(enforcement.check(&of(MAX_HOLDS), now).verdict, "hold");
        assert_eq!((enforcement.list(now).holds.len(), enforcement.hold(&first, now)), (MAX_HOLDS, None));
    }
}
