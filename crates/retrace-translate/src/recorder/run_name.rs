//! Name of a run that begins with a server span.
//!
//! A route such as `POST /ask` is the same for every agent behind it. The first GenAI span below it names the run, and the
//! server span is kept in [`TraceMetadata::entry_span`](retrace_protocol::metadata::TraceMetadata::entry_span). A stated name
//! and a root that is a GenAI span take precedence.

/// Start, depth and index of a span; the lowest comes first.
type Rank = (u64, usize, usize);

/// The first GenAI span below the root, and its name.
#[derive(Clone, Debug, Default)]
pub(crate) struct FirstCall(Option<(Rank, String)>);

impl FirstCall {
    /// Notes a GenAI span below the root, and the name of a run that begins with it.
    pub(crate) fn note(&mut self, rank: Rank, name: &str) {
        if self.0.as_ref().is_none_or(|(first, _)| rank <= *first) {
            self.0 = Some((rank, name.to_owned()));
        }
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.0.as_ref().map(|(_, name)| name.as_str())
    }
}

/// Name of a run, and of the server span that began it if that differs.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunName {
    pub name: Option<String>,
    pub entry_span: Option<String>,
}

impl RunName {
    /// Chooses the stated name, else that of the first call if the root is an entry, else that of the root.
    pub(crate) fn new(stated: Option<&str>, root: Option<&str>, is_entry: bool, first_call: &FirstCall) -> Self {
        let called = if is_entry { first_call.name() } else { None };
        let name = stated.or(called).or(root).map(str::to_owned);
        let entry_span = root.filter(|root| is_entry && name.as_deref() != Some(root)).map(str::to_owned);
        Self { name, entry_span }
    }
}
