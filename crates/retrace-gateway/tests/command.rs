//! The command `retrace-gateway`.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/process.rs"]
mod process;
mod support;

use std::fs;

use process::{Process, output};
use retrace_local::Server;
use support::{counts, post_blocking, request, runs, whole};

#[test]
fn a_configuration_is_explained_without_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    fs::write(&file, "[traces]\nwait_seconds = 3\n").unwrap();
    let path = file.to_str().unwrap();
    let (status, out, err) = output(&["--check", "--config", path], &[("RETRACE_API_KEY", "rt_secret")]);
    assert!(status.success(), "{err}");
    assert!(out.contains("A trace is sent 3s after its last span") && !out.contains("rt_secret"), "{out}");

    fs::write(&file, "[traces]\nwait_second = 3\n").unwrap();
    let (status, _, err) = output(&["--check", "--config", path], &[("RETRACE_API_KEY", "rt_secret")]);
    assert_eq!(status.code(), Some(2));
    assert!(err.contains("did you mean `traces.wait_seconds`?"), "{err}");
    let (status, _, err) = output(&["--config", "/nowhere/gateway.toml"], &[]);
    assert_eq!(status.code(), Some(2));
    assert!(err.contains("/nowhere/gateway.toml"), "{err}");
}

#[test]
fn sigterm_delivers_what_is_in_memory() {
    let sink = Server::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    let text = format!(
        "otlp = {{ http = \"127.0.0.1:0\", grpc = \"\" }}\nadmin = {{ listen = \"\" }}\ntraces = {{ wait_seconds = 3600 }}\nretrace = {{ base_url = \"{}\" }}",
        sink.url()
    );
    fs::write(&file, text).unwrap();
    let mut gateway = Process::start(&file);
    for trace in 0..10 {
        let body = request("front", &whole(trace, 3)).to_string();
        assert_eq!(post_blocking(&format!("http://{}/v1/traces", gateway.http), &[], &body).status, 200);
    }
    assert_eq!(runs(&sink), 0);
    assert!(gateway.terminate().success());
    let totals = gateway.line("spans of a tenant");
    assert_eq!((&totals["accepted"], &totals["delivered"], &totals["lost"]), (&40.into(), &40.into(), &0.into()));
    assert_eq!(counts(&sink, 10), (10, 40));
}

#[test]
fn the_documented_configurations_are_accepted() {
    let documents = ["../../docs/FLEETS.md", "README.md"]
        .map(|path| fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap_or_default());
    let dir = tempfile::tempdir().unwrap();
    for tenant in ["search", "support"] {
        fs::write(dir.path().join(tenant), "rt_secret\n").unwrap();
    }
    let variables = [("RETRACE_API_KEY", "rt_secret"), ("SEARCH_KEY", "rt_secret"), ("INTAKE_TOKEN", "t")];
    let mut checked = 0;
    for block in documents.iter().flat_map(|text| text.split("```toml\n").skip(1)) {
        let text = block.split("```").next().unwrap().replace("/run/secrets", dir.path().to_str().unwrap());
        let file = dir.path().join("gateway.toml");
        fs::write(&file, &text).unwrap();
        let (status, _, err) = output(&["--check", "--config", file.to_str().unwrap()], &variables);
        assert!(status.success(), "{err}\n{text}");
        checked += 1;
    }
    // A package has no docs.
    assert!(checked >= 1);
}
