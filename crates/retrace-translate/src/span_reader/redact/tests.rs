use genai_redact::{CREDENTIALS, Match};
use serde_json::{Map, Value as Tree, json};

use crate::dialect::DIALECTS;
use crate::fields::Field;
use crate::fields::LeafType;
use crate::options::Options;
use crate::span_reader::ScopeCache;
use crate::span_reader::SpanReader;
use crate::view::{Dropped, EventView, Kind, LinkView, Parent, ScopeView, SpanView, StatusView, Value};

const CANARY: &str = "c4n4ry-7f3a91";

/// Fields whose value can be a request, a response, a list of tools or an object of the application.
const BODIES: &[Field] = &[
    Field::Input,
    Field::Output,
    Field::RunInput,
    Field::RunOutput,
    Field::InputMessages,
    Field::OutputMessages,
    Field::SystemInstructions,
    Field::Conversation,
    Field::ToolDefinitions,
    Field::Parameters,
    Field::ProviderUsage,
    Field::UsageByKind,
    Field::CostByKind,
    Field::UserMetadata,
    Field::UserMetadataObject,
    Field::Bookkeeping,
];

type Attributes = Vec<(String, Value<'static>)>;

#[derive(Debug, Default)]
struct Probe {
    attributes: Attributes,
    events: Vec<(String, Attributes, Option<Value<'static>>)>,
    links: Vec<Attributes>,
    status: Option<String>,
    name: Option<String>,
}

fn borrowed(attributes: &Attributes) -> impl Iterator<Item = (&str, Value<'_>)> {
    attributes.iter().map(|(key, value)| (key.as_str(), value.clone()))
}

impl SpanView for Probe {
    fn trace_id(&self) -> [u8; 16] {
        [1; 16]
    }
    fn span_id(&self) -> [u8; 8] {
        [1; 8]
    }
    fn parent(&self) -> Parent {
        Parent::None
    }
    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("probe")
    }
    fn kind(&self) -> Kind {
        Kind::Client
    }
    fn start_unix_nanos(&self) -> u64 {
        1
    }
    fn end_unix_nanos(&self) -> u64 {
        2
    }
    fn status(&self) -> StatusView<'_> {
        self.status.as_deref().map_or(StatusView::Unset, StatusView::Error)
    }
    fn attributes(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        borrowed(&self.attributes)
    }
    fn events(&self) -> impl Iterator<Item = EventView<'_>> {
        self.events.iter().map(|(name, attributes, body)| EventView {
            name,
            unix_nanos: 1,
            attributes: borrowed(attributes).collect(),
            body: body.clone(),
        })
    }
    fn links(&self) -> impl Iterator<Item = LinkView<'_>> {
        self.links.iter().map(|attributes| LinkView {
            trace_id: [2; 16],
            span_id: [2; 8],
            attributes: borrowed(attributes).collect(),
        })
    }
    fn scope(&self) -> ScopeView<'_> {
        ScopeView::default()
    }
    fn dropped(&self) -> Dropped {
        Dropped::default()
    }
}

/// Everything that is sent of a span and of its start.
fn sent(probe: &Probe) -> String {
    let options = Options { selection: crate::SpanSelection::All, ..Options::default() };
    let reader = SpanReader::new(probe);
    let builder = reader.build(&options, &mut ScopeCache::default(), |_, _| {});
    let build_stub = reader.build_stub(&options);
    let written = |builder: &crate::span_reader::SpanBuilder| {
        json!([
            builder.span,
            builder.metadata,
            builder.user_metadata,
            builder.tags,
            builder.trace_name,
            builder.stated_trace_name
        ])
        .to_string()
    };
    format!("{}{}", written(&builder), written(&build_stub))
}

#[track_caller]
fn check(probe: &Probe) {
    let sent = sent(probe);
    if let Some(at) = sent.find(CANARY) {
        let around: String = sent.chars().skip(at.saturating_sub(300)).take(400).collect();
        let keys = [&probe.attributes].into_iter().chain(probe.events.iter().map(|event| &event.1));
        let keys: Vec<_> = keys.flatten().map(|(key, _)| key).collect();
        panic!("sent of {keys:?}: {around}");
    }
}

/// Members that hold a canary: one for each row of the table, and texts of the known forms.
fn planted() -> Map<String, Tree> {
    let mut members = Map::new();
    for row in CREDENTIALS {
        let (name, value) = match row.by {
            Match::Parameter => {
                (format!("url_{}", row.name), json!(format!("https://user:{CANARY}@h/x?a=1&{}={CANARY}", row.name)))
            }
            Match::Members => (row.name.to_owned(), json!({ "A": CANARY })),
            Match::Whole => (row.name.to_owned(), json!({ "X": { "value": CANARY }, "Y": [CANARY] })),
            Match::End => (format!("my_{}", row.name), CANARY.into()),
        };
        members.insert(name, value);
    }
    for form in ["Bearer ", "sk-proj-", "AIza", "gsk_", "xai-", "hf_", "rt_"] {
        members.insert(format!("form_{form}"), format!("{form}{CANARY}").into());
    }
    members
}

fn error() -> String {
    format!(
        "Incorrect API key provided: {CANARY}, see https://u:{CANARY}@h/?key={CANARY} with Authorization: Bearer {CANARY}"
    )
}

fn with(mut value: Tree) -> Tree {
    if let Tree::Object(members) = &mut value {
        members.extend(planted());
    }
    value
}

/// Requests, answers, errors and lists of tools, with canaries in every object that is no message.
fn bodies() -> Vec<Tree> {
    let tools = || json!([with(json!({ "type": "mcp", "server_label": "s" })), { "type": "function", "function": { "name": "f", "parameters": { "type": "object" } } }]);
    let messages = json!([{ "role": "user", "content": "hi" }]);
    vec![
        with(
            json!({ "model": "m", "messages": messages, "tools": tools(), "mcp_servers": [with(json!({}))], "metadata": with(json!({})) }),
        ),
        with(json!({ "contents": [{ "parts": [{ "text": "hi" }] }], "config": { "tools": tools() } })),
        with(json!({ "model": "m", "input": "hi", "tools": tools() })),
        with(
            json!({ "choices": [{ "index": 0, "message": { "role": "assistant", "content": "ho" } }], "error": { "message": error() } }),
        ),
        with(
            json!({ "object": "response", "output": [{ "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "ho" }] }], "tools": tools() }),
        ),
        json!({ "error": { "message": error(), "code": error() } }),
        json!({ "message": error(), "type": "error" }),
        with(json!({ "question": "hi" })),
        tools(),
    ]
}

/// Operations of the spans on which a key can occur: without a class, and of each class whose tool arguments are not in the
/// field.
fn operations(field: Field) -> &'static [Option<&'static str>] {
    match field {
        Field::Input | Field::Output => &[None, Some("chat"), Some("invoke_agent")],
        _ => &[None, Some("chat"), Some("invoke_agent"), Some("execute_tool")],
    }
}

/// Every key of every dialect that fills a field, with the field; an index is 0.
fn keys() -> Vec<(String, Field)> {
    let mut keys = Vec::new();
    for dialect in DIALECTS {
        keys.extend(dialect.keys.iter().map(|(key, field)| ((*key).to_owned(), *field)));
        keys.extend(dialect.prefixes.iter().map(|(prefix, field)| (format!("{prefix}x"), *field)));
        for nested in dialect.nested {
            keys.extend(nested.members.iter().map(|(_, field)| (nested.key.to_owned(), *field)));
        }
    }
    keys
}

#[test]
fn no_credential_of_a_body_is_sent_whatever_the_dialect() {
    let bodies: Vec<String> = bodies().iter().map(Tree::to_string).collect();
    let mut count = 0;
    for (key, field) in keys().into_iter().filter(|(_, field)| BODIES.contains(field)) {
        for body in &bodies {
            for operation in operations(field) {
                // Lists of texts and maps arrive as JSON, values that a library serialised as text.
                let value =
                    if count % 2 == 0 { Value::Str(body.clone().into()) } else { Value::Json(body.clone().into()) };
                let operation = operation.map(|name| ("gen_ai.operation.name".to_owned(), Value::from(name)));
                let attributes = operation.into_iter().chain([(key.clone(), value)]).collect();
                check(&Probe { attributes, ..Probe::default() });
                count += 1;
            }
        }
    }
    assert!(count > 1000, "{count} spans");
}

#[test]
fn no_credential_of_a_flattened_body_is_sent() {
    for flattened in DIALECTS
        .iter()
        .flat_map(|dialect| dialect.flattened)
        .filter(|flattened| flattened.field == Field::ToolDefinitions)
    {
        for (path, leaf) in
            flattened.paths.iter().filter(|(_, leaf)| matches!(leaf, LeafType::Any | LeafType::Json | LeafType::Parts))
        {
            let _ = leaf;
            for body in bodies() {
                let key = format!("{}{}", flattened.prefix, path.replace('N', "0"));
                let name = (format!("{}0.name", flattened.prefix), Value::from("f"));
                check(&Probe {
                    attributes: vec![name, (key, Value::Str(body.to_string().into()))],
                    ..Probe::default()
                });
            }
        }
    }
}

#[test]
fn no_credential_of_an_event_a_link_or_an_unknown_attribute_is_sent() {
    let mut names: Vec<&str> = DIALECTS.iter().flat_map(|dialect| dialect.events.iter().copied()).collect();
    names.extend(["exception", "gen_ai.client.operation.exception", "log"]);
    let mut attributes: Attributes = vec![
        ("http.request.header.authorization".into(), Value::Json(format!("[\"Bearer {CANARY}\"]").into())),
        ("http.request.header.x-own-key".into(), Value::Json(format!("[\"{CANARY}\"]").into())),
        ("url.full".into(), Value::Str(format!("https://u:{CANARY}@h/?key={CANARY}").into())),
        ("url.query".into(), Value::Str(format!("key={CANARY}&alt=sse").into())),
        ("http.target".into(), Value::Str(format!("/v1?api_key={CANARY}").into())),
        ("llm.headers".into(), Value::Str(format!("{{'authorization': '{CANARY}'}}").into())),
        ("db.connection_string".into(), Value::Str(CANARY.into())),
        ("app.api_key".into(), Value::Str(CANARY.into())),
        ("app.request".into(), Value::Str(bodies()[0].to_string().into())),
        ("gen_ai.unknown".into(), Value::Json(bodies()[0].to_string().into())),
        ("exception.message".into(), Value::Str(error().into())),
        ("exception.type".into(), Value::from("E")),
        ("exception.stacktrace".into(), Value::Str(error().into())),
    ];
    for body in bodies() {
        attributes.push(("gen_ai.event.content".into(), Value::Str(body.to_string().into())));
        for name in &names {
            let event =
                |attributes, body| Probe { events: vec![((*name).to_owned(), attributes, body)], ..Probe::default() };
            check(&event(attributes.clone(), None));
            check(&event(Vec::new(), Some(Value::Json(body.to_string().into()))));
        }
    }
    attributes.pop();
    let status = Some(error());
    check(&Probe { status: status.clone(), name: Some(format!("GET https://h/?key={CANARY}")), ..Probe::default() });
    check(&Probe { attributes: attributes.clone(), status, ..Probe::default() });
    check(&Probe { links: vec![attributes], ..Probe::default() });
}

#[test]
fn no_credential_of_an_error_is_sent_whatever_the_dialect() {
    for (key, field) in keys() {
        if matches!(field, Field::StatusMessage | Field::ErrorType) {
            for level in ["ERROR", "DEFAULT"] {
                let attributes = vec![
                    (key.clone(), Value::Str(error().into())),
                    ("langfuse.observation.level".to_owned(), Value::from(level)),
                    ("gen_ai.operation.name".to_owned(), Value::from("chat")),
                ];
                check(&Probe { attributes, status: Some(String::new()), ..Probe::default() });
            }
        }
    }
}

#[test]
fn texts_of_the_conversation_and_arguments_of_tools_stay() {
    let text = r#"{"api_key":"sk-abcdef123456789","url":"https://u:p@h/?key=1"}"#;
    let attribute = |key: &str, value: &str| (key.to_owned(), Value::Str(value.to_owned().into()));
    let tool = Probe {
        attributes: vec![
            attribute("gen_ai.operation.name", "execute_tool"),
            attribute("gen_ai.tool.call.arguments", text),
            attribute("gen_ai.tool.call.result", text),
        ],
        ..Probe::default()
    };
    let reader = SpanReader::new(&tool);
    let builder = reader.build(&Options::default(), &mut ScopeCache::default(), |_, _| {});
    let [input, output] = [&builder.span.input, &builder.span.output].map(|json| json.as_ref().unwrap().as_str());
    assert_eq!((input, output), (text, text));

    let messages = json!([{ "role": "user", "parts": [{ "type": "text", "content": text }, { "type": "uri", "modality": "image", "uri": "https://h/a?Signature=x&b=1" }] },
        { "role": "assistant", "parts": [{ "type": "tool_call", "id": "c", "name": "f", "arguments": { "api_key": "sk-abcdef123456789" } }] }]);
    let chat = Probe {
        attributes: vec![
            attribute("gen_ai.operation.name", "chat"),
            attribute("gen_ai.input.messages", &messages.to_string()),
        ],
        ..Probe::default()
    };
    let reader = SpanReader::new(&chat);
    let builder = reader.build(&Options::default(), &mut ScopeCache::default(), |_, _| {});
    let input = builder.span.input.unwrap().to_value().unwrap();
    assert_eq!(input["messages"][0]["content"][0]["text"], text);
    assert_eq!(input["messages"][0]["content"][1]["uri"], "https://h/a?Signature=[redacted]&b=1");
    assert_eq!(input["messages"][1]["tool_calls"][0]["arguments"], json!({ "api_key": "sk-abcdef123456789" }));
}

#[test]
fn a_marker_stands_where_a_credential_stood() {
    let tools = r#"[{"type":"mcp","server_label":"s","authorization":"t0ken","headers":{"X":"y"}}]"#;
    let probe = Probe {
        attributes: vec![
            ("gen_ai.operation.name".into(), Value::from("chat")),
            ("gen_ai.tool.definitions".into(), Value::from(tools)),
            ("app.api_key".into(), Value::from("t0ken")),
        ],
        status: Some("Incorrect API key provided: t0ken".into()),
        ..Probe::default()
    };
    let reader = SpanReader::new(&probe);
    let builder = reader.build(&Options::default(), &mut ScopeCache::default(), |_, _| {});
    let expected = r#"[{"type":"mcp","server_label":"s","authorization":"[redacted]","headers":{"X":"[redacted]"}}]"#;
    assert_eq!(builder.metadata.provider_tools.unwrap().as_str(), expected);
    assert_eq!(builder.metadata.attributes.unwrap().as_str(), r#"{"app.api_key":"[redacted]"}"#);
    assert_eq!(builder.span.error.as_deref(), Some("Incorrect API key provided: [redacted]"));
}
