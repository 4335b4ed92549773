"""Waits for what the SDK sends in threads that it does not wait for itself."""

import threading
import time


def telemetry():
    for thread in threading.enumerate():
        if thread.name.endswith("(_send)"):
            thread.join()


def replay():
    """Waits for a command of the server, which is carried out in a thread of its own, and for its end."""
    deadline = time.monotonic() + 120
    while not (running := [thread for thread in threading.enumerate() if is_replay(thread)]):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    running[0].join(120)


def is_replay(thread):
    name = thread.name
    return thread.is_alive() and name.startswith("retrace-replay-") and not name.startswith("retrace-replay-hb-")
