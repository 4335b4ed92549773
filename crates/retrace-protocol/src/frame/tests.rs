//! Tests of the frames.

use super::*;
use proptest::prelude::*;

fn round(text: &str) -> ServerFrame {
    let frame = ServerFrame::parse(text).unwrap();
    let back = serde_json::to_value(&frame).unwrap();
    assert_eq!(back, serde_json::from_str::<Value>(text).unwrap());
    frame
}

#[test]
fn unknown_types_and_fields_survive() {
    assert!(matches!(round(r#"{"type":"brand_new","data":{"x":[1]},"v":2}"#), ServerFrame::Unknown(_)));
    assert!(matches!(round(r#"{"type":"ping","at":5}"#), ServerFrame::Ping { .. }));
    assert!(matches!(round(r#"{"type":"auth_ok","session":{"a":null}}"#), ServerFrame::AuthOk { .. }));
    assert!(matches!(round(r#"{"type":"error","error":"no","code":402}"#), ServerFrame::Error { .. }));
    assert!(matches!(round(r#"{"type":"halt","data":{"reason":"r","by":"x"},"z":1}"#), ServerFrame::Halt { .. }));
    assert!(matches!(round(r#"{"type":"span_ended","data":{}}"#), ServerFrame::LiveFeed { .. }));
    let ServerFrame::Resume { data, .. } = round(
        r#"{"type":"resume","data":{"forkId":"f","traceId":"t","traceName":"n","forkPointSpanId":"s",
            "forkPointIndex":null,"executionId":null,"newField":true}}"#,
    ) else {
        panic!("no resume")
    };
    assert_eq!(data.execution_id, Some(Value::Null));
    assert_eq!(data.cassette, None);
}

#[test]
fn a_known_type_in_another_shape_is_no_error() {
    for odd in [
        r#"{"type":"ack","id":7,"seq":1}"#,
        r#"{"type":"error","error":{"code":1}}"#,
        r#"{"type":"halt","data":"now"}"#,
        r#"{"type":"resume"}"#,
        r#"{"type":"replay","data":{"traceId":1}}"#,
    ] {
        assert!(matches!(round(odd), ServerFrame::Unknown(_)), "{odd}");
    }
    for broken in ["", "[]", "{}", r#"{"type":1}"#, "{\"type\":\"ping\""] {
        assert!(ServerFrame::parse(broken).is_err(), "{broken}");
    }
}

#[test]
fn only_an_integer_names_a_frame() {
    for (seq, number) in [("7", Some(7)), ("\"7\"", None), ("7.5", None), ("null", None), ("-1", None)] {
        let ServerFrame::Ack(ack) = round(&format!(r#"{{"type":"ack","id":"s","seq":{seq}}}"#)) else {
            panic!("no ack")
        };
        assert_eq!(ack.seq_number(), number, "{seq}");
    }
    let acked = serde_json::to_string(&ServerFrame::Ack(Ack::new("s", Some(3)))).unwrap();
    assert_eq!(acked, r#"{"type":"ack","id":"s","seq":3}"#);
}

#[test]
fn older_clients_are_understood() {
    let auth = ClientFrame::parse(r#"{"type":"auth","api_key":"rt_x"}"#).unwrap();
    let ClientFrame::Auth(auth) = auth else { panic!("no auth") };
    assert_eq!(auth.acks, None);
    let started = r#"{"type":"trace_started","data":{"id":"t","started_at":"2026-01-02T03:04:05.123Z","spans":[]}}"#;
    assert!(matches!(ClientFrame::parse(started).unwrap(), ClientFrame::Event { seq: None, .. }));
    let ended = r#"{"type":"span_ended","data":{"id":"s","ended_at":"2026-01-02T03:04:05Z"}}"#;
    let ClientFrame::Event { event, .. } = ClientFrame::parse(ended).unwrap() else { panic!("no event") };
    assert_eq!(event.trace_id(), None);
}

#[test]
fn an_ack_is_read_the_same_however_plain_it_is() {
    for text in [
        r#"{"type":"ack","id":"a","seq":7}"#,
        r#" { "type" : "ack" , "id" : "a" , "seq" : 0 } "#,
        r#"{"type":"ack","id":"a","seq":07}"#,
        r#" { "seq" : 7 , "id" : "a" , "type" : "ack" } "#,
        r#"{"type":"ack","id":"\u0061","seq":7}"#,
        r#"{"type":"ack","id":"a","seq":7,"more":[1]}"#,
        r#"{"type":"ack","id":"a","seq":7,"seq":8}"#,
        r#"{"type":"ack","id":"a","seq":"7"}"#,
        r#"{"type":"ack","id":"a","seq":7.0}"#,
        r#"{"type":"ack","id":"a","seq":-7}"#,
        r#"{"type":"ack","id":"a","seq":null}"#,
        r#"{"type":"ack","id":null,"seq":7}"#,
        r#"{"type":"ack","id":"a"}"#,
        r#"{"type":"ack","seq":7}"#,
        r#"{"type":"pack","id":"a","seq":7}"#,
        r#"["ack","a",7]"#,
        r#"{"type":"ack","id":"a","seq":7"#,
        r#"{"type":"ack","id":"a","seq":7}]"#,
    ] {
        let whole = serde_json::from_str::<ServerFrame>(text);
        assert_eq!(ServerFrame::parse(text).ok(), whole.ok(), "{text}");
    }
    let Ok(ServerFrame::Ack(ack)) = ServerFrame::parse(r#"{"type":"ack","id":"a","seq":7}"#) else { panic!("no ack") };
    assert_eq!(ack, Ack::new("a", Some(7)));
}

proptest! {
    #[test]
    fn no_ack_is_read_in_another_way_than_by_the_parser(
        spaces in prop::collection::vec("[ \t\n\r\u{b}]{0,2}", 14),
        id in "[a-f\\-\\\\\"\u{1}é]{0,4}",
        seq in prop_oneof!["[0-9]{0,3}", Just(u64::MAX.to_string()), Just(format!("{}0", u64::MAX)), "[-+0-9.e\"a]{0,4}"],
        end in "[}\\]a]{0,2}",
    ) {
        let mut spaces = spaces.iter();
        let tokens = ["{", r#""type""#, ":", r#""ack""#, ",", r#""id""#, ":", &format!("\"{id}\""), ",", r#""seq""#, ":", &seq, &end];
        let text: String = tokens.into_iter().flat_map(|token| [spaces.next().map_or("", String::as_str), token]).collect();
        prop_assert_eq!(ServerFrame::parse(&text).ok(), serde_json::from_str::<ServerFrame>(&text).ok(), "{}", text);
    }
}

#[test]
fn an_event_whose_data_is_written_already_reads_the_same() {
    let data = r#"{"id":"s","ended_at":"2026-01-02T03:04:05Z","output":null}"#;
    let text = ClientFrame::event_text(EventKind::SpanEnded, data, 7);
    let frame = ClientFrame::parse(&text).unwrap();
    assert_eq!(serde_json::to_string(&frame).unwrap(), text);
    let pieces = [&data.as_bytes()[..9], b"", &data.as_bytes()[9..]];
    assert_eq!(ClientFrame::event_bytes(EventKind::SpanEnded, &pieces, 7), text.as_bytes());
}

#[test]
fn a_frame_reads_the_same_in_any_order_of_fields() {
    let span = r#"{"id":"s","trace_id":"t","parent_id":null,"span_type":"action","name":"n","started_at":"2026-01-02T03:04:05Z",
        "input":{"a":[1,"\u00e9"]},"cost":0.25,"metadata":{}}"#;
    let end = r#"{"id":"s","trace_id":"t","ended_at":"2026-01-02T03:04:05Z","output":null}"#;
    let (run, run_end) = (r#"{"id":"t","started_at":"x","spans":[]}"#, r#"{"id":"t","status":"completed"}"#);
    let all = [("trace_started", run), ("span_started", span), ("span_ended", end), ("trace_ended", run_end)];
    for (kind, data) in all {
        for text in [
            format!(r#"{{"type":"{kind}","data":{data},"seq":7}}"#),
            format!(r#" {{ "type" : "{kind}" , "data" : {data} , "new" : [{{}}] , "seq" : 7 }} "#),
            format!(r#"{{"type":"{kind}","data":{data}}}"#),
            format!(r#"{{"type":"{kind}","data":{data},"seq":null}}"#),
            format!(r#"{{"seq":7,"data":{data},"type":"{kind}"}}"#),
            format!(r#"{{"new":1,"type":"{kind}","data":{data}}}"#),
        ] {
            let frame = ClientFrame::parse(&text).unwrap();
            assert_eq!(frame, ClientFrame::parse_any(&text).unwrap(), "{text}");
            assert!(matches!(frame, ClientFrame::Event { .. }), "{text}");
        }
        for other in ["kind", "typ"] {
            let text = format!(r#"{{"{other}":"{kind}","data":{data}}}"#);
            assert!(ClientFrame::parse(&text).is_err(), "{text}");
        }
        for broken in [
            format!(r#"{{"type":"{kind}","data":{data},"seq":7,"seq":7}}"#),
            format!(r#"{{"type":"{kind}","data":{data},"seq":null,"seq":7}}"#),
            format!(r#"{{"type":"{kind}","data":{data},"data":{data}}}"#),
            format!(r#"{{"type":"{kind}","data":{data},"type":"{kind}"}}"#),
            format!(r#"{{"type":"{kind}","data":{data},"seq":-1}}"#),
            format!(r#"{{"type":"{kind}","data":{data},"seq":7"#),
            format!(r#"{{"type":"{kind}","data":{data}}}]"#),
            format!(r#"{{"type":"{kind}","data":null}}"#),
            format!(r#"{{"type":"{kind}","seq":7}}"#),
        ] {
            let error = ClientFrame::parse(&broken).unwrap_err().to_string();
            assert_eq!(error, ClientFrame::parse_any(&broken).unwrap_err().to_string(), "{broken}");
        }
    }
    assert!(serde_json::from_str::<EventFrame>(&ClientFrame::event_text(EventKind::SpanStarted, span, 7)).is_ok());
}

#[test]
fn a_bad_event_names_the_field() {
    let error = ClientFrame::parse(r#"{"type":"span_started","data":{"id":"s","trace_id":"t"}}"#).unwrap_err();
    assert!(error.to_string().contains("span_type"), "{error}");
    let error = ClientFrame::parse(r#"{"type":"trace_ended"}"#).unwrap_err();
    assert!(error.to_string().contains("data"), "{error}");
}

#[test]
fn the_key_is_not_in_debug() {
    let frame = ClientFrame::parse(r#"{"type":"auth","api_key":"rt_secret","acks":true}"#).unwrap();
    assert!(!format!("{frame:?}").contains("rt_secret"));
    assert_eq!(
        serde_json::to_value(&frame).unwrap(),
        serde_json::json!({"type":"auth","api_key":"rt_secret","acks":true})
    );
}
