//! The command, as a process.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use serde_json::json;

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_retrace-local"));
    command.env_remove("RETRACE_LOCAL_API_KEY").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Kills the process when the test ends early.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The lines that are printed at the start, and the URL among them.
fn banner(child: &mut Child) -> (String, String) {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let banner: Vec<String> = lines.by_ref().take_while(|line| !line.contains("to stop")).collect();
    let url = banner[0].split(' ').find(|word| word.starts_with("http://")).unwrap().to_owned();
    (banner.join("\n"), url)
}

fn failure(arguments: &[&str]) -> String {
    let output = command().args(arguments).output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[cfg(unix)]
#[test]
fn it_serves_until_it_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("runs.db");
    for signal in ["-TERM", "-INT"] {
        let mut command = command();
        command.args(["serve", "--addr", "localhost:0", "--db"]).arg(&path).env("RETRACE_LOCAL_API_KEY", "rt_secret");
        let mut running = Running(command.spawn().unwrap());
        let (banner, url) = banner(&mut running.0);
        assert!(banner.contains(&format!("RETRACE_BASE_URL={url}")), "{banner}");
        assert!(banner.contains(&format!("OTEL_EXPORTER_OTLP_ENDPOINT={url} ")), "{banner}");
        assert!(banner.contains("runs.db") && !banner.contains("rt_secret"), "{banner}");

        let post = |key: &str| {
            let config = ureq::Agent::config_builder().http_status_as_error(false).build();
            let request = ureq::Agent::from(config).post(format!("{url}/api/v1/traces")).header("x-retrace-key", key);
            let body = json!({"id": signal, "started_at": support::AT}).to_string();
            request.header("content-type", "application/json").send(body.as_bytes()).unwrap().status().as_u16()
        };
        assert_eq!([post("rt_wrong"), post("rt_secret"), post("rt_secret")], [401, 201, 409]);

        let pid = running.0.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        assert!(running.0.wait().unwrap().success(), "{signal} is an end in good order");
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(left, ["runs.db"]);
    }
}

#[test]
fn a_database_in_memory_makes_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command();
    command.args(["serve", "--addr", "127.0.0.1:0", "--db", ":memory:"]).current_dir(dir.path());
    let mut running = Running(command.spawn().unwrap());
    let (banner, _) = banner(&mut running.0);
    assert!(banner.contains("runs are kept  in memory"), "{banner}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[cfg(unix)]
#[test]
fn an_address_that_others_reach_is_warned_about() {
    let mut command = command();
    command.args(["serve", "--addr", "0.0.0.0:0", "--allow-remote"]);
    let mut running = Running(command.spawn().unwrap());
    let (_, url) = banner(&mut running.0);
    assert!(url.starts_with("http://127.0.0.1:"), "one that a client can use: {url}");
    assert!(Command::new("kill").arg(running.0.id().to_string()).status().unwrap().success());
    let mut warning = String::new();
    running.0.stderr.take().unwrap().read_to_string(&mut warning).unwrap();
    assert!(warning.contains("no key is asked for; nothing is encrypted"), "{warning}");
}

#[test]
fn errors_have_a_remedy() {
    let taken = retrace_local::Server::start().unwrap();
    let addr = taken.addr().to_string();
    for (arguments, expected) in [
        (&["serve", "--addr", addr.as_str()][..], "is in use"),
        (&["serve", "--addr", "0.0.0.0:0"], "other machines"),
        (&["serve", "--addr", "0.0.0.0:0"], "--allow-remote"),
        (&["serve", "--addr", "3001"], "such as 127.0.0.1:3001"),
        (&["serve", "--addr", "127.0.0.1:0", "--db", "/no/such/folder/x.db"], "does not exist: create it"),
        (&["serve", "--addr", "127.0.0.1:0", "--api-key", ""], "the API key is empty"),
        (&["serve", "--max-body-bytes", "many"], "--max-body-bytes"),
        (&["serv"], "serv"),
    ] {
        let error = failure(arguments);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}

#[test]
fn its_help_does_not_show_the_key() {
    let output = command().args(["serve", "--help"]).env("RETRACE_LOCAL_API_KEY", "rt_secret").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("RETRACE_LOCAL_API_KEY") && !help.contains("rt_secret"), "{help}");
}

const SPANS: &str = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[
    {"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","parentSpanId":"00f067aa0ba902b7","name":"chat m",
     "startTimeUnixNano":"1795345548000000000","endTimeUnixNano":"1795345549000000000","attributes":[
        {"key":"gen_ai.operation.name","value":{"stringValue":"chat"}},
        {"key":"gen_ai.output.messages","value":{"stringValue":"[{\"role\":\"assistant\",\"parts\":[{\"type\":\"text\",\"content\":\"hi\"}]}]"}}]},
    {"traceId":"00","spanId":"00","name":"malformed"}]}]}]}"#;
const ROOT: &str = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[
    {"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"00f067aa0ba902b7","name":"GET /",
     "startTimeUnixNano":"1795345547000000000","endTimeUnixNano":"1795345549500000000"}]}]}]}"#;

fn translated(arguments: &[&str], input: &str) -> (serde_json::Value, String) {
    let mut child = command().arg("translate").args(arguments).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    (serde_json::from_slice(&output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn otlp_is_translated_from_files_and_from_the_standard_input_together() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.json");
    std::fs::write(&path, ROOT).unwrap();
    let (runs, complaints) = translated(&["-", path.to_str().unwrap(), "--environment", "test"], SPANS);
    let run = &runs["traces"][0];
    assert_eq!((runs["traces"].as_array().unwrap().len(), run["spans"].as_array().unwrap().len()), (1, 2));
    assert_eq!(
        (&run["name"], &run["output"], &run["metadata"]["environment"]),
        (&json!("GET /"), &json!("hi"), &json!("test"))
    );
    assert!(complaints.contains("1 records are left out"), "{complaints}");

    let (runs, _) = translated(&["--no-content"], SPANS);
    assert_eq!(runs["traces"][0]["spans"][0].get("output"), None);
    let (runs, complaints) = translated(&[path.to_str().unwrap()], "");
    assert_eq!(runs, json!({"traces": []}), "nothing of GenAI in it");
    assert!(complaints.contains("none of the 1 spans is one of GenAI: give --spans all"), "{complaints}");
    for nothing in ["", "{\"a\":1}"] {
        let (runs, complaints) = translated(&["-"], nothing);
        assert_eq!(runs, json!({"traces": []}));
        assert!(complaints.contains("holds no span: expected OTLP"), "{complaints}");
    }
    let (runs, _) = translated(&["--spans", "all", path.to_str().unwrap()], "");
    assert_eq!(runs["traces"][0]["name"], "GET /");
}

#[test]
fn an_input_that_is_no_otlp_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes.txt");
    std::fs::write(&path, "{not json").unwrap();
    let error = failure(&["translate", path.to_str().unwrap()]);
    assert!(error.contains("notes.txt") && error.contains("no OTLP JSON"), "{error}");
    assert!(failure(&["translate", "/no/such/file"]).contains("/no/such/file"));
}

#[test]
fn a_policy_file_that_is_wrong_is_named_with_its_field() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policies.json");
    std::fs::write(&path, r#"{"policies": [{"id": "a", "verdict": "stop"}]}"#).unwrap();
    let error = failure(&["serve", "--addr", "127.0.0.1:0", "--policy", path.to_str().unwrap()]);
    assert!(error.contains("policies.json") && error.contains("policies[0].verdict"), "{error}");
}
