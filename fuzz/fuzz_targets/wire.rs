//! What comes over the Retrace wire: frames of either side, bodies of requests, and the helpers that mend them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use retrace_protocol::json::{
    is_strict, non_finite_to_null, without_lone_surrogates, without_nul, without_refused_escapes,
};
use retrace_protocol::{ClientFrame, Json, ServerFrame, Timestamp};

fuzz_target!(|data: &[u8]| {
    retrace_local::fuzzing::body(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    retrace_local::fuzzing::frame(text);
    if let Ok(frame) = ClientFrame::parse(text) {
        let text = serde_json::to_string(&frame).expect("it can be written");
        let again = ClientFrame::parse(&text).expect("it can be read");
        assert_eq!(serde_json::to_string(&again).expect("it can be written"), text);
    }
    let _ = ServerFrame::parse(text);
    if let Some(json) = Json::parse_strict(text) {
        assert!(is_strict(json.as_str()));
    }
    assert!(!without_nul(text).contains('\0'));
    let _ = (non_finite_to_null(text), without_lone_surrogates(text));
    if serde_json::from_str::<serde_json::Value>(text).is_ok() {
        let mended = without_refused_escapes(text);
        assert!(serde_json::from_str::<serde_json::Value>(&mended).is_ok(), "{mended}");
    }
    let _ = Timestamp::from(text).unix_micros();
});
