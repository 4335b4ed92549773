//! Sanitizes texts of a receiver, and formats errors of libraries.

use serde::Deserialize;

use crate::config::secret::ApiKey;

/// Maximum characters of a receiver's text that are passed on (the same as in the official SDK).
const CHARS: usize = 300;

/// Returns a receiver's text on one line, without the key, cut to a maximum length. `None` when it is empty.
pub(crate) fn peer_message(text: &str, api_key: &ApiKey) -> Option<String> {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    // The key is removed before the cut: a part of the key that the cut leaves would not be found.
    let text: String = api_key.remove_from(&text).chars().take(CHARS).collect();
    (!text.is_empty()).then_some(text)
}

/// Returns the reason in the JSON of an HTTP response, sanitized in the same way.
pub(crate) fn reason(body: &[u8], api_key: &ApiKey) -> Option<String> {
    #[derive(Deserialize)]
    struct Refusal {
        #[serde(alias = "message")]
        error: String,
    }
    let refusal: Refusal = serde_json::from_slice(body).ok()?;
    peer_message(&refusal.error, api_key)
}

/// Formats an error and its causes in one line.
pub(crate) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut causes = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = match error.downcast_ref::<hyper_util::client::legacy::Error>() {
            Some(error) if error.is_connect() => "no connection".to_owned(),
            Some(_) => "no answer".to_owned(),
            None => error.to_string(),
        };
        if causes.last() != Some(&text) {
            causes.push(text);
        }
        next = error.source();
    }
    causes.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reason_in_json_is_passed_on_and_not_much_of_it() {
        let reason = |body: &[u8]| reason(body, &"rt_x".into());
        assert_eq!(reason(br#"{"error":"no\nway"}"#).as_deref(), Some("noway"));
        assert_eq!(reason(br#"{"message":"m","x":1}"#).as_deref(), Some("m"));
        assert_eq!(reason(format!(r#"{{"error":"{}"}}"#, "é".repeat(1_000)).as_bytes()).unwrap().chars().count(), 300);
        for other in [&b"<html>"[..], b"", b"{}", b"\xff", br#"{"error":""}"#] {
            assert_eq!(reason(other), None);
        }
    }

    #[test]
    fn no_part_of_the_key_is_left() {
        let key = ApiKey::from("rt_secret");
        assert_eq!(peer_message("bad rt_sec\nret!", &key).as_deref(), Some("bad …!"));
        let long = peer_message(&format!("{}rt_secret", "x".repeat(297)), &key).unwrap();
        assert!(long.ends_with("x…"), "{long}");
    }
}
