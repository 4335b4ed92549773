//! Name of a run that a server's span began.
//!
//! A route such as `POST /ask` names every agent behind it alike. The GenAI span below that begins first names the run, and the
//! server's span stands in [`TraceMetadata::entry_span`](retrace_protocol::metadata::TraceMetadata::entry_span). A root that is a
//! GenAI span, and a name that is stated, come before.

use crate::span_reader::SpanBuilder;

/// Start of a span, its depth and its place: the least begins first.
type Rank = (u64, usize, usize);

/// The GenAI span below the root that begins first, and its name.
#[derive(Clone, Debug, Default)]
pub(crate) struct FirstCall(Option<(Rank, String)>);

impl FirstCall {
    /// Takes note of a GenAI span below the root.
    pub(crate) fn note(&mut self, rank: Rank, builder: &SpanBuilder) {
        let name = builder.trace_name.as_ref().unwrap_or(&builder.span.name);
        if !name.is_empty() && self.0.as_ref().is_none_or(|(first, _)| rank <= *first) {
            self.0 = Some((rank, name.clone()));
        }
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.0.as_ref().map(|(_, name)| name.as_str())
    }

    /// Bytes of the name.
    pub(crate) fn weight(&self) -> usize {
        self.name().map_or(0, str::len)
    }
}

/// Names of a run: its own, and that of the server's span which began it if that is another.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunName {
    pub name: Option<String>,
    pub entry_span: Option<String>,
}

impl RunName {
    /// Decides by the stated name, the root's, and the first call, which counts if the root `is_entry`.
    pub(crate) fn new(stated: Option<&str>, root: Option<&str>, is_entry: bool, first_call: &FirstCall) -> Self {
        let called = if is_entry { first_call.name() } else { None };
        let name = stated.or(called).or(root).map(str::to_owned);
        let entry_span = root.filter(|root| is_entry && name.as_deref() != Some(root)).map(str::to_owned);
        Self { name, entry_span }
    }
}
