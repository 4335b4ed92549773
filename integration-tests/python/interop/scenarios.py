"""What each captured scenario needs beside its program, and whether it ended as the capture says."""

import json
import signal
import subprocess
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from interop import captures, records
from interop.limit import LIMIT_SECONDS
from interop.peer import Peer
from interop.stream import Stream

CLIENTS = Path(__file__).parent.parent / "clients"


@dataclass
class Scenario:
    """How a program is run, and what is expected beside what the capture holds."""

    # The program, when several scenarios share one.
    client: str = ""
    env: dict = field(default_factory=dict)
    exit: int = 0
    # What the SDK must complain of on its standard error, or several such lines. It must complain of nothing else.
    complaint: str | tuple = ()
    # The program says that it is ready, and is told to end.
    terminated: bool = False
    # Requests may come in any order.
    unordered: bool = False
    # A trace is there already, and the program takes its id.
    taken: bool = False
    # How many of the captured uploads must be stored, when it is not all that the capture's server took.
    stored: int | None = None


OFF = {"RETRACE_ENABLED": "false"}
TELEMETRY = {"RETRACE_TELEMETRY": "1"}

SCENARIOS = {
    "a-plain": Scenario(),
    "b-exception": Scenario(),
    "c-nested": Scenario(),
    "d-context": Scenario(env={"RETRACE_PROJECT_ID": "proj-capture", "RETRACE_ENVIRONMENT": "staging"}),
    "f-openai-errors": Scenario(),
    "f-openai-logprobs": Scenario(),
    "f-openai-nonstream": Scenario(),
    "f-openai-stream": Scenario(),
    "f-openai-tools": Scenario(),
    "g-anthropic": Scenario(),
    "j-never-answers": Scenario(env={"RETRACE_FLUSH_TIMEOUT": "1"}, complaint="still in progress after 1.0s"),
    "m-disabled": Scenario(client="m-off", env=OFF),
    "m-disabled-telemetry-on": Scenario(client="m-off", env=OFF | TELEMETRY),
    "m-unconfigured": Scenario(client="m-off", env={"RETRACE_API_KEY": None}),
    "n-values": Scenario(),
    "s-307-redirect": Scenario(client="s-status", complaint="rejected (HTTP 307)"),
    "s-400-rejected": Scenario(client="s-status", complaint="rejected (HTTP 400)"),
    "s-409": Scenario(taken=True, complaint="rejected (HTTP 409)"),
    "s-429-then-ok": Scenario(client="s-status"),
    "t-unended": Scenario(),
    "u-golden-enforcement": Scenario(),
    "v-init-crash": Scenario(exit=1, complaint="RuntimeError: unhandled"),
    "v-init-ok": Scenario(),
    "v-init-sigterm": Scenario(exit=128 + signal.SIGTERM, terminated=True),
    "w-telemetry": Scenario(env=TELEMETRY, unordered=True),
    "x-long-input": Scenario(),
    "y-seeded-sampling": Scenario(env={"RETRACE_SAMPLE_RATE": "0.5", "RETRACE_SAMPLE_SEED": "seed-1"}),
    # The recorder of the captures took a body without an id; this receiver refuses it, as section 9.1 asks.
    "y-unsampled-context": Scenario(env={"RETRACE_SAMPLE_RATE": "0"}, complaint='"field":"id"', stored=0),
}


# The same programs with `ws`, where the server of the capture is an ordinary one: this receiver takes its place. What
# is stored must be what `http` stores.
STREAMED = {
    name: SCENARIOS[name]
    for name in (
        "a-plain",
        "b-exception",
        "c-nested",
        "d-context",
        "f-openai-errors",
        "f-openai-logprobs",
        "f-openai-nonstream",
        "f-openai-stream",
        "f-openai-tools",
        "m-disabled",
        "m-disabled-telemetry-on",
        "m-unconfigured",
        "n-values",
        "t-unended",
        "v-init-crash",
        "v-init-sigterm",
    )
}
# Its spans are taken, and wait for a run that nobody starts.
STREAMED["y-unsampled-context"] = Scenario(env={"RETRACE_SAMPLE_RATE": "0"}, stored=0)
# Those that are quick once more with `auto`, which today means `ws` where its library is there.
AUTO = [name for name in STREAMED if not name.startswith(("f-", "m-"))]

REMOTE = {"RETRACE_ALLOW_REMOTE_REPLAY": "1"}
POSITIONAL = {"POSITIONAL": "1"}
NO_SHELL = "input ignored for ['allow_shell']"
FLUSH_SOON = {"RETRACE_FLUSH_TIMEOUT": "1"}
# Between the second attempt to connect and the third.
FLUSH_LATER = {"RETRACE_FLUSH_TIMEOUT": "1.5"}

# With `ws`, where the server of the capture does what a receiver of ours never would: a peer plays it.
PLAYED = {
    "j-acks-by-id": Scenario(client="c-nested"),
    "j-never-acks": Scenario(client="j-never-answers", env=FLUSH_SOON, complaint="4 event"),
    "l-halt": Scenario(),
    "o-auth-rejected": Scenario(client="j-never-answers", env=FLUSH_LATER),
    "o-ping-and-signals": Scenario(complaint=("unknown server message type 'brand_new_type'", "ignoring server 'resume'")),
    "p-replay": Scenario(env=REMOTE),
    "p-resume": Scenario(env=REMOTE, complaint=NO_SHELL),
    "p-resume-dict-over-positional": Scenario(
        client="p-resume", env=REMOTE | POSITIONAL, complaint=(NO_SHELL, "Cascade replay failed")
    ),
    "p-resume-string": Scenario(client="p-resume", env=REMOTE | POSITIONAL),
    "p-resume-superseded": Scenario(client="p-resume", env=REMOTE, complaint="superseded"),
    "q-lossy-evicted": Scenario(
        client="q-lossy", env={"QUEUE": "5"}, complaint=("send buffer full", "4 event(s) were dropped this session")
    ),
    "q-lossy-unconfirmed": Scenario(
        client="q-lossy", env=FLUSH_SOON | {"UNCONFIRMED": "5"}, complaint="5 event(s) of 2 trace(s) were sent"
    ),
    "r-death-flush": Scenario(env={"RETRACE_FLUSH_TIMEOUT": "0.8"}),
    "r-death-flush-409": Scenario(client="j-never-answers", env=FLUSH_LATER, complaint="capture INCOMPLETE: 1 event(s)"),
    "r-death-flush-patch": Scenario(env=FLUSH_LATER, complaint="capture INCOMPLETE: 1 event(s)"),
}


class Failure(Exception):
    """A scenario did not end as it should."""


def check(name, capture, receiver, environment):
    """Runs a scenario and compares what came of it with its capture."""
    scenario = SCENARIOS.get(name)
    if scenario is None:
        raise Failure("captured, but there is no program for it")
    exchanges = captures.read(capture)
    before = receiver.ids()
    taken = None
    if scenario.taken:
        taken = {"id": str(uuid.uuid4()), "name": "first", "started_at": "2026-01-02T03:04:05Z", "spans": []}
        receiver.post(taken)
        before.add(taken["id"])

    # Where the capture shows uploads alone, all taken, nothing stands between the SDK and the receiver.
    if exchanges and all(exchange.is_upload() and exchange.is_good() for exchange in exchanges):
        execute(name, scenario, environment(receiver.url), taken)
    else:
        with Peer(receiver, exchanges) as peer:
            execute(name, scenario, environment(peer.url), taken)
        compare_requests(exchanges, peer.requests, scenario.unordered)

    uploads = [exchange.body for exchange in exchanges if exchange.is_upload() and exchange.is_good()]
    compare_stored(uploads[: scenario.stored], receiver, receiver.ids() - before)
    if taken is not None and receiver.trace(taken["id"])["name"] != "first":
        raise Failure("the trace that was there before was changed")


def check_streamed(name, capture, uploads, receiver, environment):
    """Runs a scenario over a WebSocket to the receiver, and compares frames and what is stored."""
    before = receiver.ids()
    expected = captures.stream(capture)
    with Stream(receiver) as between:
        execute(name, STREAMED[name], environment(between.url) | {"RETRACE_TRANSPORT": "ws"}, None)
    differ("frames", records.normal(expected.sent()), records.normal(between.seen()))
    compare_uploads(uploads, STREAMED[name], receiver, before)


def check_auto(name, uploads, receiver, environment):
    """Runs a scenario in the SDK's own choice of transport, straight to the receiver."""
    before = receiver.ids()
    execute(name, STREAMED[name], environment(receiver.url) | {"RETRACE_TRANSPORT": "auto"}, None)
    compare_uploads(uploads, STREAMED[name], receiver, before)


def check_played(name, capture, receiver, environment):
    """Runs a scenario against the server of its capture, and compares all that it sends."""
    expected = captures.stream(capture)
    with Stream(receiver, expected) as peer:
        execute(name, PLAYED[name], environment(peer.url) | {"RETRACE_TRANSPORT": "ws"}, None)
    differ("frames", records.normal(expected.sent()), records.normal(peer.seen()))


def compare_uploads(capture, scenario, receiver, before):
    exchanges = captures.read(capture)
    uploads = [exchange.body for exchange in exchanges if exchange.is_upload() and exchange.is_good()]
    compare_stored(uploads[: scenario.stored], receiver, receiver.ids() - before)


def execute(name, scenario, environment, taken):
    """Runs the program in a process of its own."""
    environment = environment | scenario.env
    if taken is not None:
        environment["TAKEN_ID"] = taken["id"]
    python = environment.pop("PYTHON")
    program = [python, str(CLIENTS / f"{scenario.client or name}.py")]
    environment = {key: value for key, value in environment.items() if value is not None}
    began = time.monotonic()
    process = subprocess.Popen(
        program, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    alarm = threading.Timer(LIMIT_SECONDS, process.kill)
    alarm.start()
    if scenario.terminated and process.stdout.readline() == "ready\n":
        process.send_signal(signal.SIGTERM)
    _, complaints = process.communicate()
    alarm.cancel()
    took = time.monotonic() - began
    if took > LIMIT_SECONDS:
        raise Failure(f"still running after {LIMIT_SECONDS} seconds")
    if process.returncode != scenario.exit:
        raise Failure(f"exit status {process.returncode}, expected {scenario.exit}\n{complaints}")
    # What ends a process is told at length, all else in one line.
    lines = complaints.splitlines()[-1:] if scenario.exit == 1 else complaints.splitlines()
    expected = (scenario.complaint,) if isinstance(scenario.complaint, str) else scenario.complaint
    if len(lines) != len(expected) or not all(part in line for part, line in zip(expected, lines)):
        raise Failure(f"expected the complaints {expected!r}, found {complaints!r}")


def compare_requests(exchanges, requests, unordered):
    """Whether the SDK sent what it sent when it was captured."""
    expected = captures.requests(exchanges)
    differ("requests", together(expected, unordered), together(requests, unordered))


def compare_stored(uploads, receiver, ids):
    """Whether the new traces in the receiver are those that were uploaded when it was captured."""
    stored = [receiver.trace(trace_id) for trace_id in ids]
    for trace in stored:
        # Its client has gone, so a run that began over a WebSocket and has not ended is interrupted.
        if trace.pop("live", False) is not False:
            raise Failure("a run is live whose client has gone")
        if wrong := records.incoherent(trace):
            raise Failure(wrong)
    in_time = sorted(stored, key=lambda trace: trace["started_at"])
    differ("stored traces", [records.normal(trace) for trace in uploads], [records.normal(trace) for trace in in_time])


def together(requests, unordered):
    """The requests as one value, so that ids mean the same in all of them."""
    if unordered:
        # Ids then mean something within one request only.
        return sorted((records.normal(request) for request in requests), key=lambda request: json.dumps(request))
    return records.normal(requests)


def differ(what, expected, found):
    if difference := records.difference(expected, found):
        raise Failure(f"{what} differ\n{difference}")
