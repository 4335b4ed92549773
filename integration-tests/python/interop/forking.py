"""The official SDK is forked and replayed by the receiver: what it sends must be what the captures `ws-p-…` hold."""

import base64
import json
import os
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
import uuid
from urllib.parse import urlsplit

from interop import captures, frames, records
from interop.limit import LIMIT_SECONDS
from interop.receiver import DIRECT
from interop.scenarios import PLAYED, Failure, differ, execute
from interop.stream import Stream

# What is modified at the second of three steps; nothing where the run is replayed.
MODIFIED = {
    "p-replay": None,
    "p-resume": {"question": "new?", "allow_shell": True},
    "p-resume-dict-over-positional": {"question": "new?", "allow_shell": True},
    "p-resume-string": "new as string",
    "p-resume-superseded": "new as string",
}
# How each fork ends, and whether its run is compared with the one it came from.
ENDS = {"p-resume-dict-over-positional": "failed", "p-resume-superseded": "superseded"}

FORK_POINT, EXECUTION = "00000000-0000-4000-8000-000000000001", "exec-1"


def check(name, capture, receiver, environment):
    """Runs the program of a capture, forks or replays its run by the API, and compares all that the SDK sends."""
    hold = threading.Event()
    with Stream(receiver, hold=hold) as between:
        driver = Driver(name, receiver, hold)
        driver.start()
        execute(name, PLAYED[name], environment(between.url) | {"RETRACE_TRANSPORT": "ws"}, None)
        driver.join(LIMIT_SECONDS)
    if driver.problem is not None:
        raise driver.problem
    differ("frames", records.normal(expected(name, capture)), records.normal(between.seen()))
    driver.compare()


def expected(name, capture):
    """What the capture holds, with a fork point, an execution and a recording that are those of the run."""
    sent = captures.stream(capture).sent()
    spans = [frame["data"] for frame in sent["connections"][0]["frames"] if frame["type"] == "span_started"]
    text = json.dumps(sent)
    if name != "p-replay":
        text = text.replace(FORK_POINT, spans[1]["id"])
    text = text.replace(EXECUTION, str(uuid.uuid4()))
    sent = json.loads(text)
    if name == "p-replay":
        # The recorder of the captures made up a recording and an input; the receiver has those of the run.
        began, ended = (frame["data"] for frame in sent["connections"][0]["frames"][-2:])
        began["input"], ended["output"] = ["hello"], "Hello there!"
    if name == "p-resume-dict-over-positional":
        # It gave no execution; the receiver gives one to every client that knows them, and the client claims it.
        execution = str(uuid.uuid4())
        [upload] = sent["requests"]
        fork = upload["body"]["metadata"]["_fork_id"]
        upload["body"]["metadata"]["_fork_execution_id"] = execution
        headers = {key: value for key, value in upload["headers"].items() if key != "x-retrace-client"}
        path = f"/api/v1/forks/{fork}/replay/claim"
        claim = {"method": "POST", "path": path, "headers": headers, "body": {"execution_id": execution}}
        sent["requests"].insert(0, claim)
    return sent


class Driver(threading.Thread):
    """Waits for the run of the program, and has it forked."""

    def __init__(self, name, receiver, hold):
        super().__init__(daemon=True)
        self.name_of, self.receiver, self.hold = name, receiver, hold
        self.before = receiver.ids()
        self.problem = None

    def run(self):
        try:
            self.drive()
        except Exception as problem:
            self.problem = problem
        finally:
            self.hold.set()

    def drive(self):
        self.trace = self.wait(self.ended)
        if MODIFIED[self.name_of] is None:
            self.hold.set()
            return self.call("POST", f"/api/v1/traces/{self.trace['id']}/replay", {})
        # The captured frames hold no recording.
        fork = {"trace_id": self.trace["id"], "span_id": self.trace["spans"][1]["id"], "mode": "live"}
        fork = self.call("POST", "/api/v1/forks", fork | {"modified_input": MODIFIED[self.name_of]})
        self.path = f"/api/v1/forks/{fork['id']}"
        self.call("POST", f"{self.path}/replay")
        if self.name_of == "p-resume-superseded":
            # Its claim is held until another agent has got the fork.
            with Agent(self.receiver, self.trace["name"]) as agent:
                self.call("POST", f"{self.path}/replay")
                if agent.read()["type"] != "resume":
                    raise Failure("the newer agent did not get the fork")
        self.hold.set()

    def ended(self):
        for trace_id in self.receiver.ids() - self.before:
            trace = self.receiver.trace(trace_id)
            if trace["status"] != "running":
                return trace

    def compare(self):
        """Whether the receiver knows how the fork ended."""
        if MODIFIED[self.name_of] is None:
            replays = [self.receiver.trace(trace_id) for trace_id in self.receiver.ids() - self.before]
            replays = [replay for replay in replays if replay["name"].startswith("Replay: ")]
            if [replay["output"] for replay in replays] != [self.trace["output"]]:
                raise Failure(f"the replay returned something else: {replays}")
            return
        fork = self.wait(lambda: (fork := self.call("GET", self.path))["executions"][0]["status"] != "running" and fork)
        status = fork["executions"][0]["status"]
        if status != ENDS.get(self.name_of, "completed"):
            raise Failure(f"the execution is {status}: {fork}")
        if status == "superseded":
            return
        result = self.receiver.trace(fork["result_trace_id"])
        if result["metadata"]["_fork_execution_id"] != fork["execution_id"]:
            raise Failure(f"the run of another execution is linked: {result}")
        diff = self.call("GET", f"{self.path}/diff")
        steps = [step["status"] for step in diff["steps"]]
        if status == "failed":
            if "TypeError" not in fork["error"] or steps != ["replayed", "removed", "removed"]:
                raise Failure(f"the failed run is not compared as one: {diff}")
        elif steps != ["replayed", "changed", "changed"] or diff["fork"]["index"] != 1:
            raise Failure(f"the runs are not compared from the fork point: {diff}")

    def wait(self, look):
        deadline = time.monotonic() + LIMIT_SECONDS
        while not (found := look()):
            if time.monotonic() > deadline:
                raise Failure("the receiver has not got there")
            time.sleep(0.01)
        return found

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.receiver.url}{path}", data, method=method)
        if data is not None:
            request.add_header("content-type", "application/json")
        try:
            with DIRECT.open(request, timeout=LIMIT_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            raise Failure(f"{method} {path}: {refused.code} {refused.read().decode()}") from None


class Agent:
    """Another client that executes runs of this name, and that was connected later."""

    def __init__(self, receiver, name):
        address = urlsplit(receiver.url)
        self.socket = socket.create_connection((address.hostname, address.port), timeout=LIMIT_SECONDS)
        self.file = self.socket.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        head = ["GET /ws/v1/stream HTTP/1.1", f"host: {address.netloc}", "connection: upgrade", "upgrade: websocket"]
        head += ["sec-websocket-version: 13", f"sec-websocket-key: {key}", "", ""]
        self.socket.sendall("\r\n".join(head).encode())
        while self.file.readline().strip():
            pass
        self.send({"type": "auth", "api_key": "rt_other", "resumable": True, "replay_generation": 1, "acks": True})
        run = {"id": str(uuid.uuid4()), "name": name, "started_at": "2026-01-02T03:04:05Z"}
        self.send({"type": "trace_started", "data": run, "seq": 1})
        self.send({"type": "trace_ended", "data": {"id": run["id"], "status": "completed"}, "seq": 2})
        # Answered once it is stored.
        for _ in range(3):
            self.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, value):
        payload = json.dumps(value).encode()
        # A mask of zeros leaves the bytes as they are.
        head = struct.pack(">BBH", 0x80 | frames.TEXT, 0x80 | 126, len(payload)) + bytes(4)
        self.socket.sendall(head + payload)

    def read(self):
        kind, payload, _ = frames.read(self.file)
        return frames.value(payload) if kind == frames.TEXT else self.read()
