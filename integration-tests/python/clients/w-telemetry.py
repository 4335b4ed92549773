"""Telemetry is on."""

import retrace

import finish

retrace.configure()


@retrace.record(name="tele")
def work():
    return 1


work()
finish.telemetry()
