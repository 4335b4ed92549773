#!/usr/bin/env python3
"""Compile time that `#[retrace::record]` adds to a function, beside `#[tracing::instrument]`.

    benches/macro_build.py         # 300 functions, five rounds
    benches/macro_build.py 1000 9  # more functions, more rounds

Generates a library of that many functions (half of them sync, half of them async, three arguments each, returning a
`Result`) without an attribute, with each attribute and with the attributes as they are used to the same effect: `instrument`
does not record what a function returns unless it is given `ret` and `err`. Each is checked by `cargo check` with its
dependencies built, by turns; what is printed is the median of the CPU time, of all processes, and what that comes to for one
function beyond the plain one. Then the same for `cargo build`. Offline: run `cargo fetch` before the first time. Builds below
the target directory.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "macro-build"
RETRACE = f'retrace-sdk = {{ path = "{ROOT / "crates" / "retrace-sdk"}", default-features = false }}'
TRACING = 'tracing = { version = "0.1", default-features = false, features = ["attributes", "std"] }'
ATTRIBUTES = {
    "none": "",
    "`#[tracing::instrument]`": "#[tracing::instrument]",
    "`#[tracing::instrument(ret, err)]`": "#[tracing::instrument(ret, err)]",
    "`#[retrace::record]`": "#[retrace::record]",
}
FUNCTIONS = """
{attribute}
pub fn sync_{n}(topic: &str, count: u32, mut pages: Vec<String>) -> Result<Vec<String>, std::num::ParseIntError> {{
    let limit: u32 = topic.parse()?;
    if count > limit {{
        return Ok(Vec::new());
    }}
    pages.push(format!("{{topic}} {{count}}"));
    Ok(pages)
}}

{attribute}
pub async fn async_{n}(topic: &str, count: u32, mut pages: Vec<String>) -> Result<Vec<String>, std::num::ParseIntError> {{
    let limit: u32 = topic.parse()?;
    if count > limit {{
        return Ok(Vec::new());
    }}
    std::future::ready(()).await;
    pages.push(format!("{{topic}} {{count}}"));
    Ok(pages)
}}
"""


def package(index: int, attribute: str, functions: int) -> Path:
    """A library of functions with an attribute. All depend on the same, so that cargo's own work is the same."""
    folder = TARGET / str(index)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "src").mkdir(parents=True)
    source = "".join(FUNCTIONS.format(attribute=attribute, n=n) for n in range(functions // 2))
    (folder / "src" / "lib.rs").write_text(source)
    name = f"functions-{index}"
    manifest = f'[package]\nname = "{name}"\nedition = "2024"\n[workspace]\n[dependencies]\n{RETRACE}\n{TRACING}\n'
    (folder / "Cargo.toml").write_text(manifest)
    shutil.copy(ROOT / "Cargo.lock", folder)
    return folder


def cargo(folder: Path, command: str) -> float:
    """CPU seconds of one compilation of the library alone."""
    (folder / "src" / "lib.rs").touch()
    environment = {key: value for key, value in os.environ.items() if key not in ("RUSTFLAGS", "RUSTC_WRAPPER")}
    environment |= {"CARGO_TARGET_DIR": str(TARGET / "target"), "CARGO_INCREMENTAL": "0"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["cargo", command, "--offline", "--quiet"], cwd=folder, env=environment, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    functions = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    folders = {name: package(index, attribute, functions) for index, (name, attribute) in enumerate(ATTRIBUTES.items())}
    print("| attribute | command | CPU s | ms a function, beyond none |\n|---|---|---|---|")
    for command in ("check", "build"):
        seconds = {name: [] for name in folders}
        for folder in folders.values():
            cargo(folder, command)
        for _ in range(rounds):
            for name, folder in folders.items():
                seconds[name].append(cargo(folder, command))
        for name in folders:
            beyond = statistics.median(a - b for a, b in zip(seconds[name], seconds["none"]))
            median = statistics.median(seconds[name])
            print(f"| {name} | `cargo {command}` | {median:.2f} | {beyond / functions * 1000:.2f} |", flush=True)


if __name__ == "__main__":
    main()
