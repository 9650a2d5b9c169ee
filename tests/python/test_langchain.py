"""If this fails, LangChain gets something else from culet than culet gives, or loses a part of it."""

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from langchain_tests.unit_tests import ChatModelUnitTests
from pydantic import BaseModel, Field

import culet
from conftest import PEBBLE, check_clean, run_python
from culet.integrations.langchain import ChatCulet, _Chunks, _messages

QUESTION = "What is 27 + 45?"
WEATHER = "What is the weather in Rome?"


@tool
def get_weather(city: str) -> str:
    """The weather"""
    return "sunny"


class WeatherOf(BaseModel):
    """The weather"""

    city: str = Field(description="Where")


@pytest.fixture
def chat(model: culet.Model) -> ChatCulet:
    return ChatCulet(model=model, temperature=0)


@pytest.fixture
def benchmark() -> Callable[[Callable[[], None]], None]:
    """The standard tests measure; here it has to be fast enough to be no matter."""

    def run(function: Callable[[], None]) -> None:
        began = time.perf_counter()
        function()
        assert time.perf_counter() - began < 2

    return run


@pytest.fixture
def snapshot() -> None:
    """Of models that can be serialized; ours cannot."""


class TestStandard(ChatModelUnitTests):
    """LangChain's own tests of any chat model."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatCulet

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": str(PEBBLE)}

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        # There is no server to try again, and none that asks for a key.
        params = super().standard_chat_model_params
        return {k: v for k, v in params.items() if k not in ("max_retries", "api_key")}


def test_an_answer_is_culets(model: culet.Model, chat: ChatCulet) -> None:
    ours = model.generate(QUESTION, system_prompt="Be brief.", temperature=0)
    answer = chat.invoke([SystemMessage("Be brief."), HumanMessage(QUESTION)])
    assert isinstance(answer, AIMessage)
    assert answer.content == ours.text == "72"
    usage = answer.usage_metadata
    assert usage and usage["input_tokens"] == ours.usage.prompt_tokens
    assert usage["output_tokens"] == ours.usage.completion_tokens
    assert usage["total_tokens"] == ours.usage.total_tokens
    assert "cache_read" in usage["input_token_details"]
    assert answer.response_metadata["finish_reason"] == "stop"
    assert answer.response_metadata["model_name"] == str(PEBBLE)
    assert answer.response_metadata["model_provider"] == "culet"
    again = model.generate(QUESTION, temperature=1.5, seed=answer.response_metadata["seed"])
    assert chat.invoke(QUESTION, temperature=1.5, seed=again.seed).content == again.text


def test_a_stream_adds_up_to_the_answer(chat: ChatCulet) -> None:
    whole = chat.invoke(QUESTION, thinking=True)
    chunks = list(chat.stream(QUESTION, thinking=True))
    assert len(chunks) > 10 and all(isinstance(chunk, AIMessageChunk) for chunk in chunks)
    total = chunks[0]
    for chunk in chunks[1:]:
        total += chunk
    assert total.content == whole.content == "72"
    assert total.additional_kwargs == whole.additional_kwargs
    assert [block["type"] for block in total.content_blocks] == ["reasoning", "text"]
    assert "60 + 12" in total.content_blocks[0]["reasoning"]  # type: ignore[typeddict-item]
    assert total.usage_metadata and whole.usage_metadata
    assert total.usage_metadata["output_tokens"] == whole.usage_metadata["output_tokens"]
    assert total.response_metadata["finish_reason"] == "stop"
    assert isinstance(chunks[-1], AIMessageChunk) and chunks[-1].chunk_position == "last"


def test_what_was_computed_before_is_counted(chat: ChatCulet) -> None:
    known = SystemMessage("Tom has a cup. " * 40)
    for question in ("What is 1 + 2?", "What is 2 + 3?"):
        usage = chat.invoke([known, HumanMessage(question)], max_tokens=1).usage_metadata
    assert usage and usage["input_token_details"]["cache_read"] > 64


def test_calls_of_one_answer_stay_apart() -> None:
    chunks = _Chunks("pebble")
    total = AIMessageChunk(content="")
    for city in ("Rome", "Oslo"):
        call = culet.ToolCall("get_weather", {"city": city}, f'{{"city": "{city}"}}')
        message = chunks.of(culet.ToolCallEvent(call)).message
        assert isinstance(message, AIMessageChunk)
        total += message
    assert [call["args"] for call in total.tool_calls] == [{"city": "Rome"}, {"city": "Oslo"}]
    assert len({call["id"] for call in total.tool_calls}) == 2


@pytest.mark.parametrize("streamed", [False, True])
def test_tools_there_and_back(model: culet.Model, chat: ChatCulet, streamed: bool) -> None:
    bound = chat.bind_tools([get_weather])
    if streamed:
        call_message: BaseMessage = sum(list(bound.stream(WEATHER)), start=AIMessageChunk(content=""))
    else:
        call_message = bound.invoke(WEATHER)
    assert isinstance(call_message, AIMessage)
    (call,) = call_message.tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Rome"}) and call["id"]
    assert call_message.response_metadata["finish_reason"] == "tool_calls"
    result = get_weather.invoke(call)
    assert isinstance(result, ToolMessage)
    result.name = None  # its name is the call's
    answer = bound.invoke([HumanMessage(WEATHER), call_message, result])
    # The same conversation as culet has it.
    native = model.chat(tools=[{
        "name": "get_weather", "description": "The weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }], temperature=0)
    ours = native.send(WEATHER)
    ours = native.send([culet.ToolResult(call, "sunny") for call in ours.tool_calls])
    assert answer.content == ours.text and "sunny" in ours.text
    assert answer.usage_metadata
    assert answer.usage_metadata["input_tokens"] == ours.usage.prompt_tokens


def test_tool_choice(chat: ChatCulet) -> None:
    @tool
    def other(city: str) -> str:
        """Another"""
        return ""

    def offered(**choice: Any) -> list[str]:
        bound = chat.bind_tools([get_weather, other], **choice)
        return [tool["function"]["name"] for tool in bound.kwargs["tools"]]  # type: ignore[attr-defined]

    assert offered() == offered(tool_choice="any") == offered(tool_choice="auto") == ["get_weather", "other"]
    assert offered(tool_choice="none") == []
    assert offered(tool_choice="other") == ["other"]
    assert offered(tool_choice={"type": "function", "function": {"name": "other"}}) == ["other"]
    with pytest.raises(ValueError, match='tool_choice is "third"'):
        offered(tool_choice="third")


def test_structured_output(chat: ChatCulet) -> None:
    class get_weather(BaseModel):
        """The weather"""

        city: str

    assert chat.with_structured_output(get_weather).invoke(WEATHER) == get_weather(city="Rome")
    assert chat.with_structured_output(get_weather).invoke("hello") is None  # nothing forces it


def test_asyncio(chat: ChatCulet) -> None:
    async def main() -> None:
        answers = await chat.abatch([f"What is {n} + 30?" for n in range(10, 16)])
        assert [answer.content for answer in answers] == [str(n + 30) for n in range(10, 16)]
        total = AIMessageChunk(content="")
        async for chunk in chat.bind_tools([get_weather]).astream(WEATHER):
            total += chunk
        assert [call["name"] for call in total.tool_calls] == ["get_weather"]
        with_own = ChatCulet(model=PEBBLE, load={"threads": 1}, temperature=0)
        assert (await with_own.ainvoke(QUESTION)).content == "72"
        with_own.culet_model.close()

    asyncio.run(main())


def test_a_batch_is_computed_together(model: culet.Model, chat: ChatCulet) -> None:
    before = model.statistics
    answers = chat.batch([f"What is {n} + 30?" for n in range(10, 18)])
    assert [answer.content for answer in answers] == [str(n + 30) for n in range(10, 18)]
    after = model.statistics
    assert after.rows - before.rows > after.steps - before.steps


def test_a_stream_that_is_left_ends_the_answer(model: culet.Model, chat: ChatCulet) -> None:
    before = model.statistics.answers
    for _ in chat.stream("hello", max_tokens=0, ignore_stop_tokens=True):
        break
    gc.collect()
    assert model.statistics.answers == before + 1

    async def main() -> None:
        async def read() -> None:
            async for _ in chat.astream("hello", max_tokens=0, ignore_stop_tokens=True):
                pass

        task = asyncio.create_task(read())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    until = time.monotonic() + 10
    while model.statistics.answers < before + 2 and time.monotonic() < until:
        time.sleep(0.01)
    assert model.statistics.answers == before + 2


def test_callbacks_see_each_piece(chat: ChatCulet) -> None:
    class Seen(BaseCallbackHandler):
        def __init__(self) -> None:
            self.pieces: list[str] = []

        def on_llm_new_token(self, token: str, **_: Any) -> None:
            self.pieces.append(token)

    seen = Seen()
    text = "".join(str(chunk.content) for chunk in chat.stream("hello", config={"callbacks": [seen]}))
    assert "".join(seen.pieces) == text and len(seen.pieces) > 3
    seen = Seen()
    chat.model_copy(update={"streaming": True}).invoke("hello", config={"callbacks": [seen]})
    assert "".join(seen.pieces) == text


def test_a_chain(chat: ChatCulet) -> None:
    chain = ChatPromptTemplate.from_messages([("human", "What is {a} + {b}?")]) | chat | StrOutputParser()
    assert chain.invoke({"a": 20, "b": 22}) == "42"


def test_options_of_the_model_the_binding_and_the_call(model: culet.Model) -> None:
    chat = ChatCulet(model=model, temperature=0, max_tokens=3, stop="zzz")
    assert chat.stop == ["zzz"]
    assert chat.invoke("hello").response_metadata["finish_reason"] == "length"
    assert chat.invoke("hello", max_tokens=50).response_metadata["finish_reason"] == "stop"
    assert chat.bind(max_tokens=1).invoke("hello").usage_metadata["output_tokens"] == 1  # type: ignore[index]
    assert "am" not in chat.invoke("hello", stop=["am"], max_tokens=50).content
    assert chat.invoke("hello", timeout=1e-6).response_metadata["finish_reason"] == "timeout"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temperature": -1}, "temperature is -1"),
        ({"top_p": 0}, "top_p is 0"),
        ({"stop": [""]}, "stop has an empty text"),
        ({"temprature": 1}, "temprature"),
        ({"load": {"context": -1}}, "context is -1"),
    ],
)
def test_what_cannot_be_is_said_at_once(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ChatCulet(model="pebble", **fields)


def test_what_is_asked_wrongly_is_refused(model: culet.Model, chat: ChatCulet) -> None:
    with pytest.raises(TypeError, match='did you mean "temperature"'):
        chat.invoke("hello", temprature=1)
    with pytest.raises(TypeError, match='takes no "contxt"'):
        ChatCulet(model="pebble", load={"contxt": 1})
    with pytest.raises(ValueError, match="loaded already"):
        ChatCulet(model=model, load={"context": 64})
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    with pytest.raises(culet.Error, match='human message has a content block of type "image_url"'):
        chat.invoke([HumanMessage([image])])
    with pytest.raises(culet.Error, match="FunctionMessage"):
        chat.invoke([FunctionMessage(name="f", content="x")])
    with pytest.raises(culet.Error, match="which no message before it has"):
        chat.invoke([HumanMessage("x"), ToolMessage("y", tool_call_id="z")])
    with pytest.raises(culet.NotFoundError):
        ChatCulet(model=str(PEBBLE / "nothing")).invoke("hello")


def test_contents_in_blocks_are_the_same_text(chat: ChatCulet) -> None:
    plain: list[BaseMessage] = [
        SystemMessage("Be brief."),
        HumanMessage("What is 2 + 3?"),
        AIMessage("5", additional_kwargs={"reasoning_content": "2 + 3 = 5"}),
        ChatMessage(role="user", content="And 4 + 4?"),
    ]
    blocks: list[BaseMessage] = [
        SystemMessage([{"type": "text", "text": "Be brief."}]),
        HumanMessage(["What is 2 + 3?"]),
        AIMessage([{"type": "reasoning", "reasoning": "2 + 3 = 5"}, {"type": "text", "text": "5"}]),
        HumanMessage("And 4 + 4?"),
    ]
    one, other = chat.invoke(plain), chat.invoke(blocks)
    assert one.content == other.content
    assert one.usage_metadata and other.usage_metadata
    assert one.usage_metadata["input_tokens"] == other.usage_metadata["input_tokens"]
    assert _messages(plain) == _messages(blocks) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is 2 + 3?"},
        {"role": "assistant", "content": "5", "reasoning_content": "2 + 3 = 5"},
        {"role": "user", "content": "And 4 + 4?"},
    ]


def test_tokens_are_counted_as_they_are_used(chat: ChatCulet) -> None:
    messages: list[BaseMessage] = [SystemMessage("Be brief."), HumanMessage(QUESTION)]
    for tools in (None, [get_weather]):
        bound = chat.bind_tools(tools) if tools else chat
        usage = bound.invoke(messages).usage_metadata
        assert usage and chat.get_num_tokens_from_messages(messages, tools) == usage["input_tokens"]
    assert chat.get_num_tokens("hello") == len(chat.culet_model.tokenizer.encode("hello"))


def test_a_name_is_loaded_once_by_the_first_request(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    original = culet.Model.__init__

    def init(self: culet.Model, *arguments: Any, **options: Any) -> None:
        loaded.append(self)
        original(self, *arguments, **options)

    monkeypatch.setattr(culet.Model, "__init__", init)
    monkeypatch.setenv("CULET_MODEL", str(PEBBLE))
    chat = ChatCulet(load={"threads": 1}, temperature=0)
    assert loaded == []
    threads = [threading.Thread(target=chat.invoke, args=("hello",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loaded) == 1
    assert chat.invoke("hello").response_metadata["model_name"] == str(PEBBLE)
    loaded[0].close()


def test_without_langchain_it_says_what_is_missing() -> None:
    done = run_python(
        """
        import sys
        import culet
        assert "langchain_core" not in sys.modules and "pydantic" not in sys.modules
        sys.modules["langchain_core"] = None
        try:
            import culet.integrations.langchain
        except ImportError as error:
            assert "needs the package langchain_core" in str(error), error
            assert 'pip install "culet[langchain]"' in str(error), error
            print("ok")
        """
    )
    check_clean(done)
