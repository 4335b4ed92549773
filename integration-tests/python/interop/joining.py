"""Three services, one run: a client with the Python SDK calls the planner, which calls the researcher, both in Rust."""

import subprocess
from contextlib import contextmanager

from interop.limit import LIMIT_SECONDS
from interop.scenarios import Failure, Scenario, execute

# What the run has of each of the two: the request, the agent, two model calls, a tool and its result.
SPANS_OF_EACH = 6


def check(receiver, environment, program, transports):
    """Lets all three run, and looks whether what is stored is one tree. `transports`: of the client, and of the services."""
    before = receiver.ids()
    ours = {name: value for name, value in environment.items() if name.startswith("RETRACE_")}
    ours["RETRACE_TRANSPORT"] = transports[1]
    with service(program, "researcher", ours) as researcher:
        with service(program, "planner", {**ours, "RESEARCHER_URL": researcher}) as planner:
            client = Scenario(env={"PLANNER_URL": planner, "RETRACE_TRANSPORT": transports[0]})
            execute("joins", client, environment, None)
    new = receiver.ids() - before
    if len(new) != 1:
        raise Failure(f"one run was expected, found {len(new)}")
    whole(receiver.trace(*new))


def whole(run):
    """Of the client's run: its own span, and the spans of both services where they belong."""
    if (run["name"], run["status"], run.get("lossy")) != ("asks", "completed", None):
        raise Failure(f"the run is the client's to name and to end: {run['name']}, {run['status']}")
    spans = {span["id"]: span for span in run["spans"]}
    if len(spans) != 1 + 2 * SPANS_OF_EACH:
        raise Failure(f"{len(spans)} spans: {sorted(span['name'] for span in spans.values())}")
    top = sorted(span["name"] for span in spans.values() if span["parent_id"] is None)
    if top != ["POST /ask", "call"]:
        raise Failure(f"at the top stand {top}")
    loose = [span["name"] for span in spans.values() if span["parent_id"] not in (None, *spans)]
    if loose:
        raise Failure(f"these hang from nothing: {loose}")
    called = next(span for span in spans.values() if span["name"] == "POST /research")
    if spans[called["parent_id"]]["name"] != "ask_researcher":
        raise Failure(f"the researcher is called by {spans[called['parent_id']]['name']}")
    services = {span["name"]: span["metadata"]["otel"]["service"]["name"] for span in spans.values() if is_taken_up(span)}
    if services != {"POST /ask": "planner", "POST /research": "researcher"}:
        raise Failure(f"who ran what: {services}")


def is_taken_up(span):
    return "service" in span.get("metadata", {}).get("otel", {})


@contextmanager
def service(program, name, environment):
    """One of the services of `examples/two-services`, as a process; its address."""
    process = subprocess.Popen(
        [program, name],
        env={**environment, "OTEL_SERVICE_NAME": name},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process.stdout.readline().strip()
        # It ends with its input, and says what became of its spans.
        said, _ = process.communicate(timeout=LIMIT_SECONDS)
        if process.returncode != 0 or "0 lost" not in said:
            raise Failure(f"the {name}: exit status {process.returncode}, {said}")
    finally:
        process.kill()
        process.communicate()
