"""A long history and a long answer, of a model that has no price."""

import openai
import retrace

with retrace.record(name="long"):
    messages = [{"role": "system", "content": "S" * 1500}]
    messages += [{"role": ("user", "assistant")[n % 2], "content": f"m{n}"} for n in range(14)]
    messages.append({"role": "user", "content": "long"})
    openai.OpenAI().chat.completions.create(model="some-unknown-model", messages=messages)
