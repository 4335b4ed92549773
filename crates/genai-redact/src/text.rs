//! Credentials in texts: known by their form, by the words before them, or by their place in a URL.

use std::borrow::Cow;
use std::ops::Range;

use crate::keys::{CREDENTIALS, Match, ends_with, is_credential_parameter};
use crate::{MARKER, Place};

/// Beginnings of keys and tokens, each with who issues them. What follows must look random.
static FORMS: &[(&str, &str)] = &[
    ("sk-", "OpenAI, Anthropic (sk-ant-), DeepSeek, OpenRouter (sk-or-), LiteLLM, Langfuse (sk-lf-)"),
    ("ek_", "OpenAI ephemeral key of a realtime session"),
    ("AIza", "Google"),
    ("ya29.", "Google OAuth"),
    ("gsk_", "Groq"),
    ("xai-", "xAI"),
    ("hf_", "Hugging Face"),
    ("rt_", "Retrace"),
    ("pplx-", "Perplexity"),
    ("r8_", "Replicate"),
    ("nvapi-", "NVIDIA"),
    ("fw_", "Fireworks"),
    ("tgp_v1_", "Together"),
    ("csk-", "Cerebras"),
    ("pa-", "Voyage"),
    ("jina_", "Jina"),
    ("pcsk_", "Pinecone"),
    ("tvly-", "Tavily"),
    ("dapi", "Databricks"),
    ("lsv2_", "LangSmith"),
    ("AKIA", "AWS access key id"),
    ("ASIA", "AWS temporary access key id"),
    ("ABSK", "Amazon Bedrock API key"),
    ("bedrock-api-key-", "Amazon Bedrock short-term API key"),
    ("ghp_", "GitHub"),
    ("gho_", "GitHub"),
    ("ghs_", "GitHub"),
    ("ghu_", "GitHub"),
    ("github_pat_", "GitHub"),
    ("glpat-", "GitLab"),
    ("xoxb-", "Slack"),
    ("xoxp-", "Slack"),
    ("sk_live_", "Stripe"),
    ("sk_test_", "Stripe"),
    ("rk_live_", "Stripe"),
    ("whsec_", "Standard Webhooks"),
    ("ntn_", "Notion"),
    ("AQ.", "Google, keys bound to a service account"),
    ("1//0", "Google OAuth refresh token"),
    ("GOCSPX-", "Google OAuth client secret"),
    ("sk_", "ElevenLabs, Clerk"),
    ("vck_", "Vercel AI Gateway"),
    ("fc-", "Firecrawl"),
    ("ctx7sk-", "Context7"),
    ("e2b_", "E2B"),
    ("bb_live_", "Browserbase"),
    ("apify_api_", "Apify"),
    ("phx_", "PostHog"),
    ("lin_api_", "Linear"),
    ("figd_", "Figma"),
    ("ghr_", "GitHub"),
    ("xapp-", "Slack"),
    ("xoxa-", "Slack"),
    ("xoxe", "Slack"),
    ("SG.", "SendGrid"),
    ("sbp_", "Supabase"),
    ("sntrys_", "Sentry"),
    ("dop_v1_", "DigitalOcean"),
    ("glsa_", "Grafana"),
    ("NRAK-", "New Relic"),
    ("hvs.", "HashiCorp Vault"),
    ("dckr_pat_", "Docker"),
    ("pat-na1-", "HubSpot"),
    ("shpat_", "Shopify"),
    ("ATATT3", "Atlassian"),
    ("pul-", "Pulumi"),
    ("eyJ", "JSON Web Token, RFC 7519"),
];

/// Schemes of the header `Authorization`.
const SCHEMES: [&str; 2] = ["bearer ", "basic "];
/// Schemes that some APIs have besides, known only where the name of a header or member stands before them.
const OTHER_SCHEMES: [&str; 6] = ["token ", "apikey ", "api-key ", "zenapikey ", "snowflake ", "digest "];
/// Shortest part after a known beginning that may be a key.
const SHORTEST: usize = 6;
/// From this length on a part without a digit may be a key.
const LONG: usize = 20;

/// Redacts the text of an error: credentials in URLs, those of a known form, and what follows words such as `API key
/// provided:`. A text that is JSON is read as that.
#[must_use]
pub fn error(text: &str) -> Cow<'_, str> {
    Place::Error.text(text).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// Redacts a URL: the user before its host and the parameters that are credentials.
#[must_use]
pub fn url(text: &str) -> Cow<'_, str> {
    replaced(text, &Scan { text, is_url: true, has_forms: false, has_words: false }.ranges())
        .map_or(Cow::Borrowed(text), Cow::Owned)
}

pub(crate) fn by_form(text: &str) -> Option<String> {
    replaced(text, &Scan { text, is_url: true, has_forms: true, has_words: false }.ranges())
}

pub(crate) fn by_words(text: &str) -> Option<String> {
    replaced(text, &Scan { text, is_url: true, has_forms: true, has_words: true }.ranges())
}

fn replaced(text: &str, ranges: &[Range<usize>]) -> Option<String> {
    if ranges.is_empty() {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for range in ranges {
        out.push_str(text.get(at..range.start)?);
        out.push_str(MARKER);
        at = range.end;
    }
    out.push_str(text.get(at..)?);
    Some(out)
}

struct Scan<'t> {
    text: &'t str,
    is_url: bool,
    has_forms: bool,
    has_words: bool,
}

impl Scan<'_> {
    /// The credentials, in order and apart from each other. Costs one pass: what a word holds is looked at where it begins.
    fn ranges(&self) -> Vec<Range<usize>> {
        let bytes = self.text.as_bytes();
        let mut found = Vec::new();
        let (mut at, mut before) = (0, b' ');
        while let Some(&byte) = bytes.get(at) {
            let range = match byte {
                // A query alone.
                _ if at == 0 && self.is_url && !self.has_forms => self.parameter(0),
                byte if is_word(byte) => self.has_forms.then(|| self.form(at)).flatten(),
                b':' if self.is_url && self.rest(at).starts_with("://") => self.user(at + 3),
                b'?' | b'&' | b'#' if self.is_url => self.parameter(at + 1),
                _ => None,
            };
            let range = range.or_else(|| {
                let separates = matches!(byte, b':' | b'=') || matches!(byte, b'"' | b'\'' | b'`') && before == b' ';
                // `API key abc123 is not valid`, `API key (abc123)`: only what can be nothing but a key.
                let follows = || matches!(byte, b' ' | b'(') && self.is_long_random(at);
                (self.has_words && (separates || follows())).then(|| self.after_words(at, separates)).flatten()
            });
            match range.filter(|range| !range.is_empty() && self.text.get(range.clone()) != Some(MARKER)) {
                Some(range) => {
                    at = range.end.max(at + 1);
                    before = b' ';
                    found.push(range);
                }
                None if is_word(byte) => {
                    at = self.run(at, is_word).end;
                    before = byte;
                }
                None => {
                    // Most bytes between words mean nothing.
                    at = self.run(at + 1, is_nothing).end;
                    before = bytes.get(at.saturating_sub(1)).copied().unwrap_or(b' ');
                }
            }
        }
        found
    }

    fn rest(&self, at: usize) -> &str {
        self.text.get(at..).unwrap_or_default()
    }

    /// How far bytes go on that hold this.
    fn run(&self, at: usize, holds: impl Fn(u8) -> bool) -> Range<usize> {
        let bytes = self.text.as_bytes().get(at..).unwrap_or_default();
        let length = bytes.iter().position(|byte| !holds(*byte)).unwrap_or(bytes.len());
        at..at + length
    }

    /// The user and the password before a host.
    fn user(&self, at: usize) -> Option<Range<usize>> {
        let authority = self.run(at, |byte| !matches!(byte, b'/' | b'?' | b'#') && !ends_url(byte));
        let length = self.text.get(authority)?.rfind('@')?;
        Some(at..at + length)
    }

    /// The value of a parameter that is a credential.
    fn parameter(&self, at: usize) -> Option<Range<usize>> {
        let name = self.run(at, |byte| byte.is_ascii_alphanumeric() || b"-_.%[]".contains(&byte));
        let value = name.end + 1;
        let is_one = self.text.as_bytes().get(name.end) == Some(&b'=') && is_credential_parameter(self.text.get(name)?);
        is_one.then(|| self.run(value, |byte| !matches!(byte, b'&' | b'#') && !ends_url(byte)))
    }

    /// A key or token of a known form that begins here.
    fn form(&self, at: usize) -> Option<Range<usize>> {
        let first = self.text.as_bytes().get(at)?;
        let scheme = if matches!(first, b'b' | b'B') { scheme_of(self.rest(at), &SCHEMES) } else { None };
        if let Some(scheme) = scheme {
            let token = self.token(at + scheme.len());
            return is_random(self.text.get(token.clone())?).then_some(token);
        }
        // Most words are shorter.
        if !self.text.as_bytes().get(at..at + SHORTEST + 2)?.iter().all(|byte| is_token(*byte)) {
            return None;
        }
        let rest = self.rest(at);
        let (begin, _) =
            FORMS.iter().find(|(begin, _)| begin.as_bytes().first() == Some(first) && rest.starts_with(begin))?;
        let token = self.token(at);
        let after = self.text.get(at + begin.len()..token.end)?;
        is_random(after).then_some(token)
    }

    fn token(&self, at: usize) -> Range<usize> {
        let run = self.run(at, is_token);
        let text = self.text.get(run.clone()).unwrap_or_default();
        at..at + text.trim_end_matches(['.', ':', '=', '/']).len().max(text.trim_end_matches(['.', ':', '/']).len())
    }

    /// Returns true if a long token with letters and digits follows.
    fn is_long_random(&self, at: usize) -> bool {
        const LEAST: usize = 16;
        let token = self.token(self.run(at, |byte| matches!(byte, b' ' | b'(')).end);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        self.text.get(token).is_some_and(|token| {
            token.len() >= LEAST
                && token.bytes().all(is_plain)
                && token.bytes().any(|byte| byte.is_ascii_digit())
                && token.bytes().any(|byte| byte.is_ascii_alphabetic())
        })
    }

    /// The value after words that name a credential, which end here. Words such as `key` name one only before a separator.
    fn after_words(&self, at: usize, separates: bool) -> Option<Range<usize>> {
        /// Bytes in which the words must be.
        const NEAR: usize = 48;
        let mut from = at.saturating_sub(NEAR);
        while !self.text.is_char_boundary(from) {
            from += 1;
        }
        let words = self.text.get(from..at)?;
        let words = words
            .rfind(['\n', ',', ';', '&', '?', '{', '('])
            .map_or(words, |end| words.get(end + 1..).unwrap_or_default());
        let is_member = words.trim_end().ends_with(['"', '\'', '`']);
        let words = words.trim_end_matches([' ', '"', '\'', '`', ')', ']', '\\']);
        let words = [" provided", " supplied", " is", " was", " used"]
            .iter()
            .find_map(|filler| words.strip_suffix(filler))
            .unwrap_or(words);
        let last = words.bytes().rev().find(u8::is_ascii_alphanumeric)?.to_ascii_lowercase();
        let named = |name| ends_with(words, name);
        let is_strong = CREDENTIALS.iter().any(|row| {
            matches!(row.by, Match::End | Match::Whole)
                && row.name.as_bytes().last() == Some(&last)
                && named(row.name).is_some_and(|rest| {
                    // Words of prose, unless they are the name of a member or a part of one.
                    let is_prose =
                        matches!(row.name, "headers" | "authentication" | "auth" | "secrets" | "credentials");
                    !is_prose || is_member || rest.ends_with(['_', '-'])
                })
        });
        let is_weak = || {
            ["token", "key", "signature", "auth", "sig"]
                .iter()
                .any(|name| named(name).is_some_and(|rest| !rest.ends_with(|c: char| c.is_alphanumeric() || c == '_')))
        };
        if !(is_strong || separates && is_weak()) {
            return None;
        }
        let mut value = self
            .run(at, |byte| matches!(byte, b':' | b'=' | b' ' | b'"' | b'\'' | b'`' | b'[' | b'(' | b'<' | b'\\'))
            .end;
        let scheme = scheme_of(self.rest(value), &SCHEMES);
        if let Some(scheme) = scheme.or_else(|| scheme_of(self.rest(value), &OTHER_SCHEMES).filter(|_| is_strong)) {
            value += scheme.len();
        }
        let token = self.token(value);
        let text = self.text.get(token.clone())?;
        (text != "redacted" && (is_strong && text.len() > 2 || is_random(text))).then_some(token)
    }
}

/// The scheme that a text begins with.
fn scheme_of(text: &str, schemes: &[&'static str]) -> Option<&'static str> {
    schemes.iter().copied().find(|scheme| text.get(..scheme.len()).is_some_and(|own| own.eq_ignore_ascii_case(scheme)))
}

const WORD: u8 = 1;
const TOKEN: u8 = 1 << 1;
const ENDS_URL: u8 = 1 << 2;
/// The byte stands between words and begins nothing.
const NOTHING: u8 = 1 << 3;

/// The classes of each byte.
#[allow(clippy::indexing_slicing)] // a byte is a place among 256
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    loop {
        let mut class = 0;
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') {
            class |= WORD;
        }
        if byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'_' | b'-' | b'.' | b'~' | b'+' | b'/' | b'=' | b'*' | b'%' | b'!' | b'$' | b'^' | b'@' | b':' | b'#'
            )
        {
            class |= TOKEN;
        }
        if byte.is_ascii_whitespace()
            || byte.is_ascii_control()
            || matches!(
                byte,
                b'"' | b'\'' | b'`' | b'<' | b'>' | b'(' | b')' | b'{' | b'}' | b'|' | b'\\' | b'^' | b','
            )
        {
            class |= ENDS_URL;
        }
        if class & WORD == 0 && !matches!(byte, b':' | b'=' | b'?' | b'&' | b'#' | b'"' | b'\'' | b'`') {
            class |= NOTHING;
        }
        classes[byte as usize] = class;
        if byte == u8::MAX {
            break;
        }
        byte += 1;
    }
    classes
};

fn is_of(byte: u8, class: u8) -> bool {
    CLASSES.get(usize::from(byte)).is_some_and(|own| own & class != 0)
}

fn is_word(byte: u8) -> bool {
    is_of(byte, WORD)
}

fn is_token(byte: u8) -> bool {
    is_of(byte, TOKEN)
}

fn ends_url(byte: u8) -> bool {
    is_of(byte, ENDS_URL)
}

fn is_nothing(byte: u8) -> bool {
    is_of(byte, NOTHING)
}

/// Returns true if a text looks like a key rather than a word.
fn is_random(text: &str) -> bool {
    text.len() >= SHORTEST && text.bytes().any(|byte| byte.is_ascii_digit() || byte == b'*') || text.len() >= LONG
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_providers_keep_their_words() {
        for (text, expected) in [
            (
                "Incorrect API key provided: sk-abc***wxyz. You can find it at https://x.",
                "Incorrect API key provided: [redacted]. You can find it at https://x.",
            ),
            ("API key not valid: AIzaSyD-1234567890abcdefghijklmnopqrstu", "API key not valid: [redacted]"),
            (
                "error sending request for url (https://h/v1beta/models/m:generateContent?alt=sse&key=canary)",
                "error sending request for url (https://h/v1beta/models/m:generateContent?alt=sse&key=[redacted])",
            ),
            ("connect to redis://user:pa-ss@h:6379/0 failed", "connect to redis://[redacted]@h:6379/0 failed"),
            ("bad header 'Authorization: Bearer canary'", "bad header 'Authorization: Bearer [redacted]'"),
            ("Bearer abc123def456 is expired", "Bearer [redacted] is expired"),
            ("invalid x-api-key: canary", "invalid x-api-key: [redacted]"),
            (
                r#"request {"api_key": "canary", "model": "m"} failed"#,
                r#"request {"api_key": "[redacted]", "model": "m"} failed"#,
            ),
            ("The API key 'canary' is unknown", "The API key '[redacted]' is unknown"),
            (
                "Credential=AKIA123/20250101, SignedHeaders=host, Signature=abcdef0123",
                "Credential=[redacted], SignedHeaders=host, Signature=[redacted]",
            ),
            (
                "AccountName=a;AccountKey=Zm9vYmFy==;EndpointSuffix=x",
                "AccountName=a;AccountKey=[redacted];EndpointSuffix=x",
            ),
            ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln expired", "token [redacted] expired"),
            ("client_secret=s3cr3t&grant_type=x", "client_secret=[redacted]&grant_type=x"),
        ] {
            assert_eq!(error(text), expected);
            assert_eq!(error(expected), expected, "once");
        }
    }

    #[test]
    fn other_errors_stay() {
        for text in [
            "",
            "Rate limit reached for gpt-4o in organization org-1: Limit 3, Used 3.",
            "max_tokens: 5000 > 4096, which is too many",
            "Unexpected token: identifier",
            "Invalid key: expected string",
            "The security token included in the request is invalid.",
            "Unsupported parameter: 'max_tokens' is not supported",
            "see https://platform.openai.com/docs?page=2#errors",
            "sk-learn is fine",
            "authentication: failed",
            "naïve é://ü?ö#ä",
            "messages.0.content: field required",
        ] {
            assert_eq!(error(text), text);
        }
    }

    #[test]
    fn urls_keep_what_is_no_credential() {
        let signed = "https://b.s3.amazonaws.com/a.png?X-Amz-Credential=AKIA%2F1&X-Amz-Date=2&X-Amz-Signature=ab&x=1";
        assert_eq!(
            url(signed),
            "https://b.s3.amazonaws.com/a.png?X-Amz-Credential=[redacted]&X-Amz-Date=2&X-Amz-Signature=[redacted]&x=1"
        );
        for plain in ["https://h/a.png?w=1&h=2#top", "gs://bucket/a", "data:image/png;base64,QUJD", "file_1"] {
            assert_eq!(url(plain), plain);
        }
    }

    /// Texts in which each byte could begin something. Were one of them read twice for each byte, this would not end.
    #[test]
    fn long_texts_are_read_in_linear_time() {
        const LENGTH: usize = 40_000;
        for piece in [
            "x",
            "=",
            ":",
            "?a",
            "&key",
            "sk-",
            "sk-/",
            "bearer ",
            "key=",
            "key:/",
            "://",
            "://a@",
            "token ",
            "'",
            " \"",
            "api_key: ",
            "?key=",
            "-",
            "\u{e9}",
        ] {
            let text = piece.repeat(LENGTH / piece.len());
            for text in [text.clone(), format!("{{\"{text}"), format!("token{text}"), format!("https://a?key={text}")] {
                for place in [Place::Error, Place::Body, Place::Label, Place::Url] {
                    let redacted = place.text(&text).unwrap_or_else(|| text.clone());
                    assert!(redacted.len() <= text.len() * MARKER.len(), "{piece}");
                }
            }
        }
    }
}
