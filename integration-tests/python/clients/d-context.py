"""The context manager: metadata, session, project, environment, output; resumable; without a name; failing."""

import retrace

metadata = {"customer": "acme", "tags": ["a", "b"]}
with retrace.record(name="ctx-run", input={"prompt": "hi"}, metadata=metadata, session_id="sess-abc-123") as run:
    run.output = {"text": "hello", "n": [1, 2.5, None, True]}
with retrace.record(name="ctx-resumable", resumable=True):
    pass
with retrace.record():
    pass
try:
    with retrace.record(name="ctx-fails"):
        {}["missing"]
except KeyError:
    pass
