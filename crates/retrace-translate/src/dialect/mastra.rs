//! Mastra: `mastra.*`, beside OpenTelemetry's conventions.
//!
//! Keys follow `@mastra/otel-exporter`. Input and output of a span stand under its type, such as `mastra.agent_run.input`, where
//! the conventions have no key for them: messages in the form of the Vercel AI SDK, or any value.

use super::{Dialect, vercel};
use crate::fields::Field;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("mastra.agent_run.input", Field::InputMessages),
        ("mastra.agent_run.output", Field::OutputMessages),
        ("mastra.model_generation.input", Field::InputMessages),
        ("mastra.model_generation.output", Field::OutputMessages),
        ("mastra.model_step.input", Field::InputMessages),
        ("mastra.model_step.output", Field::OutputMessages),
        ("mastra.model_chunk.output", Field::Output),
        ("mastra.workflow_run.input", Field::Input),
        ("mastra.workflow_run.output", Field::Output),
        ("mastra.workflow_step.input", Field::Input),
        ("mastra.workflow_step.output", Field::Output),
        ("mastra.metadata.sessionId", Field::SessionId),
        ("mastra.metadata.threadId", Field::SessionId),
        ("mastra.metadata.userId", Field::UserId),
        ("mastra.metadata.resourceId", Field::UserId),
    ],
    prefixes: &[("mastra.metadata.", Field::UserMetadata)],
    marks: &["mastra."],
    turns: vercel::turns,
    ..Dialect::EMPTY
};
