//! Options of the translation.

mod selection;

pub use self::selection::{SpanFacts, SpanPolicy, SpanSelection};

/// Options of the translation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Selects the spans that become part of a run.
    pub selection: SpanSelection,
    /// Records content: inputs, outputs and everything else that may quote messages. Without it structure, names, tokens and
    /// cost remain.
    pub capture_content: bool,
    /// Project of the runs.
    pub project_id: Option<String>,
    /// Deployment environment of runs; defaults to that of the resource.
    pub environment: Option<String>,
    /// Joins the run of a caller that records the trace ([`crate::SpanView::caller`]). If false, every local root begins a run.
    pub join: bool,
}

impl Default for Options {
    /// GenAI spans, with content, without a project, joined to the runs of callers.
    fn default() -> Self {
        Self { selection: SpanSelection::GenAi, capture_content: true, project_id: None, environment: None, join: true }
    }
}
