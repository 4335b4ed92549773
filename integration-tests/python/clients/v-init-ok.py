"""One line, and the whole process is a run."""

import retrace

retrace.init(name="ambient-ok")
