"""A run for a receiver that does not answer: the program must end all the same."""

import retrace

from steps import only_step

with retrace.record(name="never-acked") as run:
    only_step(run)
