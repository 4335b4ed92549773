//! `retrace-local runs`, `show`, `fork`, `diff` and `export`, as processes.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use retrace_local::Server;
use serde_json::{Value, json};
use support::ws::{Ws, connect, span_ended, span_started, trace_started};
use support::{AT, Client, run};

/// Runs the command without blocking the runtime, which the agent needs.
async fn command(arguments: &[&str]) -> Output {
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let command = move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_retrace-local"));
        command.env_remove("RETRACE_API_KEY").env_remove("RETRACE_LOCAL_API_KEY").stdin(Stdio::null());
        command.args(arguments).output().unwrap()
    };
    tokio::task::spawn_blocking(command).await.unwrap()
}

async fn ended(arguments: &[&str], status: i32) -> String {
    let output = command(arguments).await;
    let (out, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {out}{error}");
    if status == 2 { error } else { out }
}

async fn answer(arguments: &[&str], status: i32) -> Value {
    serde_json::from_str(&ended(arguments, status).await).unwrap()
}

fn file(path: &Path) -> &str {
    path.to_str().unwrap()
}

async fn agent(server: &Server) -> Ws {
    let mut agent = connect(server, &[]).await.unwrap();
    let auth = json!({"type": "auth", "api_key": "k", "resumable": true, "replay_generation": 1, "acks": true});
    agent.auth(auth).await;
    agent
}

/// Executes the next fork of the agent: its run has one model call with this output.
async fn execute(server: &Server, agent: &mut Ws, id: &str, output: &str) -> Value {
    execute_with(server, agent, id, output, json!({})).await
}

/// Executes the next fork of the agent, whose run has these members as well.
async fn execute_with(server: &Server, agent: &mut Ws, id: &str, output: &str, members: Value) -> Value {
    let data = agent.next().await["data"].take();
    let mut run = json!({
        "id": id, "name": "Fork: agent", "status": "completed", "started_at": AT, "ended_at": AT, "output": null,
        "metadata": {"_fork_id": data["forkId"], "_fork_of": data["traceId"], "_fork_point": data["forkPointSpanId"],
            "_fork_execution_id": data["executionId"]},
        "spans": [
            {"id": "c", "trace_id": id, "parent_id": null, "span_type": "llm_call", "name": "chat", "started_at": AT,
             "model": "m", "input": [1, 2.5], "output": output},
            {"id": "d", "trace_id": id, "parent_id": "c", "span_type": "tool_call", "name": "", "started_at": AT,
             "output": null, "error": "no"},
        ],
    });
    run.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let url = server.url().to_owned();
    let upload = move || {
        let request = ureq::post(format!("{url}/api/v1/traces")).header("content-type", "application/json");
        assert_eq!(request.send(run.to_string().as_bytes()).unwrap().status().as_u16(), 201);
    };
    tokio::task::spawn_blocking(upload).await.unwrap();
    data
}

#[tokio::test]
async fn a_run_is_forked_waited_for_and_compared() {
    let server = Server::start().unwrap();
    Client::of(&server).upload(&run("t"));
    let mut agent = agent(&server).await;
    let url = ["--url", server.url()];

    let same = ["fork", "t", "--span", "0", "--set", "model=n", "--set", "parameters.seed=7", "--wait", url[0], url[1]];
    let (out, data) = tokio::join!(ended(&same, 0), execute(&server, &mut agent, "u", "hello"));
    assert_eq!(data["substitutions"], json!({"model": "n", "parameters": {"seed": 7}}));
    assert_eq!((&data["forkPointSpanId"], &data["forkPointIndex"]), (&json!("a"), &json!(0)));
    assert!(out.contains("is completed: run u") && out.ends_with("the runs are the same\n"), "{out}");

    let other =
        ["fork", "t", "--span", "a", "--set", "input.q=new", "--mode", "live", "--wait", "--json", url[0], url[1]];
    let (found, data) = tokio::join!(answer(&other, 1), execute(&server, &mut agent, "v", "bye now"));
    assert_eq!((&data["modifiedInput"], &data["cassette"]), (&json!({"q": "new"}), &Value::Null));
    assert_eq!(found["fork"]["result_trace_id"], "v");
    assert_eq!(
        (&found["diff"]["same"], &found["diff"]["first_divergence"]["reason"]),
        (&json!(false), &json!("output"))
    );

    // A fork that failed could not be done, whatever its run has in common with the old one.
    let failed = json!({"status": "failed", "error": "`model` at the fork point was not changed:\nno such \u{1b}call"});
    let fork = ["fork", "t", "--span", "a", "--set", "model=n", "--wait", url[0], url[1]];
    let (error, _) = tokio::join!(ended(&fork, 2), execute_with(&server, &mut agent, "w", "hello", failed));
    assert!(error.contains("failed: `model` at the fork point was not changed:\nno such  call"), "{error}");

    let without_wait = answer(&["fork", "t", "--span", "a", "--json", url[0], url[1]], 0).await;
    assert_eq!(without_wait["status"], "running");

    let out = ended(&["diff", "t", "v", url[0], url[1]], 1).await;
    assert!(out.contains("[-hello-]{+bye now+}") && out.contains("first divergence"), "{out}");
    assert!(ended(&["diff", "t", "t", url[0], url[1]], 0).await.contains("the runs are the same"));
    assert_eq!(answer(&["diff", "t", "v", "--json", url[0], url[1]], 1).await["b"]["id"], "v");
}

#[tokio::test]
async fn a_fork_that_cannot_be_compared_ends_with_status_two() {
    let server = Server::start().unwrap();
    Client::of(&server).upload(&run("t"));
    let url = server.url();
    let error = ended(&["fork", "t", "--span", "a", "--wait", "--url", url], 2).await;
    assert!(error.contains("no agent is connected"), "{error}");
    let mut lost = agent(&server).await;
    let leave = async {
        lost.next().await;
        lost.leave().await;
    };
    let fork = ["fork", "t", "--span", "a", "--wait", "--url", url];
    let (error, ()) = tokio::join!(ended(&fork, 2), leave);
    assert!(error.contains("is failed: the connection of the agent closed"), "{error}");

    for (arguments, words) in [
        (vec!["fork", "x", "--span", "a", "--url", url], "has no run x"),
        (vec!["fork", "t", "--span", "7", "--url", url], "no span 7"),
        (vec!["fork", "t", "--span", "a", "--set", "prompt=x", "--url", url], "`prompt` cannot be set"),
        (vec!["fork", "t", "--span", "a", "--set", "tool_output=x", "--url", url], "`tool_output` cannot be changed"),
        (vec!["fork", "t", "--span", "a", "--mode", "fast", "--url", url], "`strict`, `lenient` or `live`"),
        (vec!["fork", "t", "--span", "a", "--set", "nothing", "--url", url], "expected PATH=VALUE"),
        (vec!["diff", "t", "x", "--url", url], "there is no trace x; take ids"),
        (vec!["show", "x", "--url", url], "retrace-local runs"),
        (vec!["runs", "--status", "done", "--url", url], "`status`"),
        (vec!["runs", "--url", "http://127.0.0.1:9"], "start `retrace-local serve`"),
        (vec!["runs", "--url", "https://api.example.com"], "no http:// URL"),
        (vec!["runs", "--db", "/nowhere/at/all.db"], "there is no such file"),
        (vec!["fork", "t", "--span", "a", "--db", "runs.db"], "give its --url"),
        (vec!["export", "t", "--json", "--url", url], "--out"),
    ] {
        let error = ended(&arguments, 2).await;
        assert!(error.contains(words), "{arguments:?}: {error}");
    }
}

#[tokio::test]
async fn a_run_whose_client_is_gone_is_interrupted_and_has_the_tokens_of_its_steps() {
    let server = Server::start().unwrap();
    let url = ["--url", server.url()];
    let mut lost = Ws::open(&server).await;
    let mut end = span_ended(3, "gone", "s", json!("o"));
    let usage = json!({"output_tokens": 18, "cost": 0.25});
    end["data"].as_object_mut().unwrap().extend(usage.as_object().unwrap().clone());
    lost.send_acked(&[trace_started(1, "gone"), span_started(2, "gone", "s"), end]).await;
    let mut held = Ws::open(&server).await;
    held.send_acked(&[trace_started(1, "held")]).await;
    lost.leave().await;

    // An answer by the index waits for it: a list takes the totals of a run under way from there.
    assert_eq!(Client::of(&server).get("/api/v1/traces?sort=tokens").status, 200);
    let out = ended(&["runs", url[0], url[1]], 0).await;
    assert!(out.contains("interrupted  gone  agent  18 tokens, 0.25 USD\n"), "{out}");
    assert!(out.contains("running      held"), "{out}");
    let out = ended(&["runs", "--status", "interrupted", url[0], url[1]], 0).await;
    assert!(out.contains("gone") && !out.contains("held") && out.ends_with("1 of 1 runs\n"), "{out}");
    let running = answer(&["runs", "--status", "running", "--json", url[0], url[1]], 0).await;
    assert_eq!((&running["total"], &running["traces"][0]["id"]), (&json!(1), &json!("held")));
    // All are counted, and the limit is that of the other statuses.
    let mut second = Ws::open(&server).await;
    second.send_acked(&[trace_started(1, "second")]).await;
    let running = answer(&["runs", "--status", "running", "--limit", "1", "--json", url[0], url[1]], 0).await;
    assert_eq!((&running["total"], running["traces"].as_array().unwrap().len()), (&json!(2), 1));
    let refusals = ["running", "interrupted", "failed"]
        .map(|status| ["runs", "--status", status, "--limit", "0", url[0], url[1]].map(str::to_owned));
    for arguments in refusals {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let error = ended(&arguments, 2).await;
        assert!(error.contains("expected a number from 1 to 1000"), "{error}");
    }
    assert!(ended(&["show", "gone", url[0], url[1]], 0).await.contains("interrupted  gone  agent  18 tokens"));
}

#[tokio::test]
async fn a_run_is_shown_as_a_tree_with_its_content() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    let span = |id: &str, parent: Value, second: u8, members: Value| {
        let mut span = json!({"id": id, "trace_id": "t", "parent_id": parent, "span_type": "reasoning", "name": id,
            "started_at": format!("2026-01-02T03:04:{second:02}Z")});
        span.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        span
    };
    let agent = json!({"agent_id": "a1", "agent_role": "Planner", "input": {"city": "Oslo"}, "output": "sleet\u{1b}\nand wind"});
    // The second service arrives first.
    let spans = [
        span("back", json!("front"), 2, json!({"error": "no\nmore", "output": "x".repeat(200)})),
        span("front", Value::Null, 1, agent),
    ];
    client.upload(&json!({"id": "t", "name": "agent", "status": "completed", "started_at": AT, "ended_at": AT,
        "input": {"q": 1}, "output": "done", "spans": spans}));
    let url = ["--url", server.url()];
    let out = ended(&["show", "t", url[0], url[1]], 0).await;
    let expected = [
        "  input  {\"q\":1}",
        "  output done",
        "    0  reasoning front agent a1 (Planner)  front",
        "         input  {\"city\":\"Oslo\"}",
        "         output sleet  and wind",
        "    1    reasoning back  back",
        &format!("           output {}…", "x".repeat(101)),
        "           error: no",
        "                  more",
    ];
    assert_eq!(out.lines().skip(1).collect::<Vec<_>>(), expected, "{out}");
    // The numbers are those by which it is forked.
    let error = ended(&["fork", "t", "--span", "1", "--set", "model=m", url[0], url[1]], 2).await;
    assert!(error.contains("`model` cannot be changed"), "{error}");
    let mut forked = self::agent(&server).await;
    ended(&["fork", "t", "--span", "1", url[0], url[1]], 0).await;
    assert_eq!(forked.next().await["data"]["forkPointSpanId"], "back");
    let out = ended(&["runs", "--limit", "1", url[0], url[1]], 0).await;
    assert!(out.ends_with("1 of 1 runs\n"), "{out}");
    client.upload(&run("u"));
    let out = ended(&["runs", "--limit", "1", url[0], url[1]], 0).await;
    assert!(out.ends_with("1 of 2 runs: --limit N lists more\n"), "{out}");
}

#[tokio::test]
async fn a_database_file_is_read_without_a_receiver() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("runs.db");
    let server = Server::builder().with_db(&db).start().unwrap();
    let client = Client::of(&server);
    client.upload(&run("t"));
    let mut other = run("u");
    other["spans"][0]["output"] = "bye\u{1b}[31m".into();
    other["status"] = "failed".into();
    client.upload(&other);
    server.stop();
    let db = ["--db", file(&db)];

    let out = ended(&["runs", db[0], db[1]], 0).await;
    assert!(out.contains("completed    t  agent  24 tokens") && out.ends_with("2 of 2 runs\n"), "{out}");
    assert_eq!(answer(&["runs", "--status", "failed", "--json", db[0], db[1]], 0).await["traces"][0]["id"], "u");
    let out = ended(&["show", "t", db[0], db[1]], 0).await;
    assert!(out.contains("    0  llm_call chat m 14 ms 7+17 tokens  a\n"), "{out}");
    assert!(out.contains("         output hello\n    1    tool_call  0 ms  b\n           error: no\n"), "{out}");
    assert_eq!(answer(&["show", "t", "--json", db[0], db[1]], 0).await["spans"][0]["output"], "hello");
    let out = ended(&["diff", "t", "u", db[0], db[1]], 1).await;
    assert!(!out.contains('\u{1b}') && out.contains("bye"), "{out:?}");

    let out = answer(&["export", "t", db[0], db[1]], 0).await;
    assert_eq!((&out["id"], &out["golden"]), (&json!("t"), &Value::Null));
    let cassette = dir.path().join("t.jsonl");
    let export = ["export", "t", "--cassette", "--json", "--out", file(&cassette), db[0], db[1]];
    assert_eq!(answer(&export, 0).await["format"], "cassette");
    let first = std::fs::read_to_string(&cassette).unwrap();
    assert!(first.contains(r#""run_id":"t""#), "{first}");
    assert!(ended(&export, 2).await.contains("--overwrite"));
    let export = ["export", "t", "--format", "golden", "--overwrite", "--out", file(&cassette), db[0], db[1]];
    assert!(ended(&export, 0).await.contains("golden"));
    let golden = std::fs::File::open(&cassette).unwrap();
    assert_eq!(retrace_replay::golden::read("golden", golden).unwrap().steps.len(), 2);
}
