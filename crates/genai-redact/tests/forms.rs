//! Credentials in the forms and places that issuers and providers document.

use genai_redact::{MARKER, Place, error, json, url};

const SECRET: &str = "Qw7e8r9t0y1u2i3o4p5a6s7d";

#[test]
fn keys_of_known_issuers_are_found_in_errors() {
    // Each beginning is documented by its issuer, or listed in GitHub's supported secret scanning patterns.
    for begin in [
        "AQ.Ab8",
        "1//0",
        "GOCSPX-",
        "sk_",
        "vck_",
        "fc-",
        "ctx7sk-",
        "e2b_",
        "bb_live_",
        "apify_api_",
        "phx_",
        "lin_api_",
        "figd_",
        "ghr_",
        "xapp-1-",
        "xoxa-2-",
        "xoxe.xoxp-1-",
        "SG.",
        "sbp_",
        "sntrys_",
        "dop_v1_",
        "glsa_",
        "NRAK-",
        "hvs.",
        "dckr_pat_",
        "pat-na1-",
        "shpat_",
        "ATATT3xFf",
        "pul-",
    ] {
        let text = format!("request with {begin}{SECRET} failed");
        let redacted = error(&text);
        assert!(redacted.contains(MARKER) && !redacted.contains(SECRET), "{redacted}");
        assert!(redacted.starts_with("request with ") && redacted.ends_with(" failed"), "{redacted}");
    }
}

#[test]
fn keys_follow_words_without_a_colon() {
    for text in [
        "The provided API Key (@) is invalid",
        "api key @ is not valid",
        "invalid subscription key @",
        "API token @ expired",
        "Your API key @ has been disabled",
        "could not decode JWT @",
        "curl --api-key @ failed",
        "client secret @ was rejected",
        "sig=@",
    ] {
        let redacted = error(&text.replace('@', SECRET)).into_owned();
        assert_eq!(redacted, text.replace('@', MARKER));
    }
    for text in [
        "The API key belongs to organization 1234567890123456789",
        "API key not found for deployment",
        "secret manager projects/my-project/secrets is empty",
        "unknown key claude-sonnet-4-5-20250929 in table",
        "the token limit is 200000",
        "session sess-7f3a91c2d4e5 has ended",
    ] {
        assert_eq!(error(text), text);
    }
}

#[test]
fn signatures_of_every_cloud_are_found_in_urls() {
    for parameter in ["X-Tos-Signature", "q-signature", "x-oss-signature", "Signature", "x-bce-signature", "hm", "sig"]
    {
        let text = format!("https://cdn.example/a.png?x=1&{parameter}={SECRET}");
        assert_eq!(url(&text), text.replace(SECRET, MARKER));
    }
}

#[test]
fn json_is_read_when_it_is_quoted() {
    let inner = serde_json::json!([{"type": "mcp", "authorization": SECRET, "server_label": "a"}]).to_string();
    let once = serde_json::Value::from(inner).to_string();
    let twice = serde_json::Value::from(once.clone()).to_string();
    for text in [once, twice] {
        let redacted = Place::Body.text(&text).unwrap_or_default();
        assert!(redacted.contains(MARKER) && !redacted.contains(SECRET), "{redacted}");
    }
    assert_eq!(Place::Body.text("\"plain\""), None);
}

#[test]
fn members_of_configurations_are_known_by_their_names() {
    for name in [
        "openai_key",
        "anthropicKey",
        "apiKeys",
        "hmac_key",
        "auth_header",
        "mcp_token",
        "bearer",
        "x-vercel-protection-bypass",
    ] {
        let text = serde_json::json!({ "config": { name: SECRET } }).to_string();
        let redacted = json(&text, Place::Body).unwrap_or_default();
        assert!(redacted.contains(MARKER) && !redacted.contains(SECRET), "{name}: {redacted}");
    }
}
