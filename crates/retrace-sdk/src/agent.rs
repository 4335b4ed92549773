//! Agent scopes: what runs below one is done by that agent.

use std::sync::Arc;

use opentelemetry::Context;
use opentelemetry_retrace::__private::AgentScope;

/// The scope of an agent below a context; the agent of the context is its parent.
pub(crate) fn nested(parent: &Context, id: Arc<str>, role: Option<Arc<str>>) -> AgentScope {
    AgentScope { id, role, parent: parent.get::<AgentScope>().map(|agent| Arc::clone(&agent.id)) }
}
