"""OpenLLMetry."""

import agent
import pipeline
from opentelemetry.instrumentation.openai import OpenAIInstrumentor

tracer = pipeline.start()
OpenAIInstrumentor().instrument()
agent.run(tracer)
