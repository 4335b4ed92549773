"""Stands between the SDK and the receiver: notes every request, and answers what the receiver never would."""

import http.client
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from interop.limit import LIMIT_SECONDS

# Headers that belong to a connection or to the capture's machine, which the captures leave out too.
NOT_COMPARED = ("host", "connection", "accept-encoding", "content-length")


class Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        # How a connection ends is the client's business.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Local:
    """A server on a free port of this machine, on a thread of its own; use it in a `with` statement."""

    def __init__(self, handler):
        self.server = Server(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def read(self):
        """The request's body as JSON; the words that are no JSON become null."""
        self.raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        return json.loads(self.raw, parse_constant=lambda word: None) if self.raw else None

    def answer(self, status, body, headers=None):
        raw = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


def forward(handler, receiver):
    """Has the receiver answer a request whose body was read."""
    to = http.client.HTTPConnection(urlsplit(receiver.url).netloc, timeout=LIMIT_SECONDS)
    headers = {name: value for name, value in handler.headers.items() if name.lower() != "host"}
    to.request(handler.command, handler.path, handler.raw, headers)
    answer = to.getresponse()
    raw = answer.read()
    to.close()
    handler.answer(answer.status, json.loads(raw) if raw else None)


class Peer(Local):
    """Plays the answers of a capture: those that say no and those that never come. All else the receiver answers."""

    def __init__(self, receiver, exchanges):
        peer = self
        self.receiver = receiver
        self.script = list(exchanges)
        self.requests = []
        self.lock = threading.Lock()
        self.over = threading.Event()

        class Play(Handler):
            def play(self):
                body = self.read()
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = {
                    "method": self.command,
                    "path": self.path,
                    "headers": {name: headers[name] for name in headers if name not in NOT_COMPARED},
                    "body": body,
                }
                with peer.lock:
                    act = peer.script[len(peer.requests)] if len(peer.requests) < len(peer.script) else None
                    peer.requests.append(request)
                if act is None or act.is_good() or act.status == 409:
                    forward(self, peer.receiver)
                elif act.status is None:
                    # Until the scenario is over.
                    peer.over.wait()
                    self.close_connection = True
                else:
                    self.answer(act.status, act.answer_body, act.answer_headers)

            do_GET = do_POST = do_PATCH = play

        super().__init__(Play)

    def __exit__(self, *error):
        self.over.set()
        super().__exit__(*error)


class Elsewhere(Local):
    """What every address but this machine leads to: a proxy that notes who was asked for, and refuses."""

    def __init__(self):
        elsewhere = self
        self.asked_for = []

        class Refuse(Handler):
            def refuse(self):
                elsewhere.asked_for.append(f"{self.command} {self.path}")
                self.close_connection = True
                self.answer(403, {"error": "the tests stay on this machine"})

            do_CONNECT = do_GET = do_POST = do_PATCH = refuse

        super().__init__(Refuse)
