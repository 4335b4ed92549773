use super::*;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValueList};
use serde_json::json;

const IDS: &str = r#""traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"eee19b7ec3c1b174""#;

fn read(span: &str) -> Result<Elements<Span>, serde_json::Error> {
    let text = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#);
    let request: Request = serde_json::from_str(&text)?;
    Ok(request.resource_spans.into_iter().next().unwrap().scope_spans.into_iter().next().unwrap().spans)
}

fn span(fields: &str) -> Span {
    let comma = if fields.is_empty() { "" } else { "," };
    let spans = read(&format!("{{{IDS}{comma}{fields}}}")).unwrap_or_else(|error| panic!("{fields}: {error}"));
    spans.those.into_iter().next().unwrap()
}

fn value(json: &str) -> Option<Value> {
    let span = span(&format!(r#""attributes":[{{"key":"a","value":{json}}}]"#));
    span.attributes.into_iter().next().unwrap().value.unwrap_or_default().value
}

#[test]
fn what_is_missing_or_null_is_empty() {
    let bare = span("");
    for field in [
        "\"parentSpanId\":null",
        "\"attributes\":null",
        "\"status\":null",
        "\"name\":null",
        "\"startTimeUnixNano\":null",
        "\"kind\":null",
        "\"events\":null,\"links\":null",
        "\"parentSpanId\":\"\"",
        "\"unknown\":[{\"a\":1}]",
    ] {
        assert_eq!(span(field), bare, "{field}");
    }
    for request in [
        "{}",
        r#"{"resourceSpans":null,"resourceLogs":null}"#,
        r#"{"resourceSpans":[{"resource":null,"scopeSpans":null}]}"#,
        r#"{"resourceSpans":[{"resource":{},"scopeSpans":[{"scope":null,"spans":null}]}]}"#,
        r#"{"resourceLogs":[{"scopeLogs":[{"scope":{},"logRecords":null}]}],"other":7}"#,
    ] {
        serde_json::from_str::<Request>(request).unwrap();
    }
}

#[test]
fn numbers_are_numbers_or_texts() {
    for at in ["1795345548000000001", "\"1795345548000000001\""] {
        assert_eq!(span(&format!("\"endTimeUnixNano\":{at}")).end_time_unix_nano, 1_795_345_548_000_000_001);
    }
    assert_eq!(span("\"endTimeUnixNano\":1.5e9").end_time_unix_nano, 1_500_000_000);
    assert_eq!(span("\"droppedEventsCount\":\"3\",\"kind\":2").dropped_events_count, 3);
    for bad in ["-1", "\"x\"", "1.5", "18446744073709551616", "\"\"", "true", "[]"] {
        assert!(read(&format!("{{{IDS},\"endTimeUnixNano\":{bad}}}")).is_err(), "{bad}");
    }
    assert!(read(&format!("{{{IDS},\"kind\":\"SPAN_KIND_SERVER\"}}")).is_err(), "names of enums are no JSON of OTLP");
}

#[test]
fn every_kind_of_value_is_read() {
    let text = |text: &str| Some(Value::StringValue(text.into()));
    assert_eq!(value(r#"{"stringValue":"a"}"#), text("a"));
    assert_eq!(value(r#"{"stringValue":"a","unknownValue":{"b":1}}"#), text("a"));
    assert_eq!(value(r#"{"stringValue":null}"#), None);
    assert_eq!(value("{}"), None);
    assert_eq!(value("null"), None);
    assert_eq!(value(r#"{"boolValue":false}"#), Some(Value::BoolValue(false)));
    for int in ["-7", "\"-7\""] {
        assert_eq!(value(&format!("{{\"intValue\":{int}}}")), Some(Value::IntValue(-7)));
    }
    assert_eq!(value(r#"{"doubleValue":1}"#), Some(Value::DoubleValue(1.0)));
    assert_eq!(value(r#"{"doubleValue":"-Infinity"}"#), Some(Value::DoubleValue(f64::NEG_INFINITY)));
    for bytes in ["+/8=", "-_8", "-_8="] {
        assert_eq!(value(&format!("{{\"bytesValue\":\"{bytes}\"}}")), Some(Value::BytesValue(vec![0xfb, 0xff])));
    }
    assert_eq!(value(r#"{"arrayValue":{}}"#), Some(Value::ArrayValue(ArrayValue::default())));
    assert_eq!(value(r#"{"kvlistValue":{"values":null}}"#), Some(Value::KvlistValue(KeyValueList::default())));
    let Some(Value::ArrayValue(array)) = value(r#"{"arrayValue":{"values":[{"intValue":1},{},null]}}"#) else {
        panic!("no array");
    };
    assert_eq!(array.values.len(), 3, "elements keep their places");
    assert_eq!(array.values[0], AnyValue { value: Some(Value::IntValue(1)) });
}

#[test]
fn what_says_nothing_takes_no_place() {
    let spans = read(&format!(r#"{{}},{{"traceId":"12"}},null,{{{IDS}}},{{"traceId":"zz","spanId":1}}"#));
    assert!(spans.is_err(), "an id is a text");
    let spans = read(&format!(r#"{{}},{{"traceId":"12"}},null,{{{IDS}}},{{"traceId":"zz","spanId":"0"}}"#)).unwrap();
    assert_eq!((spans.those.len(), spans.left_out), (1, 4));
    let span = span(r#""attributes":[{},{"key":"a"}],"events":[{},{"name":"e"}],"links":[{}]"#);
    assert_eq!((span.attributes.len(), span.events.len(), span.links.len()), (1, 1, 0));
}

#[test]
fn it_ends_where_nesting_ends() {
    let deep = |levels: usize| {
        let value = format!("{}{{}}{}", r#"{"arrayValue":{"values":["#.repeat(levels), "]}}".repeat(levels));
        read(&format!(r#"{{{IDS},"attributes":[{{"key":"a","value":{value}}}]}}"#))
    };
    assert!(deep(30).is_ok());
    assert!(deep(100_000).unwrap_err().to_string().contains("recursion limit"));
}

#[test]
fn it_reads_what_others_write() {
    let ours = span(
        r#""name":"n","kind":3,"flags":256,"status":{"code":2,"message":"m"},"events":[{"name":"e","timeUnixNano":"1"}]"#,
    );
    let written = serde_json::to_value(&ours).unwrap();
    assert_eq!(written["kind"], json!(3));
    let text = written.to_string();
    assert_eq!(read(&text).unwrap().those, [ours]);
}
