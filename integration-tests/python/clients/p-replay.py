"""The server has a recorded function run again with its model calls answered from a recording."""

import openai
import retrace

import finish

client = openai.OpenAI()


@retrace.record(name="replay-agent", resumable=True)
def run(question):
    messages = [{"role": "user", "content": question}]
    return client.chat.completions.create(model="gpt-4o", messages=messages).choices[0].message.content


run("hello")
finish.replay()
