"""WebSocket frames on a plain socket: as much of RFC 6455 as these scenarios need."""

import base64
import hashlib
import json
import struct

ACCEPT = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Gone(Exception):
    """The other side sends no more."""


def accept(key):
    """What the answer to a handshake with this key says."""
    return base64.b64encode(hashlib.sha1((key + ACCEPT).encode()).digest()).decode()


def read(file):
    """The next frame: its kind, its payload unmasked, and the bytes it came in."""
    head = exactly(file, 2)
    length = head[1] & 0x7F
    more = b""
    if length >= 126:
        more = exactly(file, 2 if length == 126 else 8)
        length = int.from_bytes(more, "big")
    mask = exactly(file, 4) if head[1] & 0x80 else b""
    masked = exactly(file, length)
    if not head[0] & 0x80:
        raise Gone("a frame in pieces, which the SDK does not send")
    payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked)) if mask else masked
    return head[0] & 0x0F, payload, head + more + mask + masked


def exactly(file, count):
    found = file.read(count)
    if len(found) < count:
        raise Gone
    return found


def write(kind, payload):
    """A frame as a server sends it."""
    length = len(payload)
    if length < 126:
        head = bytes([0x80 | kind, length])
    else:
        head = bytes([0x80 | kind, 126]) + struct.pack(">H", length)
    return head + payload


def text(value):
    return write(TEXT, json.dumps(value).encode())


def close(code, reason):
    return write(CLOSE, struct.pack(">H", code) + reason.encode())


def value(payload):
    """The JSON of a text frame; the words that are no JSON become null."""
    return json.loads(payload, parse_constant=lambda word: None)
