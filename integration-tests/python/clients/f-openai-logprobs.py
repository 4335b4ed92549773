"""Log-probabilities, an image and a response format: asked for, and not captured by the SDK."""

import openai
import retrace

client = openai.OpenAI()
with retrace.record(name="oai-logprobs") as run:
    messages = [{"role": "user", "content": "hello"}]
    answer = client.chat.completions.create(model="gpt-4o", messages=messages, logprobs=True, top_logprobs=2)
    assert answer.choices[0].logprobs.content[0].logprob == -0.25
    run.output = answer.choices[0].message.content
with retrace.record(name="oai-vision-structured"):
    parts = [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    schema = {"name": "answer", "schema": {"type": "object"}}
    client.chat.completions.create(
        model="gpt-4o-2024-08-06",
        messages=[{"role": "user", "content": parts}],
        response_format={"type": "json_schema", "json_schema": schema},
    )
