//! One request that waits: a run, or a change of one that was sent.

use std::time::Duration;

use retrace_protocol::metadata::{TraceMetadata, TraceOrigin};
use retrace_protocol::{Id, Json, Span, Timestamp, Trace, TracePatch};
use retrace_translate::rekey_run;

use crate::delivery::encoded_span::RunEncoder;
use crate::delivery::record::RecordName;
use crate::delivery::run_buffer::RunBuffer;

/// Kind and content of a request.
#[derive(Debug)]
pub(crate) enum Content {
    /// `POST /api/v1/traces` (PROTOCOL.md section 9.1).
    Create(Box<RunBuffer>),
    /// `PATCH /api/v1/traces/:id` (section 9.3). `missing` is the number of spans that are lost when it
    /// replaces a run that the receiver does not accept a second time.
    Patch { patch: Box<TracePatch>, missing: u64 },
}

/// Request that waits for its turn, or for its response.
#[derive(Debug)]
pub(crate) struct Request {
    pub id: Id,
    pub content: Content,
    /// Time at which it was added.
    pub since: Duration,
    pub attempts: u32,
    pub in_flight: bool,
    /// True if an attempt failed after it may have reached the receiver.
    pub may_have_landed: bool,
    /// True if the run was begun over a stream: the receiver may know it, and this is its remainder.
    pub begun: bool,
    /// First id of this run, under which the receiver has another run.
    pub taken: Option<Id>,
    /// Name of its record in the spool, if it came from there.
    pub spooled_as: Option<RecordName>,
    /// Number of the first frame of the content, if it was sent as frames.
    pub first_frame: Option<u64>,
}

impl Request {
    pub(crate) fn new(id: Id, content: Content, since: Duration) -> Self {
        Self {
            id,
            content,
            since,
            attempts: 0,
            in_flight: false,
            may_have_landed: false,
            begun: false,
            taken: None,
            spooled_as: None,
            first_frame: None,
        }
    }

    pub(crate) fn patch(id: Id, patch: TracePatch, since: Duration) -> Self {
        Self::new(id, Content::Patch { patch: Box::new(patch), missing: 0 }, since)
    }

    /// Returns the number of accepted spans that depend on the request.
    pub(crate) fn sources(&self) -> u64 {
        match &self.content {
            Content::Create(run) => run.sources(),
            Content::Patch { missing, .. } => *missing,
        }
    }

    /// Counts the accepted spans that depend on the request without the counter of the run, to verify [`Request::sources`].
    pub(crate) fn count_spans(&self) -> u64 {
        self.run().map_or_else(|| self.sources(), RunBuffer::count_spans)
    }

    pub(crate) fn run(&self) -> Option<&RunBuffer> {
        match &self.content {
            Content::Create(run) => Some(run),
            Content::Patch { .. } => None,
        }
    }

    /// Returns true if it holds steps of a run that belongs to another process.
    pub(crate) fn is_joined(&self) -> bool {
        self.run().is_some_and(|run| run.joined)
    }

    /// Returns true if the receiver has nothing of the run yet, so that dropping it leaves no run open.
    pub(crate) fn is_unknown(&self) -> bool {
        self.run().is_some() && !self.begun
    }

    pub(crate) fn has_spans(&self) -> bool {
        self.run().is_some_and(RunBuffer::has_spans)
    }

    /// Gives the run an id of its own; returns the number of accepted spans lost. The receiver has refused the
    /// encoded spans, so they are decoded.
    pub(crate) fn rekey(&mut self) -> u64 {
        (self.may_have_landed, self.taken) = (false, Some(self.id.clone()));
        let Content::Create(run) = &mut self.content else { return 0 };
        let before = run.sources();
        let (sources, spans): (Vec<u32>, Vec<Span>) =
            run.spans().filter_map(|span| Some((span.sources, span.read()?))).unzip();
        let (trace, spans) = rekey_run(std::mem::take(&mut run.trace), spans);
        if let Some(id) = &trace.id {
            self.id = id.clone();
        }
        let mut encoder = RunEncoder::with_room_for(&spans, |_| ());
        for (span, sources) in spans.into_iter().zip(sources) {
            encoder.push(span, sources);
        }
        **run = RunBuffer::whole(trace, encoder.finish(), false);
        before - run.sources()
    }

    /// Drops the spans; returns the number of accepted spans lost.
    pub(crate) fn drop_spans(&mut self) -> u64 {
        let Content::Create(run) = &mut self.content else { return 0 };
        run.trace.lossy = Some(true);
        run.drop_steps()
    }

    pub(crate) fn has_content(&self) -> bool {
        let (input, output) = match &self.content {
            Content::Create(run) => (run.trace.input.as_ref(), run.trace.output.as_ref()),
            Content::Patch { patch, .. } => (None, patch.output.as_ref()),
        };
        input.is_some() || output.is_some_and(|output| !output.is_null())
    }

    /// Drops the input and the output of the run. Returns 0 as the number of accepted spans lost: none depends on them.
    pub(crate) fn drop_content(&mut self) -> u64 {
        let output = match &mut self.content {
            Content::Create(run) => {
                run.trace.input = None;
                &mut run.trace.output
            }
            Content::Patch { patch, .. } => &mut patch.output,
        };
        *output = output.take().map(|_| Json::null());
        0
    }

    /// Returns the bytes of the request with its entry in the ledger. An entry of an ordered table takes up to
    /// twice its size.
    pub(crate) fn weight(&self) -> usize {
        2 * size_of::<Self>()
            + match &self.content {
                Content::Create(run) => run.weight(),
                Content::Patch { patch, .. } => {
                    let output = patch.output.as_ref().map_or(0, |json| json.as_str().len());
                    size_of::<TracePatch>() + output + patch.error.as_ref().map_or(0, String::len)
                }
            }
    }
}

/// Head of a run that belongs to another process: its id, and the fields that are shown until that process
/// sends more.
pub(super) fn joined_head(trace: &Trace) -> Trace {
    let id = trace.id.clone().unwrap_or_else(|| Id::from(String::new()));
    let started = trace.started_at.clone().unwrap_or_else(|| Timestamp::from_unix_nanos(0));
    let trace_id = id.as_text().replace('-', "");
    let metadata = TraceMetadata {
        otel: Some(TraceOrigin { trace_id, continues: None, joined: true }),
        ..TraceMetadata::default()
    };
    Trace {
        name: trace.name.clone(),
        session_id: trace.session_id.clone(),
        project_id: trace.project_id.clone(),
        metadata: Some(Json::from_serialize(&metadata)),
        lossy: trace.lossy,
        ..Trace::started(id, started)
    }
}
