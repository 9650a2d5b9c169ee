"""If this fails, the command llm or its library gets something else from culet than culet gives, or does
not find it."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llm
import pytest
from llm.parts import ReasoningPart, TextPart

import culet
from conftest import PEBBLE, check_clean, installed, run_python
from culet.config import GenerationConfig
from culet.integrations.llm import AsyncCulet, Culet, Options, _messages, register_models

QUESTION = "What is 27 + 45?"
WEATHER = "What is the weather in Rome?"
TOOL = {
    "name": "get_weather",
    "description": "The weather",
    "parameters": {"properties": {"city": {"type": "string"}}, "required": ["city"], "type": "object"},
}


def get_weather(city: str) -> str:
    """The weather"""
    return "sunny"


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Culet, AsyncCulet]]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("CULET_MODEL", str(PEBBLE))
        made: list[Any] = []
        register_models(lambda *models: made.append(models))
        assert made[0][0].model_id == made[0][1].model_id == "culet"
        made[0][0]._once.loaded()
        yield made[0]
        made[0][0]._once.loaded().close()


@pytest.fixture
def sync(pair: tuple[Culet, AsyncCulet]) -> Culet:
    return pair[0]


@pytest.fixture
def asynchronous(pair: tuple[Culet, AsyncCulet]) -> AsyncCulet:
    return pair[1]


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_is_culets(model: culet.Model, sync: Culet, stream: bool) -> None:
    ours = model.generate(QUESTION, system_prompt="Be brief.", thinking=True, temperature=0)
    response = sync.prompt(QUESTION, system="Be brief.", stream=stream, thinking=True, temperature=0)
    pieces = list(response)
    assert "".join(pieces) == response.text() == ours.text == "72"
    (message,) = response.messages()
    assert message.parts == [ReasoningPart(text=ours.thinking), TextPart(text="72")]
    usage = response.usage()
    assert (usage.input, usage.output) == (ours.usage.prompt_tokens, ours.usage.completion_tokens)
    about = response.json()
    assert about and about["finish_reason"] == "stop"
    assert about["seed"] == str(int(about["seed"]))


def test_a_stream_comes_in_pieces(model: culet.Model, sync: Culet) -> None:
    pieces = list(sync.prompt("hello", temperature=0))
    assert len(pieces) > 5
    assert "".join(pieces) == model.generate("hello", temperature=0).text
    events = list(sync.prompt(QUESTION, temperature=0, thinking=True).stream_events())
    assert [event.type for event in events][0] == "reasoning" and events[-1].type == "text"


def test_options_are_culets() -> None:
    fields = set(GenerationConfig.__dataclass_fields__) - {"logprobs", "ignore_stop_tokens"}
    assert set(Options.model_fields) == fields | {"thinking"}
    for name, field in Options.model_fields.items():
        assert field.description and field.default is None, name
    given: dict[str, Any] = {"max_tokens": 5, "temperature": 0.5, "top_k": 3, "top_p": 0.5, "min_p": 0.1,
                             "repetition_penalty": 1.1, "seed": 2**64 - 1, "stop": "x", "timeout_s": 3}
    assert Options(**given, thinking=True).generation() == GenerationConfig(**given)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"temperature": -1}, "temperature is -1"), ({"stop": ""}, "empty text"), ({"temprature": 1}, "temprature")],
)
def test_options_are_checked(sync: Culet, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sync.prompt("hello", **options)


def test_options_reach_the_model(sync: Culet) -> None:
    assert sync.prompt("hello", max_tokens=2).usage().output == 2
    response = sync.prompt("hello", temperature=0, stop="am")
    assert "am" not in response.text()
    first = sync.prompt("Tell me a story", temperature=1.3, seed=7, max_tokens=20).text()
    assert sync.prompt("Tell me a story", temperature=1.3, seed=7, max_tokens=20).text() == first


def test_a_conversation_is_remembered(model: culet.Model, sync: Culet) -> None:
    conversation = sync.conversation()
    conversation.prompt("What is 2 + 3?", system="Be brief.", temperature=0).text()
    response = conversation.prompt("What is 4 + 4?", temperature=0)
    with model.chat(system_prompt="Be brief.", temperature=0) as chat:
        chat.send("What is 2 + 3?")
        ours = chat.send("What is 4 + 4?")
    assert response.text() == ours.text
    assert response.usage().input == ours.usage.prompt_tokens


def test_tools_there_and_back(model: culet.Model, sync: Culet) -> None:
    response = sync.prompt(WEATHER, tools=[get_weather], temperature=0)
    (call,) = response.tool_calls()
    assert (call.name, call.arguments) == ("get_weather", {"city": "Rome"}) and call.tool_call_id
    chain = sync.chain(WEATHER, tools=[get_weather], options={"temperature": 0})
    with model.chat(tools=[TOOL], temperature=0) as chat:
        ours = chat.send(WEATHER)
        ours = chat.send([culet.ToolResult(call, "sunny") for call in ours.tool_calls])
    assert chain.text() == ours.text and "sunny" in ours.text
    last = list(chain.responses())[-1]
    assert last.usage().input == ours.usage.prompt_tokens
    said = _messages(last.prompt.messages)
    assert [message["role"] for message in said] == ["user", "assistant", "tool"]
    number = said[1]["tool_calls"][0]["id"]
    assert said[2] == {"role": "tool", "tool_call_id": number, "name": "get_weather", "content": "sunny"}


def test_asyncio(asynchronous: AsyncCulet, model: culet.Model) -> None:
    async def ask(number: int) -> str:
        return await asynchronous.prompt(f"What is {number} + 30?", temperature=0).text()

    async def main() -> None:
        assert await asyncio.gather(*map(ask, range(10, 18))) == [str(n + 30) for n in range(10, 18)]
        pieces = [piece async for piece in asynchronous.prompt("hello", temperature=0)]
        assert len(pieces) > 5
        assert "".join(pieces) == model.generate("hello", temperature=0).text
        assert await asynchronous.prompt(QUESTION, temperature=0, stream=False).text() == "72"
        chain = asynchronous.chain(WEATHER, tools=[get_weather], options={"temperature": 0})
        assert "sunny" in await chain.text()

    asyncio.run(main())


def test_what_is_no_text_is_refused(sync: Culet) -> None:
    image = llm.Attachment(type="image/png", content=b"x")
    with pytest.raises(ValueError):  # llm's own: the model takes none
        sync.prompt("hello", attachments=[image])
    messages = [llm.Message(role="user", parts=[llm.parts.AttachmentPart(attachment=image)])]
    with pytest.raises(culet.Error, match="AttachmentPart; culet reads text only"):
        sync.prompt(messages=messages).text()


def test_models_of_the_cache_have_names(monkeypatch: pytest.MonkeyPatch) -> None:
    from culet.integrations import llm as plugin

    def published(name: str, cached: bool) -> culet.PublishedModel:
        return culet.PublishedModel(name, f"google/{name}", False, cached, 1, 1, True)

    monkeypatch.setattr(
        plugin, "available_models", lambda: [published("e2b", True), published("e4b", False)]
    )
    made: list[str] = []
    register_models(lambda one, other: made.append(one.model_id))
    assert made == ["culet", "culet/e2b"]


# ---- The command, which finds the plugin by pyproject.toml's entry point ----


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("llm")
    environment = {
        **os.environ,
        "PYTHONPATH": installed(folder),
        "LLM_USER_PATH": str(folder / "user"),
        "CULET_MODEL": str(PEBBLE),
        "HF_HUB_CACHE": str(folder / "hub"),
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "llm", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            env=environment,
            stdin=subprocess.DEVNULL,
        )

    run.user = folder / "user"  # type: ignore[attr-defined]
    return run


def test_the_command_lists_the_model_and_its_options(command: Any) -> None:
    listed = command("models", "--options", "-m", "culet")
    assert listed.returncode == 0, listed.stderr
    assert "Culet: culet" in listed.stdout
    for word in ("temperature: float", "Sharpness", "thinking: boolean"):
        assert word in listed.stdout


def test_the_command_answers_goes_on_and_logs(command: Any) -> None:
    first = command("-m", "culet", "-o", "temperature", "0", "-s", "Be brief.", QUESTION)
    assert (first.returncode, first.stdout) == (0, "72\n"), first.stderr
    again = command("-c", "-o", "temperature", "0", "What is 2 + 3?")
    assert (again.returncode, again.stdout) == (0, "5\n"), again.stderr
    logged = json.loads(command("logs", "--json", "-n", "2").stdout)
    assert [entry["model"] for entry in logged] == ["culet", "culet"]
    assert {entry["response"] for entry in logged} == {"72", "5"}
    assert all(entry["input_tokens"] > 0 for entry in logged)
    assert list(Path(command.user).glob("*.db"))


def test_the_command_refuses_what_cannot_be(command: Any) -> None:
    done = command("-m", "culet", "-o", "temperature", "-1", "hello")
    assert done.returncode != 0 and "temperature is -1; it must be 0 to 100" in done.stderr


def test_the_command_calls_tools(command: Any, tmp_path: Path) -> None:
    tools = tmp_path / "tools.py"
    tools.write_text('def get_weather(city: str) -> str:\n    "The weather"\n    return "sunny"\n')
    done = command("-m", "culet", "-o", "temperature", "0", "--functions", str(tools), WEATHER)
    assert done.returncode == 0 and "sunny in Rome" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("blocked", ["llm", "pydantic"])
def test_without_llm_it_says_what_is_missing(blocked: str) -> None:
    done = run_python(
        f"""
        import sys
        import culet
        assert "llm" not in sys.modules and "pydantic" not in sys.modules
        sys.modules["{blocked}"] = None
        try:
            import culet.integrations.llm
        except ImportError as error:
            assert 'pip install "culet[llm]"' in str(error) and "{blocked}" in str(error), error
            print("ok")
        """
    )
    check_clean(done)
