//! Order of the modules of each crate. A top-level module stands above those it imports: arrows run down, and no module imports
//! itself through others.
//!
//! The imports are the paths `crate::…` outside of unit tests. Code in `lib.rs` and `main.rs` stands above all modules.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Crates with modules in circles, and how many. The numbers may only shrink.
const KNOWN: &[(&str, usize)] = &[];
/// Limits of a crate without circles.
const MODULES: usize = 20;
const FLOORS: usize = 8;

/// Top-level modules with the modules that they import.
type Imports = BTreeMap<String, BTreeSet<String>>;

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("crates")
}

fn sources(path: &Path, out: &mut Vec<PathBuf>) {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if path.is_dir() {
        if name != "tests" {
            fs::read_dir(path).unwrap().for_each(|entry| sources(&entry.unwrap().path(), out));
        }
    } else if name.ends_with(".rs") && name != "tests.rs" {
        out.push(path.to_owned());
    }
}

/// The part of a source file before its unit tests.
fn without_tests(source: &str) -> &str {
    let is_tests = |at: usize| source[at..].trim_start_matches("#[cfg(test)]").trim_start().starts_with("mod tests");
    let end = source.match_indices("#[cfg(test)]").map(|(at, _)| at).find(|at| is_tests(*at));
    &source[..end.unwrap_or(source.len())]
}

/// Names that follow `crate::`, alone or in braces.
fn imported(source: &str) -> BTreeSet<&str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut names = BTreeSet::new();
    for (at, path) in source.match_indices("crate::") {
        if source[..at].ends_with(is_word) {
            continue;
        }
        let rest = &source[at + path.len()..];
        match rest.strip_prefix('{').and_then(|list| list.split('}').next()) {
            Some(list) => names.extend(list.split(|c| !is_word(c))),
            None => names.extend(rest.split(|c| !is_word(c)).next()),
        }
    }
    names
}

fn imports(src: &Path) -> Imports {
    let mut files: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for entry in fs::read_dir(src).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().and_then(|stem| stem.to_str()).unwrap().to_owned();
        if !matches!(module.as_str(), "lib" | "main" | "testing") {
            sources(&path, files.entry(module).or_default());
        }
    }
    files.retain(|_, files| !files.is_empty());
    let modules: BTreeSet<&String> = files.keys().collect();
    let of = |module: &String, files: &Vec<PathBuf>| {
        let sources = files.iter().map(|file| fs::read_to_string(file).unwrap());
        let names: BTreeSet<String> = sources
            .flat_map(|source| imported(without_tests(&source)).into_iter().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        names.into_iter().filter(|name| modules.contains(name) && name != module).collect()
    };
    files.iter().map(|(module, files)| (module.clone(), of(module, files))).collect()
}

/// All modules below a module.
fn below<'i>(imports: &'i Imports, module: &'i str) -> BTreeSet<&'i str> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&str> = vec![module];
    while let Some(next) = open.pop() {
        open.extend(imports[next].iter().map(String::as_str).filter(|name| found.insert(*name)));
    }
    found
}

fn in_circles(imports: &Imports) -> Vec<&str> {
    imports.keys().map(String::as_str).filter(|module| below(imports, module).contains(module)).collect()
}

/// Height of a module in a crate without circles.
fn floor(imports: &Imports, module: &str) -> usize {
    1 + imports[module].iter().map(|name| floor(imports, name)).max().unwrap_or(0)
}

#[test]
fn no_module_imports_itself_through_others() {
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for entry in fs::read_dir(crates()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let imports = imports(&path.join("src"));
        let circles = in_circles(&imports);
        let known = KNOWN.iter().find(|(known, _)| *known == name).map(|(_, count)| *count);
        match (known, circles.len()) {
            (Some(_), 0) => wrong.push(format!("{name} has no circle any more: remove it from KNOWN")),
            (Some(known), count) if count <= known => {}
            (None, 0) => {
                let floors = imports.keys().map(|module| floor(&imports, module)).max().unwrap_or(0);
                if imports.len() > MODULES || floors > FLOORS {
                    wrong.push(format!("{name} has {} top-level modules on {floors} floors", imports.len()));
                }
            }
            _ => wrong.push(format!("{name} has modules in circles: {}", circles.join(", "))),
        }
        seen.insert(name);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(KNOWN.iter().all(|(name, _)| seen.contains(*name)), "KNOWN names a crate that does not exist");
}

#[test]
fn imports_are_found_in_every_form() {
    let source = "use crate::a;\nuse crate::b::{c, d};\nuse crate::{e, f::g};\nlet x = crate::h::i();\nuse other_crate::j;\n\
                  #[cfg(test)]\nuse crate::k;\n#[cfg(test)]\nmod tests { use crate::l; }";
    let names = imported(without_tests(source));
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["", "a", "b", "e", "f", "g", "h", "k"]);
}
