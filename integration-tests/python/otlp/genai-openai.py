"""OpenTelemetry's own instrumentation, in the conventions of today, with its content on spans and in log records."""

import agent
import pipeline
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

tracer = pipeline.start()
OpenAIInstrumentor().instrument()
agent.run(tracer)
