"""The captured traffic of the SDK, which says what each scenario must send and what must be stored of it."""

import json
from dataclasses import dataclass, field

UPLOADS = "/api/v1/traces"


@dataclass
class Exchange:
    """One request of the SDK and what it was answered."""

    method: str
    path: str
    headers: dict
    body: object
    # Nothing when there was no answer.
    status: int | None
    answer_headers: dict = field(default_factory=dict)
    answer_body: object = None

    def is_upload(self):
        return (self.method, self.path) == ("POST", UPLOADS)

    def is_good(self):
        return self.status is not None and self.status < 300


@dataclass
class Capture:
    """What a scenario sent through WebSockets and beside them, and what it was answered."""

    # The lines of each connection by its number, all frames parsed.
    connections: dict
    exchanges: list

    def sent(self):
        """What the client sent: of each connection its handshake, its frames, and how many of them answered a ping."""
        connections = []
        for lines in self.connections.values():
            frames = [line["frame"] for line in lines if line["dir"] == "client" and "frame" in line]
            pong = {"type": "pong"}
            headers = {name: value for name, value in lines[0]["headers"].items() if name != "sec-websocket-key"}
            connections.append(
                {
                    "path": lines[0]["path"],
                    "headers": headers,
                    "frames": [frame for frame in frames if frame != pong],
                    "pongs": frames.count(pong),
                }
            )
        return {"connections": connections, "requests": requests(self.exchanges)}


def files(*folders, transport="http"):
    """The captures of a transport, by the names of their scenarios."""
    paths = sorted(path for folder in folders for path in folder.glob(f"{transport}-*.jsonl"))
    return {path.stem.removeprefix(f"{transport}-"): path for path in paths}


def stream(path):
    """A scenario of the WebSocket transport."""
    connections = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        line = json.loads(line)
        if line["transport"] == "ws":
            if "raw" in line:
                line["frame"] = json.loads(line["raw"], parse_constant=lambda word: None)
            connections.setdefault(line["conn"], []).append(line)
    return Capture(connections, read(path))


def requests(exchanges):
    """The requests of the exchanges, as they are compared."""
    headers = ("content-length",)
    return [
        {
            "method": exchange.method,
            "path": exchange.path,
            "headers": {name: value for name, value in exchange.headers.items() if name not in headers},
            "body": exchange.body,
        }
        for exchange in exchanges
    ]


def read(path):
    """The HTTP exchanges of a scenario, in order."""
    exchanges = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        line = json.loads(line)
        if line["transport"] != "http":
            continue
        if line["dir"] == "client":
            exchanges[line["req"]] = Exchange(line["method"], line["path"], line["headers"], body_of(line), None)
        else:
            exchange = exchanges[line["req"]]
            exchange.status, exchange.answer_body = line["status"], line["body"]
            exchange.answer_headers = line.get("headers", {})
    return [exchanges[number] for number in sorted(exchanges)]


def body_of(line):
    """The body as a strict reader must take it: the bare words that are no JSON mean null (PROTOCOL.md section 3)."""
    if "raw" not in line:
        return line["body"]
    return json.loads(line["raw"], parse_constant=lambda word: None)
