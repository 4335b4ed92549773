"""What stands between the SDK and the receiver in the WebSocket scenarios: it notes all that the SDK sends."""

import json
import socket
import struct
import threading
import time
from urllib.parse import urlsplit

from interop import frames
from interop.limit import LIMIT_SECONDS
from interop.peer import NOT_COMPARED, Handler, Local, forward

HANDSHAKE = ("sec-websocket-key", "host", "connection", "upgrade")


class Stream(Local):
    """Passes everything on to the receiver; or, with a capture, plays the server of that capture. Claims of forks wait for `hold`."""

    def __init__(self, receiver, capture=None, hold=None):
        stream = self
        self.receiver = receiver
        self.capture = capture
        self.lock = threading.Lock()
        self.connections = []
        self.requests = []
        # The ids of the capture, and those that stand in their place now.
        self.ids = {}

        class Play(Handler):
            def do_GET(self):
                if self.headers.get("upgrade", "").lower() != "websocket":
                    return self.request()
                headers = {name.lower(): value for name, value in self.headers.items()}
                headers = {name: headers[name] for name in headers if name not in HANDSHAKE}
                self.sent = {"path": self.path, "headers": headers, "frames": [], "pongs": 0}
                with stream.lock:
                    stream.connections.append(self.sent)
                    number = len(stream.connections)
                self.close_connection = True
                try:
                    if capture is None:
                        self.relay()
                    else:
                        self.play(capture.connections.get(number, []))
                except (frames.Gone, OSError):
                    pass

            def request(self):
                body = self.read()
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = {
                    "method": self.command,
                    "path": self.path,
                    "headers": {name: headers[name] for name in headers if name not in NOT_COMPARED},
                    "body": body,
                }
                with stream.lock:
                    number = len(stream.requests)
                    stream.requests.append(request)
                if capture is None:
                    if hold is not None and self.path.endswith("/replay/claim"):
                        hold.wait(LIMIT_SECONDS)
                    forward(self, stream.receiver)
                elif number < len(capture.exchanges):
                    exchange = capture.exchanges[number]
                    self.answer(exchange.status, exchange.answer_body)
                else:
                    self.answer(500, {"error": "this was not captured"})

            do_POST = do_PATCH = request

            def note(self):
                """Waits for the next text frame; answers with it, and with the bytes it came in."""
                while True:
                    kind, payload, raw = frames.read(self.rfile)
                    if kind == frames.CLOSE:
                        raise frames.Gone
                    if kind != frames.TEXT:
                        continue
                    frame = frames.value(payload)
                    if frame == {"type": "pong"}:
                        self.sent["pongs"] += 1
                        continue
                    self.sent["frames"].append(frame)
                    return frame

            # Passing on.

            def relay(self):
                address = urlsplit(stream.receiver.url)
                with socket.create_connection((address.hostname, address.port), timeout=LIMIT_SECONDS) as server:
                    head = [f"{self.command} {self.path} HTTP/1.1", *(f"{n}: {v}" for n, v in self.headers.items())]
                    server.sendall("\r\n".join([*head, "", ""]).encode())
                    back = threading.Thread(target=self.back, args=(server,))
                    back.start()
                    try:
                        while True:
                            kind, payload, raw = frames.read(self.rfile)
                            if kind == frames.TEXT:
                                self.sent["frames"].append(frames.value(payload))
                            server.sendall(raw)
                    except frames.Gone:
                        server.shutdown(socket.SHUT_WR)
                    finally:
                        back.join(LIMIT_SECONDS)

            def back(self, server):
                try:
                    while some := server.recv(65536):
                        self.connection.sendall(some)
                    self.connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

            # Playing.

            def play(self, script):
                for line in script:
                    if "frame" in line and line["dir"] == "client":
                        if line["frame"] != {"type": "pong"}:
                            self.learn(line["frame"], self.note())
                    elif "frame" in line:
                        self.connection.sendall(frames.text(stream.translated(line["frame"])))
                    elif line.get("status") == 101:
                        self.send_response(101)
                        self.send_header("upgrade", "websocket")
                        self.send_header("connection", "upgrade")
                        self.send_header("sec-websocket-accept", frames.accept(self.headers["sec-websocket-key"]))
                        self.end_headers()
                    elif "status" in line:
                        return self.answer(line["status"], None)
                    elif "close" in line:
                        self.connection.sendall(frames.close(**line["close"]))
                    elif line.get("abort"):
                        # Cut without a word, once what was sent is read.
                        time.sleep(0.2)
                        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        self.connection.close()
                        return None
                while True:
                    self.note()

            def learn(self, captured, found):
                captured, found = captured.get("data") or {}, found.get("data") or {}
                if "id" in captured and "id" in found:
                    stream.ids[captured["id"]] = found["id"]

        super().__init__(Play)

    def translated(self, frame):
        text = json.dumps(frame)
        for captured, now in self.ids.items():
            text = text.replace(captured, now)
        return json.loads(text)

    def seen(self):
        """All that the SDK sent, in the form of [`captures.Capture.sent`]."""
        return {"connections": self.connections, "requests": self.requests}
