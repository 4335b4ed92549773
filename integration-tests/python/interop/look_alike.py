"""One agent, recorded by the SDK and by the exporter of this project, into one receiver: do the two runs look alike?"""

import fnmatch
import subprocess
from dataclasses import dataclass

from interop import records
from interop.limit import LIMIT_SECONDS
from interop.scenarios import Failure, Scenario, execute

# Stands for a field that is not there.
ABSENT = "<absent>"
# In a rule: whatever is there.
ANY = "<any>"


@dataclass
class Difference:
    """A difference that is meant to be: where, what the SDK has, what the exporter has, and why."""

    where: str
    sdk: object
    ours: object
    why: str


SECTION = "PROTOCOL.md section"
SDK_ORDER = ["llm_call 1", "tool_call 1", "llm_call 2", "tool_result 1"]
OUR_ORDER = ["reasoning 1", "llm_call 1", "tool_call 1", "tool_result 1", "llm_call 2"]
TOOL_CALLS = [{"arguments": {"city": "Oslo"}, "id": "call_1", "name": "get_weather"}]

# All of them. A difference that is not here fails the check, and so does a rule that meets none.
INTENDED = [
    Difference("trace.span_count", 4, 5, "the root is sent as a span too, so that every parent_id resolves"),
    Difference("reasoning 1", ABSENT, ANY, "that root; the SDK has only the trace"),
    Difference(
        "trace.metadata.inferred_io",
        ABSENT,
        True,
        "the program told the SDK its input and output; no span holds them, so they are taken from the model calls",
    ),
    Difference("llm_call ?.parent", ABSENT, "reasoning 1", f"{SECTION} 23, 14: the SDK loses whose call it was"),
    Difference(
        "tool_call 1.parent",
        "llm_call 1",
        "reasoning 1",
        "the tool ran under the agent, after the call that asked for it; metadata.tool_call_id ties the two",
    ),
    Difference("tool_result 1.parent", ABSENT, "tool_call 1", "a result belongs to its call"),
    Difference(
        "order",
        SDK_ORDER,
        OUR_ORDER,
        f"{SECTION} 14: the SDK sees a result only when it is sent back with the next call",
    ),
    Difference(
        "llm_call ?.name",
        "openai.chat.completions.create",
        "chat gpt-4o-mini",
        "the span's own name; the SDK has the name of the function that it wraps",
    ),
    Difference("tool_call 1.model", "gpt-4o-mini", ABSENT, f"{SECTION} 14: the SDK copies the model; a tool has none"),
    Difference(
        "tool_result 1.output",
        '{"temp_c": 4}',
        {"temp_c": 4},
        "what the tool returned; the SDK has the text that was sent to the model",
    ),
    Difference(
        "llm_call 1.output",
        '[tool calls] get_weather({"city": "Oslo"})',
        '[tool calls] get_weather({"city":"Oslo"})',
        "JSON as Rust writes it, without blanks",
    ),
    Difference("llm_call 2.messages.2.content", '{"temp_c": 4}', '{"temp_c":4}', "the same"),
    Difference(
        "llm_call 2.messages.1.tool_calls",
        ABSENT,
        TOOL_CALLS,
        f"{SECTION} 14: the SDK drops what the assistant asked for from the history",
    ),
    Difference("llm_call 2.messages.2.tool_call_id", ABSENT, "call_1", f"{SECTION} 14: and which call a tool answered"),
    Difference("llm_call 1.metadata.tool_calls", ABSENT, TOOL_CALLS, "the calls as data beside their text"),
    Difference("llm_call 1.metadata.finish_reasons", ABSENT, ["tool_call"], "the SDK does not record it"),
    Difference("llm_call 2.metadata.finish_reasons", ABSENT, ["stop"], "the SDK does not record it"),
    Difference("llm_call ?.metadata.provider", ABSENT, "openai", "the SDK has it in the name only"),
    Difference("llm_call ?.metadata.operation", ABSENT, "chat", "what OpenTelemetry calls the step"),
    Difference("tool_call 1.metadata.operation", ABSENT, "execute_tool", "what OpenTelemetry calls the step"),
    Difference("*.metadata.otel", ABSENT, ANY, "what only OpenTelemetry knows: the span's name, kind and scope"),
]


NOTICE = "opentelemetry-retrace: runs are sent to "


def check(receiver, environment, program):
    """Lets both run, and compares what is stored of them."""
    before = receiver.ids()
    execute("agent", Scenario(), environment, None)
    of_sdk = receiver.ids() - before
    ours = {name: value for name, value in environment.items() if name.startswith("RETRACE_")}
    done = subprocess.run([program], env=ours, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    # The notice of where runs are sent is written there, since the program has no subscriber of `tracing`.
    noise = [line for line in done.stderr.splitlines() if not line.startswith(NOTICE)]
    if done.returncode != 0 or noise:
        raise Failure(f"the exporter's agent: exit status {done.returncode}\n{done.stderr}")
    of_ours = receiver.ids() - before - of_sdk
    if len(of_sdk) != 1 or len(of_ours) != 1:
        raise Failure(f"one run each was expected, found {len(of_sdk)} and {len(of_ours)}")
    compare(shape(receiver.trace(*of_sdk)), shape(receiver.trace(*of_ours)))


def shape(trace):
    """A run as flat fields: of the trace, of each span by its type and number, and the order of the spans."""
    numbers, labels = {}, {}
    for span in trace["spans"]:
        kind = span["span_type"]
        numbers[kind] = numbers.get(kind, 0) + 1
        labels[span["id"]] = f"{kind} {numbers[kind]}"
    if trace["spans"] != sorted(trace["spans"], key=lambda span: span["started_at"]):
        raise Failure("the spans are not in the order of their start")
    fields = {"order": list(labels.values())}
    flatten("trace", {key: value for key, value in trace.items() if key not in ("id", "spans")}, fields)
    for span in trace["spans"]:
        span = dict(span)
        label = labels[span.pop("id")]
        if span.pop("trace_id") != trace["id"]:
            raise Failure(f"{label} belongs to another trace")
        parent = span.pop("parent_id")
        if parent is not None:
            span["parent"] = labels[parent]
        if span["span_type"] == "llm_call":
            # Whatever stands beside the messages stays, and is then a difference.
            span["input"] = dict(span["input"])
            span["messages"] = dict(enumerate(span["input"].pop("messages")))
        flatten(label, span, fields)
    return fields


def flatten(label, record, fields):
    """Times and durations are compared as such, metadata and messages key by key, all else whole."""
    for key, value in record.items():
        if key == "metadata":
            flatten(f"{label}.metadata", value, fields)
        elif key == "messages":
            for number, message in value.items():
                flatten(f"{label}.messages.{number}", message, fields)
        else:
            fields[f"{label}.{key}"] = records.normal(value, key=key)


def compare(sdk, ours):
    """Every field must be the same in both, or differ as the table says."""
    met = set()
    unexpected = []
    for where in sorted(sdk.keys() | ours.keys()):
        pair = sdk.get(where, ABSENT), ours.get(where, ABSENT)
        if records.text(pair[0]) == records.text(pair[1]):
            continue
        rules = [number for number, rule in enumerate(INTENDED) if covers(rule, where, *pair)]
        met.update(rules)
        if not rules:
            unexpected.append(f"{where}: the SDK has {pair[0]!r}, the exporter {pair[1]!r}")
    stale = [rule.where for number, rule in enumerate(INTENDED) if number not in met]
    if unexpected:
        raise Failure("differences that are not intended:\n" + "\n".join(unexpected))
    if stale:
        raise Failure(f"these no longer differ, or not in this way: {stale}")


def covers(rule, where, sdk, ours):
    # A rule about a whole span covers all its fields.
    matches = fnmatch.fnmatchcase(where, rule.where) or where.startswith(f"{rule.where}.")
    return matches and all(wanted == ANY or wanted == found for wanted, found in ((rule.sdk, sdk), (rule.ours, ours)))
