"""One call of a model, with sampling parameters."""

import openai
import retrace

with retrace.record(name="oai-nonstream") as run:
    answer = openai.OpenAI().chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}],
        temperature=0.2,
        top_p=0.9,
        seed=7,
        max_tokens=64,
    )
    run.output = answer.choices[0].message.content
