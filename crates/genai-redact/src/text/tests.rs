use proptest::prelude::*;

use super::*;

/// The credentials, where each word and each byte between words is looked at.
fn word_by_word(scan: &Scan<'_>) -> Vec<Range<usize>> {
    let bytes = scan.text.as_bytes();
    let (mut found, mut at, mut before) = (Vec::new(), 0, b' ');
    while let Some(&byte) = bytes.get(at) {
        let alone = if at == 0 && !scan.has_forms { scan.parameter(0) } else { None };
        let range = alone.filter(|range| scan.is_open(range)).or_else(|| match byte {
            byte if is_word(byte) => scan.has_forms.then(|| scan.form(at)).flatten(),
            b':' if scan.rest(at).starts_with("://") => scan.user(at + 3),
            b'?' | b'&' | b'#' => scan.parameter(at + 1),
            _ => None,
        });
        let separates = matches!(byte, b':' | b'=') || matches!(byte, b'"' | b'\'' | b'`') && before == b' ';
        let follows = matches!(byte, b' ' | b'(') && scan.is_long_random(at);
        let named = || scan.after_words(at, separates).filter(|_| scan.has_words && (separates || follows));
        if let Some(range) = range.or_else(named).filter(|range| scan.is_open(range)) {
            (at, before) = (range.end.max(at + 1), b' ');
            found.push(range);
        } else if is_word(byte) {
            (at, before) = (scan.run(at, is_word).end, byte);
        } else {
            at = scan.run(at + 1, |byte| !is_word(byte) && !b":=?&#\"'`".contains(&byte)).end;
            before = bytes[at - 1];
        }
    }
    found
}

/// Texts of words, what may separate them from a value, and values.
fn any_text() -> impl Strategy<Value = String> {
    let words = vec![
        "API key", "api_key", "password", "token", "value", "Bearer", "redis", "https", "\u{e9}", "12", "", "?key",
    ];
    let separators = vec![
        " ", "  ", ": ", ":", "=", " (", "(", " '", "'", "\"", "://", "://u:p@", "&key=", "#a=", ", ", "; ", ". ", "\0",
    ];
    let values = vec!["abcdef1234567890abcd", "sk-abc1234567", "basic a1b2c3d4", "x", "[redacted]", "hf_", "is", ""];
    let ends = vec!["", " ", ")", "'", "\n", ";", ".", "/?token=a", "{"];
    let any = prop::sample::select::<&str>;
    let part = (any(words), any(separators), any(values), any(ends));
    prop::collection::vec(part.prop_map(|(word, separator, value, end)| [word, separator, value, end].concat()), 0..5)
        .prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_left_out_holds_no_credential(text in any_text()) {
        for (has_forms, has_words) in [(false, false), (true, false), (true, true)] {
            let scan = Scan { text: &text, has_forms, has_words };
            prop_assert_eq!(scan.ranges(), word_by_word(&scan), "{:?}", text);
        }
    }
}

#[test]
fn a_query_alone_is_read_with_and_without_its_mark() {
    for mark in ["", "?", "#", "&"] {
        assert_eq!(url(&format!("{mark}api_key=canary&n=1")), format!("{mark}api_key=[redacted]&n=1"));
    }
}

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
fn every_form_and_scheme_may_begin_a_word() {
    let forms = FORMS.iter().map(|(begin, _)| (*begin).to_owned());
    let schemes = SCHEMES.iter().flat_map(|scheme| [(*scheme).to_owned(), scheme.to_uppercase()]);
    for begin in forms.chain(schemes) {
        let [first, second, ..] = begin.as_bytes() else { panic!("{begin}") };
        assert!(may_begin(*first, *second), "{begin}");
        let text = format!("{begin}{}", "a1".repeat(12));
        assert_eq!(by_form(&text).map(|text| text.contains("a1")), Some(false), "{begin}");
    }
    for (first, second) in [(b'v', b'a'), (b't', b'h'), (b'0', b'1'), (b'_', b'_')] {
        assert!(!may_begin(first, second));
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
