"""The official clients of model providers, answered from the cassette of a stored run."""

import json
import subprocess
import tempfile
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from .scenarios import Failure

CLIENT = Path(__file__).resolve().parent.parent / "clients" / "cassette.py"
RUN = "0af76519-16cd-43dd-8448-eb211c80319c"
TEXT = "High tide is at six, Größe zwei Meter, and the next one at half past six."

EXPECTED = {
    "openai whole": [TEXT, 5, "r-0"],
    "openai stream": [TEXT, "stop", 5],
    "openai stream has pieces": True,
    "openai tool": ["call_1", "tide", {"harbour": "Oslo"}],
    "openai response": [TEXT, "completed"],
    "anthropic whole": [TEXT, "end_turn", 2],
    "anthropic stream": [TEXT, "tool_use", 2],
    "anthropic tool": ["tide", {"harbour": "Oslo"}],
    "openai refused": [422, "replay_differs", True],
}


def run():
    """A run with the calls that the client makes, as a receiver stores it."""
    calls = [{"id": "call_1", "name": "tide", "arguments": {"harbour": "Oslo"}}]
    spans = []

    def call(provider, asked, model, finish, output=TEXT, **metadata):
        number = len(spans)
        metadata |= {"operation": "chat", "provider": provider, "response_id": f"r-{number}", "finish_reasons": [finish]}
        span = {"id": f"00000000-0000-4000-8000-{number:012}", "trace_id": RUN, "parent_id": None}
        span |= {"span_type": "llm_call", "name": f"chat {model}", "model": model, "output": output}
        span |= {"started_at": f"2026-11-22T11:05:{number:02}Z", "ended_at": f"2026-11-22T11:05:{number:02}Z"}
        span |= {"input": {"messages": [{"role": "user", "content": asked}]}, "input_tokens": 3, "output_tokens": 2}
        spans.append(span | {"metadata": metadata})

    call("openai", "whole", "m", "stop")
    call("openai", "stream", "m", "stop", streaming=True)
    call("openai", "tool", "m", "tool_calls", output='[tool calls] tide({"harbour":"Oslo"})', tool_calls=calls)
    call("openai", "response", "m", "completed", attributes={"openai.api.type": "responses"})
    call("anthropic", "whole", "c", "end_turn")
    call("anthropic", "stream", "c", "tool_use", streaming=True, tool_calls=calls)
    # What is asked for at the end is none of them.
    call("openai", "unused", "m", "stop")
    started = {"id": RUN, "name": "harbour", "status": "completed", "started_at": "2026-11-22T11:05:00Z"}
    return started | {"ended_at": "2026-11-22T11:05:59Z", "spans": spans}


@contextmanager
def provider(program, cassette):
    arguments = [program, "replay", "--listen", "127.0.0.1:0", cassette]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    try:
        yield next(word for word in process.stdout.readline().split() if word.startswith("http://"))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def check(program, environment):
    """Exports a run, answers the clients from it, and compares what they parse with the run."""
    with tempfile.TemporaryDirectory() as folder:
        stored, cassette = Path(folder, "run.json"), Path(folder, "run.jsonl")
        stored.write_text(json.dumps(run()))
        exported = subprocess.run(
            [program, "cassette", RUN, "--file", stored, "--out", cassette], capture_output=True, text=True
        )
        if exported.returncode or "7 rebuilt, 0 not replayable" not in exported.stdout:
            raise Failure(f"the export: {exported.stdout} {exported.stderr}")
        with provider(program, cassette) as url:
            environment = environment | {"OPENAI_BASE_URL": f"{url}/v1", "ANTHROPIC_BASE_URL": url}
            client = [environment["PYTHON"], CLIENT]
            said = subprocess.run(client, env=environment, capture_output=True, text=True)
            if said.returncode:
                raise Failure(said.stderr)
            seen = json.loads(said.stdout)
            for name, expected in EXPECTED.items():
                if seen.get(name) != expected:
                    raise Failure(f"{name}: {seen.get(name)} for {expected}")
            with urllib.request.urlopen(f"{url}/retrace/report") as answer:
                report = json.load(answer)
            if report["answered"] != 6 or report["refused_later"] != 0:
                raise Failure(f"a refusal was retried: {report}")
