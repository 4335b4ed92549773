//! The model calls of a cassette without their lanes.

use std::io::{Seek as _, SeekFrom};

use retrace_protocol::SpanType;
use retrace_replay::cassette::{Cassette, CassetteError, CassetteWriter};
use retrace_replay::{Lane, Secrets};

/// Copies the model calls of a cassette, one at a time, into an unnamed temporary file, and opens it.
///
/// # Errors
/// Returns the errors of the cassette and of the temporary file.
pub(super) fn flatten(cassette: &mut Cassette) -> Result<Cassette, CassetteError> {
    let name = cassette.file().to_owned();
    let io = |error| CassetteError::io("of the model calls in the temporary directory", None, error);
    let file = tempfile::tempfile().map_err(io)?;
    let mut writer = CassetteWriter::begin(&name, file, cassette.header(), Secrets::default())?;
    for at in 0..cassette.index().len() {
        let is_model_call = cassette.index().get(at).is_some_and(|entry| entry.span_type == SpanType::LlmCall);
        if let Some(mut entry) = cassette.entry(at)?.filter(|_| is_model_call) {
            entry.lane = Lane::root();
            writer.push(entry)?;
        }
    }
    let mut file = writer.finish()?;
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    Cassette::open(&name, file)
}
