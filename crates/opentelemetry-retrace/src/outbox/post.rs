//! One request that waits: a run, or a change of one that was sent.

use bytes::Bytes;
use retrace_protocol::metadata::{TraceMetadata, TraceOrigin};
use retrace_protocol::{Id, Json, Span, Timestamp, Trace, TracePatch, write};
use retrace_translate::rekey_run;
use std::time::Duration;

use crate::outbox::body::Body;
use crate::outbox::chunk::{self, Chunk};
use crate::outbox::record::RecordName;

/// Bytes of a trace as JSON beside its input and its output; most traces take less.
const HEAD: usize = 512;

/// Kind and content of a request.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// `POST /api/v1/traces` (PROTOCOL.md section 9.1).
    Create { trace: Box<Trace>, chunks: Vec<Chunk> },
    /// `PATCH /api/v1/traces/:id` (section 9.3). `missing` is the number of spans that are lost when it
    /// replaces a run that the receiver does not accept a second time.
    Patch { patch: Box<TracePatch>, missing: u64 },
}

/// Request that waits for its turn, or for its response.
#[derive(Debug)]
pub(crate) struct Post {
    pub id: Id,
    pub request: Request,
    /// Time at which it was added.
    pub since: Duration,
    pub attempts: u32,
    pub in_flight: bool,
    /// True if an attempt failed after it may have reached the receiver.
    pub may_have_landed: bool,
    /// True if the run was begun over a stream: the receiver may know it, and this is its remainder.
    pub begun: bool,
    /// True if the run belongs to another process: this holds steps of it.
    pub joined: bool,
    /// First id of this run, under which the receiver has another run.
    pub taken: Option<Id>,
    /// Name of its record in the spool, if it came from there.
    pub spooled_as: Option<RecordName>,
    /// Number of the first frame of the content, if it was sent as frames.
    pub first_frame: Option<u64>,
}

impl Post {
    pub(crate) fn new(id: Id, request: Request, since: Duration) -> Self {
        Self {
            id,
            request,
            since,
            attempts: 0,
            in_flight: false,
            may_have_landed: false,
            begun: false,
            joined: false,
            taken: None,
            spooled_as: None,
            first_frame: None,
        }
    }

    /// Number of accepted spans that depend on it.
    pub(crate) fn sources(&self) -> u64 {
        match &self.request {
            Request::Create { chunks, .. } => chunks.iter().map(|chunk| u64::from(chunk.sources)).sum(),
            Request::Patch { missing, .. } => *missing,
        }
    }

    /// Returns true if the receiver has nothing of the run yet, so that dropping it leaves no run open.
    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self.request, Request::Create { .. }) && !self.begun
    }

    pub(crate) fn has_spans(&self) -> bool {
        matches!(&self.request, Request::Create { chunks, .. } if !chunks.is_empty())
    }

    /// Gives the run an id of its own; returns the number of accepted spans lost.
    pub(crate) fn stand_alone(&mut self) -> u64 {
        (self.joined, self.may_have_landed, self.taken) = (false, false, Some(self.id.clone()));
        let Request::Create { trace, chunks } = &mut self.request else { return 0 };
        let (sources, spans): (Vec<u32>, Vec<Span>) =
            chunks.iter().filter_map(|chunk| Some((chunk.sources, chunk.read()?))).unzip();
        let before: u64 = chunks.iter().map(|chunk| u64::from(chunk.sources)).sum();
        let (moved, spans) = rekey_run(std::mem::take(&mut **trace), spans);
        **trace = moved;
        if let Some(id) = &trace.id {
            self.id = id.clone();
        }
        *chunks = spans.iter().zip(sources).filter_map(|(span, sources)| Chunk::new(span, sources)).collect();
        before - chunks.iter().map(|chunk| u64::from(chunk.sources)).sum::<u64>()
    }

    /// Drops the spans; returns the number of accepted spans lost.
    pub(crate) fn drop_spans(&mut self) -> u64 {
        let spans = self.sources();
        if let Request::Create { trace, chunks } = &mut self.request {
            *chunks = Vec::new();
            trace.lossy = Some(true);
        }
        spans
    }

    pub(crate) fn has_content(&self) -> bool {
        let (input, output) = match &self.request {
            Request::Create { trace, .. } => (trace.input.as_ref(), trace.output.as_ref()),
            Request::Patch { patch, .. } => (None, patch.output.as_ref()),
        };
        input.is_some() || output.is_some_and(|output| !output.is_null())
    }

    /// Drops the input and the output of the run; no span depends on them.
    pub(crate) fn drop_content(&mut self) -> u64 {
        let output = match &mut self.request {
            Request::Create { trace, .. } => {
                trace.input = None;
                &mut trace.output
            }
            Request::Patch { patch, .. } => &mut patch.output,
        };
        *output = output.take().map(|_| Json::null());
        0
    }

    /// Bytes of the request, with its entry in the outbox: an entry of an ordered table takes up to twice its
    /// size.
    pub(crate) fn weight(&self) -> usize {
        2 * size_of::<Self>()
            + match &self.request {
                Request::Create { trace, chunks } => {
                    let spare = chunks.capacity() - chunks.len();
                    let chunks = chunks.iter().map(Chunk::weight).sum::<usize>() + spare * size_of::<Chunk>();
                    size_of::<Trace>() + trace_weight(trace) + chunks
                }
                Request::Patch { patch, .. } => {
                    size_of::<TracePatch>() + length(&patch.output) + patch.error.as_ref().map_or(0, String::len)
                }
            }
    }

    pub(crate) fn body(&self) -> Body {
        let mut body = Body::default();
        match &self.request {
            Request::Patch { patch, .. } => body.push(write::to_string(patch).unwrap_or_default().into()),
            Request::Create { trace, chunks } => {
                let mut head = String::with_capacity(HEAD);
                // Every value of a trace can be written as JSON.
                let _ = match self.joined {
                    true => write::append(&mut head, &joined_head(trace)),
                    false => write::append(&mut head, &**trace),
                };
                head.pop();
                head.push_str(r#","spans":["#);
                body.push(head.into());
                chunk::fill(&mut body, chunks);
                body.push(Bytes::from_static(b"]}"));
            }
        }
        body
    }
}

/// Head of a run that belongs to another process: its id, and the fields that are shown until that process
/// sends more.
fn joined_head(trace: &Trace) -> Trace {
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

/// Bytes of all fields of a trace with variable length.
pub(crate) fn trace_weight(trace: &Trace) -> usize {
    let texts = [&trace.name, &trace.session_id, &trace.project_id, &trace.error];
    let texts = texts.into_iter().flatten().map(String::len).sum::<usize>();
    texts + length(&trace.input) + length(&trace.output) + length(&trace.metadata)
}

fn length(json: &Option<Json>) -> usize {
    json.as_ref().map_or(0, |json| json.as_str().len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use retrace_protocol::SpanType;

    pub(crate) fn post(spans: usize) -> Post {
        let at = Timestamp::from_unix_micros(1);
        let chunks = (0..spans)
            .map(|n| {
                let span = Span::new(Id::from(n.to_string()), "t".into(), SpanType::Action, "s", at.clone());
                Chunk::new(&span, 1).unwrap()
            })
            .collect();
        Post::new(
            "t".into(),
            Request::Create { trace: Box::new(Trace::started("t".into(), at)), chunks },
            Duration::ZERO,
        )
    }

    #[test]
    fn a_body_is_the_trace_with_its_spans() {
        for spans in 0..3 {
            let post = post(spans);
            let trace: Trace = serde_json::from_str(&post.body().to_text()).unwrap();
            assert_eq!(trace.spans.unwrap().len(), spans);
            assert_eq!(post.sources(), spans as u64);
            assert!(post.weight() as u64 >= post.body().length() / 2);
        }
    }
}
