//! Requests that are recorded as they were sent.

use retrace_protocol::Json;

use crate::Fingerprint;
use crate::document::canonical::Canonical;
use crate::document::{Document, Rules};

/// A request that holds no credential that [`redact`](crate::redact) replaces, as the text that was sent.
#[derive(Clone, Debug)]
pub struct CleanRequest {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) json: Json,
}

impl CleanRequest {
    /// Reads the body of a request of this name. `None` if it holds a credential, or is nothing that a strict reader accepts, such as one
    /// with U+0000: it is then parsed and redacted.
    ///
    /// Costs one pass over the text and one hash, and builds no tree.
    #[must_use]
    pub fn read(name: &str, model: Option<&str>, body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let canonical = Canonical::with_capacity(body.len() + body.len() / 8);
        let mut document = Document::new(text, Rules::Request, Some(canonical));
        let json = document.read_json()?;
        let canonical = document.canonical.filter(|_| !document.has_credential)?;
        let fingerprint = Fingerprint::of_canonical(name, model, &canonical);
        Some(Self { fingerprint, json })
    }

    /// Returns the fingerprint of the request.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::document::canonical::tests::digest_of_tree;
    use crate::redact;

    /// Reads a request, and as a tree, as one that is redacted is.
    fn assert_same(body: &str) -> bool {
        let Ok(tree) = serde_json::from_str::<Value>(body) else {
            assert!(CleanRequest::read("chat", None, body.as_bytes()).is_none(), "{body}");
            return false;
        };
        let mut redacted = tree.clone();
        redact(&mut redacted);
        let digest = digest_of_tree("chat", Some("m"), &tree);
        assert_eq!(Fingerprint::of("chat", Some("m"), &tree).0, digest, "{body}");
        match CleanRequest::read("chat", Some("m"), body.as_bytes()) {
            Some(clean) => {
                assert_eq!(redacted, tree, "{body}");
                assert_eq!(genai_redact::json(body, genai_redact::Place::Body), None, "{body}");
                assert_eq!((clean.fingerprint.0, clean.json.to_value().unwrap()), (digest, tree), "{body}");
                true
            }
            None => false,
        }
    }

    #[test]
    fn requests_without_credentials_are_read_as_they_are() {
        for body in [
            r#"{"stream":true,"model":"m","messages":[{"role":"user","content":"say \"hi\"\nthere 12"}],"a":1.0,"b":-0.0,"c":1e20}"#,
            r#" {"b":{"id":"x"},"a":1,"b":{"type":"function","id":"y","type":"other"},"model":null} "#,
            r#"{"messages":[{"id":"i","type":"message","content":[{"tool_use_id":"j","id":"i","type":"tool_use"},{"tool_use_id":"i"}]},{"call_id":"j"}]}"#,
            r#"[{"model":"m"},"a",[]]"#,
            r#"{"tool_calls":[{"function":{"arguments":"{\"city\":\"Oslo\"}","name":"f"},"id":"call_1","type":"function"}]}"#,
            "null",
            "\"text\"",
        ] {
            assert!(assert_same(body), "{body}");
        }
    }

    #[test]
    fn credentials_and_what_is_no_json_are_left_to_others() {
        let key = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD";
        let nul = r#"{"a":"\u0000"}"#;
        for body in [
            json!({"messages": [{"role": "user", "content": format!("use {key} now")}]}).to_string(),
            json!({"api_key": "hunter2"}).to_string(),
            json!({"password": 1234}).to_string(),
            json!({"metadata": "{\"api_key\":\"hunter2\"}"}).to_string(),
            json!({"tools": [{"server_url": "https://u:p@h/"}]}).to_string(),
            json!({"image_url": {"url": "https://h/?sig=a"}}).to_string(),
            nul.to_owned(),
            "{".to_owned(),
            "{} {}".to_owned(),
            r#"{"a":"\ud800"}"#.to_owned(),
            String::new(),
        ] {
            assert!(!assert_same(&body), "{body}");
        }
        assert!(CleanRequest::read("chat", None, b"{\"a\":\"\xff\"}").is_none());
    }

    /// Texts of documents, with members of equal names.
    fn any_document() -> impl Strategy<Value = String> {
        let names = "(api_key|headers|properties|error|message|messages|arguments|url|env|type|id|call_id|model|tools|x|a\\\\u0062)";
        let texts = "\"(function|message|a|sk-abcdef12345|[a-z0-9 é=@*]{0,24}|https://a:b@c/\\?key=d|a\\\\n\\\\u0041|\\{\\\\\"api_key\\\\\":\\\\\"x\\\\\"\\})\"";
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            "-?[1-9][0-9]{0,17}(\\.[05])?(e[0-9])?",
            texts
        ];
        leaf.prop_recursive(5, 40, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
                prop::collection::vec((names, inner), 0..6).prop_map(|members| {
                    let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                    format!("{{{}}}", members.join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_request_is_what_its_tree_is(body in any_document()) {
            assert_same(&body);
        }
    }
}
