//! Checks that what documents and comments refer to exists.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Files of the repository below `folder` that have one of these extensions, without build output.
fn files(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", "node_modules", "corpus", "seeds", "artifacts"].contains(&&*name)
                    && !name.starts_with('.')
                {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extensions.iter().any(|one| extension == *one)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Comments of a source, joined over line ends.
fn comments(source: &str) -> String {
    let lines = source.lines().map(str::trim_start).filter_map(|line| line.strip_prefix("//"));
    lines.map(|line| line.trim_start_matches(['/', '!']).trim()).collect::<Vec<_>>().join(" ")
}

/// Numbers of sections that a text cites of `PROTOCOL.md`, as in "PROTOCOL.md sections 4, 5 and 22".
fn sections(text: &str) -> BTreeSet<u32> {
    let mut cited = BTreeSet::new();
    for rest in text.split("PROTOCOL.md").skip(1) {
        let rest = rest.trim_start_matches(['`', ',', ')', ']']).trim_start();
        let Some(list) = rest.strip_prefix("sections ").or_else(|| rest.strip_prefix("section ")) else { continue };
        for word in list.split_whitespace() {
            let (number, after) = word.split_at(word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len()));
            match (number.parse(), word) {
                (Ok(number), _) => drop(cited.insert(number)),
                (Err(_), "and" | "to") => continue,
                _ => break,
            }
            if !matches!(after, "" | ",") {
                break;
            }
        }
    }
    cited
}

/// Headings of a document.
fn headings(document: &str) -> Vec<String> {
    let lines = document.lines().filter(|line| line.starts_with('#'));
    lines.map(|line| line.trim_start_matches('#').trim().replace('`', "")).collect()
}

#[test]
fn each_cited_section_of_the_protocol_exists() {
    let root = root();
    let protocol = fs::read_to_string(root.join("docs/PROTOCOL.md")).unwrap();
    let known: BTreeSet<u32> =
        headings(&protocol).iter().filter_map(|heading| heading.split_once('.')?.0.parse().ok()).collect();
    assert!(known.len() >= 25, "headings were not recognised: {known:?}");
    let mut cited: BTreeMap<u32, PathBuf> = BTreeMap::new();
    for folder in ["crates", "integration-tests", "examples", "benches"] {
        for path in files(&root.join(folder), &["rs", "md"]) {
            let text = fs::read_to_string(&path).unwrap();
            let text = if path.extension().is_some_and(|one| one == "rs") { comments(&text) } else { text };
            cited.extend(sections(&text).into_iter().map(|number| (number, path.clone())));
        }
    }
    assert!(cited.len() >= 10, "citations were not recognised: {cited:?}");
    let missing: Vec<_> = cited.iter().filter(|(number, _)| !known.contains(number)).collect();
    assert!(missing.is_empty(), "docs/PROTOCOL.md has no such sections: {missing:?}");
}

#[test]
fn each_cited_heading_of_the_mapping_exists() {
    let root = root();
    let known = headings(&fs::read_to_string(root.join("docs/MAPPING.md")).unwrap());
    let mut citations = 0;
    for path in files(&root.join("crates"), &["rs"]) {
        let text = comments(&fs::read_to_string(&path).unwrap());
        for rest in text.split("MAPPING.md, \"").skip(1) {
            let cited = rest.split('"').next().unwrap().replace('`', "");
            citations += 1;
            assert!(known.contains(&cited), "{}: docs/MAPPING.md has no heading {cited:?}", path.display());
        }
    }
    assert!(citations > 0);
}

/// Links of Markdown and paths in backticks that begin with a folder of the repository.
fn paths(document: &str) -> BTreeSet<String> {
    let links = document.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(link, _)| link));
    let links = links.filter(|link| !link.contains("://") && !link.starts_with('#'));
    let links = links.map(|link| link.split('#').next().unwrap().to_owned());
    let quoted = document.split('`').skip(1).step_by(2).filter(|text| {
        let folders = ["crates/", "docs/", "examples/", "integration-tests/", "benches/", "fuzz/", ".ci/"];
        folders.iter().any(|folder| text.starts_with(folder)) && !text.contains([' ', '*', '<', '…'])
    });
    // A path in backticks is one from the top.
    links.chain(quoted.map(|text| format!("/{text}"))).collect()
}

#[test]
fn each_path_in_the_documents_exists() {
    let root = root();
    let mut documents = files(&root.join("docs"), &["md"]);
    documents.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root.join(name)));
    documents.extend(files(&root.join("crates"), &["md"]));
    let mut checked = 0;
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for path in paths(&text) {
            let path = match path.strip_prefix('/') {
                Some(path) if path.contains("NAME") => folder_of_placeholder(&root, path),
                Some(path) => root.join(path),
                None => document.parent().unwrap().join(path),
            };
            checked += 1;
            assert!(path.exists(), "{} refers to {}, which does not exist", document.display(), path.display());
        }
    }
    assert!(checked > 40, "{checked} paths were recognised");
}

/// The folder of a path that has a placeholder.
fn folder_of_placeholder(root: &Path, path: &str) -> PathBuf {
    root.join(path.split("NAME").next().unwrap().rsplit_once('/').map_or("", |(folder, _)| folder))
}

#[test]
fn citations_are_recognised() {
    assert_eq!(sections("as PROTOCOL.md sections 4, 5 and 22 state."), BTreeSet::from([4, 5, 22]));
    assert_eq!(sections("(PROTOCOL.md section 9); 7 of these"), BTreeSet::from([9]));
    assert_eq!(sections("PROTOCOL.md sections 4 to 7)."), BTreeSet::from([4, 7]));
    assert_eq!(sections("PROTOCOL.md is a document"), BTreeSet::new());
}
