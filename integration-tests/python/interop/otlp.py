"""Applications that others instrumented send OTLP to the receiver: is what it stores what they did?"""

import json
import subprocess
import time
from pathlib import Path

from interop.limit import LIMIT_SECONDS
from interop.scenarios import Failure

CLIENTS = Path(__file__).parent.parent / "otlp"

# Each program of `otlp/`, and the settings of its instrumentation.
PROGRAMS = {
    "genai-openai": {
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_AND_EVENT",
        "OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT": "true",
    },
    "openllmetry": {"TRACELOOP_TRACE_CONTENT": "true"},
    "pydantic-ai": {},
}
HTTP = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}

# By default each sends over gRPC, configured by the endpoint alone; then over HTTP.
APPLICATIONS = {name: (name, {}) for name in PROGRAMS} | {
    "gzip-genai-openai": ("genai-openai", {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}),
    "http-genai-openai": ("genai-openai", HTTP | {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}),
    "http-openllmetry": ("openllmetry", HTTP | {"OTEL_EXPORTER_OTLP_COMPRESSION": "deflate"}),
    "http-pydantic-ai": ("pydantic-ai", HTTP),
}

# What each of them does: it asks, is told to call a tool, does so, and asks again.
QUESTION, ANSWER, MODEL = "Weather in Oslo?", "4 degrees.", "gpt-4o-mini"
TOKENS = [(100, 20), (100, 20)]
TOOL = "get_weather"
ARGUMENTS, RESULT = {"city": "Oslo"}, {"city": "Oslo", "degrees": 4}


def check(name, receiver, environment):
    """Runs a program and looks at the one run that it leaves."""
    before = receiver.ids()
    program, settings = APPLICATIONS[name]
    execute(name, program, environment | PROGRAMS[program] | settings | exporter(receiver, settings, environment))
    look_at(wait_for_run(receiver, before), f"otlp-{name}")


def look_at(run, service):
    """Compares a run with what an application does."""
    expect("status", run["status"], "completed")
    expect("service", run["metadata"]["service"]["name"], service)
    expect("total_tokens", run["total_tokens"], sum(map(sum, TOKENS)))
    expect("input", question_of(run["input"]), QUESTION)
    expect("output", run["output"], ANSWER)

    calls = [span for span in run["spans"] if span["span_type"] == "llm_call"]
    expect("model calls", [(call["input_tokens"], call["output_tokens"]) for call in calls], TOKENS)
    for call in calls:
        expect("model", call["model"], MODEL)
        expect("the question", call["input"]["messages"][0], {"role": "user", "content": QUESTION})
    asked = calls[0]["metadata"]["tool_calls"]
    expect("tool calls", [(each["name"], value(each["arguments"])) for each in asked], [(TOOL, ARGUMENTS)])
    expect("roles", [each["role"] for each in calls[1]["input"]["messages"]], ["user", "assistant", "tool"])
    expect("the answer", calls[1]["output"], ANSWER)

    tools = [span for span in run["spans"] if span["span_type"] == "tool_call"]
    expect("tools", [(tool["name"].split()[-1], value(tool["input"])) for tool in tools], [(TOOL, ARGUMENTS)])
    results = [span for span in run["spans"] if span["span_type"] == "tool_result"]
    expect("results", [value(result["output"]) for result in results], [RESULT])
    known = {span["id"] for span in run["spans"]}
    expect("parents", [span["name"] for span in run["spans"] if span.get("parent_id") not in known], [run["name"]])


def exporter(receiver, settings, environment):
    """Where an application sends, by the variables of OpenTelemetry alone."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url if "OTEL_EXPORTER_OTLP_PROTOCOL" in settings else receiver.grpc_url,
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-retrace-key={environment['RETRACE_API_KEY']}",
    }


def execute(name, program, environment):
    program = CLIENTS / f"{program}.py"
    environment = environment | {"OTEL_SERVICE_NAME": f"otlp-{name}"}
    done = subprocess.run(
        [environment["PYTHON"], program],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_SECONDS,
    )
    if done.returncode or done.stdout:
        raise Failure(f"exit status {done.returncode}, and it said: {done.stdout[-2_000:]}")


def wait_for_run(receiver, before):
    """The run that is new, once it has ended: spans are stored a moment after they came."""
    until = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < until:
        new = receiver.ids() - before
        if len(new) > 1:
            raise Failure(f"{len(new)} runs instead of one")
        for run in map(receiver.trace, new):
            if run["status"] != "running":
                return run
        time.sleep(0.05)
    raise Failure("no run has come and ended")


def value(said):
    """What a text holds that is JSON; anything else as it is."""
    return json.loads(said) if isinstance(said, str) and said.startswith("{") else said


def question_of(given):
    """What a run was asked: the text itself, or the one message that its agent was given."""
    if isinstance(given, dict) and len(given.get("messages", [])) == 1:
        return given["messages"][0]["content"]
    return given


def expect(what, found, wanted):
    if found != wanted:
        raise Failure(f"{what}: {found!r} instead of {wanted!r}")
