"""Decorated functions that raise, with a message and without."""

import retrace


@retrace.record(name="failing-agent")
def failing(argument):
    raise ValueError("boom: no route")


@retrace.record
def silent():
    raise RuntimeError


for call, kind in ((lambda: failing("x"), ValueError), (silent, RuntimeError)):
    try:
        call()
    except kind:
        continue
    raise AssertionError("the SDK must not swallow the exception")
