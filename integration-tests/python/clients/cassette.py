"""The official clients of OpenAI and Anthropic against `retrace-local replay`: what they parse, as JSON."""

import json
import sys

import anthropic
import openai

TOOL = {"type": "function", "function": {"name": "tide", "parameters": {"type": "object"}}}


def asked(text):
    return [{"role": "user", "content": text}]


def main():
    seen = {}
    client = openai.OpenAI()
    answer = client.chat.completions.create(model="m", temperature=0.5, messages=asked("whole"))
    seen["openai whole"] = [answer.choices[0].message.content, answer.usage.total_tokens, answer.id]

    stream = client.chat.completions.create(
        model="m", messages=asked("stream"), stream=True, stream_options={"include_usage": True}
    )
    texts, finish, total = [], None, None
    for chunk in stream:
        for choice in chunk.choices:
            texts.append(choice.delta.content or "")
            finish = choice.finish_reason or finish
        total = chunk.usage.total_tokens if chunk.usage else total
    seen["openai stream"] = ["".join(texts), finish, total]
    seen["openai stream has pieces"] = len([text for text in texts if text]) > 1

    answer = client.chat.completions.create(model="m", messages=asked("tool"), tools=[TOOL])
    call = answer.choices[0].message.tool_calls[0]
    seen["openai tool"] = [call.id, call.function.name, json.loads(call.function.arguments)]

    answer = client.responses.create(model="m", input="response")
    seen["openai response"] = [answer.output_text, answer.status]

    claude = anthropic.Anthropic()
    answer = claude.messages.create(model="c", max_tokens=99, messages=asked("whole"))
    seen["anthropic whole"] = [answer.content[0].text, answer.stop_reason, answer.usage.output_tokens]
    with claude.messages.stream(model="c", max_tokens=99, messages=asked("stream")) as stream:
        texts = list(stream.text_stream)
        message = stream.get_final_message()
    seen["anthropic stream"] = ["".join(texts), message.stop_reason, message.usage.output_tokens]
    seen["anthropic tool"] = [message.content[1].name, message.content[1].input]

    # A request that was not recorded is an error that no client retries.
    try:
        client.chat.completions.create(model="m", messages=asked("another"))
    except openai.UnprocessableEntityError as error:
        seen["openai refused"] = [error.status_code, error.type, "another" in error.message]
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    main()
