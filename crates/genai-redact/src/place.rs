//! Positions in a document: where a credential may stand, and where a text is left as it is.

use std::borrow::Cow;

use crate::MARKER;
use crate::keys::{Match, is_credential, matched};
use crate::name_table::{NameEnds, NameTable};
use crate::{json, text};

/// Last parts of the keys of attributes.
static ATTRIBUTES: NameTable = NameTable::new(&[
    (Place::Error, &["stacktrace", "message", "status_message", "description"]),
    (Place::Verbatim, &["arguments"]),
    (Place::Recorded, &["value"]),
]);

/// Members of a request, a response or an error.
static ENVELOPE: NameTable = NameTable::new(&[
    (
        Place::Names,
        &[
            "properties",
            "$defs",
            "definitions",
            "patternProperties",
            "parameter_definitions",
            "dependentRequired",
            "dependentSchemas",
            "dependencies",
        ],
    ),
    (Place::Error, &["error", "errors", "detail", "error_message", "errorMessage", "exception", "traceback"]),
    (Place::Message, &["message", "Message"]),
    (
        Place::Content,
        &[
            "messages",
            "contents",
            "input",
            "inputs",
            "prompt",
            "prompts",
            "system",
            "instructions",
            "systemInstruction",
            "system_instruction",
            "choices",
            "candidates",
            "output",
            "outputs",
            "completion",
            "content",
            "parts",
            "text",
            "chat_history",
            "documents",
            "query",
            "texts",
            "preamble",
            "generated_text",
            "generation",
            "item",
            "delta",
            "content_block",
            "input_messages",
            "output_messages",
            "tool_results",
        ],
    ),
    (Place::Verbatim, &["arguments"]),
]);

/// Last letters of the names in these tables and of the names of credentials.
static ENDS: NameEnds = NameEnds::new(&[&ATTRIBUTES, &ENVELOPE]);

/// Members of a conversation.
static CONTENT: NameTable = NameTable::new(&[
    (
        Place::Verbatim,
        &[
            "arguments",
            "args",
            "input",
            "parameters",
            "partial_json",
            "partialArgs",
            "response",
            "result",
            "results",
            "output",
            "outputs",
            "toolResult",
            "tool_result",
            "functionResponse",
            "function_response",
        ],
    ),
    (
        Place::Url,
        &[
            "url",
            "uri",
            "image_url",
            "video_url",
            "audio_url",
            "file_url",
            "fileUri",
            "file_uri",
            "image",
            "server_url",
        ],
    ),
    (Place::Error, &["error", "errors"]),
    (Place::Body, &["tools", "functions", "mcp_servers", "data_sources"]),
]);

/// Position of a value in a request, a response, an error or a span.
///
/// [`Place::member`] and [`Place::element`] lead to the values inside; [`Place::text`] redacts a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A request, a response or a tool definition. Credentials are known by their names, in texts by their form; the
    /// conversation inside is [`Place::Content`].
    Body,
    /// A conversation. Members that are credentials by name are redacted, and credentials in URLs of media; texts stay.
    Content,
    /// Arguments and results of tools: nothing is redacted.
    Verbatim,
    /// An error. In texts credentials are known by their form and by the words before them.
    Error,
    /// A text of an application such as a description: credentials are known by their form.
    Label,
    /// The URL of media.
    Url,
    /// A credential, or all inside is.
    Credential,
    /// An object of which the values are credentials.
    Environment,
    /// An object whose keys are chosen by an application, such as the parameters of a function.
    Names,
    /// The member of [`Place::Names`] that is called as a credential is: a schema, or a credential.
    Named,
    /// An error's text, or a message of a conversation.
    Message,
    /// A request or a response as JSON, or a text of a conversation.
    Recorded,
    /// An element of a list that stands at [`Place::Recorded`], or a part of a message of unknown kind.
    Item,
    /// Messages in the shape of Retrace: parts of an unknown kind are [`Place::Item`], all else is text of the conversation.
    Conversation,
    /// The content of a message in a [`Place::Conversation`]: a text, or a list of parts.
    Parts,
    /// An object of attributes of a span, by their keys: see [`Place::of_attribute`].
    Attributes,
}

impl Place {
    /// Returns the place of the value of an attribute of a span.
    #[must_use]
    pub fn of_attribute(key: &str) -> Self {
        let dot = key.bytes().rposition(|byte| byte == b'.');
        let last = dot.and_then(|dot| key.get(dot + 1..)).unwrap_or(key);
        if dot.is_some_and(|dot| dot >= "header".len() && is_secret_header(key)) {
            return Self::Credential;
        }
        // Most keys end with none of them.
        if ENDS.may_end(last) { Self::of_last(last, key) } else { Self::Body }
    }

    /// Returns the place of the value of an attribute whose key ends with this part.
    fn of_last(last: &str, key: &str) -> Self {
        let by = matched(last);
        if matches!(by, Some(Match::Whole | Match::End)) {
            return Self::Credential;
        }
        if let Some(place) = ATTRIBUTES.get(last) {
            return place;
        }
        if last == "query" && key.starts_with("url.") {
            return Self::Url;
        }
        match Self::Body.of_matched(last, by) {
            Self::Content | Self::Message => Self::Recorded,
            Self::Names => Self::Body,
            other => other,
        }
    }

    /// Returns the place of a member of an object that stands here.
    #[must_use]
    pub fn member(self, name: &str) -> Self {
        match self {
            Self::Verbatim | Self::Label | Self::Url => self,
            Self::Environment => Self::Credential,
            Self::Credential if matches!(name, "type" | "auth_type" | "authType") => Self::Verbatim,
            Self::Credential => self,
            Self::Names if is_credential(name) => Self::Named,
            Self::Names => Self::Body,
            Self::Named if matches!(name, "default" | "const" | "enum" | "example" | "examples") => Self::Credential,
            Self::Named => Self::Body.member(name),
            Self::Message => Self::Content.member(name),
            Self::Conversation => match name {
                "content" => Self::Parts,
                "tool_calls" | "reasoning" => Self::Verbatim,
                _ => self,
            },
            Self::Item if of_content(name) == Self::Verbatim => Self::Verbatim,
            Self::Item
                if matches!(
                    name,
                    "thinking" | "reasoning" | "refusal" | "transcript" | "data" | "bytes" | "signature" | "summary"
                ) =>
            {
                Self::Content
            }
            Self::Parts => Self::Item.member(name),
            Self::Recorded | Self::Item => Self::Body.member(name),
            Self::Attributes => Self::of_attribute(name),
            Self::Content => of_content(name),
            Self::Body | Self::Error => self.of_matched(name, matched(name)),
        }
    }

    /// Returns the place of a member of a body or an error, of which it is known how its name is a credential.
    fn of_matched(self, name: &str, by: Option<Match>) -> Self {
        match by {
            Some(Match::Members) => Self::Environment,
            Some(_) => Self::Credential,
            None => self.of_envelope(name),
        }
    }

    /// Returns the place of an element of a list that stands here.
    #[must_use]
    pub fn element(self) -> Self {
        match self {
            Self::Names | Self::Named => Self::Body,
            Self::Message => Self::Content,
            Self::Recorded | Self::Parts => Self::Item,
            other => other,
        }
    }

    fn of_envelope(self, name: &str) -> Self {
        match ENVELOPE.get(name) {
            Some(Self::Message | Self::Content) if self == Self::Error => self,
            Some(place) => place,
            None => self,
        }
    }

    /// Returns the text with its credentials replaced, or `None` where it has none. A text that is a JSON object or list is
    /// read as that, and one that begins so but was cut by the words in it.
    #[must_use]
    pub fn text(self, text: &str) -> Option<String> {
        self.text_in(text, json::DEPTH)
    }

    /// [`Place::text`], where `depth` JSON texts in each other are read as JSON.
    pub(crate) fn text_in(self, text: &str, depth: u8) -> Option<String> {
        let inner = |place| if begins_json(text) { json::part(text, place, depth) } else { None };
        match self {
            Self::Credential | Self::Named => is_stated(text).then(|| MARKER.to_owned()),
            Self::Body | Self::Environment => inner(Self::Body).or_else(|| text::by_form(text)),
            Self::Error | Self::Message => inner(Self::Error).or_else(|| text::by_words(text)),
            Self::Recorded | Self::Item => inner(self),
            Self::Label => text::by_form(text),
            Self::Url => match text::url(text) {
                Cow::Owned(redacted) => Some(redacted),
                Cow::Borrowed(_) => None,
            },
            Self::Content | Self::Verbatim | Self::Names | Self::Attributes | Self::Conversation | Self::Parts => None,
        }
    }

    /// Returns true if [`Place::text_in`] finds a credential.
    pub(crate) fn has_in(self, text: &str, depth: u8) -> bool {
        let inner = |place| begins_json(text) && json::has_part(text, place, depth);
        match self {
            Self::Body | Self::Environment => inner(Self::Body) || text::by_form(text).is_some(),
            Self::Error | Self::Message => inner(Self::Error) || text::by_words(text).is_some(),
            Self::Recorded | Self::Item => inner(self),
            _ => self.text_in(text, depth).is_some(),
        }
    }

    /// Returns true if a number here is a credential.
    #[must_use]
    pub fn hides_numbers(self) -> bool {
        self == Self::Credential
    }
}

/// Returns true if a text is a value. Python and JavaScript write what is not there as a text.
fn is_stated(text: &str) -> bool {
    !matches!(text, "" | MARKER | "None" | "null" | "undefined")
}

/// Returns true if the key of an attribute is that of one header that may be a credential.
fn is_secret_header(key: &str) -> bool {
    /// Headers of requests that are none.
    const PLAIN: [&str; 12] = [
        "accept",
        "accept-encoding",
        "accept-language",
        "anthropic-beta",
        "anthropic-version",
        "connection",
        "content-length",
        "content-type",
        "host",
        "openai-beta",
        "user-agent",
        "x-request-id",
    ];
    const SECRET: [&str; 7] = ["auth", "key", "token", "secret", "cookie", "signature", "password"];
    // Most keys have no dot after such a word.
    if !key.as_bytes().windows(2).any(|pair| matches!(pair, [b'r' | b's', b'.'])) {
        return false;
    }
    let named = |name: &str| SECRET.iter().any(|part| name.to_ascii_lowercase().contains(part));
    // The dots are looked at before the text in front of them.
    let after = |part: &str| {
        let mut dots = key.bytes().enumerate().filter(|(_, byte)| *byte == b'.').map(|(at, _)| at);
        let dot = dots.find(|dot| key.get(..*dot).is_some_and(|before| before.ends_with(part)))?;
        Some((key.get(..dot - part.len())?, key.get(dot + 1..)?))
    };
    match after("headers") {
        Some((before, name)) if !before.contains("response") => {
            !PLAIN.iter().any(|plain| plain.eq_ignore_ascii_case(name))
        }
        Some((_, name)) => named(name),
        None => after("header").is_some_and(|(_, name)| named(name)),
    }
}

/// Returns true if a text begins as a JSON object or a list of values does, or as such a text in quotes.
fn begins_json(text: &str) -> bool {
    let mut bytes = text.bytes().filter(|byte| !byte.is_ascii_whitespace());
    match (bytes.next(), bytes.next()) {
        (Some(b'{' | b'['), Some(second)) => matches!(second, b'"' | b'{' | b'['),
        // The same, quoted as a JSON string.
        (Some(b'"'), Some(second)) => matches!(second, b'{' | b'[' | b'\\'),
        _ => false,
    }
}

/// Returns the place of a member of a conversation.
fn of_content(name: &str) -> Place {
    let own = || if is_credential(name) { Place::Credential } else { Place::Content };
    CONTENT.get(name).unwrap_or_else(own)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::CREDENTIALS;

    #[test]
    fn no_key_of_any_account_is_left_out() {
        let tables = [&ATTRIBUTES, &ENVELOPE].into_iter().flat_map(NameTable::names);
        let mut places = 0;
        for name in CREDENTIALS.iter().map(|row| row.name).chain(tables) {
            let (begin, end) = name.split_at(name.len() - 1);
            for key in [
                name.to_owned(),
                name.to_uppercase(),
                format!("a.{name}"),
                format!("my_{name}"),
                format!("{name}_"),
                format!("{begin}_{end}"),
                format!("{name}s"),
                begin.to_owned(),
            ] {
                let last = key.rsplit('.').next().unwrap_or_default();
                assert_eq!(Place::of_attribute(&key), Place::of_last(last, &key), "{key}");
                places += usize::from(Place::of_attribute(&key) != Place::Body);
            }
        }
        assert!(places > 3 * CREDENTIALS.len());
    }

    proptest! {
        #[test]
        fn the_ends_of_keys_are_only_a_filter(key in "[a-zA-Z_1\u{e9}-]{0,4}[.]?(api|app|pass)?[_-]?(key|word|text|s|KEY|e_y)?") {
            let last = key.rsplit('.').next().unwrap_or_default();
            prop_assert_eq!(Place::of_attribute(&key), Place::of_last(last, &key));
        }
    }

    #[test]
    fn keys_of_attributes_lead_to_places() {
        for key in [
            "http.request.header.authorization",
            "http.request.header.x-my-auth",
            "llm.headers",
            "llm.headers.x",
            "a.api_key",
        ] {
            assert_eq!(Place::of_attribute(key), Place::Credential, "{key}");
        }
        for (key, place) in [
            ("exception.message", Place::Error),
            ("input.value", Place::Recorded),
            ("gen_ai.prompt", Place::Recorded),
            ("http.request.header.accept", Place::Body),
            ("ai.request.headers.user-agent", Place::Body),
            ("gen_ai.tool.call.arguments", Place::Verbatim),
        ] {
            assert_eq!(Place::of_attribute(key), place, "{key}");
        }
    }
}
