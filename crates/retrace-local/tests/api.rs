//! The API as clients see it, over real sockets (PROTOCOL.md sections 1, 2, 9, 20 and 22).

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use retrace_local::{Server, TraceQuery};
use retrace_protocol::{Id, endpoint};
use serde_json::{Value, json};
use support::{AT, Client, run};

const TRACES: &str = "/api/v1/traces";

#[test]
fn an_upload_is_created_and_comes_back_as_it_was() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    let sent = run("0af76519-16cd-43dd-8448-eb211c80319c");
    client.upload(&sent);
    let answer = client.get("/api/v1/traces/0af76519-16cd-43dd-8448-eb211c80319c");
    assert_eq!((answer.status, answer.json), (200, sent));
}

#[test]
fn a_base_url_that_ends_in_a_slash_works() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    assert_eq!(client.post("//api/v1/traces", &run("t")).status, 201);
    assert_eq!(client.get("//api/v1/traces/t").json, run("t"));
}

#[test]
fn numbers_keep_their_digits_and_null_is_not_absence() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    let body = format!(
        r#"{{"id":"t","started_at":"{AT}","input":{{"n":12345678901234567890123456789.10,"e":1e-400,"u":"\u00e9\ud83d\ude00"}},
            "total_cost":0.30000000000000004,"output":null,"spans":[
            {{"id":"s","trace_id":"t","span_type":"action","name":"n","started_at":"{AT}","output":-0.0,"cost":1e-7}}]}}"#
    );
    assert_eq!(client.send("POST", TRACES, &[], Some(body.as_bytes())).status, 201);
    let text = client.get("/api/v1/traces/t").text;
    for kept in [
        r#""input":{"n":12345678901234567890123456789.10,"e":1e-400,"u":"\u00e9\ud83d\ude00"}"#,
        r#""total_cost":0.30000000000000004"#,
        r#""output":-0.0"#,
        r#""output":null"#,
    ] {
        assert!(text.contains(kept), "{kept} in {text}");
    }
    assert!(!text.contains("metadata"), "{text}");
}

#[test]
fn any_text_is_an_id() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    for id in ["run 7/ü?#%25", "0AF76519-16CD-43DD-8448-EB211C80319C", "a\u{0}b\n\"", "🦀", "+", "x&y=z"] {
        let mut sent = run(id);
        sent["spans"][0]["id"] = json!(id);
        sent["spans"][1]["parent_id"] = json!(id);
        client.upload(&sent);
        let id = Id::from(id);
        assert_eq!(client.get(&endpoint::trace(&id)).json, sent);
        assert_eq!(client.get(&endpoint::span(&id, &id)).json, sent["spans"][0]);
        assert_eq!(client.patch(&endpoint::trace(&id), &json!({"lossy": true})).status, 200);
        assert_eq!(client.delete(&endpoint::trace(&id)).status, 204);
        assert_eq!(client.get(&endpoint::trace(&id)).status, 404);
    }
}

#[test]
fn an_id_is_taken_once() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    client.upload(&run("t"));
    let mut second = run("t");
    second["name"] = json!("second");
    second["spans"][0]["id"] = json!("another");
    assert!(client.post(TRACES, &second).refusal(409).contains("t already"));
    assert_eq!(client.get("/api/v1/traces/t").json, run("t"));
}

#[test]
fn the_list_pages_through_the_newest_first_without_their_spans() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    for (id, second, status) in [("old", 1, "failed"), ("new", 9, "completed"), ("mid", 5, "running")] {
        let at = format!("2026-01-02T03:04:{second:02}Z");
        client.upload(&json!({"id": id, "started_at": at, "status": status, "input": "äb", "spans": []}));
    }
    let ids = |query: &str| {
        let page = client.get(&format!("{TRACES}{query}"));
        assert_eq!(page.status, 200, "{}", page.text);
        let ids: Vec<&str> =
            page.json["traces"].as_array().unwrap().iter().map(|t| t["id"].as_str().unwrap()).collect();
        (ids.join(" "), page.json["total"].clone(), page.json["limit"].clone(), page.json["offset"].clone())
    };
    assert_eq!(ids(""), ("new mid old".into(), json!(3), json!(50), json!(0)));
    assert_eq!(ids("?limit=1&offset=1"), ("mid".into(), json!(3), json!(1), json!(1)));
    assert_eq!(ids("?status=failed"), ("old".into(), json!(1), json!(50), json!(0)));
    assert_eq!(
        client.get(&format!("{TRACES}?limit=1")).json["traces"],
        json!([{"id": "new", "started_at": "2026-01-02T03:04:09Z", "status": "completed", "stored_spans": 0,
                "content_bytes": {"input": 5}}])
    );
}

#[test]
fn a_run_in_which_something_failed_is_marked_and_found_though_it_completed() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    let at = "2026-01-02T03:04:05Z";
    let step = |id: &str, name: &str, error: Option<&str>| {
        let mut span = json!({"id": id, "trace_id": "t", "span_type": "action", "name": name, "started_at": at});
        if let Some(error) = error {
            span["error"] = error.into();
        }
        span
    };
    let run = |id: &str, spans: &[Value]| {
        let spans: Vec<Value> = spans
            .iter()
            .map(|span| {
                let mut span = span.clone();
                span["trace_id"] = id.into();
                span
            })
            .collect();
        json!({"id": id, "started_at": at, "status": "completed", "spans": spans})
    };
    client.upload(&run("fine", &[step("a", r#"a name with "error":"#, None)]));
    client.upload(&run("handled", &[step("b", "s", Some("no")), step("c", "s", Some("")), step("d", "s", None)]));
    let listed = |query: &str| {
        let page = client.get(&format!("{TRACES}{query}")).json;
        let of = |trace: &Value| (trace["id"].as_str().unwrap().to_owned(), trace["failed_spans"].clone());
        (page["traces"].as_array().unwrap().iter().map(of).collect::<Vec<_>>(), page["total"].as_u64().unwrap())
    };
    let handled = ("handled".to_owned(), json!(2));
    let fine = ("fine".to_owned(), Value::Null);
    assert_eq!(listed("?failed_spans=true&status=completed"), (vec![handled.clone()], 1));
    assert_eq!(listed("?failed_spans=false"), (vec![fine.clone()], 1));
    assert_eq!(listed(""), (vec![handled, fine], 2));
}

#[test]
fn a_run_that_was_kept_only_because_it_failed_is_marked() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    let run = |id: &str, metadata: Value| json!({"id": id, "started_at": "2026-01-02T03:04:05Z", "metadata": metadata});
    client.upload(&run("kept", json!({"kept_for_failure": true})));
    client.upload(&run("sampled", json!({"kept_for_failure": false, "note": {"kept_for_failure": true}})));
    client.upload(&run("stated", json!({"kept_for_failure": "true"})));
    client.upload(&run("empty", json!({})));
    let page = client.get(TRACES).json;
    let marked = page["traces"].as_array().unwrap().iter().filter(|trace| trace["kept_for_failure"] == true);
    assert_eq!(marked.map(|trace| trace["id"].as_str().unwrap()).collect::<Vec<_>>(), ["kept"]);
    let outline = client.get(&format!("{TRACES}/kept?content=false")).json;
    assert_eq!(outline["kept_for_failure"], true);
}

#[test]
fn a_run_that_a_recording_answered_is_marked() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    let run = |id: &str, metadata: Value| json!({"id": id, "started_at": "2026-01-02T03:04:05Z", "metadata": metadata});
    client.upload(&run("replayed", json!({"replayed": true})));
    client.upload(&run("live", json!({"replayed": "true", "note": {"replayed": true}})));
    let page = client.get(TRACES).json;
    let marked = page["traces"].as_array().unwrap().iter().filter(|trace| trace["replayed"] == true);
    assert_eq!(marked.map(|trace| trace["id"].as_str().unwrap()).collect::<Vec<_>>(), ["replayed"]);
    for path in ["replayed", "replayed?content=false"] {
        assert_eq!(client.get(&format!("{TRACES}/{path}")).json["replayed"], true);
    }
    assert_eq!(client.get(&format!("{TRACES}/live")).json.get("replayed"), None);
}

#[test]
fn the_run_of_a_fork_names_its_origin() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    let run = |id: &str, metadata: Value| json!({"id": id, "started_at": "2026-01-02T03:04:05Z", "metadata": metadata});
    client.upload(&run("fork", json!({"_fork_of": "origin", "_fork_point": "s"})));
    client.upload(&run("other", json!({"_fork_of": 7, "note": {"_fork_of": "origin"}})));
    let page = client.get(TRACES).json;
    let named = page["traces"].as_array().unwrap().iter().map(|trace| (&trace["id"], &trace["fork_of"]));
    assert_eq!(named.collect::<Vec<_>>(), [(&json!("other"), &Value::Null), (&json!("fork"), &json!("origin"))]);
    for path in ["fork", "fork?spans=false", "fork?content=false", "fork/changes?after=0"] {
        assert_eq!(client.get(&format!("{TRACES}/{path}")).json["fork_of"], "origin", "{path}");
    }
    assert_eq!(client.get(&format!("{TRACES}/other")).json.get("fork_of"), None);
}

#[test]
fn a_fork_of_what_cannot_be_an_id_does_not_break_the_list() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    let long = "x".repeat(10_000);
    for (id, origin) in [("surrogate", r"\ud800"), ("empty", ""), ("long", &long)] {
        let body =
            format!(r#"{{"id":"{id}","started_at":"2026-01-02T03:04:05Z","metadata":{{"_fork_of":"{origin}"}}}}"#);
        let json = [("content-type", "application/json")];
        assert_eq!(client.send("POST", TRACES, &json, Some(body.as_bytes())).status, 201, "{id}");
        let page = client.get(TRACES);
        assert_eq!(page.status, 200, "{id}: {}", page.text);
        assert_eq!(page.json["traces"][0].get("fork_of"), None, "{id}");
        for path in [id.to_owned(), format!("{id}/changes?after=0")] {
            let found = client.get(&format!("{TRACES}/{path}"));
            assert_eq!((found.status, found.json.get("fork_of")), (200, None), "{path}");
        }
    }
}

#[test]
fn a_patch_lays_an_end_over_a_trace() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    let mut expected = run("t");
    client.upload(&expected);
    let end = json!({"status": "failed", "output": {"a": [1]}, "ended_at": "2026-01-02T03:05:00Z", "total_tokens": 9,
        "total_cost": 0.5, "total_duration_ms": 7, "lossy": true, "terminated_early": true, "span_count": 3, "error": "E"});
    let answer = client.patch("/api/v1/traces/t", &end);
    assert_eq!((answer.status, answer.json), (200, json!({"ok": true})));
    for (field, value) in end.as_object().unwrap() {
        expected[field] = value.clone();
    }
    assert_eq!(client.get("/api/v1/traces/t").json, expected);

    // A member that a patch lacks, or has as null, stays; one that it must not have is ignored.
    let more = json!({"id": "u", "started_at": "x", "spans": [], "name": 5, "status": null, "error": null});
    assert_eq!(client.patch("/api/v1/traces/t", &more).status, 200);
    assert_eq!(client.get("/api/v1/traces/t").json, expected);
    assert_eq!(client.patch("/api/v1/traces/t", &json!({"output": null})).status, 200);
    assert_eq!(client.get("/api/v1/traces/t").json["output"], Value::Null);
    assert_eq!(client.get(&format!("{TRACES}?status=failed")).json["total"], 1);
}

#[test]
fn a_trace_can_be_read_in_parts() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    let sent = run("t");
    client.upload(&sent);

    let outline = client.get("/api/v1/traces/t?content=false").json;
    let mut expected = sent.clone();
    expected["spans"].as_array_mut().unwrap().iter_mut().for_each(strip);
    strip(&mut expected);
    assert_eq!(outline, expected);

    let mut alone = sent.clone();
    alone.as_object_mut().unwrap().remove("spans");
    assert_eq!(client.get("/api/v1/traces/t?spans=false").json, alone);
    assert_eq!(client.get("/api/v1/traces/t/spans/a").json, sent["spans"][0]);
    assert_eq!(client.get("/api/v1/traces/t/spans/b").json, sent["spans"][1]);
}

/// Removes the content of a record and returns its size.
fn strip(record: &mut Value) {
    let record = record.as_object_mut().unwrap();
    let mut sizes = serde_json::Map::new();
    for part in ["input", "output", "metadata"] {
        if let Some(value) = record.remove(part) {
            sizes.insert(part.into(), json!(value.to_string().len()));
        }
    }
    record.insert("content_bytes".into(), sizes.into());
}

#[test]
fn a_mark_precedes_its_trace() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    let mark = |golden: bool| {
        let answer = client.post("/api/v1/traces/t/golden", &json!({"golden": golden}));
        assert_eq!((answer.status, answer.json), (200, json!({"ok": true})));
    };
    mark(true);
    client.upload(&run("t"));
    assert_eq!(client.get("/api/v1/traces/t").json["golden"], true);
    assert_eq!(client.get(TRACES).json["traces"][0]["golden"], true);
    mark(false);
    assert_eq!(client.get("/api/v1/traces/t").json, run("t"));
}

#[test]
fn endpoints_that_a_local_receiver_lacks_are_named_in_the_error() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    let check = json!({"run_id": "t", "proposed_tokens": 5, "proposed_usd": 0.01});
    let answer = client.post("/api/v1/enforcement/check", &check);
    assert_eq!((answer.status, answer.json), (200, json!({"verdict": "allow"})));
    assert!(client.get("/api/v1/enforcement/holds/h").refusal(404).contains("hold"));
    assert!(
        client.post("/api/v1/forks/f/replay/claim", &json!({"execution_id": "e"})).refusal(404).contains("no fork f")
    );
    let answer = client.post("/api/v1/internal/logs", &json!({"service": "sdk-python", "events": [{}]}));
    assert_eq!((answer.status, answer.json), (202, json!({"ok": true})));
    assert!(server.traces(&TraceQuery::new()).unwrap().traces.is_empty());
}

#[test]
fn the_page_is_served_whole_and_locked_up() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    let page = client.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    // Everything that the page or its scripts name is there.
    let mut names: Vec<String> =
        page.text.split('"').filter(|part| part.starts_with("/page/")).map(str::to_owned).collect();
    assert!(names.iter().any(|name| name.ends_with("app.js")), "{names:?}");
    let mut seen = 0;
    while let Some(name) = names.get(seen).cloned() {
        let file = client.get(&name);
        assert_eq!(file.status, 200, "{name}");
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
        for import in file.text.split('\'').filter_map(|part| part.strip_prefix("./")) {
            let import = format!("/page/{import}");
            if !names.contains(&import) {
                names.push(import);
            }
        }
        seen += 1;
    }
    assert_eq!(seen, 25, "{names:?}");
}

#[test]
fn no_answer_lets_another_site_in_and_none_leads_away() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/api/v1/traces"),
        ("OPTIONS", "/api/v1/traces"),
        ("GET", "/api/v1/traces/"),
        ("GET", "/api"),
        ("GET", "/index.html"),
        ("GET", "/page/../../Cargo.toml"),
    ] {
        let answer = client.send(method, path, &[], None);
        assert!(!(300..400).contains(&answer.status), "{path}: {answer:?}");
        for (name, _) in &answer.headers {
            assert!(!name.starts_with("access-control-") && name != "location", "{path}: {name}");
        }
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
}

#[test]
fn the_head_of_an_answer_can_be_had_alone() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    let head = client.send("HEAD", "/api/v1/traces", &[], None);
    assert_eq!((head.status, head.text.as_str()), (200, ""));
}
