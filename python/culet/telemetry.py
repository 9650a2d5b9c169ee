"""Traces and metrics of every request, by OpenTelemetry.

    import culet.telemetry

    culet.telemetry.instrument()      # with the providers that the application has set up

A span covers a request from its start to its end, whoever asked: `generate`, `stream`, chats, `embed`,
their asyncio forms, LangChain, `llm`. Its parent is the span that is current where the request starts. Names are
those of OpenTelemetry's conventions for generative models (`gen_ai.…`); what these have no name for is
`culet.…`: docs/python.md has the list. No text of a prompt or of an answer is recorded.

`opentelemetry-instrument` finds it by itself (`CuletInstrumentor`). Nothing else of culet imports this
module: without `instrument()` a request pays for a look at an empty list.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from culet import _culet, _observe
from culet._extras import missing
from culet.config import GenerationConfig
from culet.errors import Error
from culet.results import Result, Usage

try:
    from opentelemetry import context, metrics, trace
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode
except ModuleNotFoundError as error:
    raise missing("culet.telemetry", "telemetry", error) from None

__all__ = ["CuletInstrumentor", "instrument", "uninstrument"]

_PROVIDER = "culet"
_INT64 = 2**63 - 1

# What OpenTelemetry's conventions advise for each histogram.
_TOKENS = tuple(4**power for power in range(14))
_SECONDS = tuple(0.01 * 2**power for power in range(14))
_FIRST_TOKEN_SECONDS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08),
    *(0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
_TOKEN_SECONDS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)


def instrument(
    *,
    tracer_provider: trace.TracerProvider | None = None,
    meter_provider: metrics.MeterProvider | None = None,
) -> None:
    """Observes the requests of all models from now on. Without providers, those that the application
    has set (`opentelemetry.trace.set_tracer_provider`), also where it sets them later. Once more: with
    other providers from now on. From any thread."""
    global _observer
    with _lock:
        _take_out()
        _observer = _Observer(tracer_provider, meter_provider)
        _observe.observers.append(_observer)


def uninstrument() -> None:
    """Observes no more. Requests that are under way keep their spans. From any thread."""
    with _lock:
        _take_out()


class CuletInstrumentor:
    """What `opentelemetry-instrument` calls, by the entry point "culet"; has the methods of
    OpenTelemetry's BaseInstrumentor, without its package."""

    def instrumentation_dependencies(self) -> tuple[str, ...]:
        """None: culet itself is what is observed."""
        return ()

    def instrument(self, **options: Any) -> None:
        """As the function `instrument`; takes no notice of other options."""
        instrument(
            tracer_provider=options.get("tracer_provider"),
            meter_provider=options.get("meter_provider"),
        )

    def uninstrument(self, **options: Any) -> None:
        """As the function `uninstrument`."""
        uninstrument()


_lock = threading.Lock()  # guards _observer, and what it is in
_observer: _Observer | None = None


def _take_out() -> None:
    global _observer
    if _observer is not None:
        _observe.observers.remove(_observer)
        _observer = None


@dataclass
class _State:
    """A request under way. Of one caller at a time, as the request is."""

    span: Span
    context: context.Context
    labels: dict[str, Any]
    """Attributes of the metrics, which have to be few."""
    prompt_tokens: int | None
    """None where they are counted by the end only."""
    started: int
    """Times are in nanoseconds since 1970, as spans have them."""
    first_token: int | None = None
    tool_calls: list[tuple[int, str]] = field(default_factory=list)


class _Observer:
    """Threads: requests of any thread at once."""

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None,
        meter_provider: metrics.MeterProvider | None,
    ) -> None:
        self._tracer = trace.get_tracer("culet", _culet.version(), tracer_provider)
        meter = metrics.get_meter("culet", _culet.version(), meter_provider)
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="From the start of a request until its caller has all of it.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._model_duration = meter.create_histogram(
            "gen_ai.server.request.duration",
            unit="s",
            description="From the start of a request to its last token, as the model counts.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._first_token = meter.create_histogram(
            "gen_ai.server.time_to_first_token",
            unit="s",
            description="From the start of a request to its first token.",
            explicit_bucket_boundaries_advisory=_FIRST_TOKEN_SECONDS,
        )
        self._token = meter.create_histogram(
            "gen_ai.server.time_per_output_token",
            unit="s",
            description="For each token after the first.",
            explicit_bucket_boundaries_advisory=_TOKEN_SECONDS,
        )

    def started(self, request: _observe.RequestInfo) -> _State:
        now = time.time_ns()
        if request.operation == "embed":
            operation = "embeddings"
        else:
            operation = "text_completion" if request.completion else "chat"
        labels = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": _PROVIDER,
            "gen_ai.request.model": request.model,
        }
        span = self._tracer.start_span(
            f"{operation} {request.model}",
            kind=SpanKind.INTERNAL,  # the model is in this process
            attributes={**labels, **_asked(request)},
            start_time=now,
        )
        return _State(
            span, trace.set_span_in_context(span), labels, request.prompt_tokens, started=now
        )

    def first_token(self, state: _State) -> None:
        state.first_token = time.time_ns()

    def tool_call(self, state: _State, name: str) -> None:
        state.tool_calls.append((time.time_ns(), name))

    def ended(
        self, state: _State, result: Result | Usage | None, error: BaseException | None
    ) -> None:
        now = time.time_ns()
        span = state.span
        if isinstance(result, Usage):
            state.prompt_tokens = result.prompt_tokens
        # Everything that is no Exception (CancelledError, KeyboardInterrupt) is a caller that went away.
        failed = isinstance(error, Exception)
        if isinstance(error, Exception):
            kind = type(error)
            state.labels["error.type"] = f"{kind.__module__}.{kind.__qualname__}"
            span.set_attribute("error.type", state.labels["error.type"])
            # Messages of others could have anything in them.
            description = str(error) if isinstance(error, Error) else None
            span.set_status(Status(StatusCode.ERROR, description))
        elif result is None:
            span.set_attribute("gen_ai.response.finish_reasons", ("cancelled",))
        self._measure(state, result, failed, now)
        if span.is_recording():
            _describe(state, result, now)
        span.end(now)

    def _measure(
        self, state: _State, result: Result | Usage | None, failed: bool, now: int
    ) -> None:
        def record(histogram: metrics.Histogram, value: float, **more: str) -> None:
            labels = state.labels
            if more:
                labels = {**labels, "gen_ai.token.type": more["type"]}
            histogram.record(value, labels, state.context)

        record(self._duration, (now - state.started) / 1e9)
        if not failed and state.prompt_tokens is not None:
            record(self._tokens, state.prompt_tokens, type="input")
        if not isinstance(result, Result):
            return
        tokens, timings = result.usage.completion_tokens, result.timings
        record(self._tokens, tokens, type="output")
        record(self._model_duration, (timings.prefill_ms + timings.decode_ms) / 1e3)
        if tokens > 0:
            record(self._first_token, timings.prefill_ms / 1e3)
        if tokens > 1:
            record(self._token, timings.decode_ms / 1e3 / (tokens - 1))


def _asked(request: _observe.RequestInfo) -> dict[str, Any]:
    """What the request asks for, and what the model has where it asks for nothing."""
    config, defaults = request.config, request.defaults
    where = {"culet.model.variant": request.variant, "culet.device": request.device}
    if not isinstance(config, GenerationConfig):
        size = {"gen_ai.embeddings.dimension.count": config.dimensions}
        return {**where, **size} if config.dimensions > 0 else where

    def chosen(name: str) -> Any:
        given = getattr(config, name)
        return getattr(defaults, name) if given is None else given

    attributes: dict[str, Any] = {
        "gen_ai.request.temperature": chosen("temperature"),
        "gen_ai.request.top_p": chosen("top_p"),
        "gen_ai.request.top_k": chosen("top_k"),
        "gen_ai.request.max_tokens": chosen("max_tokens") or None,  # 0: no limit
        "gen_ai.request.stream": request.operation.endswith("stream"),
        "culet.request.min_p": chosen("min_p"),
        "culet.request.repetition_penalty": chosen("repetition_penalty"),
    }
    if config.stop:
        attributes["gen_ai.request.stop_sequences"] = tuple(config.stop)
    if config.seed is not None and config.seed <= _INT64:  # the protocol has no larger numbers
        attributes["gen_ai.request.seed"] = config.seed
    return {**where, **{name: value for name, value in attributes.items() if value is not None}}


def _describe(state: _State, result: Result | Usage | None, now: int) -> None:
    """What is known at the end: attributes, and events in the order of their times."""
    span = state.span
    if state.prompt_tokens is not None:
        span.set_attribute("gen_ai.usage.input_tokens", state.prompt_tokens)
    first = state.first_token
    events: list[tuple[int, str, dict[str, Any]]] = [
        (when, "culet.tool_call", {"gen_ai.tool.name": name, "gen_ai.tool.type": "function"})
        for when, name in state.tool_calls
    ]
    if isinstance(result, Result):
        usage, timings = result.usage, result.timings
        span.set_attributes(
            {
                "gen_ai.response.finish_reasons": (result.finish_reason,),
                "gen_ai.usage.output_tokens": usage.completion_tokens,
                "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
                "culet.tokens_per_second": timings.decode_tokens_per_s,
                "culet.seed": str(result.seed),
            }
        )
        if usage.completion_tokens > 0:
            # When the model had it; when it was seen depends on who reads the stream.
            first = min(state.started + int(timings.prefill_ms * 1e6), now)
            last = min(first + int(timings.decode_ms * 1e6), now)
            prefill = {
                "culet.tokens": usage.computed_tokens,
                "culet.duration": timings.prefill_ms / 1e3,
            }
            decode = {
                "culet.tokens": usage.completion_tokens,
                "culet.duration": timings.decode_ms / 1e3,
            }
            events += [(first, "culet.prefill", prefill), (last, "culet.decode", decode)]
    if first is not None:
        seconds = (first - state.started) / 1e9
        span.set_attribute("gen_ai.response.time_to_first_chunk", seconds)
    for when, name, attributes in sorted(events, key=lambda event: event[0]):
        span.add_event(name, attributes, when)
