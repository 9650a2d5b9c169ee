"""A model that answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from culet import _culet
from culet._conversation import Conversation
from culet._engine import Engine
from culet._find import ModelName, find, name_of
from culet._media import AnswerOptions, MediaArguments, take, take_only
from culet._prompt import Messages, PromptLike, Tool, texts_of
from culet.chat import Chat
from culet.config import (
    EmbeddingConfig,
    EmbeddingOptions,
    GenerationConfig,
    GenerationOptions,
    ModelConfig,
    ModelOptions,
    _combined,
)
from culet.results import MemoryPlan, ModelInfo, Result, Statistics, _memory_plan
from culet.stream import Stream
from culet.tokenizer import Tokenizer

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray
    from typing_extensions import Unpack

__all__ = ["Model", "memory_plan"]


class Model:
    """A loaded model.

        import culet

        with culet.Model("e2b") as model:
            print(model.generate("Why is the sky blue?"))

    The model is named by a path (a folder in Hugging Face's layout, or a .safetensors file in one), by
    the name of a model of the hub ("e2b", "google/gemma-4-E2B-it", either with "@revision"), which is
    fetched where it is not in the cache, or by the name of a bundled model ("pebble"). Without a name
    it is what the variable CULET_MODEL names, else pebble, the small demo model that comes with the
    package.

    Threads: every method may be called from any thread, and from many at once: their answers are
    computed together, and each is what it would be alone. No call that takes long holds Python's
    lock. Ctrl-C in the main thread ends what it waits for.
    """

    def __init__(
        self,
        model: ModelName = None,
        *,
        config: ModelConfig | None = None,
        **options: Unpack[ModelOptions],
    ) -> None:
        """Finds and loads a model. `options` are the fields of `ModelConfig`.

            culet.Model("e2b", context=32768, sequences=4)

        Raises `NotFoundError` naming everything that was tried, `CorruptError`, `UnsupportedError`,
        `ResourceError` with the numbers where its memory is not there, `IoError` (hub, network).
        """
        self._engine = Engine.load(
            name_of(model), _combined(ModelConfig, config, options, "Model")
        )

    def generate(
        self,
        prompt: PromptLike,
        *,
        system_prompt: str | None = None,
        tools: Sequence[Tool] | None = None,
        thinking: bool = False,
        raw: bool = False,
        config: GenerationConfig | None = None,
        **options: Unpack[AnswerOptions],
    ) -> Result:
        """Answers `prompt` and waits for the whole answer.

            model.generate("What is 27 + 45?").text
            model.generate("A rhyme, please", temperature=0.8, seed=1, max_tokens=50)
            model.generate([{"role": "user", "content": "Hi"}], system_prompt="Be brief.")
            model.generate("What is this?", images="cat.jpg")

        - `prompt`: a text, which becomes one user message, or a list of messages with "role" and
          "content". A base model, which has no chat template, completes the text as it stands.
        - `system_prompt`: stands before the first message.
        - `tools`: that the model may call, each {"name", "description", "parameters"}; the calls are
          in `Result.tool_calls`.
        - `thinking`: let the model think before it answers.
        - `raw`: complete the text without the chat template.
        - `images`, `audio`, `video`: one, or a list: paths, the content of files, arrays, PIL images.
          They stand before the text, or where it has markers (`<image>`, …), one for each.
          `media_config`: see `MediaConfig`.
        - `config`, `options`: see `GenerationConfig`: `max_tokens`, `temperature`, `top_k`, `top_p`,
          `min_p`, `repetition_penalty`, `seed`, `stop`, `logprobs`, `timeout_s`. What is not given
          comes from the model.
        """
        others = dict(options)
        media = take(others)
        combined = _combined(GenerationConfig, config, others, "generate")
        request = self._engine.start(
            "generate",
            self._engine.prompt(
                prompt,
                system_prompt=system_prompt,
                tools=tools,
                thinking=thinking,
                raw=raw,
                media=media,
            ),
            combined,
            raw=raw,
        )
        request.next()  # the first token is seen when it comes
        return request.wait()

    def stream(
        self,
        prompt: PromptLike,
        *,
        system_prompt: str | None = None,
        tools: Sequence[Tool] | None = None,
        thinking: bool = False,
        raw: bool = False,
        config: GenerationConfig | None = None,
        **options: Unpack[AnswerOptions],
    ) -> Stream:
        """Answers `prompt`, piece by piece: an iterator of events, the last of which has the result.
        Arguments as for `generate`.

            for event in model.stream("Tell me a story"):
                if event.type == "text":
                    print(event.text, end="", flush=True)
        """
        others = dict(options)
        media = take(others)
        combined = _combined(GenerationConfig, config, others, "stream")
        return Stream(
            self._engine.start(
                "stream",
                self._engine.prompt(
                    prompt,
                    system_prompt=system_prompt,
                    tools=tools,
                    thinking=thinking,
                    raw=raw,
                    media=media,
                ),
                combined,
                raw=raw,
            )
        )

    def chat(
        self,
        *,
        system_prompt: str | None = None,
        tools: Sequence[Tool] | None = None,
        thinking: bool = False,
        messages: Messages | None = None,
        config: GenerationConfig | None = None,
        **options: Unpack[GenerationOptions],
    ) -> Chat:
        """Begins a conversation that remembers, and keeps what it has computed; see `Chat`.

            chat = model.chat(system_prompt="You are brief.")
            chat.send("Hello")

        `messages` are those of a conversation to go on with. Options hold for every turn that does not
        say otherwise.
        """
        return Chat(
            self._engine,
            Conversation(system_prompt, tools, thinking, messages),
            _combined(GenerationConfig, config, options, "chat"),
        )

    def embed(
        self,
        texts: str | Iterable[str],
        *,
        config: EmbeddingConfig | None = None,
        **options: Unpack[EmbeddingOptions],
    ) -> NDArray[numpy.float32]:
        """The vectors of one text or several, as an array of float32 [texts, hidden].

            vectors = model.embed(["A cat sat.", "A dog ran."], normalize=True)
            likeness = vectors @ vectors.T

        `options` are the fields of `EmbeddingConfig`: `pooling`, `dimensions`, `normalize`, `bos`. A
        text's vector does not depend on what it is computed with. Gemma 4 was not trained to embed: its
        vectors carry what the model makes of a text, not a measure of likeness.
        """
        combined = _combined(EmbeddingConfig, config, options, "embed")
        return self._engine.embed(texts_of(texts), combined)

    def count_tokens(
        self,
        prompt: PromptLike,
        *,
        system_prompt: str | None = None,
        tools: Sequence[Tool] | None = None,
        thinking: bool = False,
        raw: bool = False,
        **media: Unpack[MediaArguments],
    ) -> int:
        """How many tokens the prompt has for the model, everything that the chat template adds
        included: `Result.usage.prompt_tokens` of the same request."""
        return len(
            self._engine.prompt(
                prompt,
                system_prompt=system_prompt,
                tools=tools,
                thinking=thinking,
                raw=raw,
                media=take_only(dict(media), "count_tokens"),
            )
        )

    @property
    def tokenizer(self) -> Tokenizer:
        """Text to token ids and back."""
        engine = self._engine
        return Tokenizer._of(lambda: engine.text)

    @property
    def defaults(self) -> GenerationConfig:
        """How answers are chosen where nothing is said: the model's generation_config.json."""
        return self._engine.defaults

    @property
    def config(self) -> ModelConfig:
        """What it was loaded with."""
        return self._engine.config

    @property
    def info(self) -> ModelInfo:
        """What the model is, and what it runs on."""
        return self._engine.info

    @property
    def memory_plan(self) -> MemoryPlan:
        """What it takes; `culet.memory_plan(name)` says so before loading."""
        return self._engine.memory_plan

    @property
    def statistics(self) -> Statistics:
        """What it has done since it was loaded."""
        return self._engine.statistics

    def close(self) -> None:
        """Ends what is being answered, with `finish_reason` "cancelled", and gives the memory back as
        soon as the last of it is over. Also at the end of the `with` block."""
        self._engine.close()

    @property
    def closed(self) -> bool:
        """After `close()`."""
        return self._engine.closed

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{self.info.variant}, {self.info.device}"
        return f"<culet.Model {self._engine.name!r}: {state}>"


def memory_plan(
    model: ModelName = None,
    *,
    config: ModelConfig | None = None,
    **options: Unpack[ModelOptions],
) -> MemoryPlan:
    """What a model would take, from its config and headers alone; nothing is loaded or fetched.

        >>> culet.memory_plan("e2b", context=131072).resident_bytes
    """
    combined = _combined(ModelConfig, config, options, "memory_plan")
    native = combined._native()
    path = find(name_of(model), fetch=False, offline=combined.offline)
    return _memory_plan(_culet.describe(path, native))
