"""Calls that fail: one that the application handles, one that ends the run."""

import openai
import retrace

client = openai.OpenAI(max_retries=0)


def ask(text):
    return client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": text}])


with retrace.record(name="oai-429") as run:
    try:
        ask("rate")
    except openai.RateLimitError as error:
        run.output = type(error).__name__


@retrace.record(name="oai-500")
def fails():
    ask("boom")


try:
    fails()
except openai.InternalServerError:
    pass
