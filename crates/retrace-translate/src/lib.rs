//! What an OpenTelemetry span means to Retrace.
//!
//! Spans go in through [`SpanView`], whoever holds them; a [`Recorder`] groups them into runs and says each run once, as
//! the records of [`retrace_protocol`]: whole when it has ended, or while it happens, to who sees spans begin. In between
//! the GenAI dialects are told apart: attributes find their places, messages one shape, tokens are counted once, tools that
//! only messages show become spans.
//!
//! Pure and total: no I/O, no clock, no environment, no SDK. The same spans give the same bytes; nothing that a span can
//! hold makes it fail or panic, and what it writes is JSON that a strict reader takes.
//!
//! MAPPING.md, which this documentation cites and which is not in the repository yet, is the table of what becomes what. A dialect is one file under
//! `src/dialect/`: a table of attribute keys, and the little code that the shape of its messages needs.
//!
//! It speaks OpenTelemetry's conventions in their generations (attributes, an event for each message, an event with all
//! details), OpenInference, OpenLLMetry, the Vercel AI SDK, pydantic-ai and Logfire, Langfuse, MLflow, LiveKit, Google's ADK
//! and Genkit, Spring AI, Claude Code, LangSmith, OpenLIT, CrewAI, Microsoft's Agent Framework, AG2, Haystack, Braintrust, vLLM,
//! Dify, and `retrace.*`. What a dialect flattened into keys such as `llm.input_messages.0.message.role` is put together again;
//! where only the request or the answer of a provider's API was recorded, its messages are read.
//!
//! # Features
//! `prices` (default): the cost of a model call is computed from a bundled price table when no attribute states it.
//!
//! # Decisions
//! - A tool span shows what it recorded. Where it has no arguments, those of the call in the model's answer are not copied to it:
//!   the call is shown with them by the model call, and `metadata.tool_call_id` ties the two.
//! - Finish reasons stay in the words of the provider. A text that is a JSON list is that list; reasons that a gateway joined into one
//!   text are one reason, as no API says how they would be joined.
//! - A tool call whose parts were recorded under several indices is as many calls: once recorded, nothing tells it from several
//!   calls. `opentelemetry-instrumentation-genai` joins the deltas of a stream, where ids and names show it.
//! - A usage object of a provider is read by the table of [`genai_usage`], which `opentelemetry-instrumentation-genai` shares.
//! - No list is all or nothing: an element of an unknown kind is kept, and everything around it is read. The result of a tool is a
//!   text where all of it is text, else what it was.
//!
//! # What this does not do
//! It does not send credentials: what a request, an error or an attribute has of them becomes `[redacted]`
//! ([`genai_redact`]); messages, and what tools are given and return, stay.
//!
//! It does not guess: a count of tokens is changed only where other counts prove that parts stand beside it, and what
//! nobody recorded stays unknown. A recorder does not shorten: content is as long as it came, but for inline media above
//! [`INLINE_MEDIA_CHARS`]. Who must make something smaller calls [`shorten()`].

pub mod attributes;
mod dialect;
mod fields;
mod json;
mod messages;
mod options;
mod price;
mod recorder;
mod resource;
mod span_reader;
mod usage;
mod view;

#[doc(hidden)]
pub use dialect::{KeyRelevance, QuickScan, is_content_event, is_own_span, key_relevance, quick_scan};
pub use json::{Shortened, repair, shorten};
pub use messages::INLINE_MEDIA_CHARS;
pub use options::{Options, SpanFacts, SpanPolicy, SpanSelection};
#[cfg(feature = "prices")]
pub use price::call_price;
#[doc(hidden)]
pub use recorder::rekey_run;
pub use recorder::{Correction, LiveEvent, LiveUpdate, Output, RecordedSpan, Recorder, RecorderLimits, Run};
pub use resource::Resource;
pub use view::{Caller, Dropped, EventView, Kind, LinkView, Parent, ScopeView, SpanView, StatusView, Value};
