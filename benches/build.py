#!/usr/bin/env python3
"""What it costs to depend on this: crates in the tree, and the CPU time of a clean release build.

    benches/build.py        # one build of each
    benches/build.py 3      # three, by turns, and the medians

Of `opentelemetry-retrace` with its default features, TLS included, and of `opentelemetry-otlp` as one takes it for the same:
http/protobuf, traces, rustls. Each is what an otherwise empty package depends on. Versions are those of the workspace's
Cargo.lock. What has to be fetched is fetched before the first build. Builds below the target directory.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "build-cost"
OTLP = '{ version = "0.33", default-features = false, features = ["http-proto", "reqwest-rustls", "trace"] }'
OURS = f'path = "{ROOT / "crates" / "opentelemetry-retrace"}"'
NO_PRICES = f'{OURS}, default-features = false, features = ["rustls-aws-lc-rs", "internal-logs"]'
PACKAGES = {
    "opentelemetry-otlp": OTLP,
    "opentelemetry-retrace": f"{{ {OURS} }}",
    "opentelemetry-retrace without `prices`": f"{{ {NO_PRICES} }}",
}


def package(name: str, dependency: str) -> Path:
    """An empty library that depends on this and on nothing else."""
    name, *variant = name.split(" ", 1)
    folder = TARGET / (f"{name}-other" if variant else name)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "lib.rs").touch()
    manifest = f'[package]\nname = "empty"\nedition = "2024"\n[workspace]\n[dependencies]\n{name} = {dependency}\n'
    (folder / "Cargo.toml").write_text(manifest)
    shutil.copy(ROOT / "Cargo.lock", folder)
    # Resolving the package takes the index of crates that the workspace does not build.
    cargo(folder, "fetch")
    return folder


def cargo(folder: Path, *arguments: str) -> str:
    command = ["cargo", *arguments, "--quiet"]
    environment = {key: value for key, value in os.environ.items() if key not in ("RUSTFLAGS", "RUSTC_WRAPPER")}
    environment["CARGO_TARGET_DIR"] = str(folder / "target")
    return subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def crates(folder: Path) -> int:
    """What is compiled into the package or runs while it is built; the empty package does not count."""
    tree = cargo(folder, "tree", "--offline", "--edges", "normal,build", "--prefix", "none", "--no-dedupe", "--format", "{p}")
    return len(set(tree.splitlines())) - 1


def build(folder: Path) -> float:
    """CPU seconds, of all processes together."""
    shutil.rmtree(folder / "target", ignore_errors=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    cargo(folder, "build", "--offline", "--release")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    folders = {name: package(name, dependency) for name, dependency in PACKAGES.items()}
    seconds = {name: [] for name in folders}
    for _ in range(rounds):
        for name, folder in folders.items():
            seconds[name].append(build(folder))
    counts = {name: crates(folder) for name, folder in folders.items()}
    medians = {name: statistics.median(builds) for name, builds in seconds.items()}
    print("| package | crates | of otlp's | CPU s | of otlp's |\n|---|---|---|---|---|")
    for name in folders:
        of_crates, of_cpu = (of[name] / of["opentelemetry-otlp"] for of in (counts, medians))
        print(f"| {name} | {counts[name]} | {of_crates:.2f} | {medians[name]:.1f} | {of_cpu:.2f} |")


if __name__ == "__main__":
    main()
