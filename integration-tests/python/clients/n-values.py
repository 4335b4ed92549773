"""Values of every kind, among them such as JSON cannot hold."""

from datetime import datetime, timezone

import retrace


class Weird:
    def __str__(self):
        return "weird-object"


@retrace.record(name="värde-✓-😀")
def values():
    return {
        "unicode": "naïve 日本 😀",
        "nan": float("nan"),
        "inf": float("inf"),
        "big": 2**70,
        "neg0": -0.0,
        "bytes": b"\xffok",
        "set": {"x"},
        "obj": Weird(),
        1: "int key",
        "dt": datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
        "dt_us": datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=timezone.utc),
        "esc": 'a"b\\c\n\t/\x00\u2028',
    }


values()
