//! The README shows what the quickstart prints.

#[test]
fn readme_shows_what_the_quickstart_prints() {
    let run = run_tree::run_example(env!("CARGO_BIN_EXE_quickstart")).expect("the quickstart starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let printed = String::from_utf8(run.stdout).expect("UTF-8");

    let readme = include_str!("../../../README.md");
    let (_, after) = readme.split_once("$ cargo run -p quickstart\n").expect("README.md runs the quickstart");
    let (shown, _) = after.split_once("```").expect("the block ends");

    assert_eq!(timeless(&printed), timeless(shown));
}

/// The text without what differs from run to run: durations and ids.
fn timeless(text: &str) -> String {
    let word = |word: &str| match word {
        _ if word.len() == 36 && word.split('-').count() == 5 => "ID".to_owned(),
        _ if word.parse::<f64>().is_ok() => "N".to_owned(),
        "ms" | "s" => "TIME".to_owned(),
        _ => word.to_owned(),
    };
    let line = |line: &str| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ");
    text.trim().lines().map(line).collect::<Vec<_>>().join("\n")
}
