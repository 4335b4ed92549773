"""Decorated functions that return something."""

import retrace


@retrace.record(name="plain-agent")
def plain(question, depth=1):
    return {"answer": 42, "question": question}


@retrace.record
def bare(number):
    return number * 2


plain("life?", depth=2)
bare(21)
