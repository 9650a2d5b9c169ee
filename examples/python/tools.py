"""A model that calls functions of this program.

    python tools.py "What is the weather in Rome?"
"""

# Prints: get_weather(
import sys
from typing import Any

import culet

WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "The city"}},
        "required": ["city"],
    },
}


def get_weather(city: str) -> dict[str, Any]:
    return {"city": city, "sky": "clear", "celsius": 22}


prompt = " ".join(sys.argv[1:]) or "What is the weather in Rome?"
with culet.Model() as model, model.chat(tools=[WEATHER], temperature=0) as chat:
    result = chat.send(prompt)
    while result.tool_calls:
        responses = []
        for call in result.tool_calls:
            print(f"{call.name}({call.arguments})")
            responses.append(culet.ToolResult(call, get_weather(**call.arguments)))
        result = chat.send(responses)
    print(result)
