//! Forks over the API, executed by agents over WebSockets.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use retrace_local::Server;
use serde_json::{Value, json};
use support::ws::{Ws, event, trace_started};
use support::{AT, Answer, Client, HANG};

const RESUMABLE: &str = r#"{"type":"auth","api_key":"rt_any","acks":true,"resumable":true,"replay_generation":1}"#;

/// A run of two tools and a model call.
fn recorded(id: &str) -> Value {
    let span = |span: &str, kind: &str, input: Value| {
        json!({"id": span, "trace_id": id, "parent_id": null, "span_type": kind, "name": kind, "started_at": AT,
            "ended_at": AT, "input": input, "output": "o"})
    };
    json!({
        "id": id, "status": "completed", "started_at": AT, "ended_at": AT, "name": "agent", "output": "o",
        "input": {"args": ["old?"], "kwargs": {"k": 1}}, "span_count": 2,
        "spans": [
            span("a", "tool_call", json!({"q": 1})),
            span("b", "llm_call", json!({"messages": [{"role": "user", "content": "old?"}]})),
        ],
    })
}

/// The run of an execution.
fn result(frame: &Value, id: &str, output: &str) -> Value {
    let data = &frame["data"];
    json!({
        "id": id, "status": "completed", "started_at": AT, "ended_at": AT, "name": "Fork: agent", "output": output,
        "input": data["modifiedInput"], "span_count": 1,
        "metadata": {"_fork_id": data["forkId"], "_fork_of": data["traceId"], "_fork_point": data["forkPointSpanId"],
            "_fork_execution_id": data["executionId"], "_cascade_replay": true},
        "spans": [{"id": format!("{id}-b"), "trace_id": id, "parent_id": null, "span_type": "llm_call", "name": "llm_call",
            "started_at": AT, "ended_at": AT, "input": {"messages": [{"role": "user", "content": "new?"}]}, "output": output}],
    })
}

async fn agent(server: &Server) -> Ws {
    let mut ws = support::ws::connect(server, &[]).await.unwrap();
    ws.auth(serde_json::from_str(RESUMABLE).unwrap()).await;
    ws
}

fn create(client: &Client, trace: &str, more: &Value) -> String {
    let mut body = json!({"trace_id": trace, "span_id": "b"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = client.post("/api/v1/forks", &body);
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(answer.json["status"], "created");
    answer.json["id"].as_str().unwrap().to_owned()
}

fn replay(client: &Client, fork: &str) -> Answer {
    client.send("POST", &format!("/api/v1/forks/{fork}/replay"), &[], None)
}

fn claim(client: &Client, frame: &Value) -> u16 {
    let data = &frame["data"];
    let path = format!("/api/v1/forks/{}/replay/claim", data["forkId"].as_str().unwrap());
    client.post(&path, &json!({"execution_id": data["executionId"]})).status
}

fn fork(client: &Client, id: &str) -> Value {
    client.get(&format!("/api/v1/forks/{id}")).json
}

/// Waits until a fork has this status. Each request waits for the next change.
fn until(client: &Client, id: &str, status: &str) -> Value {
    let began = std::time::Instant::now();
    let mut found = fork(client, id);
    while found["status"] != status {
        assert!(began.elapsed() < HANG, "{found}");
        let known = found["status"].as_str().unwrap();
        found = client.get(&format!("/api/v1/forks/{id}?after={}&status={known}", found["version"])).json;
    }
    found
}

#[tokio::test]
async fn a_fork_is_executed_claimed_and_compared() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    client.upload(&recorded("t"));
    let substitutions =
        json!({"messages": [{"role": "user", "content": "new?"}], "model": "m", "parameters": {"seed": 1}});
    let id = create(&client, "t", &json!({"modified_input": {"q": "new?"}, "substitutions": substitutions}));
    assert_eq!(
        client.get(&format!("/api/v1/forks/{id}/diff")).refusal(409),
        "the fork has no run to compare yet: it is created"
    );

    let mut agent = agent(&server).await;
    let started = replay(&client, &id);
    assert_eq!((started.status, &started.json["status"]), (202, &json!("running")), "{}", started.text);
    let frame = agent.next().await;
    let mut expected = json!({
        "forkId": id, "traceId": "t", "traceName": "agent", "forkPointSpanId": "b", "forkPointIndex": 1,
        "modifiedInput": {"q": "new?"}, "originalArgs": ["old?"], "originalKwargs": {"k": 1},
        "executionId": started.json["execution_id"], "substitutions": substitutions,
    });
    expected["cassette"] = recorded("t")["spans"].clone();
    assert_eq!(frame, json!({"type": "resume", "data": expected}));

    assert_eq!(fork(&client, &id)["claimed_at"], Value::Null);
    assert_eq!((claim(&client, &frame), claim(&client, &frame)), (200, 200));
    assert!(fork(&client, &id)["claimed_at"].is_string());
    client.upload(&result(&frame, "u", "o"));
    let done = until(&client, &id, "completed");
    assert_eq!((&done["result_trace_id"], &done["executions"][0]["status"]), (&json!("u"), &json!("completed")));

    let diff = client.get(&format!("/api/v1/forks/{id}/diff")).json;
    assert_eq!((&diff["same"], &diff["fork"]["index"]), (&json!(true), &json!(1)), "{diff}");
    let statuses: Vec<_> =
        diff["steps"].as_array().unwrap().iter().map(|step| step["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["replayed", "changed"]);
    assert_eq!(client.get("/api/v1/diff?a=t&b=u").json, diff);
    let listed = client.get("/api/v1/forks?trace_id=t").json;
    assert_eq!((&listed["forks"][0]["id"], &listed["total"]), (&json!(id), &json!(1)));
}

#[tokio::test]
async fn a_newer_execution_supersedes_an_older_one_and_two_forks_run_at_once() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    client.upload(&recorded("t"));
    let mut agent = agent(&server).await;
    let (first, second) = (create(&client, "t", &json!({})), create(&client, "t", &json!({"mode": "live"})));
    assert_eq!(replay(&client, &first).status, 202);
    let old = agent.next().await;
    assert_eq!(replay(&client, &second).status, 202);
    let other = agent.next().await;
    assert_eq!((&other["data"]["cassette"], &other["data"]["mode"]), (&Value::Null, &json!("live")));
    assert_eq!(replay(&client, &first).status, 202);
    let new = agent.next().await;
    assert_eq!((claim(&client, &old), claim(&client, &new), claim(&client, &other)), (409, 200, 200));
    client.upload(&result(&other, "u", "x"));
    client.upload(&result(&old, "v", "late"));
    client.upload(&result(&new, "w", "y"));
    assert_eq!(until(&client, &second, "completed")["result_trace_id"], "u");
    let first = until(&client, &first, "completed");
    assert_eq!(first["result_trace_id"], "w");
    assert_eq!(first["executions"][0]["status"], "superseded");
    assert_eq!(first["executions"][0]["result_trace_id"], "v", "it is kept");
}

#[tokio::test]
async fn an_agent_that_goes_away_leaves_a_fork_that_failed_with_a_reason() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    client.upload(&recorded("t"));
    let id = create(&client, "t", &json!({}));
    let mut lost = agent(&server).await;
    replay(&client, &id);
    let frame = lost.next().await;
    assert_eq!(claim(&client, &frame), 200);
    // Its run is live when it goes.
    let mut started = result(&frame, "u", "o");
    started["status"] = "running".into();
    let started = started
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| !["spans", "ended_at", "output"].contains(&name.as_str()));
    lost.send_acked(&[event("trace_started", 1, started.map(|(name, value)| (name.clone(), value.clone())).collect())])
        .await;
    assert_eq!(fork(&client, &id)["result_trace_id"], "u");
    lost.leave().await;
    let failed = until(&client, &id, "failed");
    assert!(failed["error"].as_str().unwrap().contains("connection of the agent closed"), "{failed}");
    assert!(replay(&client, &id).refusal(409).starts_with("no agent is connected"));

    // It comes back, and ends its run.
    let ended = json!({"id": "u", "status": "completed", "ended_at": AT, "output": "o"});
    let mut back = agent(&server).await;
    back.send_acked(&[event("trace_ended", 2, ended)]).await;
    assert_eq!(until(&client, &id, "completed")["error"], Value::Null);
}

#[tokio::test]
async fn a_lease_that_ends_is_an_expired_execution() {
    let server = Server::builder().with_fork_lease(Duration::from_millis(1)).start().unwrap();
    let client = Client::of(&server);
    client.upload(&recorded("t"));
    let id = create(&client, "t", &json!({}));
    let mut agent = agent(&server).await;
    replay(&client, &id);
    let frame = agent.next().await;
    assert!(until(&client, &id, "expired")["error"].as_str().unwrap().contains("lease"));
    assert_eq!(claim(&client, &frame), 409);
    client.upload(&result(&frame, "u", "o"));
    assert_eq!(until(&client, &id, "completed")["result_trace_id"], "u", "a run that comes late is taken");
}

#[tokio::test]
async fn only_agents_that_want_commands_get_them_and_those_without_leases_get_none() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    client.upload(&recorded("t"));
    let id = create(&client, "t", &json!({}));
    let mut plain = Ws::open(&server).await;
    assert!(replay(&client, &id).refusal(409).contains("RETRACE_ALLOW_REMOTE_REPLAY"));
    let mut old = support::ws::connect(&server, &[]).await.unwrap();
    old.auth(json!({"type": "auth", "api_key": "k", "resumable": true})).await;
    old.send(&trace_started(1, "v")).await;
    old.read_up_to_here().await;
    // Newer, and has recorded no such run.
    let mut newest = agent(&server).await;
    assert_eq!(replay(&client, &id).status, 202);
    let frame = old.next().await;
    assert_eq!((&frame["type"], &frame["data"]["executionId"]), (&json!("resume"), &Value::Null));
    client.upload(&result(&frame, "u", "o"));
    assert_eq!(until(&client, &id, "completed")["result_trace_id"], "u", "by its fork alone");
    plain.read_up_to_here().await;
    newest.read_up_to_here().await;
}

#[tokio::test]
async fn a_fork_of_a_fork_has_the_recording_and_the_arguments_of_both() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    client.upload(&recorded("t"));
    let mut agent = agent(&server).await;
    let first = create(&client, "t", &json!({"modified_input": {"k": 2, "extra": true}}));
    replay(&client, &first);
    let frame = agent.next().await;
    client.upload(&result(&frame, "u", "o"));
    let answer = client.post("/api/v1/forks", &json!({"trace_id": "u", "span_id": "u-b"}));
    let second = answer.json["id"].as_str().unwrap().to_owned();
    replay(&client, &second);
    let data = agent.next().await["data"].take();
    assert_eq!((&data["traceId"], &data["traceName"]), (&json!("u"), &json!("agent")));
    assert_eq!((&data["originalArgs"], &data["originalKwargs"]), (&json!(["old?"]), &json!({"k": 2, "extra": true})));
    assert_eq!(data["forkPointIndex"], 1);
    let ids: Vec<_> = data["cassette"].as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["a", "u-b"]);
}

#[tokio::test]
async fn a_text_of_which_the_argument_is_not_known_is_no_call() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    let mut run = recorded("t");
    // As a caller writes it whose function takes `question` first.
    run["input"] = json!({"args": [], "kwargs": {"depth": 3, "question": "old"}});
    client.upload(&run);
    let mut agent = agent(&server).await;
    let first = create(&client, "t", &json!({"modified_input": "new"}));
    replay(&client, &first);
    let frame = agent.next().await;
    client.upload(&result(&frame, "u", "o"));
    let answer = client.post("/api/v1/forks", &json!({"trace_id": "u", "span_id": "u-b"}));
    let second = answer.json["id"].as_str().unwrap().to_owned();
    let expected = "the arguments of the run u are not known: its new input is a text, and the call of t has several arguments by name. \
                    Fork t with an object that names its arguments, and fork that run";
    for path in [format!("/api/v1/forks/{second}/replay"), "/api/v1/traces/u/replay".to_owned()] {
        let refused = client.post(&path, &json!({"force": true}));
        assert_eq!((refused.status, &refused.json["error"]), (409, &json!(expected)), "{path}");
    }
    assert_eq!(fork(&client, &second)["status"], "created");
}

#[tokio::test]
async fn a_run_is_replayed_if_it_is_eligible() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    client.upload(&recorded("t"));
    let eligible = client.get("/api/v1/traces/t/eligibility").json;
    assert_eq!(eligible, json!({"eligible": true, "reasons": [], "golden": false, "agent": false}));
    client.post("/api/v1/traces/t/golden", &json!({"golden": true}));
    let mut agent = agent(&server).await;
    let eligible = client.get("/api/v1/traces/t/eligibility").json;
    assert_eq!((&eligible["golden"], &eligible["agent"]), (&json!(true), &json!(true)));
    assert_eq!(client.post("/api/v1/traces/t/replay", &json!({})).status, 202);
    let frame = agent.next().await;
    assert_eq!((&frame["type"], &frame["data"]["traceName"]), (&json!("replay"), &json!("agent")));
    assert_eq!(frame["data"]["input"], json!(["old?", 1]));
    assert_eq!(frame["data"]["cassette"][1]["span_type"], "llm_call");

    let mut lossy = recorded("v");
    lossy["lossy"] = true.into();
    client.upload(&lossy);
    let refused = client.send("POST", "/api/v1/traces/v/replay", &[], None);
    assert_eq!((refused.status, &refused.json["reasons"][0]["code"]), (409, &json!("lossy")), "{}", refused.text);
    assert_eq!(client.post("/api/v1/traces/v/replay", &json!({"force": true})).status, 202);
    assert_eq!(agent.next().await["data"]["traceId"], "v");

    let mut large = recorded("w");
    large["spans"][0]["output"] = "x".repeat(9 << 20).into();
    client.upload(&large);
    assert!(client.post("/api/v1/traces/w/replay", &json!({})).refusal(409).contains("more than a frame takes"));
    let id = create(&client, "w", &json!({}));
    replay(&client, &id);
    let data = agent.next().await["data"].take();
    assert_eq!((&data["cassette"], &data["cassetteOmitted"]), (&Value::Null, &json!(true)));
}

#[test]
fn recordings_are_read_in_three_forms() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    client.upload(&recorded("t"));
    let cassette = client.get("/api/v1/traces/t/cassette");
    assert_eq!(cassette.header("content-type"), Some("application/jsonl"));
    assert_eq!(cassette.header("content-disposition"), Some("attachment; filename=\"t.jsonl\""));
    let lines: Vec<Value> = cassette.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["run_id"], &lines[1]["name"]), (&json!("t"), &json!("tool_call")), "{}", cassette.text);
    let golden = client.get("/api/v1/traces/t/cassette?format=golden").json;
    assert_eq!((&golden["version"], golden["steps"].as_array().unwrap().len()), (&json!(1), 2));
    assert_eq!(client.get("/api/v1/traces/t/cassette?format=frame").json, recorded("t")["spans"]);
    let bad = client.get("/api/v1/traces/t/cassette?format=xml");
    assert_eq!((bad.status, &bad.json["field"]), (400, &json!("format")));
    client.get("/api/v1/traces/u/cassette").refusal(404);
}

#[test]
fn what_is_refused_names_its_field() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    client.upload(&recorded("t"));
    for (status, field, body) in [
        (400, "trace_id", json!({"span_id": "b"})),
        (404, "trace_id", json!({"trace_id": "u", "span_id": "b"})),
        (404, "span_id", json!({"trace_id": "t", "span_id": "c"})),
        (400, "mode", json!({"trace_id": "t", "span_id": "b", "mode": "fast"})),
        (400, "modified_input", json!({"trace_id": "t", "span_id": "b", "modified_input": 1})),
        (
            400,
            "substitutions.tool_output",
            json!({"trace_id": "t", "span_id": "b", "substitutions": {"tool_output": 1}}),
        ),
        (400, "substitutions.messages", json!({"trace_id": "t", "span_id": "a", "substitutions": {"messages": []}})),
    ] {
        let answer = client.post("/api/v1/forks", &body);
        assert_eq!((answer.status, answer.json["field"].as_str()), (status, Some(field)), "{body}: {}", answer.text);
    }
    for (status, path, field) in [
        (400, "/api/v1/forks?limit=0", Some("limit")),
        (400, "/api/v1/forks?offset=-1", Some("offset")),
        (404, "/api/v1/forks/x", None),
        (400, "/api/v1/diff?a=t", Some("b")),
        (404, "/api/v1/diff?a=t&b=u", Some("b")),
        (404, "/api/v1/forks/x/diff", None),
        (404, "/api/v1/traces/x/eligibility", None),
    ] {
        let answer = client.get(path);
        assert_eq!((answer.status, answer.json["field"].as_str()), (status, field), "{path}: {}", answer.text);
    }
    let answer = client.post("/api/v1/forks/x/replay/claim", &json!({"execution_id": 1}));
    assert_eq!((answer.status, answer.json["field"].as_str()), (400, Some("execution_id")));
    assert_eq!(client.post("/api/v1/forks/x/replay/claim", &json!({"execution_id": "e"})).status, 404);
    assert_eq!(replay(&client, "x").status, 404);
}

#[test]
fn forks_survive_a_restart_and_need_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("runs.db");
    let server = Server::builder().with_db(&db).start().unwrap();
    let client = Client::of(&server);
    client.upload(&recorded("t"));
    let id = create(&client, "t", &json!({"substitutions": {"model": "m"}}));
    server.stop();
    let server = Server::builder().with_db(&db).with_api_key("rt_key").start().unwrap();
    assert_eq!(Client::of(&server).get(&format!("/api/v1/forks/{id}")).status, 401);
    let client = Client::of(&server).with_key("rt_key");
    assert_eq!(fork(&client, &id)["substitutions"], json!({"model": "m"}));
}
