"""An agent of pydantic-ai, which instruments itself and runs its tools."""

import pipeline
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel

pipeline.start()
Agent.instrument_all()
weather = Agent(OpenAIChatModel("gpt-4o-mini"), name="weather-agent")


@weather.tool_plain
def get_weather(city: str) -> dict:
    """The weather in a city."""
    return {"city": city, "degrees": 4}


assert weather.run_sync("Weather in Oslo?").output == "4 degrees."
