//! What a receiver says, made fit to be passed on; and what our own libraries say.

use serde::Deserialize;

use crate::secret::ApiKey;

/// Most characters of a receiver's words that are passed on (what the official SDK shows).
const CHARS: usize = 300;

/// The receiver's words: on one line, without the key, not too many. `None` when there are none.
pub(crate) fn words(text: &str, api_key: &ApiKey) -> Option<String> {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    // The key goes first: what is left of one that was cut off would not be known for it.
    let text: String = api_key.remove_from(&text).chars().take(CHARS).collect();
    (!text.is_empty()).then_some(text)
}

/// The same of an HTTP answer that gives its reason in JSON.
pub(crate) fn reason(body: &[u8], api_key: &ApiKey) -> Option<String> {
    #[derive(Deserialize)]
    struct Refusal {
        #[serde(alias = "message")]
        error: String,
    }
    let refusal: Refusal = serde_json::from_slice(body).ok()?;
    words(&refusal.error, api_key)
}

/// An error and its causes in one line.
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
        assert_eq!(words("bad rt_sec\nret!", &key).as_deref(), Some("bad …!"));
        let long = words(&format!("{}rt_secret", "x".repeat(297)), &key).unwrap();
        assert!(long.ends_with("x…"), "{long}");
    }
}
