"""The service in Python: `search`. It needs the standard library only, and writes its spans as OTLP JSON by hand; a real
service has the OpenTelemetry SDK for that.

    search.py COLLECTOR_URL     prints its port, and ends when its standard input is closed
"""

import json
import os
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COLLECTOR = sys.argv[1]


def attribute(key, value):
    return {"key": key, "value": {"stringValue": value}}


def span(trace_id, parent, name, kind, began, attributes):
    return {
        "traceId": trace_id, "spanId": os.urandom(8).hex(), "parentSpanId": parent, "name": name, "kind": kind,
        "startTimeUnixNano": str(began), "endTimeUnixNano": str(time.time_ns()), "attributes": attributes,
    }


def export(spans):
    request = {"resourceSpans": [{
        "resource": {"attributes": [attribute("service.name", "search")]},
        "scopeSpans": [{"scope": {"name": "search"}, "spans": spans}],
    }]}
    body = json.dumps(request).encode()
    headers = {"content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(COLLECTOR + "/v1/traces", body, headers)) as answer:
        answer.read()


class Search(BaseHTTPRequestHandler):
    def do_GET(self):
        _, trace_id, parent, _ = self.headers["traceparent"].split("-")
        began = time.time_ns()
        server = span(trace_id, parent, "GET /search", 2, began, [])
        tool = span(trace_id, server["spanId"], "execute_tool search", 1, began, [
            attribute("gen_ai.operation.name", "execute_tool"), attribute("gen_ai.tool.name", "search"),
            attribute("gen_ai.tool.call.result", '{"hits":3}'),
        ])
        export([tool, server])
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"3 hits")

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Search)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()
