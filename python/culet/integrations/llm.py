"""Models of the command `llm` and of its library (https://llm.datasette.io).

    $ llm models                          # "culet" and the models that the cache holds: "culet/e2b"
    $ llm -m culet/e2b "Why is the sky blue?"
    $ llm -m culet -o temperature 0 -o thinking 1 "What is 27 + 45?"

"culet" is what the variable CULET_MODEL names (a folder, a name of the hub), else the demo model. To
have another one here, fetch it: `culet pull e2b`. llm finds this plugin by itself, by its entry point.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import AsyncGenerator, Iterator
from typing import Any

from culet._extras import missing
from culet._find import available_models
from culet.aio import AsyncModel
from culet.config import GenerationConfig
from culet.errors import InvalidArgumentError
from culet.model import Model
from culet.results import Event, Result, ResultEvent, TextEvent, ThinkingEvent

try:
    import llm
    from llm.parts import (
        Message,
        ReasoningPart,
        StreamEvent,
        TextPart,
        ToolCallPart,
        ToolResultPart,
    )
    from pydantic import Field, model_validator
except ModuleNotFoundError as error:
    raise missing("culet.integrations.llm", "llm", error) from None

__all__ = ["AsyncCulet", "Culet", "register_models"]


@llm.hookimpl
def register_models(register: Any) -> None:
    """What llm calls."""
    names: list[tuple[str | None, str]] = [(None, "culet")]
    names += [(model.name, f"culet/{model.name}") for model in available_models() if model.cached]
    for name, model_id in names:
        once = _Once(name)
        register(Culet(model_id, once), AsyncCulet(model_id, once))


def _field(about: str) -> Any:
    return Field(default=None, description=about)


class Options(llm.Model.Options):
    """Fields of `GenerationConfig`, and `thinking`."""

    max_tokens: int | None = _field("Most tokens of the answer; 0: until the context is full")
    temperature: float | None = _field("Sharpness of the choice; 0: always the likeliest token")
    top_k: int | None = _field("Choose among so many of the likeliest tokens; 0: all")
    top_p: float | None = _field("Choose among the likeliest that sum up to this; 1: all")
    min_p: float | None = _field("Leave out what is less likely than this times the likeliest")
    repetition_penalty: float | None = _field("Divide the logits of seen tokens by this; 1: off")
    seed: int | None = _field("The same seed gives the same answer")
    stop: str | None = _field("Text before which the answer ends")
    timeout_s: float | None = _field("Ends the answer when it took so many seconds")
    thinking: bool | None = _field("Let the model think before it answers")

    @model_validator(mode="after")
    def _check(self) -> Options:
        self.generation()
        return self

    def generation(self) -> GenerationConfig:
        """As culet has them, checked."""
        options = self.model_dump(exclude={"thinking"}, exclude_none=True)
        return GenerationConfig(**options)


class _Once:
    """A model that is loaded by the first prompt, once for both classes."""

    def __init__(self, name: str | None) -> None:
        self._name = name
        self._lock = threading.Lock()  # guards _model; held while loading
        self._model: Model | None = None

    def loaded(self) -> Model:
        with self._lock:
            if self._model is None:
                self._model = Model(self._name)
            return self._model


class _Shared:
    can_stream = True
    supports_tools = True

    def __init__(self, model_id: str, once: _Once) -> None:
        self.model_id = model_id
        self._once = once


class Culet(_Shared, llm.Model):
    """A model for `llm.get_model("culet").prompt(…)` and the command."""

    Options = Options

    def execute(
        self,
        prompt: llm.Prompt,
        stream: bool,
        response: llm.Response,
        conversation: llm.Conversation | None,
    ) -> Iterator[str | StreamEvent]:
        request = _request(prompt)
        model = self._once.loaded()
        if not stream:
            yield from _whole(model.generate(**request), response)
            return
        with model.stream(**request) as events:
            for event in events:
                yield from _pieces(event, response)


class AsyncCulet(_Shared, llm.AsyncModel):
    """A model for `llm.get_async_model("culet").prompt(…)`."""

    Options = Options

    async def execute(
        self,
        prompt: llm.Prompt,
        stream: bool,
        response: llm.AsyncResponse,
        conversation: llm.AsyncConversation | None,
    ) -> AsyncGenerator[str | StreamEvent, None]:
        request = _request(prompt)
        model = AsyncModel(await asyncio.to_thread(self._once.loaded))
        if not stream:
            for piece in _whole(await model.generate(**request), response):
                yield piece
            return
        async with model.stream(**request) as events:
            async for event in events:
                for piece in _pieces(event, response):
                    yield piece


# ---- llm's prompts as culet has them ----


def _request(prompt: llm.Prompt) -> dict[str, Any]:
    """Arguments for `Model.generate` and `Model.stream`."""
    options = prompt.options
    assert isinstance(options, Options)
    tools = []
    for tool in prompt.tools:
        if not isinstance(tool, llm.Tool):
            raise InvalidArgumentError(
                f'the tool "{tool.name}" runs on a server, and there is none here; leave it out'
            )
        tools.append(
            {
                "name": tool.name,
                "description": tool.description or "",
                "parameters": tool.input_schema,
            }
        )
    return {
        "prompt": _messages(prompt.messages),
        "tools": tools or None,
        "thinking": bool(options.thinking),
        "config": options.generation(),
    }


def _messages(messages: list[Message]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for message in messages:
        if message.role == "assistant":
            made.append(_answer(message))
        elif message.role == "tool":
            made += [_tool_result(part) for part in message.parts]
        else:
            made.append({"role": message.role, "content": _text(message)})
    return made


def _answer(message: Message) -> dict[str, Any]:
    answer: dict[str, Any] = {"role": "assistant", "content": ""}
    calls = []
    for part in message.parts:
        if isinstance(part, TextPart):
            answer["content"] += part.text
        elif isinstance(part, ReasoningPart):
            answer["reasoning_content"] = answer.get("reasoning_content", "") + part.text
        elif isinstance(part, ToolCallPart):
            function = {"name": part.name, "arguments": part.arguments}
            calls.append({"id": part.tool_call_id, "type": "function", "function": function})
        else:
            raise _no_such_part(part)
    if calls:
        answer["tool_calls"] = calls
    return answer


def _tool_result(part: Any) -> dict[str, Any]:
    if not isinstance(part, ToolResultPart) or part.attachments:
        raise _no_such_part(part)
    return {
        "role": "tool",
        "tool_call_id": part.tool_call_id,
        "name": part.name,
        "content": part.output,
    }


def _text(message: Message) -> str:
    texts = []
    for part in message.parts:
        if not isinstance(part, TextPart):
            raise _no_such_part(part)
        texts.append(part.text)
    return "\n".join(texts)


def _no_such_part(part: Any) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"a message has a part of type {type(part).__name__}; culet reads text only"
    )


# ---- culet's answers as llm has them ----


def _whole(result: Result, response: Any) -> Iterator[StreamEvent]:
    if result.thinking:
        yield StreamEvent(type="reasoning", chunk=result.thinking)
    if result.text:
        yield StreamEvent(type="text", chunk=result.text)
    for call in result.tool_calls:
        yield from _call(call.name, call.arguments, call.arguments_json, response)
    _end(result, response)


def _pieces(event: Event, response: Any) -> Iterator[StreamEvent]:
    if isinstance(event, TextEvent):
        yield StreamEvent(type="text", chunk=event.text)
    elif isinstance(event, ThinkingEvent):
        yield StreamEvent(type="reasoning", chunk=event.text)
    elif isinstance(event, ResultEvent):
        _end(event.result, response)
    else:
        call = event.call
        yield from _call(call.name, call.arguments, call.arguments_json, response)


def _call(
    name: str, arguments: dict[str, Any], arguments_json: str, response: Any
) -> Iterator[StreamEvent]:
    number = f"call_{uuid.uuid4().hex}"
    response.add_tool_call(llm.ToolCall(tool_call_id=number, name=name, arguments=arguments))
    yield StreamEvent(type="tool_call_name", chunk=name, tool_call_id=number)
    yield StreamEvent(type="tool_call_args", chunk=arguments_json, tool_call_id=number)


def _end(result: Result, response: Any) -> None:
    usage = result.usage
    details = {"cached_tokens": usage.cached_tokens} if usage.cached_tokens else None
    response.set_usage(
        input=usage.prompt_tokens, output=usage.completion_tokens, details=details
    )
    response.response_json = {
        "finish_reason": result.finish_reason,
        "seed": str(result.seed),
        "decode_tokens_per_s": result.timings.decode_tokens_per_s,
    }
