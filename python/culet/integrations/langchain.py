"""A chat model for LangChain.

    from culet.integrations.langchain import ChatCulet

    model = ChatCulet(model="e2b", temperature=0)
    print(model.invoke("Why is the sky blue?").content)
    for chunk in model.stream("Tell me a story"):
        print(chunk.content, end="", flush=True)

    answer = model.bind_tools([get_weather]).invoke("What is the weather in Rome?")
    answer.tool_calls
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, cast

from culet._extras import missing
from culet._find import name_of
from culet.aio import AsyncModel
from culet.config import GenerationConfig, ModelConfig, _combined
from culet.errors import InvalidArgumentError
from culet.model import Model
from culet.results import Event, Result, ResultEvent, TextEvent, ThinkingEvent
from culet.results import ToolCall as CuletToolCall
from culet.results import ToolCallEvent

try:
    from langchain_core.callbacks import (
        AsyncCallbackManagerForLLMRun,
        CallbackManagerForLLMRun,
    )
    from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
    from langchain_core.messages import (
        AIMessage,
        AIMessageChunk,
        BaseMessage,
        ChatMessage,
        HumanMessage,
        SystemMessage,
        ToolMessage,
    )
    from langchain_core.messages.ai import UsageMetadata
    from langchain_core.messages.tool import ToolCall, ToolCallChunk
    from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
    from langchain_core.runnables import Runnable
    from langchain_core.tools import BaseTool
    from langchain_core.utils.function_calling import convert_to_openai_tool
    from pydantic import ConfigDict, Field, PrivateAttr, field_validator, model_validator
except ModuleNotFoundError as error:
    raise missing("culet.integrations.langchain", "langchain", error) from None

__all__ = ["ChatCulet"]

_OPTIONS = tuple(option.name for option in dataclasses.fields(GenerationConfig))


class ChatCulet(BaseChatModel):
    """Gemma 4 in this process, as a LangChain chat model.

    `model` is named as for `culet.Model`, or is one that is loaded; a name is loaded by the first
    request, once, with the fields of `culet.ModelConfig` in `load`. Answers that are wanted at once
    (`batch`, `abatch`, threads, tasks) are computed together. The fields of `culet.GenerationConfig` may
    be given here, bound, or with each call: `invoke("…", temperature=0.5)`.

    Thinking is in `additional_kwargs["reasoning_content"]` of an answer, and so among its
    `content_blocks`. `bind_tools` offers tools, with `tool_choice` "auto", "none", or a tool's name,
    which offers that one alone. The model is not forced to call any: "any" is a wish, and
    `with_structured_output` gives None where it was not heard.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    model: str | os.PathLike[str] | Model | None = None
    """A name, a path, a loaded `culet.Model`; None: CULET_MODEL, or the demo model."""
    load: dict[str, Any] = Field(default_factory=dict)
    """Fields of `culet.ModelConfig` to load it with: {"context": 32768}."""
    thinking: bool = False
    """Let the model think before it answers."""
    streaming: bool = False
    """Stream also where `invoke` is called, so that callbacks see each piece."""

    temperature: float | None = None
    max_tokens: int | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop: list[str] = Field(default_factory=list)
    timeout: float | None = None
    """`GenerationConfig.timeout_s`."""

    _loaded: Model | None = PrivateAttr(default=None)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)  # guards _loaded; held while loading

    @field_validator("stop", mode="before")
    @classmethod
    def _one_stop_is_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value or []

    @model_validator(mode="after")
    def _check(self) -> ChatCulet:
        """What cannot be is said here, not by the first request."""
        self._config(None, {})
        if isinstance(self.model, Model):
            if self.load:
                raise InvalidArgumentError(
                    "the model is loaded already, so `load` has no place; leave it out"
                )
            self._loaded = self.model
        else:
            _combined(ModelConfig, None, self.load, "ChatCulet.load")
        return self

    @property
    def culet_model(self) -> Model:
        """The model itself, loaded if it was not."""
        with self._lock:
            if self._loaded is None:
                assert not isinstance(self.model, Model)
                self._loaded = Model(self.model, **self.load)
            return self._loaded

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: dict[str, Any] | str | bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """A model that may call `tools`: functions, LangChain tools, pydantic classes, schemas."""
        offered = [convert_to_openai_tool(tool) for tool in tools]
        if isinstance(tool_choice, dict):
            tool_choice = tool_choice.get("function", tool_choice).get("name")
        if tool_choice == "none":
            offered = []
        elif isinstance(tool_choice, str) and tool_choice not in ("auto", "any", "required"):
            names = [tool["function"]["name"] for tool in offered]
            if tool_choice not in names:
                raise InvalidArgumentError(
                    f'tool_choice is "{tool_choice}"; it must be "auto", "any", "none" or one of '
                    f"the tools: {', '.join(names)}"
                )
            offered = [tool for tool in offered if tool["function"]["name"] == tool_choice]
        return self.bind(tools=offered, **kwargs)

    def get_num_tokens(self, text: str) -> int:
        """Tokens of a text by itself."""
        return len(self.get_token_ids(text))

    def get_token_ids(self, text: str) -> list[int]:
        """The ids of a text."""
        return self.culet_model.tokenizer.encode(text)

    def get_num_tokens_from_messages(
        self,
        messages: Sequence[BaseMessage],
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool] | None = None,
    ) -> int:
        """Tokens of a request, with all that the chat template adds."""
        offered = [convert_to_openai_tool(tool) for tool in tools or ()]
        return self.culet_model.count_tokens(
            _messages(messages), tools=offered, thinking=self.thinking
        )

    @property
    def _llm_type(self) -> str:
        return "culet"

    @property
    def _name(self) -> str:
        if isinstance(self.model, Model):
            return self.model._engine.name
        return name_of(self.model)

    @property
    def _identifying_params(self) -> dict[str, Any]:
        given = {name: value for name, value in self._own().items() if value not in (None, [])}
        return {"model": self._name, "thinking": self.thinking, **given}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self.stop or None, **kwargs)
        params["ls_provider"] = "culet"
        params["ls_model_name"] = kwargs.get("model", self._name)
        return params

    def _own(self) -> dict[str, Any]:
        """Fields of `GenerationConfig`, as the model has them."""
        own = {name: getattr(self, name) for name in _OPTIONS if name in type(self).model_fields}
        return {**own, "timeout_s": self.timeout}

    def _config(self, stop: list[str] | None, options: dict[str, Any]) -> GenerationConfig:
        """Of one call: its options over the model's own."""
        options = dict(options)
        if "timeout" in options:
            options["timeout_s"] = options.pop("timeout")
        own = GenerationConfig(**self._own())
        given = _combined(GenerationConfig, own, options, "ChatCulet")
        return given if stop is None else dataclasses.replace(given, stop=stop)

    def _request(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        """Arguments for `Model.generate` and its like."""
        options = {name: value for name, value in kwargs.items() if name != "stream"}
        return {
            "prompt": _messages(messages),
            "tools": options.pop("tools", None) or None,
            "thinking": options.pop("thinking", self.thinking),
            "config": self._config(stop, options),
        }

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request = self._request(messages, stop, kwargs)
        return self._result(self.culet_model.generate(**request))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request = self._request(messages, stop, kwargs)
        return self._result(await (await self._asynchronous()).generate(**request))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        request = self._request(messages, stop, kwargs)
        chunks = _Chunks(self._name)
        with self.culet_model.stream(**request) as stream:
            for event in stream:
                chunk = chunks.of(event)
                if run_manager is not None:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        request = self._request(messages, stop, kwargs)
        chunks = _Chunks(self._name)
        async with (await self._asynchronous()).stream(**request) as stream:
            async for event in stream:
                chunk = chunks.of(event)
                if run_manager is not None:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _asynchronous(self) -> AsyncModel:
        model = self._loaded
        return AsyncModel(model or await asyncio.to_thread(lambda: self.culet_model))

    def _result(self, result: Result) -> ChatResult:
        message = AIMessage(
            content=result.text,
            additional_kwargs=_reasoning(result.thinking),
            tool_calls=[
                ToolCall(name=call.name, args=call.arguments, id=_call_id(), type="tool_call")
                for call in result.tool_calls
            ],
            usage_metadata=_usage(result),
            response_metadata=_about(self._name, result),
        )
        return ChatResult(generations=[ChatGeneration(message=message)])


class _Chunks:
    """The pieces of one answer, as LangChain adds them up."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls = 0

    def of(self, event: Event) -> ChatGenerationChunk:
        return ChatGenerationChunk(message=self._message(event))

    def _message(self, event: Event) -> AIMessageChunk:
        if isinstance(event, TextEvent):
            return AIMessageChunk(content=event.text)
        if isinstance(event, ThinkingEvent):
            return AIMessageChunk(content="", additional_kwargs=_reasoning(event.text))
        if isinstance(event, ToolCallEvent):
            return AIMessageChunk(content="", tool_call_chunks=[self._call(event.call)])
        assert isinstance(event, ResultEvent)
        return AIMessageChunk(
            content="",
            usage_metadata=_usage(event.result),
            response_metadata=_about(self._name, event.result),
            chunk_position="last",
        )

    def _call(self, call: CuletToolCall) -> ToolCallChunk:
        index = self._calls
        self._calls += 1
        return ToolCallChunk(
            name=call.name,
            args=call.arguments_json,
            id=_call_id(),
            index=index,
            type="tool_call_chunk",
        )


def _call_id() -> str:
    return f"call_{uuid.uuid4().hex}"


def _reasoning(thinking: str) -> dict[str, Any]:
    return {"reasoning_content": thinking} if thinking else {}


def _usage(result: Result) -> UsageMetadata:
    usage = {
        "input_tokens": result.usage.prompt_tokens,
        "output_tokens": result.usage.completion_tokens,
        "total_tokens": result.usage.total_tokens,
        "input_token_details": {"cache_read": result.usage.cached_tokens},
    }
    return cast(UsageMetadata, usage)


def _about(name: str, result: Result) -> dict[str, Any]:
    return {
        "model_name": name,
        "model_provider": "culet",
        "finish_reason": result.finish_reason,
        "seed": result.seed,
        "timings": dataclasses.asdict(result.timings),
    }


# ---- LangChain's messages as culet has them ----


def _messages(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    called: dict[str, str] = {}  # names of the calls so far, by their ids
    return [_message(message, called) for message in messages]


def _message(message: BaseMessage, called: dict[str, str]) -> dict[str, Any]:
    if isinstance(message, HumanMessage):
        return {"role": "user", "content": _content(message)}
    if isinstance(message, SystemMessage):
        return {"role": "system", "content": _content(message)}
    if isinstance(message, AIMessage):
        return _answer(message, called)
    if isinstance(message, ToolMessage):
        name = message.name or called.get(message.tool_call_id)
        if name is None:
            raise InvalidArgumentError(
                f'there is a tool message for the call "{message.tool_call_id}", which no message '
                "before it has; keep the model's own message, or give the tool message a name"
            )
        return {
            "role": "tool",
            "tool_call_id": message.tool_call_id,
            "name": name,
            "content": _content(message),
        }
    if isinstance(message, ChatMessage):
        return {"role": message.role, "content": _content(message)}
    raise InvalidArgumentError(
        f"there is a {type(message).__name__}; human, AI, system, tool and chat messages are expected"
    )


def _answer(message: AIMessage, called: dict[str, str]) -> dict[str, Any]:
    thinking = message.additional_kwargs.get("reasoning_content", "")
    text = ""
    for block in [message.content] if isinstance(message.content, str) else message.content:
        if isinstance(block, str):
            text += block
        elif block.get("type") == "text":
            text += block["text"]
        elif block.get("type") == "reasoning":
            thinking += block.get("reasoning", "")
        elif block.get("type") not in ("tool_call", "tool_use"):  # those are in tool_calls too
            raise _no_such_block("an AI message", block)
    answer: dict[str, Any] = {"role": "assistant", "content": text}
    if thinking:
        answer["reasoning_content"] = thinking
    if message.tool_calls:
        answer["tool_calls"] = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": call["args"]},
            }
            for call in message.tool_calls
        ]
    for call in message.tool_calls:
        if call["id"] is not None:
            called[call["id"]] = call["name"]
    return answer


def _content(message: BaseMessage) -> str:
    text = ""
    for block in [message.content] if isinstance(message.content, str) else message.content:
        if isinstance(block, str):
            text += block
        elif block.get("type") == "text":
            text += block["text"]
        else:
            raise _no_such_block(f"a {message.type} message", block)
    return text


def _no_such_block(where: str, block: dict[str, Any]) -> InvalidArgumentError:
    return InvalidArgumentError(
        f'{where} has a content block of type "{block.get("type")}"; culet reads text only'
    )
