//! Cassettes as anybody may have edited them, and the golden files of the official SDK.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use retrace_replay::cassette::{Cassette, CassetteWriter};
use retrace_replay::{Secrets, golden};

fuzz_target!(|data: &[u8]| {
    golden_file(data);
    let Ok(mut cassette) = Cassette::open("fuzz", Cursor::new(data.to_vec())) else { return };
    let header = cassette.header().clone();
    let mut writer = CassetteWriter::begin("fuzz", Vec::new(), &header, Secrets::default()).expect("memory takes it");
    let mut entries = Vec::new();
    for at in 0..cassette.index().len() {
        let Ok(Some(entry)) = cassette.entry(at) else { return };
        // Redaction may change it; what is written is read back as it was written.
        let mut entry = entry;
        Secrets::default().redact(&mut entry);
        entry.ordinal = at as u64;
        if writer.push(entry.clone()).is_err() {
            return;
        }
        entries.push(entry);
    }
    let file = writer.finish().expect("memory takes it");
    let mut again = Cassette::open("fuzz", Cursor::new(file)).expect("what is written is a cassette");
    assert_eq!(again.index().len(), entries.len());
    for (at, entry) in entries.into_iter().enumerate() {
        let mut read = again.entry(at).expect("it is valid").expect("it is there");
        // Line ends between the tokens of verbatim JSON are left out.
        assert_eq!(read.request.to_value().ok(), entry.request.to_value().ok());
        read.request = entry.request.clone();
        if let (retrace_replay::cassette::Outcome::Value(ours), retrace_replay::cassette::Outcome::Value(theirs)) =
            (&mut read.outcome, &entry.outcome)
        {
            assert_eq!(ours.to_value().ok(), theirs.to_value().ok());
            *ours = theirs.clone();
        }
        assert_eq!(read, entry);
    }
});

/// A golden file that can be read is written and read back the same, and its entries can be made.
fn golden_file(data: &[u8]) {
    let Ok(file) = golden::read("fuzz", data) else { return };
    let mut written = Vec::new();
    golden::write("fuzz", &file, &mut written).expect("memory takes it");
    let again = golden::read("fuzz", written.as_slice()).expect("what is written is a golden file");
    assert_eq!(again, file);
    let _ = golden::entries(&file);
    let _ = file.tolerance.as_ref().map(golden::tolerance);
}
