"""Traces and requests with what differs from run to run taken out: ids, times, durations."""

import difflib
import json
import re

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z")
DURATIONS = ("duration_ms", "total_duration_ms")
# Of the SDK's telemetry: the machine it runs on, and a random id of the process.
MACHINE = ("python", "os", "anon_id")


def normal(value, ids=None, key=None):
    """`value` with ids numbered in the order in which they appear, and with times and durations replaced by words.

    Only what has the right form is replaced: a time that is none stays, and is then seen as a difference.
    """
    ids = {} if ids is None else ids
    if isinstance(value, dict):
        return {key: normal(value[key], ids, key) for key in sorted(value)}
    if isinstance(value, list):
        return [normal(item, ids) for item in value]
    if key in DURATIONS and type(value) is int and value >= 0:
        return "<duration>"
    if isinstance(value, str):
        if key is not None and key.endswith("_at") and TIME.fullmatch(value):
            return "<time>"
        if key in MACHINE:
            return "<machine>"
        return UUID.sub(lambda found: f"<id {ids.setdefault(found.group(), len(ids) + 1)}>", value)
    return value


def text(value):
    """The JSON text of a value: 1, 1.0 and true are three different things there."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, indent=1)


def difference(expected, found):
    """What differs between two values, line by line; nothing when they are the same."""
    if text(expected) == text(found):
        return None
    lines = [text(value).splitlines() for value in (expected, found)]
    return "\n".join(difflib.unified_diff(*lines, "expected", "found", n=2, lineterm=""))


def incoherent(trace):
    """What is wrong with the times of a stored trace; nothing when they fit together."""
    for record in [trace, *trace["spans"]]:
        began, ended = record.get("started_at"), record.get("ended_at")
        if ended is not None and ended < began:
            return f"{record.get('name')!r} ends before it begins"
    return None
