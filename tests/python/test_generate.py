"""If this fails, an answer in Python is not what the command gives, or a stream is not its answer."""

import json
import os
import subprocess
from typing import Any, Literal

import pytest

import culet
from conftest import PEBBLE, ROOT, question

TOOL = {
    "name": "get_weather",
    "description": "The weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def command(*arguments: str) -> Any:
    done = subprocess.run(
        [os.environ["CULET_PROGRAM"], "run", str(PEBBLE), *arguments, "--json"],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return json.loads(done.stdout)


def test_an_answer_is_what_the_command_gives(alone: culet.Model) -> None:
    theirs = command("What is 27 + 45?", "--temperature", "0", "--logprobs", "3", "--system", "Be brief.")
    ours = alone.generate("What is 27 + 45?", temperature=0, logprobs=3, system_prompt="Be brief.")
    assert ours.text == theirs["text"] == str(ours)
    assert list(ours.tokens) == theirs["tokens"]
    assert ours.logits_hash == theirs["logits_hash"]
    assert ours.finish_reason == theirs["finish_reason"] == "stop"
    assert ours.usage.prompt_tokens == theirs["usage"]["prompt_tokens"]
    assert ours.usage.completion_tokens == theirs["usage"]["completion_tokens"]
    assert ours.usage.total_tokens == ours.usage.prompt_tokens + len(ours.tokens)
    assert ours.timings.prefill_ms > 0 and ours.timings.decode_tokens_per_s > 0
    assert len(ours.logprobs) == len(ours.tokens)
    for mine, other in zip(ours.logprobs, theirs["logprobs"]):
        assert mine.chosen.id == other["id"] and mine.chosen.text == other["text"]
        assert mine.chosen.logprob == pytest.approx(other["logprob"], rel=1e-6)
        assert [token.id for token in mine.top] == [token["id"] for token in other["top"]]


def test_a_seed_is_an_answer(alone: culet.Model) -> None:
    theirs = command("Tell me a story", "--temperature", "1.3", "--seed", "18446744073709551615")
    ours = alone.generate("Tell me a story", temperature=1.3, seed=2**64 - 1)
    assert list(ours.tokens) == theirs["tokens"]
    assert ours.seed == 2**64 - 1
    assert alone.generate("hello").seed != alone.generate("hello").seed


def test_thinking_and_tools_are_what_the_command_gives(alone: culet.Model, tmp_path: Any) -> None:
    theirs = command("What is 27 + 45?", "--think", "--temperature", "0")
    ours = alone.generate("What is 27 + 45?", thinking=True, temperature=0)
    assert (ours.thinking, ours.text) == (theirs["thinking"], theirs["text"])
    assert ours.thinking
    file = tmp_path / "tools.json"
    file.write_text(json.dumps([TOOL]))
    theirs = command("What is the weather in Rome?", "--tools", str(file), "--temperature", "0")
    for tool in (TOOL, {"type": "function", "function": TOOL}):
        ours = alone.generate("What is the weather in Rome?", tools=[tool], temperature=0)
        assert list(ours.tokens) == theirs["tokens"]
        assert [(call.name, call.arguments) for call in ours.tool_calls] == [
            (call["name"], call["arguments"]) for call in theirs["tool_calls"]
        ]
    assert ours.finish_reason == theirs["finish_reason"]


def test_messages_are_a_prompt(model: culet.Model) -> None:
    text = model.generate("What is 1 + 2?", system_prompt="Be brief.", temperature=0)
    messages = model.generate(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "What is 1 + 2?"}]},
        ],
        temperature=0,
    )
    assert messages.tokens == text.tokens
    assert messages.usage.prompt_tokens == text.usage.prompt_tokens


def test_raw_completes_the_text(alone: culet.Model) -> None:
    theirs = command("Once upon", "--raw", "--temperature", "0", "--max-tokens", "9")
    ours = alone.generate("Once upon", raw=True, temperature=0, max_tokens=9)
    assert list(ours.tokens) == theirs["tokens"]
    with pytest.raises(culet.InvalidArgumentError, match="system_prompt and thinking"):
        alone.generate("Once upon", raw=True, system_prompt="x", thinking=True)


@pytest.mark.parametrize(
    ("arguments", "error", "place"),
    [
        ({"prompt": 5}, TypeError, "prompt"),
        ({"prompt": b"hi"}, TypeError, "prompt"),
        ({"prompt": {"role": "user"}}, TypeError, "prompt"),
        ({"prompt": []}, ValueError, "messages"),
        ({"prompt": ["hi"]}, TypeError, r"messages\[0\]"),
        ({"prompt": [{"content": "x"}]}, ValueError, r"messages\[0\] has no role"),
        ({"prompt": [{"role": "usr", "content": "x"}]}, ValueError, r"messages\[0\].role is 'usr'"),
        ({"prompt": [{"role": "user", "content": {"a", "b"}}]}, culet.Error, "content"),
        ({"prompt": [{"role": "user", "content": float("nan")}]}, ValueError, "JSON"),
        ({"prompt": "half \udc00"}, ValueError, "prompt"),
        ({"prompt": "x", "system_prompt": 1}, TypeError, "system_prompt"),
        ({"prompt": [{"role": "system", "content": "a"}], "system_prompt": "b"}, ValueError, "two"),
        ({"prompt": "x", "tools": {"name": "f"}}, TypeError, "tools"),
        ({"prompt": "x", "tools": ["f"]}, TypeError, r"tools\[0\]"),
        ({"prompt": "x", "tools": [{"parameters": {}}]}, ValueError, r"tools\[0\]"),
        ({"prompt": "x", "thinking": "yes"}, TypeError, "thinking"),
        ({"prompt": "x", "raw": 1}, TypeError, "raw"),
    ],
)
def test_what_is_no_request_is_refused_by_place(
    arguments: dict[str, Any], error: type[Exception], place: str, model: culet.Model
) -> None:
    for call in (model.generate, model.stream, model.count_tokens):
        with pytest.raises(error, match=place):
            call(**arguments)


def test_a_stream_is_the_answer_in_pieces(model: culet.Model) -> None:
    whole = model.generate("What is 27 + 45?", thinking=True, temperature=0)
    events = list(model.stream("What is 27 + 45?", thinking=True, temperature=0))
    assert [event.type for event in events].count("result") == 1
    last = events[-1]
    assert isinstance(last, culet.ResultEvent)
    text = "".join(event.text for event in events if isinstance(event, culet.TextEvent))
    thinking = "".join(event.text for event in events if isinstance(event, culet.ThinkingEvent))
    assert (text, thinking) == (whole.text, whole.thinking)
    assert len([event for event in events if event.type == "text"]) > 1
    assert last.result.tokens == whole.tokens


def test_a_stream_gives_tool_calls(model: culet.Model) -> None:
    stream = model.stream("What is the weather in Rome?", tools=[TOOL], temperature=0)
    calls = [event.call for event in stream if event.type == "tool_call"]
    assert tuple(calls) == stream.result.tool_calls
    assert calls[0].name == "get_weather" and "city" in calls[0].arguments
    assert stream.result.finish_reason == "tool_calls"


def test_a_stream_gives_its_result_at_any_time(model: culet.Model) -> None:
    stream = model.stream("hello", temperature=0)
    next(stream)
    result = stream.result
    assert result.text == model.generate("hello", temperature=0).text
    assert stream.result is result
    assert "".join(model.stream("hello", temperature=0).text()) == result.text
    with pytest.raises(StopIteration):
        closed = model.stream("hello")
        closed.close()
        next(closed)


def endless(model: culet.Model, **options: Any) -> culet.Stream:
    return model.stream("hello", temperature=0, max_tokens=0, ignore_stop_tokens=True, **options)


def test_a_cancelled_stream_ends_before_the_next_step() -> None:
    # The plain kernels' steps are long, next to what lies between two lines here.
    with culet.Model(PEBBLE, threads=1, cpu_level="plain") as slow:
        steps = []
        for _ in range(3):
            stream = endless(slow)
            for _ in range(4):
                next(stream)
            before = slow.statistics.steps
            stream.cancel()
            result = stream.result
            steps.append(slow.statistics.steps - before)
            assert result.finish_reason == "cancelled"
            assert result.text
            assert result.usage.completion_tokens < 200
        # The one that is being computed, and one where the machine was slow between the lines.
        assert min(steps) <= 2, steps


def test_leaving_a_stream_ends_it(model: culet.Model) -> None:
    with endless(model) as stream:
        next(stream)
    assert stream.result.finish_reason == "cancelled"
    before = model.statistics.answers
    for _ in endless(model):
        break
    assert model.statistics.answers == before + 1


def test_timeout_and_length_are_reasons(model: culet.Model) -> None:
    assert model.generate("hello", timeout_s=1e-6).finish_reason == "timeout"
    assert model.generate("hello", max_tokens=2).finish_reason == "length"
    stopped = model.generate("hello", temperature=0, stop=["am", "never"])
    assert stopped.finish_reason == "stop" and "am" not in stopped.text


def test_tokens_are_counted_as_they_are_used(model: culet.Model) -> None:
    for arguments in (
        {"prompt": "What is 27 + 45?"},
        {"prompt": "hi", "system_prompt": "Be brief.", "thinking": True},
        {"prompt": "hi", "tools": [TOOL]},
        {"prompt": "hi", "raw": True},
    ):
        counted = model.count_tokens(**arguments)  # type: ignore[arg-type]
        used = model.generate(**arguments, max_tokens=1).usage.prompt_tokens  # type: ignore[arg-type]
        assert counted == used


def test_the_tokenizer_goes_both_ways(model: culet.Model) -> None:
    for tokenizer in (model.tokenizer, culet.Tokenizer(PEBBLE), culet.Tokenizer(PEBBLE / "tokenizer.json")):
        ids = tokenizer.encode("What is 27 + 45? äöü €")
        assert tokenizer.decode(ids) == "What is 27 + 45? äöü €"
        assert tokenizer.vocab_size == model.info.vocab
        rendered = tokenizer.render("hi", system_prompt="Be brief.")
        assert len(tokenizer.encode(rendered)) == model.count_tokens("hi", system_prompt="Be brief.")
    with pytest.raises(TypeError, match="ids"):
        model.tokenizer.decode("text")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="ids"):
        model.tokenizer.decode([-1])
    with pytest.raises(TypeError, match="text"):
        model.tokenizer.encode(5)  # type: ignore[arg-type]


def test_the_memory_plan_is_known_before_loading(model: culet.Model) -> None:
    assert culet.memory_plan(PEBBLE, threads=2) == model.memory_plan
    large = culet.memory_plan(PEBBLE, context=2048, sequences=16, pool_tokens=100_000)
    assert large.kv_bytes > model.memory_plan.kv_bytes
    assert large.resident_bytes >= large.kv_bytes + large.activation_bytes


def test_the_memory_plan_tells_of_media_and_of_what_kv_is_kept_as(model: culet.Model) -> None:
    of_text = ROOT / "tests" / "golden" / "text" / "sharded"
    assert culet.memory_plan(of_text).media_bytes == 0
    small, large = (culet.memory_plan(PEBBLE, image_tokens=tokens) for tokens in (70, 1120))
    assert 0 < small.media_bytes < large.media_bytes
    assert model.memory_plan.media_bytes == large.media_bytes
    command = [os.environ["CULET_PROGRAM"], "info", PEBBLE, "--json"]
    told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert told["media_bytes"] == large.media_bytes
    kinds: tuple[Literal["f32", "bf16", "int8"], ...] = ("f32", "bf16", "int8")
    plans = [culet.memory_plan(PEBBLE, kv=kind) for kind in kinds]
    assert [plan.kv_dtype for plan in plans] == ["F32", "BF16", "INT8"]
    assert plans[0].kv_bytes > plans[1].kv_bytes > plans[2].kv_bytes


def test_the_same_beginning_is_computed_once(model: culet.Model) -> None:
    system = "Tom has a cup. " * 40
    model.generate(question(1), system_prompt=system, max_tokens=1)
    usage = model.generate(question(2), system_prompt=system, max_tokens=1).usage
    assert usage.cached_tokens > 64
    assert usage.cached_tokens + usage.computed_tokens == usage.prompt_tokens
