"""A run whose id is taken."""

import os

import retrace

from steps import only_step

recording = retrace.record(name="status")
recording.trace.id = os.environ["TAKEN_ID"]
with recording as run:
    only_step(run)
