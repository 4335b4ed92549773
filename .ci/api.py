#!/usr/bin/env python3
"""The public interface of a crate, as one line for each thing that a user can name; and whose types it speaks of.

    api.py CRATE ...            compares what rustdoc has written of each with the list .ci/api/CRATE.txt
    api.py --write CRATE ...    writes that list, for a change that is meant

A line that goes or changes breaks somebody; one that comes cannot be taken back. Both are for a person to see and to decide.
What derives and blankets give is named by its trait only, and auto traits only where a type lacks one.
"""

import argparse
import difflib
import json
import sys
from pathlib import Path

FORMAT = 57  # of rustdoc 1.95
HERE = Path(__file__).resolve().parent
STD = {"std", "core", "alloc"}
# Whose types may be part of an interface: a new major version of one of these is a new major version of ours.
EXTERNAL = {
    "genai_redact": {"serde_json"},
    "genai_usage": set(),
    "opentelemetry_instrumentation_genai": {
        "async_openai", "bytes", "genai_usage", "http", "http_body", "opentelemetry", "pin_project_lite", "reqwest",
        "reqwest_middleware", "rig_http", "serde_core", "serde_json", "tower_layer", "tower_service",
    },
    "opentelemetry_retrace": {"http", "opentelemetry", "opentelemetry_http", "opentelemetry_sdk", "retrace_protocol", "retrace_translate"},
    "retrace": {
        "async_openai", "futures_core", "opentelemetry", "opentelemetry_instrumentation_genai", "opentelemetry_retrace",
        "opentelemetry_sdk", "pin_project_lite", "reqwest", "reqwest_middleware", "retrace_protocol", "retrace_replay", "retrace_sdk_macros",
        "retrace_translate", "serde_core", "serde_json", "tokio",
    },
    "retrace_gateway": set(),
    "retrace_local": {"retrace_otlp", "retrace_protocol", "retrace_replay", "retrace_translate"},
    "retrace_otlp": {
        "axum", "axum_core", "http", "opentelemetry_proto", "prost", "retrace_protocol", "retrace_translate", "serde_core", "tokio", "tokio_rustls",
        "bytes", "hyper",
    },
    "retrace_protocol": {"serde_core", "serde_json"},
    "retrace_replay": {"retrace_protocol", "serde_core", "serde_json"},
    "retrace_translate": {"retrace_protocol", "serde_core"},
}


class Interface:
    def __init__(self, path: Path) -> None:
        self.doc = json.loads(path.read_text())
        if self.doc["format_version"] != FORMAT:
            sys.exit(f"{path} has format {self.doc['format_version']} and not {FORMAT}: read what is new in it")
        self.index = self.doc["index"]
        self.lines: set[str] = set()
        self.external: dict[str, str] = {}
        self.where = ""
        self.seen: set[tuple[str, int]] = set()
        root = self.item(self.doc["root"])
        self.module(root["name"], root)

    def item(self, number: int) -> dict | None:
        return self.index.get(str(number))

    def say(self, line: str) -> None:
        self.lines.add(line)

    # What there is.

    def module(self, path: str, module: dict) -> None:
        self.say(f"mod {path}")
        for number in module["inner"]["module"]["items"]:
            item = self.item(number)
            if item is not None and item["visibility"] == "public":
                self.put(path, item)

    def put(self, path: str, item: dict) -> None:
        kind, inner = next(iter(item["inner"].items()))
        if kind == "use":
            return self.use(path, inner)
        self.named(f"{path}::{item['name']}", item, kind, inner)

    def use(self, path: str, use: dict) -> None:
        target = self.item(use["id"]) if use["id"] is not None else None
        if target is None:
            self.where = f"{path}::{use['name']}"
            named = self.name(use["id"], use["source"])
            return self.say(f"use {path}::{'*' if use['is_glob'] else use['name']} = {named}")
        if use["is_glob"]:
            key = (path, target["id"])
            if key not in self.seen:
                self.seen.add(key)
                for number in target["inner"].get("module", target["inner"].get("enum", {})).get("items", []):
                    item = self.item(number)
                    if item is not None and item["visibility"] == "public":
                        self.put(path, item)
            return None
        kind, inner = next(iter(target["inner"].items()))
        if kind == "use":
            return self.use(path, inner | {"name": use["name"]})
        return self.named(f"{path}::{use['name']}", target, kind, inner)

    def named(self, path: str, item: dict, kind: str, inner: dict) -> None:
        self.where = path
        open_ended = "non_exhaustive " if "non_exhaustive" in item["attrs"] else ""
        match kind:
            case "module":
                self.module(path, item)
            case "function":
                self.say(self.function(path, inner))
            case "constant":
                self.say(f"const {path}: {self.type(inner['type'])}")
            case "static":
                self.say(f"static {path}: {self.type(inner['type'])}")
            case "type_alias":
                self.say(f"type {path}{self.params(inner['generics'])} = {self.type(inner['type'])}")
            case "macro":
                self.say(f"macro {path}")
            case "proc_macro":
                self.say(f"proc macro {path}")
            case "trait":
                self.trait(path, inner)
            case "struct" | "union":
                fields = inner["kind"] if kind == "struct" else {"plain": inner}
                self.say(f"{open_ended}{kind} {path}{self.params(inner['generics'])}{self.fields(path, fields)}")
                self.impls(path, inner["impls"])
            case "enum":
                self.say(f"{open_ended}enum {path}{self.params(inner['generics'])}")
                for number in inner["variants"]:
                    variant = self.item(number)
                    name = f"{path}::{variant['name']}"
                    self.say(f"variant {name}{self.fields(name, variant['inner']['variant']['kind'])}")
                self.impls(path, inner["impls"])
            case _:
                sys.exit(f"{path} is a {kind}, which {Path(__file__).name} does not know")

    def fields(self, path: str, kind: dict | str) -> str:
        """Those of a tuple; the others go into lines of their own."""
        if kind in ("unit", "plain"):
            return ""
        if "tuple" in kind:
            items = [self.item(number) if number is not None else None for number in kind["tuple"]]
            public = [item for item in items if item is not None]
            shown = [self.type(item["inner"]["struct_field"]) for item in public]
            return f"({', '.join(shown + ['_'] * (len(items) - len(public)))})"
        inner = kind.get("plain") or kind.get("struct")
        for number in inner["fields"]:
            field = self.item(number)
            self.say(f"field {path}.{field['name']}: {self.type(field['inner']['struct_field'])}")
        return " { .. }" if inner.get("has_stripped_fields") else " {}"

    def trait(self, path: str, inner: dict) -> None:
        marks = "".join(mark for mark in ("unsafe ", "auto ") if inner[f"is_{mark.strip()}"])
        bounds = self.bounds(inner["bounds"], ": ")
        self.say(f"{marks}trait {path}{self.params(inner['generics'])}{bounds}")
        for number in inner["items"]:
            self.member(path, self.item(number), "required ", "provided ")

    def impls(self, path: str, impls: list[int]) -> None:
        for number in impls:
            inner = self.item(number)["inner"]["impl"]
            if inner["blanket_impl"] is not None or (inner["is_synthetic"] and not inner["is_negative"]):
                continue
            params, target = self.params(inner["generics"]), self.type(inner["for"])
            if inner["trait"] is None:
                for member in inner["items"]:
                    item = self.item(member)
                    if item is not None and item["visibility"] == "public":
                        self.member(path, item, "", "")
                continue
            trait = ("!" if inner["is_negative"] else "") + self.path(inner["trait"])
            self.say(f"impl{params} {trait} for {target}")
            for member in inner["items"]:
                item = self.item(member)
                if item is not None and "assoc_type" in item["inner"]:
                    self.say(f"impl {trait} for {target}: {item['name']} = {self.type(item['inner']['assoc_type']['type'])}")

    def member(self, path: str, item: dict, without: str, having: str) -> None:
        kind, inner = next(iter(item["inner"].items()))
        name = f"{path}::{item['name']}"
        match kind:
            case "function":
                self.say((having if inner["has_body"] else without) + self.function(name, inner))
            case "assoc_const":
                self.say(f"const {name}: {self.type(inner['type'])}")
            case "assoc_type":
                default = f" = {self.type(inner['type'])}" if inner["type"] else ""
                self.say(f"type {name}{self.params(inner['generics'])}{self.bounds(inner['bounds'], ': ')}{default}")

    # How it is written.

    def function(self, path: str, inner: dict) -> str:
        marks = "".join(f"{mark} " for mark in ("const", "async", "unsafe") if inner["header"][f"is_{mark}"])
        takes = ", ".join(f"{name}: {self.type(kind)}" for name, kind in inner["sig"]["inputs"])
        gives = f" -> {self.type(inner['sig']['output'])}" if inner["sig"]["output"] else ""
        return f"{marks}fn {path}{self.params(inner['generics'])}({takes}){gives}"

    def params(self, generics: dict) -> str:
        shown = [self.param(param) for param in generics["params"]]
        wheres = [self.where_clause(predicate) for predicate in generics["where_predicates"]]
        params = f"<{', '.join(filter(None, shown))}>" if any(shown) else ""
        return params + (f" [{', '.join(wheres)}]" if wheres else "")

    def param(self, param: dict) -> str:
        kind, inner = next(iter(param["kind"].items()))
        match kind:
            case "lifetime":
                return param["name"]
            case "const":
                return f"const {param['name']}: {self.type(inner['type'])}"
        if inner["is_synthetic"]:
            return ""
        default = f" = {self.type(inner['default'])}" if inner["default"] else ""
        return param["name"] + self.bounds(inner["bounds"], ": ") + default

    def where_clause(self, predicate: dict) -> str:
        kind, inner = next(iter(predicate.items()))
        match kind:
            case "bound_predicate":
                return self.type(inner["type"]) + self.bounds(inner["bounds"], ": ")
            case "lifetime_predicate":
                return f"{inner['lifetime']}: {' + '.join(inner['outlives'])}"
        return f"{self.type(inner['lhs'])} = {self.term(inner['rhs'])}"

    def bounds(self, bounds: list, before: str) -> str:
        return before + " + ".join(self.bound(bound) for bound in bounds) if bounds else ""

    def bound(self, bound: dict) -> str:
        if "outlives" in bound:
            return bound["outlives"]
        if "use" in bound:
            return "use<..>"
        inner = bound["trait_bound"]
        return ("?" if inner["modifier"] == "maybe" else "") + self.path(inner["trait"])

    def term(self, term: dict) -> str:
        return self.type(term["type"]) if "type" in term else term["constant"]["expr"]

    def type(self, kind: dict | None) -> str:
        if kind is None or kind == "infer":
            return "_"
        name, inner = next(iter(kind.items()))
        match name:
            case "resolved_path":
                return self.path(inner)
            case "generic" | "primitive":
                return inner
            case "tuple":
                return f"({', '.join(map(self.type, inner))})"
            case "slice":
                return f"[{self.type(inner)}]"
            case "array":
                return f"[{self.type(inner['type'])}; {inner['len']}]"
            case "impl_trait":
                return self.bounds(inner, "impl ")
            case "dyn_trait":
                traits = [self.path(each["trait"]) for each in inner["traits"]]
                return "dyn " + " + ".join(traits + [inner["lifetime"]] * bool(inner["lifetime"]))
            case "borrowed_ref":
                lifetime = f"{inner['lifetime']} " if inner["lifetime"] else ""
                return f"&{lifetime}{'mut ' if inner['is_mutable'] else ''}{self.type(inner['type'])}"
            case "raw_pointer":
                return f"*{'mut' if inner['is_mutable'] else 'const'} {self.type(inner['type'])}"
            case "function_pointer":
                takes = ", ".join(self.type(each) for _, each in inner["sig"]["inputs"])
                gives = f" -> {self.type(inner['sig']['output'])}" if inner["sig"]["output"] else ""
                return f"fn({takes}){gives}"
            case "qualified_path":
                trait = f" as {self.path(inner['trait'])}" if inner["trait"] else ""
                return f"<{self.type(inner['self_type'])}{trait}>::{inner['name']}{self.args(inner['args'])}"
        sys.exit(f"{self.where} has a type of kind {name}, which {Path(__file__).name} does not know")

    def path(self, path: dict) -> str:
        return self.name(path["id"], path["path"]) + self.args(path["args"])

    def args(self, args: dict | None) -> str:
        if args is None or args == "return_type_notation":
            return ""
        if "parenthesized" in args:
            inner = args["parenthesized"]
            gives = f" -> {self.type(inner['output'])}" if inner["output"] else ""
            return f"({', '.join(map(self.type, inner['inputs']))}){gives}"
        inner = args["angle_bracketed"]
        shown = [self.argument(each) for each in inner["args"]]
        for constraint in inner["constraints"]:
            binding = constraint["binding"]
            value = f" = {self.term(binding['equality'])}" if "equality" in binding else self.bounds(binding["constraint"], ": ")
            shown.append(constraint["name"] + value)
        return f"<{', '.join(shown)}>" if shown else ""

    def argument(self, argument: dict | str) -> str:
        if argument == "infer":
            return "_"
        name, inner = next(iter(argument.items()))
        return inner if name == "lifetime" else self.type(inner) if name == "type" else inner["expr"]

    def name(self, number: int | None, written: str) -> str:
        """The last word of it, after the name of its crate where that is neither this one nor the standard library."""
        known = self.doc["paths"].get(str(number))
        crate = known["crate_id"] if known else 0
        last = (known["path"][-1] if known else written.split("::")[-1]).strip()
        if crate == 0 and known is None and "::" not in written:
            return last
        name = self.doc["external_crates"][str(crate)]["name"] if crate else None
        if crate == 0 or name in STD:
            return last
        self.external.setdefault(name, self.where)
        return name if known["kind"] == "module" and len(known["path"]) == 1 else f"{name}::{last}"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("crates", nargs="+", metavar="CRATE")
    arguments.add_argument("--in", dest="folder", type=Path, default=Path("target/doc"), help="where rustdoc's JSON is")
    arguments.add_argument("--write", action="store_true")
    given = arguments.parse_args()
    wrong = []
    for crate in given.crates:
        interface = Interface(given.folder / f"{crate}.json")
        for name, where in sorted(interface.external.items()):
            if name not in EXTERNAL[crate]:
                wrong.append(f"{where} makes {name} part of the interface of {crate}: EXTERNAL in .ci/api.py does not allow it")
        for name in sorted(EXTERNAL[crate] - interface.external.keys()):
            wrong.append(f"{name} is not part of the interface of {crate} any more: take it out of EXTERNAL in .ci/api.py")
        file, lines = HERE / "api" / f"{crate}.txt", sorted(interface.lines)
        if given.write:
            file.write_text("".join(f"{line}\n" for line in lines))
            continue
        before = file.read_text().splitlines() if file.exists() else []
        changes = [line for line in difflib.unified_diff(before, lines, lineterm="", n=0) if not line.startswith(("---", "+++", "@@"))]
        if changes:
            wrong += [f"the interface of {crate} has changed; if that is meant: .ci/run api_write", *changes]
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
