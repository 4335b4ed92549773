//! Position of the code that runs: the replay or recording, the ceilings and the lane that are current.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use retrace_replay::{Lane, LaneNode};

use super::limits::{self, LimitState};
use super::session::Session;

/// Value in the OpenTelemetry `Context` of everything that runs in a replay, a recording or below ceilings.
#[derive(Clone, Debug)]
pub(crate) struct Position {
    pub(crate) session: Option<Arc<Session>>,
    pub(crate) limits: Option<Arc<LimitState>>,
    pub(crate) lane: Arc<LaneNode>,
}

/// Value in the `Context` of what belongs to no replay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outside;

/// Number of sessions and ceilings that are under way: at 0 no context is searched.
static ACTIVE: AtomicUsize = AtomicUsize::new(0);

static SESSIONS: Mutex<Vec<Weak<Session>>> = Mutex::new(Vec::new());

/// Keeps positions searched for as long as it lives.
#[derive(Debug)]
pub(crate) struct Activity(());

impl Activity {
    pub(crate) fn new() -> Self {
        ACTIVE.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        ACTIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Returns false if no context can hold a position.
pub(crate) fn is_active() -> bool {
    ACTIVE.load(Ordering::Relaxed) > 0 || limits::has_default()
}

/// Makes a session findable for calls whose context was not carried along.
pub(crate) fn register(session: &Arc<Session>) {
    let mut sessions = SESSIONS.lock().unwrap_or_else(PoisonError::into_inner);
    sessions.retain(|session| session.strong_count() > 0);
    sessions.push(Arc::downgrade(session));
}

pub(crate) fn unregister(session: &Arc<Session>) {
    let mut sessions = SESSIONS.lock().unwrap_or_else(PoisonError::into_inner);
    sessions.retain(|known| known.upgrade().is_some_and(|known| !Arc::ptr_eq(&known, session)));
}

/// Owner of a call.
pub(crate) enum Owner {
    /// No replay, recording or ceiling.
    Nobody,
    /// This position.
    Known(Position),
    /// One of several replays; which one is not known, since the context was not carried along.
    Unknown,
}

impl Position {
    pub(crate) fn root(session: Option<Arc<Session>>, limits: Option<Arc<LimitState>>) -> Self {
        Self { session, limits, lane: LaneNode::root() }
    }

    /// Position inside of a step of this name below a context. `None` where nothing is replayed, recorded or limited.
    pub(crate) fn entered(parent: &Context, name: &str) -> Option<Self> {
        if !is_active() {
            return None;
        }
        match parent.get::<Self>() {
            Some(position) => {
                // A run that begins in a replay or a recording has the ceilings of each run.
                let begins = position.limits.is_none() && position.lane().segments().is_empty();
                let limits = if begins { limits::of_new_run() } else { position.limits.clone() };
                Some(Self { lane: position.lane.enter(name), limits, ..position.clone() })
            }
            // A run begins: the ceilings of the environment are those of each run.
            None => limits::of_new_run()
                .map(|limits| Self { lane: LaneNode::root().enter(name), ..Self::root(None, Some(limits)) }),
        }
    }

    /// Finds the owner of a call. Code on a thread or a task whose context was not carried along belongs to the only session of the
    /// process: a strict replay must not let it out. In a span of its own it belongs to no session but a strict replay.
    pub(crate) fn owner(cx: &Context) -> Owner {
        if let Some(position) = cx.get::<Self>() {
            return Owner::Known(position.clone());
        }
        if cx.get::<Outside>().is_some() {
            return Owner::Nobody;
        }
        let sessions = SESSIONS.lock().unwrap_or_else(PoisonError::into_inner);
        let alive: Vec<Arc<Session>> = sessions.iter().filter_map(Weak::upgrade).collect();
        let is_strict = alive.iter().any(|session| session.is_strict());
        match alive.as_slice() {
            [session] if is_strict || !cx.has_active_span() => {
                Owner::Known(Self { lane: session.root(), session: Some(Arc::clone(session)), limits: None })
            }
            [_, _, ..] if is_strict => Owner::Unknown,
            _ => Owner::Nobody,
        }
    }

    /// Returns true if spans of what is answered before the fork point are not sent to Retrace.
    pub(crate) fn leaves_out_recorded(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.leaves_out_recorded())
    }

    /// Lane of what is called here.
    pub(crate) fn lane(&self) -> &Lane {
        self.lane.lane()
    }
}

/// Adds the position inside of a step to a context.
pub(crate) fn with(cx: Context, position: Option<Position>) -> Context {
    match position {
        Some(position) => cx.with_value(position),
        None => cx,
    }
}
