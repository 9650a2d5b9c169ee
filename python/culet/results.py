"""What comes back: results, the events of a stream, and what a model is and takes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Union

from culet import _culet
from culet.errors import _keyword_names

__all__ = [
    "Event",
    "FinishReason",
    "MemoryPlan",
    "ModelInfo",
    "Result",
    "ResultEvent",
    "Statistics",
    "StepLogprobs",
    "TextEvent",
    "ThinkingEvent",
    "Timings",
    "TokenLogprob",
    "ToolCall",
    "ToolCallEvent",
    "Usage",
]

FinishReason = Literal["stop", "length", "tool_calls", "cancelled", "timeout"]
"""Why an answer ended: a stop token or text, `max_tokens` or the context, calls that wait for their
responses, `cancel()`, or `timeout_s`."""


@dataclass(frozen=True)
class Usage:
    """Tokens that an answer took."""

    prompt_tokens: int
    """Of the prompt, as the chat template makes it."""
    cached_tokens: int
    """Of the prompt, taken from what was computed before: this chat's, or others' beginnings."""
    computed_tokens: int
    """Of the prompt, computed for this answer."""
    completion_tokens: int
    """Of the answer, thinking and the token that ended it included."""

    @property
    def total_tokens(self) -> int:
        """Prompt and answer together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class Timings:
    """Where the time went, in milliseconds."""

    prefill_ms: float
    """From the start, waiting for others included, to the first token."""
    decode_ms: float
    """From the first token to the last."""
    decode_tokens_per_s: float
    """Tokens after the first, over `decode_ms`; 0 where there are none."""


@dataclass(frozen=True)
class ToolCall:
    """A tool that the model wants to be called."""

    name: str
    """The tool's name."""
    arguments: dict[str, Any]
    """Its arguments, as JSON values."""
    arguments_json: str = field(repr=False, default="")
    """The same as text, numbers as the model wrote them."""


@dataclass(frozen=True)
class TokenLogprob:
    """A token and the logarithm of its probability."""

    id: int
    text: str
    logprob: float


@dataclass(frozen=True)
class StepLogprobs:
    """What was chosen at one step, and the likeliest tokens there before any sampling filter."""

    chosen: TokenLogprob
    top: tuple[TokenLogprob, ...]


@dataclass(frozen=True)
class Result:
    """A whole answer. `str(result)` is its text."""

    text: str
    """What the model says."""
    thinking: str
    """What it thought before; empty without `thinking=True`."""
    tool_calls: tuple[ToolCall, ...]
    """Tools that it wants to be called; then `finish_reason` is "tool_calls"."""
    finish_reason: FinishReason
    """Why it ended."""
    usage: Usage
    """How many tokens it took."""
    timings: Timings
    """How long it took."""
    seed: int
    """With this seed, and the same request and options, the same answer comes again."""
    tokens: tuple[int, ...] = field(repr=False)
    """The ids of the answer as generated, the stop token included."""
    logprobs: tuple[StepLogprobs, ...] = field(repr=False)
    """One for each token, where `logprobs=` asked for them."""
    logits_hash: str = field(repr=False)
    """Of the last logits: equal bits, equal hash. For comparing builds."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class TextEvent:
    """The next piece of the answer."""

    text: str
    type: ClassVar[Literal["text"]] = "text"


@dataclass(frozen=True)
class ThinkingEvent:
    """The next piece of the model's thinking."""

    text: str
    type: ClassVar[Literal["thinking"]] = "thinking"


@dataclass(frozen=True)
class ToolCallEvent:
    """A tool call, whole."""

    call: ToolCall
    type: ClassVar[Literal["tool_call"]] = "tool_call"


@dataclass(frozen=True)
class ResultEvent:
    """The end of a stream: the whole answer, with usage and timings."""

    result: Result
    type: ClassVar[Literal["result"]] = "result"


Event = Union[TextEvent, ThinkingEvent, ToolCallEvent, ResultEvent]
"""What a stream yields; the last one is the `ResultEvent`."""


@dataclass(frozen=True)
class MemoryPlan:
    """What a model takes with its present configuration; known before anything is allocated."""

    weight_bytes: int
    """Of the weights that are used. They are mapped from the files, not copied."""
    kv_bytes: int
    """Allocated for the KV cache: `context`, `sequences` and `pool_tokens` decide."""
    activation_bytes: int
    """Allocated for work: `chunk` decides."""
    resident_bytes: int
    """All together, without tables of which only single rows are read and without encoders of media:
    should be free."""
    media_bytes: int
    """What pictures, sounds and videos take besides, from the first on: their encoders with their work
    for pictures of `image_tokens` and videos of a minute; 0 where the model takes none."""
    context: int
    """Tokens that prompt and answer may have together."""
    sequences: int
    """Answers and chats that are computed at once."""
    pool_tokens: int
    """Positions that full-attention layers hold over all sequences."""
    kv_dtype: str
    """Of the KV cache: "F32", "BF16" or "INT8", which `kv` spells in small letters."""


@dataclass(frozen=True)
class ModelInfo:
    """What a model is, and what it runs on."""

    path: str
    variant: str
    """The published size, such as "E2B", or a description."""
    dtype: str
    """Of most weights: "BF16", "INT8", "INT4"."""
    parameters: int
    layers: int
    hidden: int
    vocab: int
    window: int
    """Positions that sliding layers see."""
    max_positions: int
    """The longest context that the model was made for."""
    has_chat_template: bool
    """False for base models: their prompts are completed as they stand."""
    device: str
    cpu_model: str
    cpu_level: str
    """The kernels that run: "avx2"."""
    threads: int
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Statistics:
    """What a model has done since it was loaded."""

    steps: int
    """Passes over the weights."""
    rows: int
    """Rows of all steps: many a step where answers were computed together."""
    answers: int
    """That have ended."""
    preemptions: int
    """Answers that gave their KV back for want of memory and were computed again."""
    prompt_tokens: int
    shared_tokens: int
    """Of them, taken from other prompts' KV."""


def _call(native: _culet.CalledTool) -> ToolCall:
    text = native.arguments_json
    return ToolCall(native.name, json.loads(text), text)


def _event(native: _culet.Event) -> Event:
    if native.kind == "text":
        return TextEvent(native.text)
    if native.kind == "thinking":
        return ThinkingEvent(native.text)
    return ToolCallEvent(_call(native.call))


def _logprob(native: _culet.TokenLogprob) -> TokenLogprob:
    return TokenLogprob(native.id, native.text, native.logprob)


def _result(native: _culet.Result) -> Result:
    later = max(native.completion_tokens - 1, 0)
    return Result(
        text=native.text,
        thinking=native.thinking,
        tool_calls=tuple(_call(call) for call in native.tool_calls),
        finish_reason=native.finish_reason,
        usage=Usage(
            prompt_tokens=native.prompt_tokens,
            cached_tokens=native.cached_tokens,
            computed_tokens=native.computed_tokens,
            completion_tokens=native.completion_tokens,
        ),
        timings=Timings(
            prefill_ms=native.prefill_ms,
            decode_ms=native.decode_ms,
            decode_tokens_per_s=1000 * later / native.decode_ms if native.decode_ms > 0 else 0.0,
        ),
        seed=native.seed,
        tokens=tuple(native.tokens),
        logprobs=tuple(
            StepLogprobs(_logprob(step.chosen), tuple(_logprob(token) for token in step.top))
            for step in native.logprobs
        ),
        logits_hash=f"{native.logits_hash:016x}",
    )


def _info(native: _culet.ModelInfo, device: str) -> ModelInfo:
    return ModelInfo(
        path=native.path,
        variant=native.variant,
        dtype=native.dtype,
        parameters=native.parameters,
        layers=native.layers,
        hidden=native.hidden,
        vocab=native.vocab,
        window=native.window,
        max_positions=native.max_positions,
        has_chat_template=native.has_chat_template,
        device=device,
        cpu_model=native.cpu_model,
        cpu_level=native.cpu_level,
        threads=native.threads,
        warnings=tuple(_keyword_names(text) for text in native.warnings),
    )


def _memory_plan(native: _culet.ModelInfo) -> MemoryPlan:
    return MemoryPlan(
        weight_bytes=native.weight_bytes,
        kv_bytes=native.kv_bytes,
        activation_bytes=native.activation_bytes,
        resident_bytes=native.resident_bytes,
        media_bytes=native.media_bytes,
        context=native.context,
        sequences=native.sequences,
        pool_tokens=native.pool_tokens,
        kv_dtype=native.kv_dtype,
    )


def _statistics(native: _culet.ModelStatistics) -> Statistics:
    return Statistics(
        steps=native.steps,
        rows=native.rows,
        answers=native.answers,
        preemptions=native.preemptions,
        prompt_tokens=native.prompt_tokens,
        shared_tokens=native.shared_tokens,
    )
