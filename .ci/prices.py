"""Writes the price table of retrace-translate from the data of the crate genai-prices that Cargo.lock names.

usage: prices.py [--check]

The table is Rust source, so that no process decodes it. With --check nothing is written: it fails if the table would change.
What the crate's data has and the table cannot hold is an error, never left out in silence, with three exceptions: prices of
units other than tokens of text and requests, variants of a price that a request chooses, and digits outside ASCII.
"""

import json
import pathlib
import re
import subprocess
import sys
from datetime import datetime, timezone

ROOT = pathlib.Path(__file__).parents[1]
TABLE = ROOT / "crates/retrace-translate/src/price/list/table.rs"
# Price keys in the order of the members of `Rates`.
KEYS = ["input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "requests_kcount"]
SPEECH = r"^(?!.*-[tT][tT][sS](?:$|-))"
MISTRAL = r"^(?![^/]+/)(?:labs-)?(?:(?:mi|code|dev|magi|mini)stral|mixtral|pixtral|voxtral|open-(?:mistral|mixtral))"


def package():
    host = re.search(r"host: (\S+)", subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout)[1]
    command = ["cargo", "metadata", "--format-version=1", "--locked", "--filter-platform", host]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    [found] = [package for package in metadata["packages"] if package["name"] == "genai-prices"]
    return found["version"], pathlib.Path(found["manifest_path"]).parent / "data/prices.json"


def text(value):
    return json.dumps(value, ensure_ascii=True)


def several(rules):
    return rules[0] if len(rules) == 1 else f"Any(&[{', '.join(rules)}])"


def pattern(regex):
    """Rules for one of the regular expressions: a beginning with digits, with two exceptions."""
    if regex == SPEECH:
        return "LacksSegment(\"tts\")"
    if regex == MISTRAL:
        names = ["mistral", "codestral", "devstral", "magistral", "ministral", "mixtral", "pixtral", "voxtral"]
        names += ["open-mistral", "open-mixtral"]
        begins = ", ".join(f"StartsWith({text(labs + name)})" for labs in ("", "labs-") for name in names)
        return f"All(&[Lacks(\"/\"), Any(&[{begins}])])"
    if not regex.startswith("^"):
        raise SystemExit(f"a regular expression that is not known: {regex}")
    rest, whole = regex[1:], regex.endswith("$")
    rest = rest[:-1] if whole else rest
    shapes = [""]
    while rest:
        if digits := re.match(r"\\d(?:\{(\d+)\})?", rest):
            more = ["#" * int(digits[1] or 1)]
        elif one := re.match(r"\[([A-Za-z0-9@-]+)\]", rest):
            digits, more = one, list(one[1])
        elif literal := re.match(r"\\([.\[\]])|([A-Za-z0-9/=-])", rest):
            digits, more = literal, [literal[1] or literal[2]]
        else:
            raise SystemExit(f"a regular expression that is not known: {regex}")
        rest = rest[digits.end() :]
        shapes = [shape + one for shape in shapes for one in more]
    return several([f"Shape({text(shape.lower())}, {str(whole).lower()})" for shape in shapes])


def rule(logic):
    [(operation, argument)] = logic.items()
    if operation in ("and", "or"):
        kind = {"and": "All", "or": "Any"}[operation]
        return f"{kind}(&[{', '.join(rule(part) for part in argument)}])"
    if operation == "regex":
        return pattern(argument)
    kinds = {"equals": "Equals", "contains": "Contains", "starts_with": "StartsWith", "ends_with": "EndsWith"}
    return f"{kinds[operation]}({text(argument.lower())})"


def rate(price):
    if price is None:
        return "No"
    if isinstance(price, dict):
        tiers = sorted(price["tiers"], key=lambda tier: tier["start"])
        steps = ", ".join(f"({float(tier['start'])!r}, {float(tier['price'])!r})" for tier in tiers)
        return f"Steps(&({float(price['base'])!r}, &[{steps}]))"
    return f"Flat({float(price)!r})"


def rates(prices):
    return f"Rates({', '.join(rate(prices.get(key)) for key in KEYS)})"


def seconds_of_day(time):
    parsed = datetime.strptime(time.replace("Z", "+0000"), "%H:%M:%S%z")
    offset = parsed.utcoffset().total_seconds()
    seconds = (parsed.hour * 3600 + parsed.minute * 60 + parsed.second - offset) % 86_400
    if seconds != int(seconds):
        raise SystemExit(f"a time of day that is not whole: {time}")
    return int(seconds)


def when(constraint):
    if constraint is None:
        return "Always"
    if set(constraint) == {"start_date"}:
        start = datetime.strptime(constraint["start_date"], "%Y-%m-%d").replace(tzinfo=timezone.utc)
        return f"From({int(start.timestamp())})"
    if set(constraint) == {"start_time", "end_time"}:
        return f"Daily({seconds_of_day(constraint['start_time'])}, {seconds_of_day(constraint['end_time'])})"
    raise SystemExit(f"a constraint that is not known: {constraint}")


def periods(prices):
    if isinstance(prices, dict):
        prices = [{"prices": prices}]
    return ", ".join(f"Period({when(each.get('constraint'))}, {rates(each['prices'])})" for each in prices)


def optional(logic):
    return "None" if logic is None else f"Some({rule(logic)})"


def source(version, providers):
    lines = [
        f"//! Prices of models: the data of genai-prices {version}, Copyright (c) Pydantic Services Inc. 2025 to present,",
        "//! under the MIT licence beside this file. Written by `.ci/prices.py`; not edited by hand.",
        "",
        "use super::Price::{Flat, No, Steps};",
        "use super::Rule::{All, Any, Contains, EndsWith, Equals, Lacks, LacksSegment, Shape, StartsWith};",
        "use super::When::{Always, Daily, From};",
        "use super::{Model, Period, Provider, Rates};",
        "",
        "pub(super) static PROVIDERS: &[Provider] = &[",
    ]
    for provider in providers:
        fallbacks = ", ".join(text(name) for name in provider.get("fallback_model_providers") or [])
        lines.append(f"    Provider {{ id: {text(provider['id'])}, alias: {optional(provider.get('provider_match'))},")
        lines.append(f"        family: {optional(provider.get('model_match'))}, fallbacks: &[{fallbacks}], models: &[")
        for model in provider["models"]:
            identity = f"id: {text(model['id'])}, rule: {rule(model['match'])}"
            lines.append(f"        Model {{ {identity}, periods: &[{periods(model['prices'])}] }},")
        lines.append("    ] },")
    lines.append("];")
    return "\n".join(lines) + "\n"


def main():
    version, data = package()
    written = source(version, json.loads(data.read_text()))
    if "--check" in sys.argv[1:]:
        if TABLE.read_text() != written:
            raise SystemExit(f"{TABLE.relative_to(ROOT)} is not the table of genai-prices {version}: run .ci/prices.py")
        return
    TABLE.write_text(written)


main()
