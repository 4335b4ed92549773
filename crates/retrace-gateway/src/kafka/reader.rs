//! Messages of the Collector's Kafka exporter: from bytes to requests.

use retrace_otlp::OtlpRequest;

use crate::config::{Encoding, Signal};

/// Reads messages of one encoding and kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader {
    pub(crate) encoding: Encoding,
    pub(crate) signal: Signal,
}

impl Reader {
    /// Decodes a message; the error is the reason for which it cannot be read.
    pub(crate) fn read(self, payload: Option<&[u8]>) -> Result<OtlpRequest, String> {
        let Some(payload) = payload else { return Err("the message has no payload".to_owned()) };
        match (self.encoding, self.signal) {
            (Encoding::Json, _) => OtlpRequest::from_json_message(payload).map_err(|refusal| refusal.error),
            (Encoding::Proto, Signal::Traces) => {
                OtlpRequest::spans_from_protobuf(payload).map_err(|error| format!("no otlp_proto of traces: {error}"))
            }
            (Encoding::Proto, Signal::Logs) => {
                OtlpRequest::logs_from_protobuf(payload).map_err(|error| format!("no otlp_proto of logs: {error}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_has_a_reason() {
        let proto = Reader { encoding: Encoding::Proto, signal: Signal::Traces };
        let json = Reader { encoding: Encoding::Json, signal: Signal::Traces };
        assert!(proto.read(None).unwrap_err().contains("no payload"));
        assert!(proto.read(Some(b"hello")).unwrap_err().contains("otlp_proto"));
        assert!(json.read(Some(b"hello")).unwrap_err().contains("JSON"));
        assert!(json.read(Some(b"{}")).unwrap().spans.is_empty());
        assert!(json.read(Some(b"[]")).unwrap().spans.is_empty());
    }
}
