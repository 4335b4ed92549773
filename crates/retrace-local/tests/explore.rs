//! Lists by filter, search and order, sessions, figures, and many runs at once, over real sockets.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use retrace_local::Server;
use serde_json::{Value, json};
use support::Client;

/// A run of a session, with a model call and a tool.
fn run(id: &str, minute: u32, model: &str, cost: f64, error: Option<&str>) -> Value {
    let at = format!("2026-03-04T05:{minute:02}:00Z");
    let mut tool = json!({"id": "t", "trace_id": id, "parent_id": "m", "span_type": "tool_call", "name": "look_up", "started_at": at,
        "agent_id": "a-1", "agent_role": "researcher", "input": {"city": "Lisbon"}, "output": "18 degrees", "duration_ms": 4});
    if let Some(error) = error {
        tool["error"] = error.into();
    }
    json!({
        "id": id, "status": "completed", "name": format!("run {id}"), "started_at": at, "total_duration_ms": 100 * minute,
        "ended_at": format!("2026-03-04T05:{minute:02}:30Z"), "total_tokens": 10 * minute, "total_cost": cost,
        "session_id": if minute < 3 { "s-1" } else { "s-2" },
        "metadata": {"environment": "test", "user_id": format!("u-{id}"), "tags": ["nightly", id]},
        "input": {"question": format!("What is the weather, {id}?")},
        "spans": [{"id": "m", "trace_id": id, "parent_id": null, "span_type": "llm_call", "name": "chat", "started_at": at,
            "model": model, "input_tokens": 7, "output_tokens": 3, "cost": cost, "duration_ms": 20,
            "input": {"messages": [{"role": "user", "content": "Größe and \u{1F600} naïve 東京"}]}, "output": "It rains cats\nand dogs"}, tool],
    })
}

fn three() -> (Server, Client) {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    client.upload(&run("one", 1, "gpt-4o", 0.5, None));
    client.upload(&run("two", 2, "gpt-4o-mini", 0.25, Some("quota exceeded")));
    client.upload(&run("three", 3, "claude", 2.0, None));
    (server, client)
}

/// The ids on a page, in order.
fn listed(client: &Client, query: &str) -> String {
    let page = client.get(&format!("/api/v1/traces?{query}"));
    assert_eq!(page.status, 200, "{query}: {}", page.text);
    assert_eq!(page.json["incomplete"], Value::Null, "{query}");
    let ids: Vec<&str> =
        page.json["traces"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap()).collect();
    if !query.contains("limit") {
        assert_eq!(page.json["total"], ids.len(), "{query}");
    }
    ids.join(" ")
}

#[test]
fn every_filter_finds_its_runs() {
    let (_server, client) = three();
    for (query, expected) in [
        ("model=gpt-4o", "one"),
        ("model=gpt-4o&model=claude", "three one"),
        ("tool=look_up&status=completed", "three two one"),
        ("tool=other", ""),
        ("agent=researcher&tag=two", "two"),
        ("session=s-1", "two one"),
        ("user=u-three&environment=test", "three"),
        ("has_error=true", "two"),
        ("has_error=false", "three one"),
        ("failed_spans=true&tag=nightly", "two"),
        ("from=2026-03-04T05:02:00Z", "three two"),
        ("to=2026-03-04T05:02:00Z", "one"),
        ("min_cost=0.5&max_cost=1", "one"),
        ("min_tokens=20&max_tokens=20", "two"),
        ("min_ms=200", "three two"),
        ("min_spans=3", ""),
        ("status=running&tag=one", ""),
    ] {
        assert_eq!(listed(&client, query), expected, "{query}");
    }
    client.post("/api/v1/traces/three/golden", &json!({"golden": true}));
    assert_eq!(listed(&client, "golden=true"), "three");
    assert_eq!(listed(&client, "golden=false"), "two one");
}

#[test]
fn an_order_holds_over_pages() {
    let (_server, client) = three();
    assert_eq!(listed(&client, "sort=cost"), "three one two");
    assert_eq!(listed(&client, "sort=cost&order=asc"), "two one three");
    assert_eq!(listed(&client, "sort=duration&order=asc&limit=2"), "one two");
    assert_eq!(listed(&client, "sort=duration&order=asc&limit=2&offset=2"), "three");
    assert_eq!(listed(&client, "sort=name"), "two three one");
    assert_eq!(listed(&client, "order=asc"), "one two three");
}

#[test]
fn a_search_looks_into_names_inputs_outputs_and_errors() {
    let (_server, client) = three();
    for (words, expected) in [
        ("weather", "three two one"),
        ("weath", "three two one"),
        ("quota", "two"),
        ("Lisbon+dogs", "three two one"),
        ("look_up", "three two one"),
        ("run+one", "one"),
        ("GROSSE", ""),
        ("grosse", ""),
        ("gr%C3%B6%C3%9Fe", "three two one"),
        ("naive", "three two one"),
        ("%E6%9D%B1%E4%BA%AC", "three two one"),
        ("elephants", ""),
        // A name of a member is no word.
        ("question", ""),
    ] {
        assert_eq!(listed(&client, &format!("q={words}")), expected, "{words}");
    }
    assert_eq!(listed(&client, "q=weather&model=claude&sort=cost"), "three");
    client.delete("/api/v1/traces/two");
    assert_eq!(listed(&client, "q=quota"), "");
    assert_eq!(listed(&client, "q=weather"), "three one");
}

#[test]
fn a_run_that_changes_is_found_by_what_it_is_now() {
    let (_server, client) = three();
    assert_eq!(listed(&client, "q=unobtainium"), "");
    let end = json!({"status": "failed", "error": "no unobtainium left", "total_cost": 9.0});
    assert_eq!(client.patch("/api/v1/traces/one", &end).status, 200);
    assert_eq!(listed(&client, "q=unobtainium"), "one");
    assert_eq!(listed(&client, "status=failed&min_cost=9"), "one");
}

#[test]
fn invalid_parameters_are_refused_by_name() {
    let (_server, client) = three();
    for (query, name) in
        [("q=%2B", "q"), ("sort=id", "sort"), ("min_cost=x", "min_cost"), ("from=x", "from"), ("limit=0", "limit")]
    {
        for path in ["traces", "numbers", "sessions"] {
            let answer = client.get(&format!("/api/v1/{path}?{query}"));
            assert!(answer.refusal(400).contains(name), "{query}");
            assert_eq!(answer.json["field"], name, "{query}");
        }
    }
    assert_eq!(client.get("/api/v1/numbers?zone=99999").json["field"], "zone");
}

#[test]
fn sessions_are_conversations_over_their_runs() {
    let (_server, client) = three();
    let page = client.get("/api/v1/sessions").json;
    assert_eq!(page["total"], 2);
    assert_eq!(page["sessions"][0]["id"], "s-2");
    let first = &page["sessions"][1];
    assert_eq!((&first["id"], &first["runs"], &first["failed"]), (&json!("s-1"), &json!(2), &json!(1)));
    assert_eq!((&first["tokens"], &first["cost"]), (&json!(30), &json!(0.75)));
    // The user of a session is that of its latest run.
    assert_eq!(first["user"], "u-two");
    assert_eq!(first["last_micros"].as_i64().unwrap() - first["first_micros"].as_i64().unwrap(), 60_000_000);
    assert_eq!(client.get("/api/v1/sessions?model=claude").json["total"], 1);
    assert_eq!(client.get("/api/v1/sessions?limit=1&offset=1").json["sessions"][0]["id"], "s-1");
}

#[test]
fn figures_are_those_of_the_runs_that_are_meant() {
    let (_server, client) = three();
    let all = client.get("/api/v1/numbers").json;
    assert_eq!(
        (&all["runs"], &all["failed"], &all["tokens"], &all["cost"]),
        (&json!(3), &json!(1), &json!(60), &json!(2.75))
    );
    assert_eq!((&all["latency_ms"]["p50"], &all["latency_ms"]["p99"]), (&json!(200.0), &json!(300.0)));
    assert_eq!(all["models"][0]["value"], "claude");
    let tool = &all["tools"][0];
    assert_eq!((&tool["value"], &tool["calls"], &tool["errors"]), (&json!("look_up"), &json!(3), &json!(1)));
    assert_eq!(tool["mean_ms"], 4.0);
    let day = &all["days"][0];
    assert_eq!((&day["runs"], &day["models"]["gpt-4o"]["cost"]), (&json!(3), &json!(0.5)));
    let some = client.get("/api/v1/numbers?session=s-1&zone=-360").json;
    assert_eq!(
        (&some["runs"], &some["cost"], &some["models"].as_array().unwrap().len()),
        (&json!(2), &json!(0.75), &2)
    );
    // Six hours west of Greenwich it was the day before.
    assert_eq!(some["days"][0]["day"].as_i64().unwrap(), day["day"].as_i64().unwrap() - 1);
    let values = client.get("/api/v1/values").json;
    assert_eq!(values["tag"][0], json!({"value": "nightly", "runs": 3}));
    assert_eq!(values["environment"], json!([{"value": "test", "runs": 3}]));
}

#[test]
fn many_runs_are_removed_and_exported_by_one_request() {
    let (_server, client) = three();
    let exported = client.post("/api/v1/bulk/export", &json!({"ids": ["two", "none", "one"]}));
    assert_eq!((exported.status, exported.header("content-type")), (200, Some("application/x-ndjson")));
    let lines: Vec<Value> = exported.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, [client.get("/api/v1/traces/two").json, client.get("/api/v1/traces/one").json]);

    let removed = client.post("/api/v1/bulk/delete", &json!({"ids": ["two", "none", "one"]}));
    assert_eq!((removed.status, removed.json), (200, json!({"deleted": 2, "missing": 1})));
    assert_eq!(listed(&client, "q=weather"), "three");
    let values = client.get("/api/v1/values").json;
    assert_eq!(values["tag"], json!([{"value": "nightly", "runs": 1}, {"value": "three", "runs": 1}]));
    assert_eq!(values["model"], json!([{"value": "claude", "runs": 1}]));
    assert_eq!(client.get("/api/v1/sessions").json["total"], 1);
    assert_eq!(client.get("/api/v1/numbers").json["tools"][0]["calls"], 1);
    let many: Vec<String> = (0..1001).map(|id| id.to_string()).collect();
    assert_eq!(client.post("/api/v1/bulk/delete", &json!({"ids": many})).json["field"], "ids");
    assert_eq!(client.post("/api/v1/bulk/delete", &json!({"ids": 5})).status, 400);
}

#[test]
fn the_index_of_a_file_is_there_after_a_restart_and_made_where_it_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("runs.db");
    let start = || Server::builder().with_db(&file).start().unwrap();
    let server = start();
    Client::of(&server).upload(&run("one", 1, "gpt-4o", 0.5, None));
    // Stopped at once: whether it was indexed or not, it is found afterwards.
    server.stop();
    let server = start();
    assert_eq!(listed(&Client::of(&server), "q=Lisbon"), "one");
    server.stop();
}

#[test]
fn a_model_call_is_shown_as_a_conversation() {
    let (_server, client) = three();
    let found = client.get("/api/v1/traces/one/spans/m/conversation").json;
    assert_eq!(found["messages"][0]["role"], "user");
    assert_eq!(found["messages"][1]["is_output"], true);
    assert_eq!(found["messages"][1]["parts"][0]["nodes"], json!([["p", "It rains cats\nand dogs"]]));
    let run = client.get("/api/v1/traces/one/conversation").json;
    assert_eq!(run["messages"][0]["parts"][0]["value"]["question"], "What is the weather, one?");
    assert_eq!(client.get("/api/v1/traces/none/conversation").status, 404);
    assert_eq!(client.get("/api/v1/traces/one/spans/none/conversation").status, 404);
}

#[test]
fn a_tool_call_of_an_answer_is_joined_with_the_span_that_ran_it() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    let mut sent = run("joined", 1, "m", 0.1, Some("too slow"));
    sent["spans"][0]["output"] = json!("[tool calls] look_up({})");
    sent["spans"][0]["metadata"] =
        json!({"tool_calls": [{"id": "c-1", "name": "look_up", "arguments": {"city": "Lisbon"}}]});
    sent["spans"][1]["metadata"] = json!({"tool_call_id": "c-1"});
    client.upload(&sent);
    let found = client.get("/api/v1/traces/joined/spans/m/conversation").json;
    let call = &found["messages"][1]["parts"][0];
    assert_eq!(
        (&call["result"], &call["error"], &call["span_id"]),
        (&json!("18 degrees"), &json!("too slow"), &json!("t"))
    );
}

#[test]
fn these_endpoints_require_the_key() {
    let server = Server::builder().with_api_key("rt_right").start().unwrap();
    let client = Client::of(&server);
    for path in [
        "numbers",
        "sessions",
        "values",
        "traces?q=x",
        "traces/t/conversation",
        "traces/t/spans/s/conversation",
        "traces/t/otlp",
    ] {
        assert_eq!(client.get(&format!("/api/v1/{path}")).status, 401, "{path}");
    }
    for path in ["delete", "export"] {
        assert_eq!(client.post(&format!("/api/v1/bulk/{path}"), &json!({"ids": []})).status, 401, "{path}");
    }
    assert_eq!(Client::of(&server).with_key("rt_right").get("/api/v1/numbers").status, 200);
}

#[test]
fn a_run_is_exported_as_otlp_and_read_back() {
    let (_server, client) = three();
    let exported = client.get("/api/v1/traces/one/otlp");
    assert_eq!(exported.status, 200);
    let spans = exported.json["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
    let names: Vec<&str> = spans.iter().map(|span| span["name"].as_str().unwrap()).collect();
    assert!(
        names.iter().any(|name| name.contains("chat")) && names.iter().any(|name| name.contains("look_up")),
        "{names:?}"
    );
    let other = Server::start().unwrap();
    let client = Client::of(&other);
    let answer = client.send("POST", "/v1/traces", &[], Some(exported.text.as_bytes()));
    assert_eq!((answer.status, answer.json), (200, json!({})), "{}", answer.text);
    assert_eq!(client.get("/api/v1/traces/none/otlp").status, 404);
}
