"""One run, for receivers that answer this or that."""

import retrace

from steps import only_step

with retrace.record(name="status") as run:
    only_step(run)
