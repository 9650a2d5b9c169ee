"""If this fails, a chat forgets, computes again what it has, or keeps what was not said."""

import json
from typing import Any

import pytest

import culet
from conftest import PEBBLE

TOOL = {
    "name": "get_weather",
    "description": "The weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def test_a_chat_is_its_messages(model: culet.Model) -> None:
    with model.chat(system_prompt="Be brief.", temperature=0) as chat:
        first = chat.send("What is 2 + 3?")
        second = chat.send("What is 40 + 2?")
        assert chat.system_prompt == "Be brief."
        messages = chat.messages
    assert messages == [
        {"role": "user", "content": "What is 2 + 3?"},
        {"role": "assistant", "content": first.text},
        {"role": "user", "content": "What is 40 + 2?"},
        {"role": "assistant", "content": second.text},
    ]
    again = model.generate(messages[:3], system_prompt="Be brief.", temperature=0)
    assert again.text == second.text


def test_a_turn_computes_its_own_tokens_only() -> None:
    # Without shared beginnings: what is kept, the chat keeps.
    with culet.Model(PEBBLE, threads=2, sequences=3, prefix_tokens=0) as model:
        with model.chat(temperature=0) as chat:
            known = 0
            for number in range(5):
                question = f"What is {number} + 3?"
                usage = chat.send(question).usage
                assert usage.cached_tokens >= known - 2, (number, usage)
                assert usage.computed_tokens < 30
                known = usage.total_tokens
                model.generate("something else in between", max_tokens=5)


def test_what_the_model_wrote_keeps_its_tokens() -> None:
    # Drawn at random, words come in tokens that the tokenizer would not make of them.
    with culet.Model(PEBBLE, threads=2, sequences=3, prefix_tokens=0) as model:
        for seed in range(12):
            with model.chat(temperature=2, top_k=0, top_p=1, max_tokens=24) as chat:
                first = chat.send("Tell me a story", seed=seed)
                second = chat.send("And then?", seed=seed)
                # The template leaves out thoughts, and white space at the ends; a control token that
                # the model wrote into its answer comes back as text.
                if first.text == first.text.strip() and not first.thinking and "<|" not in first.text:
                    assert second.usage.cached_tokens >= first.usage.total_tokens - 2, seed


def test_chats_beyond_the_sequences_are_right_too(alone: culet.Model) -> None:
    turns = ["Hello, I am Ada.", "What is 2 + 3?"]
    with alone.chat(temperature=0) as chat:
        expected = [chat.send(turn).tokens for turn in turns]
    with culet.Model(PEBBLE, threads=2, sequences=3) as model:
        chats = [model.chat(temperature=0) for _ in range(6)]
        for turn, tokens in zip(turns, expected):
            for chat in chats:
                assert chat.send(turn).tokens == tokens
                # One sequence is left for whoever has no chat.
                assert model.generate("hello", max_tokens=1).usage.completion_tokens == 1
        for chat in chats:
            chat.close()


def test_sequences_come_back_from_chats() -> None:
    with culet.Model(PEBBLE, threads=1, sequences=2, prefix_tokens=0) as model:
        for way in ("close", "drop"):
            chat = model.chat(temperature=0, max_tokens=4)
            chat.send("hello")
            # The same words again: with a sequence of its own the chat has them.
            assert chat.send("hello").usage.cached_tokens > 8
            if way == "close":
                chat.close()
            del chat


def test_tools_are_called_and_answered(model: culet.Model) -> None:
    with model.chat(tools=[TOOL], temperature=0) as chat:
        result = chat.send("What is the weather in Rome?")
        assert result.finish_reason == "tool_calls"
        with pytest.raises(culet.InvalidArgumentError, match="1 calls"):
            chat.send([])
        other = culet.ToolCall("other", {})
        with pytest.raises(culet.InvalidArgumentError, match="other"):
            chat.send([culet.ToolResult(other, "x")])
        with pytest.raises(TypeError, match="ToolResult"):
            chat.send(["sunny"])  # type: ignore[list-item]
        answer = chat.send([culet.ToolResult(call, {"sky": "clear"}) for call in result.tool_calls])
        assert answer.text
        roles = [message["role"] for message in chat.messages]
        assert roles == ["user", "assistant", "tool", "assistant"]
        assert json.loads(chat.messages[2]["content"]) == {"sky": "clear"}
        assert chat.undo() and chat.messages == []


def test_a_conversation_goes_on_from_its_messages(model: culet.Model) -> None:
    with model.chat(temperature=0) as chat:
        chat.send("What is 2 + 3?")
        saved = json.loads(json.dumps(chat.messages))
        expected = chat.send("What is 40 + 2?")
    with model.chat(messages=saved, temperature=0) as other:
        assert other.send("What is 40 + 2?").text == expected.text
        assert len(other.messages) == 4
    with pytest.raises(culet.InvalidArgumentError, match="two system prompts"):
        model.chat(system_prompt="a", messages=[{"role": "system", "content": "b"}])


def test_streams_of_a_chat(model: culet.Model) -> None:
    endless: dict[str, Any] = {"max_tokens": 0, "ignore_stop_tokens": True}
    with model.chat(temperature=0) as chat:
        stream = chat.stream("What is 2 + 3?")
        with pytest.raises(culet.InvalidArgumentError, match="answering already"):
            chat.send("hello")
        with pytest.raises(culet.InvalidArgumentError, match="answering already"):
            chat.undo()
        assert "".join(stream.text()) == stream.result.text
        assert chat.messages[-1]["content"] == stream.result.text

        # Ended early: what was said stays.
        with chat.stream("hello", **endless) as stream:
            next(stream)
        assert chat.messages[-1]["content"] == stream.result.text != ""
        # Dropped: the next turn finds the same.
        for _ in chat.stream("hello", **endless):
            break
        result = chat.send("What is 1 + 1?")
        assert len(chat.messages) == 8
        assert result.finish_reason == "stop"


def test_a_turn_in_which_nothing_was_said_is_none() -> None:
    with culet.Model(PEBBLE, threads=1, chunk=4, cpu_level="plain") as slow:
        chat = slow.chat(temperature=0)
        stream = chat.stream("A long word and another. " * 60)
        stream.close()
        assert stream.result.tokens == () and stream.result.finish_reason == "cancelled"
        assert chat.messages == []
        assert chat.send("What is 2 + 3?").text == "5"


def test_a_turn_that_fails_leaves_the_conversation(model: culet.Model) -> None:
    with model.chat(temperature=0) as chat:
        chat.send("hello")
        before = chat.messages
        with pytest.raises(culet.ResourceError, match="context"):
            chat.send("word " * 5000)
        with pytest.raises(ValueError, match="top_p"):
            chat.send("hello", top_p=2)
        with pytest.raises(TypeError, match="message"):
            chat.send(5)  # type: ignore[arg-type]
        assert chat.messages == before
        assert chat.send("What is 2 + 3?").text == "5"


def test_a_closed_chat_and_a_closed_model_say_so() -> None:
    model = culet.Model(PEBBLE, threads=1)
    chat = model.chat()
    chat.send("hello", max_tokens=2)
    other = model.chat()
    chat.close()
    with pytest.raises(culet.InvalidArgumentError, match="the chat is closed"):
        chat.send("hello")
    assert len(chat.messages) == 2
    model.close()
    with pytest.raises(culet.InvalidArgumentError, match="is closed"):
        other.send("hello")


def test_undo_goes_back_one_turn(model: culet.Model) -> None:
    with model.chat(temperature=0) as chat:
        assert not chat.undo()
        first = chat.send("What is 2 + 3?")
        chat.send("hello")
        assert chat.undo()
        assert [message["content"] for message in chat.messages] == ["What is 2 + 3?", first.text]
        chat.reset()
        assert chat.messages == []
        assert chat.send("What is 2 + 3?").tokens == first.tokens
