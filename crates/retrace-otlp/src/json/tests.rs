use super::*;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValueList};
use serde_json::json;

const IDS: &str = r#""traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"eee19b7ec3c1b174""#;

fn read(span: &str) -> Result<Elements<Span>, serde_json::Error> {
    let text = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#);
    let request: Request = serde_json::from_str(&text)?;
    let of_resource = request.resource_spans.those.into_iter().next().unwrap_or_default();
    Ok(of_resource.scope_spans.those.into_iter().next().unwrap_or_default().spans)
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
        let read = read(&format!("{{{IDS},\"endTimeUnixNano\":{bad}}},{{{IDS}}}")).unwrap();
        assert_eq!((read.those.len(), read.unreadable.count), (1, 1), "{bad}");
        assert!(read.unreadable.reason.unwrap().contains("endTimeUnixNano"), "{bad}");
    }
}

#[test]
fn enums_are_numbers_or_names() {
    for (kind, number) in
        [("\"SPAN_KIND_SERVER\"", 2), ("\"SPAN_KIND_CLIENT\"", 3), ("\"3\"", 3), ("3", 3), ("null", 0)]
    {
        assert_eq!(span(&format!("\"kind\":{kind}")).kind, number, "{kind}");
    }
    assert_eq!(span(r#""status":{"code":"STATUS_CODE_ERROR"}"#).status.unwrap().code, 2);
    let read = read(&format!(r#"{{{IDS},"kind":"CLIENT"}},{{{IDS}}}"#)).unwrap();
    assert_eq!((read.those.len(), read.unreadable.count), (1, 1));
    let log = format!(
        r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{{IDS},"severityNumber":"SEVERITY_NUMBER_INFO"}}]}}]}}]}}"#
    );
    let request: Request = serde_json::from_str(&log).unwrap();
    assert_eq!(request.resource_logs.those[0].scope_logs.those[0].log_records.those[0].severity_number, 9);
}

#[test]
fn names_of_the_definition_are_read_as_well() {
    let camel = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{IDS},"startTimeUnixNano":1,"droppedEventsCount":2,
        "attributes":[{{"key":"a","value":{{"intValue":7}}}}],"events":[{{"name":"e","timeUnixNano":3}}]}}]}}]}}]}}"#
    );
    let mut snake = camel.clone();
    for (name, other) in [
        ("resourceSpans", "resource_spans"),
        ("scopeSpans", "scope_spans"),
        ("traceId", "trace_id"),
        ("spanId", "span_id"),
        ("startTimeUnixNano", "start_time_unix_nano"),
        ("droppedEventsCount", "dropped_events_count"),
        ("timeUnixNano", "time_unix_nano"),
        ("intValue", "int_value"),
    ] {
        assert!(snake.contains(name), "{name}");
        snake = snake.replace(&format!("\"{name}\""), &format!("\"{other}\""));
    }
    let spans = |text: &str| {
        let request: Request = serde_json::from_str(text).unwrap();
        request
            .resource_spans
            .those
            .into_iter()
            .next()
            .unwrap()
            .scope_spans
            .those
            .into_iter()
            .next()
            .unwrap()
            .spans
            .those
    };
    assert_eq!(spans(&snake), spans(&camel));
    assert_eq!(spans(&snake)[0].attributes.len(), 1);
}

#[test]
fn ids_may_be_base64() {
    let read = read(r#"{"traceId":"W47/95gDgQPSabYzgT/GDA==","spanId":"7uGbfsPBsXQ="}"#).unwrap();
    assert_eq!(read.those, [span("")]);
}

#[test]
fn a_resource_that_cannot_be_read_costs_itself() {
    for bad in ["7", "[]", r#"{"droppedAttributesCount":-1}"#, r#"{"attributes":[{"key":7}]}"#] {
        let text = format!(
            r#"{{"resourceSpans":[{{"resource":{bad},"scopeSpans":[{{"scope":{bad},"spans":[{{{IDS}}}]}}]}},7,{{"scopeSpans":8}}]}}"#
        );
        let request: Request = serde_json::from_str(&text).unwrap();
        assert_eq!(request.resource_spans.unreadable.count, 2);
        let of_resource = &request.resource_spans.those[0];
        assert!(of_resource.resource.message.is_none() && of_resource.resource.unreadable.reason.is_some(), "{bad}");
        assert_eq!(of_resource.scope_spans.those[0].spans.those.len(), 1, "{bad}");
    }
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
    let spans = read(&format!(r#"{{}},{{"traceId":"12"}},null,{{{IDS}}},{{"traceId":"zz","spanId":1}}"#)).unwrap();
    assert_eq!((spans.those.len(), spans.left_out, spans.unreadable.count), (1, 3, 1), "an id is a text");
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
    assert_eq!(deep(30).unwrap().those.len(), 1);
    let unreadable = deep(100_000).unwrap().unreadable;
    assert!(unreadable.count == 1 && unreadable.reason.unwrap().contains("recursion limit"));
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
