//! What the user decides about the translation.

mod selection;

pub use self::selection::{SpanFacts, SpanPolicy, SpanSelection};

/// How spans are translated.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Which spans become part of a run.
    pub selection: SpanSelection,
    /// Whether inputs, outputs and whatever else may hold what was said are carried. Without them structure, names, tokens
    /// and cost remain.
    pub capture_content: bool,
    /// The project that runs are filed under.
    pub project_id: Option<String>,
    /// The deployment environment of runs; without it the resource's.
    pub environment: Option<String>,
    /// Whether spans join the run of a caller that records the trace ([`crate::SpanView::caller`]); otherwise every local root
    /// begins a run.
    pub join: bool,
}

impl Default for Options {
    /// GenAI runs, with their content, without a project, joined to those of callers.
    fn default() -> Self {
        Self { selection: SpanSelection::GenAi, capture_content: true, project_id: None, environment: None, join: true }
    }
}
