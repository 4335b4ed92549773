"""Holds the translation against a copy of OpenTelemetry's GenAI conventions, which this repository does not contain.

usage: semconv.py CONVENTIONS RETRACE_LOCAL [SEED]

CONVENTIONS is the folder of the semantic conventions that has `model/` and `docs/gen-ai/`; RETRACE_LOCAL the built
command of that name. Three things are checked:

* every `gen_ai.*` and `mcp.*` key in our tables is in the registry: current keys in `otel.rs`, deprecated ones in
  `otel_legacy.rs`;
* every attribute of the registries, current or deprecated, is in the record of a span that has it, and a deprecated one
  says what the one says that replaced it; providers are called what they are called now;
* whatever the JSON schemas allow as messages, instructions, tool definitions or documents is understood: a span that
  carries it becomes a record that has every text of it. Values are made from the schemas, by a seed that is printed.
"""

import json
import pathlib
import random
import re
import subprocess
import sys

TABLES = pathlib.Path(__file__).parents[1] / "crates/retrace-translate/src/dialect"

# Names that libraries use beside the registry, each seen in the corpus.
BESIDE_THE_REGISTRY = {
    "gen_ai.usage.cache_creation_input_tokens",
    "gen_ai.usage.cache_read_input_tokens",
    "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.reasoning_tokens",
}

# Told in milliseconds.
SECONDS = {"gen_ai.response.time_to_first_chunk"}

SCHEMAS = {
    "gen_ai.input.messages": "gen-ai-input-messages.json",
    "gen_ai.output.messages": "gen-ai-output-messages.json",
    "gen_ai.system_instructions": "gen-ai-system-instructions.json",
    "gen_ai.tool.definitions": "gen-ai-tool-definitions.json",
    "gen_ai.retrieval.documents": "gen-ai-retrieval-documents.json",
}

VALUES_PER_SCHEMA = 2000


def registered(*files):
    """The attributes that registry files define."""
    found = set()
    for file in files:
        found |= set(re.findall(r"^\s*- id: ((?:gen_ai|mcp)\.\S+)", file.read_text(), re.MULTILINE))
    return found


def tabled(dialect):
    """The keys in the table of one of our dialects."""
    keys = set(re.findall(r'\("((?:gen_ai|mcp)\.[^"]+)", Field::', (TABLES / dialect).read_text()))
    assert keys, f"no keys found in {dialect}: has its table changed its shape?"
    return keys


def check_keys(conventions):
    model = conventions / "model"
    current = registered(model / "gen-ai/registry.yaml", model / "mcp/registry.yaml")
    deprecated = registered(*(model / "gen-ai/deprecated").glob("*.yaml"))
    assert current and deprecated, f"no attributes found below {model}"
    wrong = tabled("otel.rs") - current
    assert not wrong, f"otel.rs has keys that the registry has not: {sorted(wrong)}"
    wrong = tabled("otel_legacy.rs") - deprecated - BESIDE_THE_REGISTRY
    assert not wrong, f"otel_legacy.rs has keys that were never registered: {sorted(wrong)}"
    print(f"{len(tabled('otel.rs'))} current keys and {len(tabled('otel_legacy.rs'))} older ones are registered")


def attributes(file):
    """From the attributes that a registry file defines to their type, the values of an enumeration, and the successor."""
    found = {}
    blocks = re.split(r"^      - id: (?=\S+\.\S+$)", file.read_text(), flags=re.MULTILINE)[1:]
    for block in blocks:
        key, body = block.split("\n", 1)
        kind = re.search(r"^        type: *(\S*)", body, re.MULTILINE).group(1)
        members = re.findall(r'^              value: "?([^"\n]*)"?', body, re.MULTILINE)
        successor = re.search(r"^          renamed_to: *\"?([^\"\n]+)", body, re.MULTILINE)
        found[key] = (kind, members, successor and successor.group(1))
    return found


def example(key, kind, members, number):
    """An OTLP value for an attribute, and a text by which it is found again."""
    mark = f"mark{number}"
    match kind:
        case "int":
            return {"intValue": str(1000000 + number)}, str(1000000 + number)
        case "double":
            value = number + 0.25
            return {"doubleValue": value}, str(value * (1000 if key in SECONDS else 1))
        case "boolean":
            return {"boolValue": True}, "true"
        case "string[]":
            return {"arrayValue": {"values": [{"stringValue": mark}]}}, mark
        case "string" | "any":
            return {"stringValue": mark}, mark
        case "" if members:
            return {"stringValue": members[0]}, members[0]
        case other:
            sys.exit(f"{key} has the type {other!r}, which this check cannot make yet")


def record_of(command, *pairs):
    """The record of a span with these attributes."""
    span = {"traceId": "1" * 32, "spanId": "1" * 16, "name": "a span"}
    span |= {"startTimeUnixNano": "1760000000000000000", "endTimeUnixNano": "1760000001000000000"}
    span["attributes"] = [{"key": key, "value": value} for key, value in pairs]
    request = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
    answer = subprocess.run([command, "translate", "-"], input=request, capture_output=True, text=True, check=True)
    [trace] = json.loads(answer.stdout)["traces"]
    return trace["spans"][0] | {"session": trace.get("session_id")}


def check_attributes(conventions, command):
    model = conventions / "model"
    current = attributes(model / "gen-ai/registry.yaml") | attributes(model / "mcp/registry.yaml")
    deprecated = attributes(model / "gen-ai/deprecated/registry-deprecated.yaml")
    files = [model / "gen-ai/registry.yaml", model / "mcp/registry.yaml", *(model / "gen-ai/deprecated").glob("*.yaml")]
    unread = {key for key in registered(*files) - set(current) - set(deprecated) if not key.endswith(".attributes")}
    assert not unread, f"these rows were not read: {sorted(unread)}"
    chat = ("gen_ai.operation.name", {"stringValue": "chat"})
    successors = 0
    for number, (key, (kind, members, successor)) in enumerate((current | deprecated).items()):
        value, mark = example(key, kind, members, number)
        beside = () if key == chat[0] else (chat,)
        record = record_of(command, *beside, (key, value))
        if mark not in json.dumps(record):
            sys.exit(f"{key}: the record lacks {mark}\nrecord: {json.dumps(record)}")
        if successor in current:
            successors += 1
            for member in members or [None]:
                value = {"stringValue": member} if member else value
                old = record_of(command, *beside, (key, value))
                if successor == "gen_ai.output.type":
                    expected = member != "text"
                    assert old.get("metadata", {}).get("structured_output", False) == expected, f"{key}={member}: {old}"
                elif successor == "gen_ai.provider.name":
                    assert old["metadata"]["provider"] in current[successor][1], f"{key}={member}: {old}"
                else:
                    new = record_of(command, *beside, (successor, value))
                    assert old == new, f"{key} says other than {successor}\nold: {old}\nnew: {new}"
    text = (model / "gen-ai/deprecated/registry-deprecated.yaml").read_text()
    renamed = re.findall(r'value: "([^"]+)"\n(?:(?! +- id:).*\n)*? +renamed_to: "?([^"\n]+)', text)
    assert renamed, "no renamed value was read"
    for old, new in renamed:
        if new in current["gen_ai.provider.name"][1]:
            record = record_of(command, chat, ("gen_ai.system", {"stringValue": old}))
            assert record["metadata"]["provider"] == new, f"{old} became {record['metadata']['provider']}, not {new}"
    print(f"{len(current)} current and {len(deprecated)} deprecated attributes are told, {successors} as their successors")


class Maker:
    """Makes values that a schema allows.

    It makes known kinds of part only in their own shape, roles only of those the schema names, and no members that it
    leaves unnamed: what those mean nobody says. Every text is another one, so that each can be looked for.
    """

    PIECES = ["a", "é", "🧳", '"', "\\", "\n", "\0", "\ud83d", "\\u0000", '{"k":1}', " ", "</b>", "‮"]

    def __init__(self, schema, random):
        self.definitions = schema["$defs"]
        self.random = random
        self.texts = 0

    def text(self):
        self.texts += 1
        pieces = self.random.choices(self.PIECES, k=self.random.randrange(4))
        return f"{''.join(pieces)}#{self.texts}#"

    def anything(self, depth=0):
        r = self.random
        kind = r.choice(["text", "number", "bool", "null", "list", "map"] if depth < 4 else ["text", "number"])
        if kind == "text":
            return self.text()
        if kind == "number":
            return r.choice([0, -1, 0.1, 2**53 + 1, -1.5e-300])
        if kind == "list":
            return [self.anything(depth + 1) for _ in range(r.randrange(4))]
        if kind == "map":
            return {self.text(): self.anything(depth + 1) for _ in range(r.randrange(4))}
        return r.choice([True, False]) if kind == "bool" else None

    def value(self, schema):
        r = self.random
        if "$ref" in schema:
            name = schema["$ref"].rsplit("/", 1)[1]
            if name == "schema#":  # JSON Schema's own: parameters of a tool.
                return {"type": "object", "properties": {self.text(): {"type": "string", "description": self.text()}}}
            made = self.value(self.definitions[name])
            if name.startswith("Generic"):
                made |= {f"member-{i}": self.anything(1) for i in range(r.randrange(3))}
            return made
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return r.choice(schema["enum"])
        for choice in ("anyOf", "oneOf"):
            if choice in schema:
                roles = [one for one in schema[choice] if one.get("$ref") == "#/$defs/Role"]
                return self.value(r.choice(roles or schema[choice]))
        match schema.get("type"):
            case "string":
                return self.text()
            case "number":
                return r.choice([0, 0.25, 1e9])
            case "integer":
                return r.choice([0, 7])
            case "boolean":
                return r.choice([True, False])
            case "null":
                return None
            case "array":
                return [self.value(schema["items"]) for _ in range(r.randrange(5))]
            case "object":
                members = schema.get("properties", {})
                needed = schema.get("required", [])
                return {key: self.value(members[key]) for key in members if key in needed or r.random() < 0.5}
            case None:
                return self.anything()
            case other:
                sys.exit(f"a schema has the type {other!r}, which this check cannot make yet")


def leaves(value):
    """Every text in a JSON value, keys of maps among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for element in value:
            yield from leaves(element)
    elif isinstance(value, dict):
        for key, element in value.items():
            yield key
            yield from leaves(element)


def marks(text):
    """The texts of ours in a text, each by its mark."""
    return set(re.findall(r"#\d+#", text))


def record_texts(record):
    """All that a record says, also inside texts that are JSON themselves."""
    waiting, said = list(leaves(record)), []
    while waiting:
        text = waiting.pop()
        said.append(text)
        try:
            inner = json.loads(text)
        except ValueError:
            continue
        if isinstance(inner, (dict, list)):
            waiting.extend(leaves(inner))
    return said


def held(text):
    """What the wire can hold of a text (PROTOCOL.md section 3): no NUL, no half of a surrogate pair."""
    return text.replace("\0", "\ufffd").encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def translated(command, key, values):
    """The records of as many spans, each in a run of its own, that say `key` with these values as JSON texts."""
    def attribute(key, text):
        return {"key": key, "value": {"stringValue": text}}

    spans = [
        {
            "traceId": f"{i + 1:032x}",
            "spanId": f"{i + 1:016x}",
            "name": "a span",
            "startTimeUnixNano": "1760000000000000000",
            "endTimeUnixNano": "1760000001000000000",
            "attributes": [
                attribute("gen_ai.operation.name", "retrieval" if "retrieval" in key else "chat"),
                attribute(key, json.dumps(value)),
            ],
        }
        for i, value in enumerate(values)
    ]
    request = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]})
    answer = subprocess.run([command, "translate", "-"], input=request, capture_output=True, text=True, check=True)
    traces = {trace["spans"][0]["trace_id"]: trace["spans"] for trace in json.loads(answer.stdout)["traces"]}
    return [traces[id] for id in sorted(traces)]


def check_schema(conventions, command, key, file, seed):
    schema = json.loads((conventions / "docs/gen-ai" / file).read_text())
    maker = Maker(schema, random.Random(seed))
    values = [maker.value(schema) for _ in range(VALUES_PER_SCHEMA)]
    if key == "gen_ai.output.messages":
        # An output is what was answered; Retrace has no place there for which participant said it.
        for message in (message for messages in values for message in messages):
            message.pop("name", None)
    runs = translated(command, key, values)
    assert len(runs) == len(values), f"{len(values)} spans became {len(runs)} runs"
    for value, spans in zip(values, runs):
        def fail(what):
            sys.exit(f"{key}, seed {seed}: {what}\nvalue:  {json.dumps(value)}\nrecord: {json.dumps(spans)}")

        for span in spans:
            if key in span.get("metadata", {}).get("attributes", {}):
                fail("the value was not understood")
        said = "\n".join(record_texts(spans))
        for text in map(held, leaves(value)):
            if missing := marks(text) - marks(said):
                fail(f"the record lacks {missing}")
            if marks(text) and text not in said:
                fail(f"the record changes {text!r}")
    print(f"{key}: {len(values)} values that its schema allows are understood ({maker.texts} texts)")


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    conventions, command = pathlib.Path(sys.argv[1]), sys.argv[2]
    seed = int(sys.argv[3]) if len(sys.argv) == 4 else 20251
    check_keys(conventions)
    check_attributes(conventions, command)
    for key, file in SCHEMAS.items():
        check_schema(conventions, command, key, file, seed)


main()
