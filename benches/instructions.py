#!/usr/bin/env python3
"""Instructions that this project's exporter takes for a span, counted by callgrind.

    benches/instructions.py            # prints the table
    benches/instructions.py --check    # fails where a figure is more than 3 % above benches/instructions.json
    benches/instructions.py --write    # writes benches/instructions.json

Times differ between machines and between runs; instructions hardly do. Each figure is the difference between two lengths, less
what making and dropping the spans takes, so start and end of the program do not count. The figures hold for the compiler that
the file names: with another one --check prints the table and compares nothing.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
EXPECTED = ROOT / "benches" / "instructions.json"
ROOM = 0.03
TRANSPORTS = ("http", "ws")
# The shorter of the two lengths, in spans; the longer one is twice that.
SIZES = {"0.4 KB": 2560, "8 KB": 1280, "100 KB": 160}


def compiler() -> str:
    return subprocess.run(["rustc", "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[1]


def count(program: Path, *arguments: str) -> int:
    """Instructions of one run of the program, of all its threads."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", str(program), *arguments]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    collected = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode or not collected:
        sys.exit(f"instructions: {' '.join(command)} failed:\n{run.stderr}")
    return int(collected.group(1))


def measure(program: Path, url: str) -> dict[str, dict[str, int]]:
    figures: dict[str, dict[str, int]] = {transport: {} for transport in TRANSPORTS}
    for size, spans in SIZES.items():
        beyond = {}
        for transport in ("none", *TRANSPORTS):
            short, long = (count(program, transport, size, str(length), url) for length in (spans, 2 * spans))
            beyond[transport] = (long - short) / spans
        for transport in TRANSPORTS:
            figures[transport][size] = round(beyond[transport] - beyond["none"])
    return figures


def main() -> None:
    arguments = set(sys.argv[1:])
    if unknown := arguments - {"--check", "--write"}:
        sys.exit(f"instructions: {' '.join(sorted(unknown))} is not an option; there are --check and --write")
    build = ["cargo", "build", "--release", "--locked", "--package", "instructions", "--target-dir", str(TARGET)]
    subprocess.run(build, cwd=ROOT, check=True)
    program = TARGET / "release" / "instructions"
    with subprocess.Popen([program, "--sink"], stdout=subprocess.PIPE, text=True) as sink:
        try:
            figures = measure(program, sink.stdout.readline().strip())
        finally:
            sink.kill()
    expected = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {"rustc": None, "instructions": {}}
    compares = expected["rustc"] == compiler()
    worse = []
    print("| transport | messages of a call | instructions a span | before |\n|---|---|---|---|")
    for transport, sizes in figures.items():
        for size, figure in sizes.items():
            before = expected["instructions"].get(transport, {}).get(size)
            print(f"| {transport} | {size} | {figure:,} | {'-' if before is None else f'{before:,}'} |")
            if compares and before is not None and figure > before * (1 + ROOM):
                worse.append(f"{transport}, {size}: {figure:,} instructions a span, {figure / before - 1:+.1%}")
    if "--write" in arguments:
        EXPECTED.write_text(json.dumps({"rustc": compiler(), "instructions": figures}, indent=2) + "\n")
    elif "--check" in arguments and not compares:
        print(f"nothing is compared: the figures are of rustc {expected['rustc']}, this is {compiler()}")
    elif "--check" in arguments and worse:
        sys.exit(f"instructions: more than {ROOM:.0%} above {EXPECTED.relative_to(ROOT)}:\n" + "\n".join(worse))


if __name__ == "__main__":
    main()
