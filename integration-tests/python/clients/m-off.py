"""Recording is switched off, or was never configured. The program must do its work all the same."""

import os

import retrace

if "RETRACE_API_KEY" in os.environ:
    retrace.configure()

    @retrace.record(name="off")
    def work():
        return "done"

    assert work() == "done"
    with retrace.record(name="off"):
        pass
else:
    try:
        with retrace.record(name="unconfigured"):
            pass
    except RuntimeError:
        pass  # section 23, 15: without a key the SDK raises

import finish

finish.telemetry()
