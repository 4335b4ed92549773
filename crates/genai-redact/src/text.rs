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
    replaced(text, &Scan { text, has_forms: false, has_words: false }.ranges()).map_or(Cow::Borrowed(text), Cow::Owned)
}

pub(crate) fn by_form(text: &str) -> Option<String> {
    replaced(text, &Scan { text, has_forms: true, has_words: false }.ranges())
}

pub(crate) fn by_words(text: &str) -> Option<String> {
    replaced(text, &Scan { text, has_forms: true, has_words: true }.ranges())
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

/// Looks for the credentials of URLs.
struct Scan<'t> {
    text: &'t str,
    /// True if keys and tokens of a known form are credentials.
    has_forms: bool,
    /// True if what follows words such as `API key` is a credential.
    has_words: bool,
}

impl Scan<'_> {
    /// The credentials, in order and apart from each other. Costs one pass: what a word holds is looked at where it begins.
    fn ranges(&self) -> Vec<Range<usize>> {
        let bytes = self.text.as_bytes();
        let mut found = Vec::new();
        let (mut at, mut is_fresh) = (0, true);
        // End of the last credential.
        let mut end = 0;
        if !self.has_forms {
            // A query alone has a parameter at its beginning.
            let parameter = self.parameter(0).filter(|range| self.is_open(range));
            at = parameter.as_ref().map_or(0, |range| range.end);
            found.extend(parameter);
        }
        while let Some((place, byte)) = self.next_beginning(at, is_fresh) {
            let range = match byte {
                byte if is_word(byte) => self.form(place),
                b':' if self.rest(place).starts_with("://") => self.user(place + 3),
                b'?' | b'&' | b'#' => self.parameter(place + 1),
                _ => None,
            };
            let range = range.or_else(|| {
                let after_space = || place == end || bytes.get(place.wrapping_sub(1)) == Some(&b' ');
                let separates = matches!(byte, b':' | b'=') || matches!(byte, b'"' | b'\'' | b'`') && after_space();
                // `API key abc123 is not valid`, `API key (abc123)`: only what can be nothing but a key.
                let follows = || matches!(byte, b' ' | b'(') && self.is_long_random(place);
                (self.has_words && (separates || follows())).then(|| self.after_words(place, separates)).flatten()
            });
            match range.filter(|range| self.is_open(range)) {
                Some(range) => {
                    (at, is_fresh) = (range.end.max(place + 1), true);
                    end = at;
                    found.push(range);
                }
                None if is_word(byte) => (at, is_fresh) = (self.run(place, is_word).end, true),
                None => (at, is_fresh) = (place + 1, false),
            }
        }
        found
    }

    /// Returns true if a range is not empty and not redacted yet.
    fn is_open(&self, range: &Range<usize>) -> bool {
        !range.is_empty() && self.text.get(range.clone()) != Some(MARKER)
    }

    /// Returns the next position from `at` on where a credential may begin, and the byte there.
    ///
    /// `is_fresh` is true at the beginning of the text, after a word and after a credential. Elsewhere a space has no words
    /// before it.
    fn next_beginning(&self, at: usize, is_fresh: bool) -> Option<(usize, u8)> {
        let (stops, follows) = if self.has_words { (BEGINS_URL | SEPARATES, FOLLOWS) } else { (BEGINS_URL, 0) };
        let mut bytes = self.text.as_bytes().get(at..)?.iter();
        if let Some(byte) = bytes.as_slice().first().filter(|byte| is_fresh && is_of(**byte, follows)) {
            return Some((at, *byte));
        }
        loop {
            let byte = *bytes.find(|byte| is_of(**byte, WORD | stops))?;
            let begins = |second: &u8| self.has_forms && may_begin(byte, *second);
            if !is_word(byte) || bytes.as_slice().first().is_some_and(begins) {
                return Some((self.text.len() - bytes.len() - 1, byte));
            }
            let after = *bytes.find(|byte| !is_word(**byte))?;
            if is_of(after, stops | follows) {
                return Some((self.text.len() - bytes.len() - 1, after));
            }
        }
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
/// A part of a URL that may hold a credential begins after the byte.
const BEGINS_URL: u8 = 1 << 3;
/// The byte may separate words from the credential that they name.
const SEPARATES: u8 = 1 << 4;
/// A credential may follow the byte, after words that name it.
const FOLLOWS: u8 = 1 << 5;

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
        if matches!(byte, b':' | b'?' | b'&' | b'#') {
            class |= BEGINS_URL;
        }
        if matches!(byte, b':' | b'=' | b'"' | b'\'' | b'`') {
            class |= SEPARATES;
        }
        if matches!(byte, b' ' | b'(') {
            class |= FOLLOWS;
        }
        classes[byte as usize] = class;
        if byte == u8::MAX {
            break;
        }
        byte += 1;
    }
    classes
};

/// For each byte the second bytes of [`FORMS`] and [`SCHEMES`] that begin with it: a set of their lower five bits, which are
/// the same for both cases of a letter.
#[allow(clippy::indexing_slicing)] // a byte is a place among 256
static SECONDS: [u32; 256] = {
    let mut seconds = [0; 256];
    let mut at = 0;
    while at < FORMS.len() {
        let begin = FORMS[at].0.as_bytes();
        seconds[begin[0] as usize] |= second_bit(begin[1]);
        at += 1;
    }
    at = 0;
    while at < SCHEMES.len() {
        let begin = SCHEMES[at].as_bytes();
        seconds[begin[0] as usize] |= second_bit(begin[1]);
        seconds[begin[0].to_ascii_uppercase() as usize] |= second_bit(begin[1]);
        at += 1;
    }
    seconds
};

const fn second_bit(byte: u8) -> u32 {
    1 << (byte & 0b1_1111)
}

/// Returns true if a key, a token or a scheme may begin with these bytes. Most words do not.
fn may_begin(first: u8, second: u8) -> bool {
    SECONDS.get(usize::from(first)).is_some_and(|seconds| seconds & second_bit(second) != 0)
}

fn class_of(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or_default()
}

fn is_of(byte: u8, class: u8) -> bool {
    class_of(byte) & class != 0
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

/// Returns true if a text looks like a key rather than a word.
fn is_random(text: &str) -> bool {
    text.len() >= SHORTEST && text.bytes().any(|byte| byte.is_ascii_digit() || byte == b'*') || text.len() >= LONG
}

#[cfg(test)]
mod tests;
