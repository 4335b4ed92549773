"""`retrace-local serve` as a process, and the reading half of its API."""

import json
import re
import subprocess
import urllib.request

from interop.limit import LIMIT_SECONDS

# The receiver is on this machine, whatever proxy is set around this script.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Receiver:
    """A running receiver; use it in a `with` statement."""

    def __init__(self, program):
        self.process = subprocess.Popen(
            [program, "serve", "--addr", "127.0.0.1:0"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        # The banner is printed once the server answers.
        banner = []
        for line in self.process.stdout:
            banner.append(line)
            if "to stop" in line:
                break
        banner = "".join(banner)
        found = re.search(r"http://[\d.:]+", banner)
        grpc = re.search(r"OTEL_EXPORTER_OTLP_PROTOCOL=grpc OTEL_EXPORTER_OTLP_ENDPOINT=(http://[\d.:]+)", banner)
        if found is None or grpc is None:
            raise RuntimeError(f"the receiver did not start: {banner}")
        self.url, self.grpc_url = found.group(), grpc.group(1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(LIMIT_SECONDS)
        self.process.stdout.close()

    def get(self, path):
        with DIRECT.open(f"{self.url}{path}", timeout=LIMIT_SECONDS) as answer:
            return json.load(answer)

    def post(self, trace):
        request = urllib.request.Request(f"{self.url}/api/v1/traces", json.dumps(trace).encode(), method="POST")
        request.add_header("content-type", "application/json")
        DIRECT.open(request, timeout=LIMIT_SECONDS).close()

    def ids(self):
        """The ids of all traces."""
        page = self.get("/api/v1/traces?limit=1000")
        assert len(page["traces"]) == page["total"], "more traces than a page holds"
        return {trace["id"] for trace in page["traces"]}

    def trace(self, trace_id):
        return self.get(f"/api/v1/traces/{trace_id}")
