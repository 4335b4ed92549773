#![doc = include_str!("../README.md")]

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
