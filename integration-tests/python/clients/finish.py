"""Waits for what the SDK sends in threads that it does not wait for itself."""

import threading


def telemetry():
    for thread in threading.enumerate():
        if thread.name.endswith("(_send)"):
            thread.join()
