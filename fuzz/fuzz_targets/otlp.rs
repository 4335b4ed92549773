//! The OTLP reader, protobuf and JSON, and the translation of what it read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use retrace_translate::{Options, SpanSelection};

fuzz_target!(|data: &[u8]| {
    retrace_local::fuzzing::otlp(data);
    let mut options = Options::default();
    options.selection = SpanSelection::All;
    let Ok(translated) = retrace_local::translate([data], options) else { return };
    translated.traces.iter().for_each(fuzz::check);
});
