//! A run of the example forked by the API of the receiver, from the request to the comparison.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use retrace_local::Server;
use serde_json::{Value, json};

/// Only a hang reaches it.
const HANG: Duration = Duration::from_secs(120);

/// The example while it serves, and the lines that it prints.
struct Agent {
    process: Child,
    lines: Receiver<String>,
    printed: Vec<String>,
}

impl Agent {
    fn start(server: &Server) -> Self {
        let mut example = Command::new(env!("CARGO_BIN_EXE_example-serve-agent"));
        example.env("RETRACE_BASE_URL", server.url()).env_remove("RETRACE_API_KEY").stdout(Stdio::piped());
        let mut process = example.spawn().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        Self { process, lines, printed: Vec::new() }
    }

    fn wait_for(&mut self, text: &str) {
        while !self.printed.last().is_some_and(|line| line.contains(text)) {
            self.printed.push(self.lines.recv_timeout(HANG).unwrap_or_else(|_| panic!("{text}: {:?}", self.printed)));
        }
    }

    /// How often a tool was executed, of what has been printed.
    fn executed(&mut self, tool: &str) -> usize {
        self.printed.extend(self.lines.try_iter());
        self.printed.iter().filter(|line| line.contains(&format!("{tool} is executed"))).count()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Api(String);

impl Api {
    fn get(&self, path: &str) -> Value {
        let mut response = ureq::get(format!("{}{path}", self.0)).call().unwrap();
        serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap()
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let request = ureq::post(format!("{}{path}", self.0)).header("content-type", "application/json");
        let mut response = request.send(body.to_string()).unwrap();
        serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap()
    }

    /// Executes a fork and waits for its end.
    fn fork(&self, body: &Value) -> Value {
        let id = self.post("/api/v1/forks", body)["id"].as_str().unwrap().to_owned();
        self.post(&format!("/api/v1/forks/{id}/replay"), &json!({}));
        let until = Instant::now() + HANG;
        loop {
            let fork = self.get(&format!("/api/v1/forks/{id}"));
            if ["completed", "failed", "expired", "superseded"].iter().any(|status| fork["status"] == *status) {
                return fork;
            }
            assert!(Instant::now() < until, "{fork}");
            // Answered at the next change, or after half a minute.
            self.get(&format!("/api/v1/forks/{id}?after={}", fork["version"]));
        }
    }
}

/// The request of the second model call with another result of the weather.
fn changed(run: &Value, weather: &str) -> Value {
    let mut calls = run["spans"].as_array().unwrap().iter().filter(|span| span["span_type"] == "llm_call");
    let second = calls.nth(1).unwrap();
    let mut messages = second["input"]["messages"].clone();
    for message in messages.as_array_mut().unwrap() {
        if message["role"] == "tool" {
            message["content"] = weather.into();
        }
    }
    json!({"trace_id": run["id"], "span_id": second["id"], "substitutions": {"messages": messages}})
}

#[test]
fn a_fork_runs_live_from_the_changed_call_and_no_tool_twice() {
    let server = Server::start().unwrap();
    let api = Api(server.url().to_owned());
    let mut agent = Agent::start(&server);
    agent.wait_for("can be forked");
    let runs = api.get("/api/v1/traces");
    let run = api.get(&format!("/api/v1/traces/{}", runs["traces"][0]["id"].as_str().unwrap()));
    assert_eq!((agent.executed("get_weather"), agent.executed("reserve")), (1, 1));

    let fork = api.fork(&changed(&run, "Bergen: a storm until noon"));
    assert_eq!(fork["status"], "completed", "{fork}");
    let forked = api.get(&format!("/api/v1/traces/{}", fork["result_trace_id"].as_str().unwrap()));
    assert_eq!(
        (&forked["name"], &forked["output"]),
        (&json!("Fork: plan-trip"), &json!("You have a seat on the train."))
    );
    assert_eq!(forked["metadata"]["_fork_of"], run["id"]);
    // The tool before the fork point, and the one after it whose arguments are the recorded ones.
    assert_eq!((agent.executed("get_weather"), agent.executed("reserve")), (1, 1), "{:?}", agent.printed);
    let live = forked["spans"].as_array().unwrap().iter().filter(|span| span["span_type"] == "llm_call");
    assert_eq!(live.count(), 2, "the first call is in the run that was forked: {forked:#}");

    let diff = api.get(&format!("/api/v1/forks/{}/diff", fork["id"].as_str().unwrap()));
    assert_eq!(diff["same"], true, "only what the fork changed differs: {diff:#}");
    let steps = diff["steps"].as_array().unwrap();
    let replayed: Vec<_> = steps.iter().filter(|step| step["status"] == "replayed").collect();
    assert!(!replayed.is_empty(), "{diff:#}");
}

#[test]
fn a_tool_with_effects_is_not_executed_with_other_arguments() {
    let server = Server::start().unwrap();
    let api = Api(server.url().to_owned());
    let mut agent = Agent::start(&server);
    agent.wait_for("can be forked");
    let runs = api.get("/api/v1/traces");
    let run = api.get(&format!("/api/v1/traces/{}", runs["traces"][0]["id"].as_str().unwrap()));

    // In the sun one takes the plane, for which no seat was reserved in the recording.
    let fork = api.fork(&changed(&run, "Bergen: sun"));
    assert_eq!(fork["status"], "failed", "{fork}");
    let forked = api.get(&format!("/api/v1/traces/{}", fork["result_trace_id"].as_str().unwrap()));
    assert!(forked["error"].as_str().is_some_and(|error| error.contains("reserve")), "{}", forked["error"]);
    assert_eq!(agent.executed("reserve"), 1, "{:?}", agent.printed);
    let diff = api.get(&format!("/api/v1/forks/{}/diff", fork["id"].as_str().unwrap()));
    assert_eq!(diff["same"], false, "{diff:#}");
    let first = &diff["steps"][usize::try_from(diff["first_divergence"]["step"].as_u64().unwrap()).unwrap()];
    assert_eq!(first["b"]["span_type"], "llm_call", "the model requested another tool call: {diff:#}");
}
