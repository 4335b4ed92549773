//! Bad input: the right status, a JSON reason that names what is wrong, and a store that is as it was.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use retrace_local::{Server, TraceQuery};
use retrace_protocol::{Id, Trace};
use serde_json::{Value, json};
use support::{AT, Client, raw, run};

/// A server with one run in it, and what that run looks like.
fn seeded(server: &Server) -> Trace {
    Client::of(server).with_key("rt_right").upload(&run("seed"));
    server.trace(&Id::from("seed")).unwrap().unwrap()
}

#[track_caller]
fn assert_untouched(server: &Server, seed: &Trace) {
    assert_eq!(server.traces(&TraceQuery::new()).unwrap().total, 1);
    assert_eq!(server.trace(&Id::from("seed")).unwrap().as_ref(), Some(seed));
}

/// The run `t` with one field changed; `path` as in a refusal.
fn with(path: &str, value: &Value) -> String {
    let mut body = run("t");
    let pointer = format!("/{}", path.replace("[", "/").replace("]", "").replace('.', "/"));
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let parent = if parent.is_empty() { &mut body } else { body.pointer_mut(parent).unwrap() };
    match parent {
        Value::Array(items) => items[field.parse::<usize>().unwrap()] = value.clone(),
        parent => parent[field] = value.clone(),
    }
    body.to_string()
}

#[test]
fn a_field_of_the_wrong_type_is_named() {
    let server = Server::start().unwrap();
    let seed = seeded(&server);
    let client = Client::of(&server);
    let text = ["name", "session_id", "project_id", "error"].map(|field| (field, json!(5)));
    let count = ["total_tokens", "total_duration_ms", "span_count"].map(|field| (field, json!(-1)));
    let flag = ["terminated_early", "lossy"].map(|field| (field, json!("yes")));
    let mut cases: Vec<(String, Value)> = [
        ("id", json!(7)),
        ("id", json!(["t"])),
        ("id", json!(null)),
        ("id", json!("")),
        ("id", json!("x".repeat(513))),
        ("status", json!("done")),
        ("status", json!(1)),
        ("total_tokens", json!(1.5)),
        ("total_tokens", json!("24")),
        ("total_cost", json!("free")),
        ("started_at", json!(null)),
        ("started_at", json!(1_767_323_045)),
        ("started_at", json!("yesterday")),
        ("ended_at", json!("2026-02-30T00:00:00Z")),
        ("metadata", json!([1])),
        ("metadata", json!("x")),
        ("spans", json!({})),
        ("spans", json!("none")),
        ("spans[0]", json!(null)),
        ("spans[1]", json!("b")),
        ("spans[1].id", json!(null)),
        ("spans[1].id", json!("")),
        ("spans[1].id", json!("a")),
        ("spans[0].trace_id", json!("other")),
        ("spans[0].trace_id", json!(null)),
        ("spans[0].parent_id", json!(1)),
        ("spans[0].span_type", json!("LLM_CALL")),
        ("spans[0].span_type", json!(null)),
        ("spans[0].name", json!(null)),
        ("spans[0].started_at", json!("")),
        ("spans[1].started_at", json!(null)),
        ("spans[0].ended_at", json!("soon")),
        ("spans[0].model", json!({})),
        ("spans[0].input_tokens", json!(-7)),
        ("spans[0].output_tokens", json!("17")),
        ("spans[0].cost", json!("0")),
        ("spans[0].duration_ms", json!(-1)),
        ("spans[0].metadata", json!(true)),
        ("spans[0].error", json!({"message": "no"})),
        ("spans[0].agent_id", json!(1)),
        ("spans[0].token_ids", json!("1,2")),
        ("spans[0].token_ids[1]", json!("x")),
        ("spans[0].logprobs[0]", json!("x")),
    ]
    .map(|(field, value)| (field.to_owned(), value))
    .into();
    cases.extend(text.into_iter().chain(count).chain(flag).map(|(field, value)| (field.to_owned(), value)));
    for (field, value) in cases {
        // An element of a list is put in by giving the whole list.
        let body = match field.as_str() {
            "spans[0].token_ids[1]" => with("spans[0].token_ids", &json!([1, "x"])),
            "spans[0].logprobs[0]" => with("spans[0].logprobs", &json!(["x"])),
            field => with(field, &value),
        };
        let answer = client.send("POST", "/api/v1/traces", &[], Some(body.as_bytes()));
        let reason = answer.refusal(400);
        assert!(!reason.is_empty() && reason.len() < 1_000, "{field}={value}: {reason}");
        assert_eq!(answer.json["field"], json!(field), "{field}={value}: {}", answer.text);
        assert_untouched(&server, &seed);
    }
}

#[test]
fn a_field_that_is_missing_is_named() {
    let server = Server::start().unwrap();
    let seed = seeded(&server);
    let client = Client::of(&server);
    for path in ["id", "started_at"] {
        let mut body = run("t");
        body.as_object_mut().unwrap().remove(path);
        let answer = client.post("/api/v1/traces", &body);
        assert_eq!(answer.refusal(400), format!("missing field `{path}`"));
        assert_eq!(answer.json["field"], json!(path));
    }
    for field in ["id", "trace_id", "span_type", "name", "started_at"] {
        let mut body = run("t");
        body["spans"][1].as_object_mut().unwrap().remove(field);
        let answer = client.post("/api/v1/traces", &body);
        assert_eq!(answer.refusal(400), format!("missing field `{field}`"));
        assert_eq!(answer.json["field"], json!(format!("spans[1].{field}")));
    }
    assert_untouched(&server, &seed);
}

#[test]
fn what_is_no_json_object_is_refused() {
    let server = Server::start().unwrap();
    let seed = seeded(&server);
    let client = Client::of(&server);
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let good = run("t").to_string();
    for (body, reason) in [
        ("", "not a JSON object"),
        ("null", "not a JSON object"),
        ("[]", "not a JSON object"),
        ("\"{}\"", "not a JSON object"),
        (nested.as_str(), "not a JSON object"),
        ("{", "not JSON"),
        (&good[..good.len() - 1], "not JSON"),
        (&format!("{good}{good}"), "trailing"),
        (&format!("{good},"), "trailing"),
        ("{\"id\":\"t\",\"id\":\"u\"}", "duplicate field `id`"),
        ("{\"id\":\"\\ud80\"}", "escape"),
        ("{\"id\":\"t\",\"total_cost\":1e999}", "out of range"),
        ("{\"id\":'t'}", "not JSON"),
    ] {
        let answer = client.send("POST", "/api/v1/traces", &[], Some(body.as_bytes()));
        assert!(answer.refusal(400).contains(reason), "{}: {}", &body[..body.len().min(60)], answer.text);
    }
    let answer = client.send("POST", "/api/v1/traces", &[], Some(b"{\"id\":\"\xff\"}"));
    assert!(answer.refusal(400).contains("UTF-8"));
    assert_untouched(&server, &seed);

    // Depth inside a value is no reason: nothing here descends into it.
    let deep = format!(r#"{{"id":"deep","started_at":"{AT}","input":{nested}}}"#);
    assert_eq!(client.send("POST", "/api/v1/traces", &[], Some(deep.as_bytes())).status, 201);
    assert!(client.get("/api/v1/traces/deep").text.contains(&nested));
}

#[test]
fn a_bad_patch_changes_nothing() {
    let server = Server::start().unwrap();
    let seed = seeded(&server);
    let client = Client::of(&server);
    for (body, field) in [
        (json!({"output": 1, "status": "ended"}), "status"),
        (json!({"output": 1, "total_tokens": "9"}), "total_tokens"),
        (json!({"output": 1, "ended_at": "soon"}), "ended_at"),
        (json!({"output": 1, "lossy": 1}), "lossy"),
    ] {
        let answer = client.patch("/api/v1/traces/seed", &body);
        assert!(!answer.refusal(400).is_empty());
        assert_eq!(answer.json["field"], json!(field));
        assert_untouched(&server, &seed);
    }
    assert!(client.patch("/api/v1/traces/nobody", &json!({"status": "failed"})).refusal(404).contains("nobody"));
    assert!(client.send("PATCH", "/api/v1/traces/seed", &[], Some(b"[]")).refusal(400).contains("object"));
    assert_eq!(client.post("/api/v1/traces/seed/golden", &json!({"golden": "yes"})).json["field"], "golden");
    assert_eq!(client.post("/api/v1/enforcement/check", &json!({"run_id": 1})).json["field"], "run_id");
    assert_untouched(&server, &seed);
}

#[test]
fn what_is_not_there_is_404() {
    let server = Server::start().unwrap();
    let seed = seeded(&server);
    let client = Client::of(&server);
    for (method, path) in [
        ("GET", "/api/v1/traces/nobody"),
        ("GET", "/api/v1/traces/nobody?content=false"),
        ("DELETE", "/api/v1/traces/nobody"),
        ("GET", "/api/v1/traces/seed/spans/nobody"),
        ("GET", "/api/v1/traces/nobody/spans/a"),
        ("GET", "/api/v1/traces/"),
        ("GET", "/api/v2/traces"),
        ("GET", "/favicon.ico"),
        ("POST", "/nowhere"),
    ] {
        assert!(!client.send(method, path, &[], None).refusal(404).is_empty());
    }
    for (method, path) in
        [("PUT", "/api/v1/traces"), ("DELETE", "/api/v1/traces"), ("POST", "/"), ("BREW", "/api/v1/traces/t")]
    {
        let answer = client.send(method, path, &[], None);
        assert!(!answer.refusal(405).is_empty());
        assert!(answer.header("allow").unwrap().contains("GET"), "{answer:?}");
    }
    assert!(client.get("/api/v1/traces/%ff").refusal(400).contains("UTF-8"));
    assert_untouched(&server, &seed);
}

#[test]
fn a_bad_parameter_is_named() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    for (query, name) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
        ("limit=1&limit=2", "limit"),
        ("offset=-1", "offset"),
        ("status=done", "status"),
    ] {
        let answer = client.get(&format!("/api/v1/traces?{query}"));
        assert!(answer.refusal(400).contains(name), "{}", answer.text);
        assert_eq!(answer.json["field"], json!(name));
    }
    assert_eq!(client.get("/api/v1/traces/t?content=maybe").json["field"], "content");
}

#[test]
fn a_body_of_another_type_is_refused() {
    let server = Server::start().unwrap();
    let seed = seeded(&server);
    let client = Client::of(&server);
    let body = run("t").to_string();
    for headers in [
        [("content-type", ""), ("accept", "*/*")],
        [("content-type", "text/plain"), ("accept", "*/*")],
        [("content-type", "application/x-www-form-urlencoded"), ("accept", "*/*")],
        [("content-type", "application/json"), ("content-encoding", "br")],
    ] {
        let answer = client.send("POST", "/api/v1/traces", &headers, Some(body.as_bytes()));
        assert!(answer.refusal(415).contains("content-"), "{headers:?}");
        assert_eq!(client.send("PATCH", "/api/v1/traces/seed", &headers, Some(b"{\"lossy\":true}")).status, 415);
    }
    let gzip = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let answer = client.send("POST", "/api/v1/traces", &gzip, Some(body.as_bytes()));
    assert!(answer.refusal(400).contains("content-encoding"), "it is not packed");
    assert_untouched(&server, &seed);
    let json = [("content-type", "Application/JSON; charset=utf-8"), ("content-encoding", "identity")];
    assert_eq!(client.send("POST", "/api/v1/traces", &json, Some(body.as_bytes())).status, 201);
}

#[test]
fn the_key_is_required_and_never_shown() {
    let server = Server::builder().with_api_key("rt_right").start().unwrap();
    let seed = seeded(&server);
    let none = Client::of(&server);
    let body = run("t").to_string();
    let calls = [
        ("POST", "/api/v1/traces", Some(body.as_str())),
        ("GET", "/api/v1/traces", None),
        ("GET", "/api/v1/traces/seed", None),
        ("GET", "/api/v1/traces/seed/spans/a", None),
        ("PATCH", "/api/v1/traces/seed", Some(r#"{"lossy":true}"#)),
        ("DELETE", "/api/v1/traces/seed", None),
        ("POST", "/api/v1/traces/seed/golden", Some(r#"{"golden":true}"#)),
        ("POST", "/api/v1/enforcement/check", Some("{}")),
        ("GET", "/api/v1/enforcement/holds/h", None),
        ("POST", "/api/v1/forks/f/replay/claim", Some("{}")),
    ];
    let wrong =
        [("x-retrace-key", "rt_wrong"), ("authorization", "Bearer rt_righ"), ("authorization", "Basic rt_right")];
    for (method, path, body) in calls {
        let body = body.map(str::as_bytes);
        let answer = none.send(method, path, &[], body);
        assert!(answer.refusal(401).contains("missing"), "{method} {path}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        for header in wrong {
            let answer = none.send(method, path, &[header], body);
            let reason = answer.refusal(401);
            assert!(!reason.contains("rt_right") && !reason.contains("rt_wrong"), "{reason}");
        }
    }
    assert_untouched(&server, &seed);
    assert_eq!(none.get("/").status, 200, "the page itself is no secret, and asks for the key");
    assert_eq!(none.post("/api/v1/internal/logs", &json!({})).status, 202, "telemetry comes without a key");
    for right in [("x-retrace-key", "rt_right"), ("authorization", "bearer rt_right")] {
        assert_eq!(none.send("GET", "/api/v1/traces/seed", &[right], None).status, 200);
    }
    assert!(!format!("{server:?}").contains("rt_right"));
}

#[test]
fn without_a_key_any_is_taken() {
    let server = Server::start().unwrap();
    for key in ["rt_live_x", "anything at all"] {
        assert_eq!(Client::of(&server).with_key(key).get("/api/v1/traces").status, 200);
    }
}

#[test]
fn a_body_beyond_the_limit_is_refused_and_one_at_it_is_not() {
    let server = Server::builder().with_max_body_bytes(1_000).start().unwrap();
    let client = Client::of(&server);
    let of_size = |bytes: usize| {
        let bare = json!({"id": "t", "started_at": AT, "name": ""}).to_string();
        json!({"id": "t", "started_at": AT, "name": "x".repeat(bytes - bare.len())})
    };
    for (method, path) in [("POST", "/api/v1/traces"), ("PATCH", "/api/v1/traces/t"), ("POST", "/api/v1/internal/logs")]
    {
        let body = of_size(1_001).to_string();
        let answer = client.send(method, path, &[], Some(body.as_bytes()));
        assert!(answer.refusal(413).contains("1000 bytes"), "{}", answer.text);
    }
    assert_eq!(server.traces(&TraceQuery::new()).unwrap().total, 0);
    client.upload(&of_size(1_000));
}

#[test]
fn a_browser_is_let_in_under_this_servers_name_only() {
    let server = Server::builder().with_host_name("devbox").start().unwrap();
    let seed = seeded(&server);
    let request_with = |headers: &str| {
        raw(&server, format!("DELETE /api/v1/traces/seed HTTP/1.1\r\n{headers}connection: close\r\n\r\n").as_bytes())
    };
    for headers in [
        "host: evil.example\r\n",
        "host: evil.example:3001\r\n",
        "host: localhost.evil.example\r\n",
        "host: 10.1.2.3\r\n",
        "host: localhost\r\nhost: evil.example\r\n",
        "host: localhost\r\norigin: https://evil.example\r\n",
        "host: localhost\r\norigin: http://localhost:1\r\n",
        "host: localhost\r\norigin: null\r\n",
        "",
    ] {
        assert!(!request_with(headers).refusal(403).is_empty(), "{headers}");
    }
    assert_untouched(&server, &seed);
    let read = |host: &str| {
        raw(&server, format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").as_bytes()).status
    };
    assert_eq!([read("evil.example"), read("devbox:3001"), read("127.0.0.1"), read("[::1]:9")], [403, 200, 200, 200]);
    assert_eq!(request_with("host: localhost:5\r\norigin: http://localhost:5\r\n").status, 204, "its own page may");
}
