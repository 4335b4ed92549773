//! `docs/MESSAGES.md` lists the warnings that the source has.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

const PAGE: &str = include_str!("../../../docs/MESSAGES.md");
const SOURCES: [&str; 2] = [include_str!("../src/enforcement.rs"), include_str!("../src/replay/limits.rs")];
/// Calls that write a warning, or add one to a list of them.
const CALLS: [&str; 2] = ["warn_of_setting(", ".push(format!("];

#[test]
fn every_warning_about_a_setting_is_on_the_page() {
    let section = PAGE.split("\n## ").find(|section| section.starts_with("Settings of `retrace-sdk`")).unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let mut listed: Vec<&str> = rows.map(|row| row.split('`').nth(1).unwrap()).collect();
    let mut written = Vec::new();
    for source in SOURCES {
        // However the source is laid out.
        let source = source.split_whitespace().collect::<Vec<_>>().join(" ").replace("( ", "(");
        for call in CALLS {
            for text in source.split("#[cfg(test)]").next().unwrap().split(call).skip(1) {
                written.extend(text.split('"').nth(1).map(str::to_owned));
            }
        }
    }
    listed.sort_unstable();
    written.sort_unstable();
    assert_eq!(listed, written);
    assert_eq!(written.len(), 4);
}

#[test]
fn the_warning_about_the_guard_is_on_the_page() {
    let section = PAGE.split("\n## ").find(|section| section.starts_with("Guard of `retrace-sdk`")).unwrap();
    let row = section.lines().find(|line| line.starts_with("| `")).unwrap();
    let source = include_str!("../src/dropped_guard.rs").split_whitespace().collect::<Vec<_>>().join(" ");
    let text = row.split('`').nth(1).unwrap();
    assert!(source.replace("\\ ", "").contains(&format!("\"{text}\"")), "the source does not have {text:?}");
}
