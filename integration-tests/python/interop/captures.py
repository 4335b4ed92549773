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


def files(*folders):
    """The captures of the HTTP transport, by the names of their scenarios."""
    paths = sorted(path for folder in folders for path in folder.glob("http-*.jsonl"))
    return {path.stem.removeprefix("http-"): path for path in paths}


def read(path):
    """The exchanges of a scenario, in order."""
    exchanges = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        line = json.loads(line)
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
