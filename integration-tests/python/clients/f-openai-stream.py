"""Streams: with usage, without it, left early, and one that asks for a tool."""

import openai
import retrace

from tools import LOOKUP_ORDER

client = openai.OpenAI()


def stream(text, **more):
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model="gpt-4o", messages=messages, stream=True, **more)


with retrace.record(name="oai-stream") as run:
    pieces = stream("stream please", stream_options={"include_usage": True})
    run.output = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
with retrace.record(name="oai-stream-no-usage"):
    for _ in stream("stream please"):
        pass
with retrace.record(name="oai-stream-abandoned") as run:
    pieces = stream("stream please")
    next(iter(pieces))
    run.output = "left early"
with retrace.record(name="oai-stream-tool"):
    for _ in stream("where is my order A-1?", tools=[LOOKUP_ORDER]):
        pass
