//! `docs/RECEIVER.md` lists the API that the receiver has.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::path::{Path, PathBuf};

use retrace_local::Server;
use support::{Client, run};

fn document() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/RECEIVER.md")).unwrap()
}

/// The calls in its tables, as method and path.
fn calls(document: &str) -> Vec<(String, String)> {
    let cell = |line: &str| line.strip_prefix("| `")?.split_once("` |").map(|(call, _)| call.to_owned());
    let call = |cell: String| cell.split_once(' ').map(|(method, path)| (method.to_owned(), path.to_owned()));
    let is_call = |(method, path): &(String, String)| method.chars().all(char::is_uppercase) && path.starts_with('/');
    document.lines().filter_map(cell).filter_map(call).filter(is_call).collect()
}

#[test]
fn every_documented_call_is_answered() {
    let server = Server::start().unwrap();
    let client = Client::of(&server);
    client.upload(&run("t"));
    let calls = calls(&document());
    assert!(calls.len() > 20, "{calls:?}");
    // The run is deleted last.
    let (deletes, others): (Vec<_>, Vec<_>) = calls.into_iter().partition(|(method, _)| method == "DELETE");
    for (method, path) in others.into_iter().chain(deletes) {
        let path = path.replace(":id", "t").replace(":span_id", "a");
        let body = (method != "GET" && method != "DELETE").then_some(b"{}".as_slice());
        let answer = client.send(&method, &path, &[], body);
        assert!(
            !answer.text.contains("nothing at this path") && answer.status != 405,
            "{method} {path}: {}",
            answer.text
        );
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// Paths stand in constants and routes, and a path that the document lacks is one that nobody finds.
#[test]
fn every_path_is_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = sources(&root.join("src/server"));
    files.push(root.join("../retrace-protocol/src/endpoint.rs"));
    let document = document();
    let mut found = 0;
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")) {
        let source = std::fs::read_to_string(file).unwrap();
        let is_constant = |line: &&str| line.contains("const ") && line.contains(": &str = \"/");
        let is_route = |line: &&str| line.trim_start().starts_with(".route(\"/");
        let is_static = |line: &&str| line.contains(".js\"") || line.contains(".css\"") || line.contains(".svg\"");
        for line in source.lines().filter(|line| (is_constant(line) || is_route(line)) && !is_static(line)) {
            let path = line.split('"').nth(1).unwrap().replace("{id}", ":id").replace("{span_id}", ":span_id");
            assert!(document.contains(&format!("{path}`")), "{}: {path} is not in docs/RECEIVER.md", file.display());
            found += 1;
        }
    }
    assert!(found > 20, "{found}");
}
