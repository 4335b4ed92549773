//! The README shows what the example prints.

use std::process::Command;

#[test]
fn readme_shows_what_the_example_prints() {
    let run =
        Command::new(env!("CARGO_BIN_EXE_example-record-agent")).env_clear().output().expect("the example starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let printed = String::from_utf8(run.stdout).expect("UTF-8");

    let readme = include_str!("../../../README.md");
    let (_, after) = readme.split_once("$ cargo run -p example-record-agent\n").expect("README.md runs the example");
    let (shown, _) = after.split_once("```").expect("the block ends");

    assert_eq!(run_tree::timeless(&printed), run_tree::timeless(shown));
}
