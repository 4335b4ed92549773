"""A server that speaks the APIs of two model providers, with one fixed answer to each question."""

import json

from interop.peer import Handler, Local

USAGE = {"prompt_tokens": 19, "completion_tokens": 5, "total_tokens": 24}
CALLS = {
    "where is my order A-1?": ("call_abc123", "lookup_order", '{"order_id": "A-1"}'),
    "Weather in Oslo?": ("call_1", "get_weather", '{"city": "Oslo"}'),
}
ANSWERS = {"long": "L" * 2500, "Weather in Oslo?": "4 degrees."}
USAGES = {"Weather in Oslo?": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}}
REFUSALS = {"rate": (429, "Rate limit reached"), "boom": (500, "The server had an error")}


def question_of(messages):
    """The text of the last message of the user."""
    content = [message["content"] for message in messages if message["role"] == "user"][-1]
    if isinstance(content, str):
        return content
    return next((part["text"] for part in content if part["type"] == "text"), "")


class Models(Local):
    """The server."""

    def __init__(self):
        super().__init__(Answer)


class Answer(Handler):
    def do_POST(self):
        request = self.read()
        if self.path == "/v1/chat/completions":
            self.openai(request)
        elif self.path == "/v1/messages":
            self.anthropic(request)
        else:
            self.answer(404, {"error": {"message": f"no {self.path} here"}})

    def stream(self, events):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for name, event in events:
            data = event if isinstance(event, str) else json.dumps(event)
            self.wfile.write((f"event: {name}\n" if name else "").encode() + f"data: {data}\n\n".encode())
            self.wfile.flush()
        self.close_connection = True

    # OpenAI: chat completions.

    def openai(self, request):
        messages = request["messages"]
        question = question_of(messages)
        if question in REFUSALS:
            status, reason = REFUSALS[question]
            self.answer(status, {"error": {"message": reason, "type": "error", "param": None, "code": None}})
            return
        call = CALLS.get(question) if "tools" in request and messages[-1]["role"] == "user" else None
        answer = ANSWERS.get(question, "Hello there!")
        # A real provider never gives the same id twice.
        base = {"id": f"chatcmpl-{len(messages)}", "created": 1_795_345_548, "model": request["model"]}
        if request.get("stream"):
            self.stream((None, event) for event in openai_chunks(base, request, call))
            return
        message = {"role": "assistant", "content": None if call else answer, "refusal": None}
        if call:
            message["tool_calls"] = [openai_call(call)]
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if call else "stop", "logprobs": None}
        if request.get("logprobs"):
            token = {"token": "Hello", "logprob": -0.25, "bytes": None, "top_logprobs": []}
            choice["logprobs"] = {"content": [token], "refusal": None}
        usage = USAGES.get(question, USAGE)
        self.answer(200, {**base, "object": "chat.completion", "choices": [choice], "usage": usage})

    # Anthropic: messages.

    def anthropic(self, request):
        question = question_of([m for m in request["messages"] if not is_tool_result(m)])
        asks = "tools" in request and not is_tool_result(request["messages"][-1])
        call = CALLS.get(question) if asks else None
        usage = {"input_tokens": 19, "output_tokens": 5}
        base = {"id": "msg_1", "type": "message", "role": "assistant", "model": request["model"]}
        if call:
            call_id, name, arguments = call
            content = [{"type": "tool_use", "id": call_id, "name": name, "input": json.loads(arguments)}]
        else:
            content = [{"type": "text", "text": "Hello there!"}]
        reason = "tool_use" if call else "end_turn"
        if request.get("stream"):
            self.stream((event["type"], event) for event in anthropic_events(base, content[0], reason, usage))
            return
        self.answer(200, {**base, "content": content, "stop_reason": reason, "stop_sequence": None, "usage": usage})


def is_tool_result(message):
    return isinstance(message["content"], list) and message["content"][0]["type"] == "tool_result"


def openai_call(call):
    call_id, name, arguments = call
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def openai_chunks(base, request, call):
    """The pieces of a streamed answer: the role first, then the text or the call in halves, then how it ended."""

    def chunk(delta, finish=None):
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return {**base, "object": "chat.completion.chunk", "choices": [choice]}

    yield chunk({"role": "assistant", "content": None if call else ""})
    if call:
        whole = openai_call(call)
        arguments = whole["function"]["arguments"]
        half = len(arguments) // 2
        first = {**whole, "index": 0, "function": {**whole["function"], "arguments": arguments[:half]}}
        yield chunk({"tool_calls": [first]})
        yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": arguments[half:]}}]})
    else:
        yield chunk({"content": "Hel"})
        yield chunk({"content": "lo!"})
    yield chunk({}, "tool_calls" if call else "stop")
    if (request.get("stream_options") or {}).get("include_usage"):
        usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
        yield {**base, "object": "chat.completion.chunk", "choices": [], "usage": usage}
    yield "[DONE]"


def anthropic_events(base, block, reason, usage):
    begun = {**usage, "output_tokens": 1}
    message = {**base, "content": [], "stop_reason": None, "stop_sequence": None, "usage": begun}
    yield {"type": "message_start", "message": message}
    if block["type"] == "text":
        start, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": block["text"]}
    else:
        start, delta = {**block, "input": {}}, {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
    yield {"type": "content_block_start", "index": 0, "content_block": start}
    yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}
    ended = {"stop_reason": reason, "stop_sequence": None}
    yield {"type": "message_delta", "delta": ended, "usage": {"output_tokens": usage["output_tokens"]}}
    yield {"type": "message_stop"}
