//! Record of a span: its translation, and what follows from the other spans of its run.

use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;
use retrace_protocol::metadata::SpanMetadata;
use retrace_protocol::{Json, Span};

use crate::json::hex;
use crate::recorder::node::Node;
use crate::recorder::record::{RunIdentity, RunLabels, TreePosition, apart};
use crate::recorder::totals::move_usage_to_metadata;
use crate::resource::Resource;
use crate::span_reader::SpanBuilder;

/// JSON of metadata without a field.
const NO_METADATA: &str = "{}";

/// Facts about a span that depend on other spans of its run, and that later ones may change.
#[derive(Debug)]
pub(crate) struct Verdict<'d> {
    pub place: TreePosition,
    /// True if its usage counts.
    pub counts: bool,
    /// The call that it executes, if it does not state one.
    pub matched_call: Option<&'d str>,
    /// Labels of the run; the span carries only those that differ.
    pub labels: &'d RunLabels,
}

/// Facts about the run that do not change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunFacts<'r> {
    pub origin: &'r RunIdentity,
    pub resource: &'r Resource,
    /// True if the run belongs to another process.
    pub is_joined: bool,
}

impl Verdict<'_> {
    /// Returns a hash of everything that the record of the span states beside its translation.
    pub(crate) fn fingerprint(&self, node: &Node) -> u64 {
        let differs = |own: Option<&String>, of_run: &Option<String>| own.is_some() && own != of_run.as_ref();
        let has_own_tags = |tags: &Json| self.labels.tags.as_ref() != Some(tags);
        let carried = [
            differs(node.session.as_ref(), &self.labels.session),
            differs(node.user.as_ref(), &self.labels.user),
            differs(node.stated_trace_name(), &self.labels.name),
            node.tags().is_some_and(has_own_tags),
        ];
        let own = carried.iter().fold(u64::from(self.counts), |bits, carried| bits << 1 | u64::from(*carried));
        let matched = self.matched_call.map_or(0, |call_id| FixedState::default().hash_one(call_id));
        FixedState::with_seed(own).hash_one((self.place.fingerprint(), matched))
    }

    /// Writes the record of a span.
    pub(crate) fn write(self, run: RunFacts<'_>, node: &Node, is_root: bool, mut builder: Box<SpanBuilder>) -> Span {
        if !self.counts {
            move_usage_to_metadata(&mut builder);
        }
        let (place, labels) = (self.place, self.labels);
        // In place: both records are large.
        let SpanBuilder { span, metadata, user_metadata, stated_trace_name, tags, .. } = &mut *builder;
        span.id = place.id;
        span.trace_id = run.origin.id.clone();
        span.parent_id = place.parent;
        span.agent_id = place.agent_id;
        span.agent_role = place.agent_role;
        span.parent_agent_id = place.parent_agent_id;
        if let Some(call_id) = self.matched_call {
            metadata.tool_call_id = Some(call_id.to_owned());
        }
        metadata.otel.remote_parent = place.remote_parent;
        // Where the process joins the run of another one, the span states what the run does not.
        metadata.otel.joined = run.is_joined && node.starts_run;
        if metadata.otel.joined && !run.resource.service.is_empty() {
            metadata.otel.service = Some(run.resource.service.clone());
        }
        if span.id.to_otel_span() != Some(node.span_id) {
            metadata.otel.span_id = Some(hex(&node.span_id));
        }
        if !is_root {
            metadata.other = apart(std::mem::take(user_metadata), &SpanMetadata::KEYS);
        }
        for (key, own, of_run) in [
            ("session_id", &node.session, &labels.session),
            ("user_id", &node.user, &labels.user),
            ("trace_name", &*stated_trace_name, &labels.name),
        ] {
            if let Some(own) = own.as_deref().filter(|own| of_run.as_deref() != Some(own)) {
                metadata.other.entry(key).or_insert_with(|| own.into());
            }
        }
        if let Some(own) = tags.take().filter(|own| labels.tags.as_ref() != Some(own)) {
            metadata.other.entry("tags").or_insert_with(|| own.to_value().unwrap_or_default());
        }
        let metadata = Json::from_serialize(metadata);
        if metadata.as_str() != NO_METADATA {
            span.metadata = Some(metadata);
        }
        builder.span
    }
}
