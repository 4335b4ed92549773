//! Agent scopes: what runs below one is done by that agent.

use std::future::Future;
use std::sync::Arc;

use opentelemetry::{Context, ContextGuard};
use opentelemetry_retrace::__private::AgentScope;

use crate::carry::InContext;

/// The scope of an agent inside of another one, which is its parent.
pub(crate) fn nested(above: Option<&AgentScope>, id: Arc<str>, role: Option<Arc<str>>) -> AgentScope {
    AgentScope { id, role, parent: above.map(|agent| Arc::clone(&agent.id)) }
}

/// Begins an agent scope: every span that begins below it is done by this agent. Scopes nest; the agent of the enclosing one
/// is the parent. A scope is no step of its own. An agent that calls itself is its own parent: its scope stands within another one
/// of the same id.
///
/// ```
/// # async fn plan() {}
/// # async fn example() {
/// retrace::agent("planner").role("Planner").scope(plan()).await;
/// # }
/// ```
///
/// Spans of libraries get the agent where [`install`](crate::install()) set up the pipeline, or a
/// [`RetraceSpanProcessor`](crate::RetraceSpanProcessor) is in it.
pub fn agent(id: impl Into<Arc<str>>) -> AgentBuilder {
    AgentBuilder { id: id.into(), role: None, parent: None }
}

/// An agent scope that is not entered yet; made by [`agent()`].
#[derive(Clone, Debug)]
#[must_use = "a scope does nothing until it is entered"]
pub struct AgentBuilder {
    id: Arc<str>,
    role: Option<Arc<str>>,
    parent: Option<Arc<str>>,
}

impl AgentBuilder {
    /// Sets the role of the agent.
    pub fn role(mut self, role: impl Into<Arc<str>>) -> Self {
        self.role = Some(role.into());
        self
    }

    /// Sets the agent that called it, in place of the agent of the enclosing scope.
    pub fn parent(mut self, id: impl Into<Arc<str>>) -> Self {
        self.parent = Some(id.into());
        self
    }

    /// Runs a future in the scope.
    pub fn scope<F: Future>(self, future: F) -> InContext<F> {
        InContext::new(future, self.context())
    }

    /// Calls `body` in the scope.
    pub fn in_scope<T>(self, body: impl FnOnce() -> T) -> T {
        let _agent = self.start();
        body()
    }

    /// Enters the scope on this thread, until the guard is dropped.
    pub fn start(self) -> AgentGuard {
        AgentGuard { _current: self.context().attach() }
    }

    fn context(self) -> Context {
        Context::map_current(|cx| {
            let scope = nested(cx.get(), self.id, self.role);
            cx.with_value(AgentScope { parent: self.parent.or(scope.parent), ..scope })
        })
    }
}

/// Keeps an agent scope entered on this thread.
#[derive(Debug)]
#[must_use = "when it is dropped, the scope is left"]
pub struct AgentGuard {
    _current: ContextGuard,
}

impl AgentGuard {
    /// Leaves the scope.
    pub fn end(self) {}
}
