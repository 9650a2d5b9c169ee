"""If this fails, a request is missing in traces or metrics, or has wrong numbers there."""

import asyncio
import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

import culet
import culet.telemetry
from conftest import PEBBLE
from culet import _observe

TOOL = {
    "name": "get_weather",
    "description": "The weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
SECRET = "What is 27 + 45?"


class Telemetry:
    """What the in-memory exporters of the SDK have got."""

    def __init__(self, **options: Any) -> None:
        self.provider = TracerProvider(**options)
        self._exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self.meters = MeterProvider([self._reader])

    def spans(self) -> list[ReadableSpan]:
        spans = list(self._exporter.get_finished_spans())
        self._exporter.clear()
        return spans

    def span(self) -> ReadableSpan:
        spans = self.spans()
        assert len(spans) == 1, [span.name for span in spans]
        return spans[0]

    def points(self) -> dict[str, list[Any]]:
        data = self._reader.get_metrics_data()
        return {
            metric.name: list(metric.data.data_points)
            for resource in (data.resource_metrics if data else [])
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    made = Telemetry()
    culet.telemetry.instrument(tracer_provider=made.provider, meter_provider=made.meters)
    yield made
    culet.telemetry.uninstrument()
    assert _observe.observers == []


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def events(span: ReadableSpan) -> list[str]:
    return [event.name for event in span.events]


def endless(model: Any, **options: Any) -> Any:
    return model.stream("hello", temperature=0, max_tokens=0, ignore_stop_tokens=True, **options)


def test_an_answer_is_a_span_with_what_the_result_says(
    model: culet.Model, telemetry: Telemetry
) -> None:
    before = time.time_ns()
    result = model.generate(SECRET, temperature=0, max_tokens=30, top_k=7, seed=5, stop=["zzz"])
    after = time.time_ns()
    span = telemetry.span()
    assert span.name == f"chat {PEBBLE}" and span.kind is SpanKind.INTERNAL
    assert span.status.status_code is StatusCode.UNSET
    assert span.start_time and span.end_time
    assert before <= span.start_time < span.end_time <= after
    got = attributes(span)
    first = got.pop("gen_ai.response.time_to_first_chunk")
    assert first == pytest.approx(result.timings.prefill_ms / 1e3, abs=1e-6)
    assert got == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "culet",
        "gen_ai.request.model": str(PEBBLE),
        "gen_ai.request.temperature": 0.0,
        "gen_ai.request.top_k": 7,
        "gen_ai.request.top_p": model.defaults.top_p,
        "gen_ai.request.max_tokens": 30,
        "gen_ai.request.seed": 5,
        "gen_ai.request.stop_sequences": ("zzz",),
        "gen_ai.request.stream": False,
        "gen_ai.usage.input_tokens": result.usage.prompt_tokens,
        "gen_ai.usage.output_tokens": result.usage.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": result.usage.cached_tokens,
        "gen_ai.response.finish_reasons": ("stop",),
        "culet.device": "cpu",
        "culet.model.variant": model.info.variant,
        "culet.request.min_p": model.defaults.min_p,
        "culet.request.repetition_penalty": model.defaults.repetition_penalty,
        "culet.seed": "5",
        "culet.tokens_per_second": result.timings.decode_tokens_per_s,
    }
    assert events(span) == ["culet.prefill", "culet.decode"]
    prefill, decode = span.events
    assert prefill.timestamp == span.start_time + int(result.timings.prefill_ms * 1e6)
    assert span.start_time < prefill.timestamp <= decode.timestamp <= span.end_time
    assert (prefill.attributes or {})["culet.tokens"] == result.usage.computed_tokens
    assert (decode.attributes or {})["culet.tokens"] == result.usage.completion_tokens
    assert (decode.attributes or {})["culet.duration"] == result.timings.decode_ms / 1e3


def test_what_was_not_asked_for_is_the_models(model: culet.Model, telemetry: Telemetry) -> None:
    result = model.generate(SECRET)
    got = attributes(telemetry.span())
    assert got["gen_ai.request.temperature"] == model.defaults.temperature
    assert got["culet.seed"] == str(result.seed)
    assert "gen_ai.request.seed" not in got and "gen_ai.request.stop_sequences" not in got


def test_numbers_fit_the_protocol(model: culet.Model, telemetry: Telemetry) -> None:
    model.generate("hello", seed=2**64 - 1, max_tokens=1)
    span = telemetry.span()
    assert attributes(span)["culet.seed"] == str(2**64 - 1)
    for value in attributes(span).values():
        assert not isinstance(value, int) or value < 2**63


def test_no_text_is_recorded(model: culet.Model, telemetry: Telemetry) -> None:
    result = model.generate(SECRET, system_prompt="Be brief.", thinking=True, temperature=0)
    assert result.text and result.thinking
    written = telemetry.span().to_json()
    for text in (SECRET, "27 +", "Be brief", f'"{result.text}"', result.thinking):
        assert text not in written
    with pytest.raises(culet.ResourceError):
        model.generate("secretword " * 9000)
    assert "secretword" not in telemetry.span().to_json()


def test_a_completion_is_named_so(model: culet.Model, telemetry: Telemetry) -> None:
    model.generate("Once upon", raw=True, max_tokens=1)
    list(model.stream("Once upon", raw=True, max_tokens=1))
    for span in telemetry.spans():
        assert span.name == f"text_completion {PEBBLE}"
        assert attributes(span)["gen_ai.operation.name"] == "text_completion"
        assert attributes(span)["gen_ai.response.finish_reasons"] == ("length",)


@pytest.mark.parametrize("function", ["generate", "stream"])
def test_tool_calls_are_events(model: culet.Model, telemetry: Telemetry, function: str) -> None:
    answer = getattr(model, function)("What is the weather in Rome?", tools=[TOOL], temperature=0)
    if function == "stream":
        seen = list(answer)
        assert [event.type for event in seen].count("tool_call") == 1
    span = telemetry.span()
    assert attributes(span)["gen_ai.request.stream"] is (function == "stream")
    assert attributes(span)["gen_ai.response.finish_reasons"] == ("tool_calls",)
    assert sorted(events(span)) == ["culet.decode", "culet.prefill", "culet.tool_call"]
    (call,) = [event for event in span.events if event.name == "culet.tool_call"]
    assert dict(call.attributes or {}) == {
        "gen_ai.tool.name": "get_weather",
        "gen_ai.tool.type": "function",
    }
    times = [event.timestamp for event in span.events]
    assert times == sorted(times)


def test_a_stream_that_is_left_early_ends_its_span(
    model: culet.Model, telemetry: Telemetry
) -> None:
    with endless(model) as stream:
        next(stream)
    span = telemetry.span()
    assert attributes(span)["gen_ai.response.finish_reasons"] == ("cancelled",)
    assert attributes(span)["gen_ai.usage.output_tokens"] >= 1
    assert span.status.status_code is StatusCode.UNSET

    for _ in endless(model):  # dropped: nobody waits for what came of it
        break
    gc.collect()
    span = telemetry.span()
    assert attributes(span)["gen_ai.response.finish_reasons"] == ("cancelled",)
    assert attributes(span)["gen_ai.usage.input_tokens"] > 0
    assert "gen_ai.usage.output_tokens" not in attributes(span)
    assert attributes(span)["gen_ai.response.time_to_first_chunk"] > 0
    assert "error.type" not in attributes(span)

    model.stream("hello")  # not even begun to read
    gc.collect()
    assert attributes(telemetry.span())["gen_ai.response.finish_reasons"] == ("cancelled",)


def test_a_timeout_is_a_reason(model: culet.Model, telemetry: Telemetry) -> None:
    model.generate("hello", timeout_s=1e-6)
    span = telemetry.span()
    assert attributes(span)["gen_ai.response.finish_reasons"] == ("timeout",)
    assert "gen_ai.response.time_to_first_chunk" not in attributes(span)
    assert events(span) == []


def test_chats_are_spans_a_turn(model: culet.Model, telemetry: Telemetry) -> None:
    with model.chat(system_prompt="Be brief.", temperature=0) as chat:
        chat.send("What is 2 + 3?")
        second = list(chat.stream("What is 4 + 3?"))[-1]
    spans = telemetry.spans()
    assert [attributes(span)["gen_ai.request.stream"] for span in spans] == [False, True]
    assert isinstance(second, culet.ResultEvent)
    cached = attributes(spans[1])["gen_ai.usage.cache_read.input_tokens"]
    assert cached == second.result.usage.cached_tokens > 0


def test_embeddings_are_spans(model: culet.Model, telemetry: Telemetry) -> None:
    texts = ["A cat sat.", "What is 27 + 45?"]
    model.embed(texts, dimensions=8)
    span = telemetry.span()
    assert span.name == f"embeddings {PEBBLE}"
    tokens = attributes(span)["gen_ai.usage.input_tokens"]
    assert tokens >= sum(len(model.tokenizer.encode(text)) for text in texts)
    assert attributes(span) == {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "culet",
        "gen_ai.request.model": str(PEBBLE),
        "gen_ai.embeddings.dimension.count": 8,
        "gen_ai.usage.input_tokens": tokens,
        "culet.device": "cpu",
        "culet.model.variant": model.info.variant,
    }
    (point,) = telemetry.points()["gen_ai.client.token.usage"]
    assert (point.attributes["gen_ai.token.type"], point.sum) == ("input", tokens)
    with pytest.raises(culet.Error):
        model.embed("word " * 9000)
    span = telemetry.span()
    assert span.status.status_code is StatusCode.ERROR
    assert "gen_ai.usage.input_tokens" not in attributes(span)


def test_embeddings_of_a_task_that_is_cancelled(model: culet.Model, telemetry: Telemetry) -> None:
    tracer = telemetry.provider.get_tracer("test")

    async def main() -> None:
        with tracer.start_as_current_span("root"):
            task = asyncio.create_task(culet.AsyncModel(model).embed(["word " * 500] * 2000))  # type: ignore[arg-type]
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())  # waits for its threads
    root, span = sorted(telemetry.spans(), key=lambda span: span.name, reverse=True)
    assert span.parent and root.context and span.parent.span_id == root.context.span_id
    assert attributes(span)["gen_ai.response.finish_reasons"] == ("cancelled",)
    assert span.status.status_code is StatusCode.UNSET


def test_an_error_is_the_spans(model: culet.Model, telemetry: Telemetry) -> None:
    with pytest.raises(culet.ResourceError) as caught:
        model.generate("word " * 9000)
    span = telemetry.span()
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == str(caught.value)
    assert attributes(span)["error.type"] == "culet.errors.ResourceError"
    (point,) = telemetry.points()["gen_ai.client.operation.duration"]
    assert point.attributes["error.type"] == "culet.errors.ResourceError"
    assert "gen_ai.client.token.usage" not in telemetry.points()


def test_the_parent_is_the_callers_span(model: culet.Model, telemetry: Telemetry) -> None:
    tracer = telemetry.provider.get_tracer("test")

    def ask(name: str) -> None:
        with tracer.start_as_current_span(name):
            model.generate("hello", max_tokens=2)

    threads = [threading.Thread(target=ask, args=(f"thread {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spans = telemetry.spans()
    roots = {span.context.span_id: span for span in spans if span.name.startswith("thread")}
    children = [span for span in spans if span.name.startswith("chat")]
    assert len(roots) == len(children) == 4
    parents = {span.parent.span_id for span in children if span.parent}
    assert parents == set(roots)
    for child in children:
        assert child.parent and child.context.trace_id == roots[child.parent.span_id].context.trace_id
    assert not trace.get_current_span().get_span_context().is_valid  # none is left behind


def test_asyncio(model: culet.Model, telemetry: Telemetry) -> None:
    tracer = telemetry.provider.get_tracer("test")

    async def ask(asynchronous: culet.AsyncModel, name: str) -> None:
        with tracer.start_as_current_span(name):
            if name == "task 0":
                await asynchronous.generate("hello", max_tokens=2)
            elif name == "task 1":
                async for _ in asynchronous.stream("hello", max_tokens=2):
                    pass
            else:
                await asynchronous.chat().send("hello", max_tokens=2)

    async def main() -> None:
        asynchronous = culet.AsyncModel(model)
        await asyncio.gather(*[ask(asynchronous, f"task {n}") for n in range(3)])

    asyncio.run(main())
    spans = telemetry.spans()
    roots = {span.context.span_id for span in spans if span.name.startswith("task")}
    children = [span for span in spans if span.name.startswith("chat")]
    assert {span.parent.span_id for span in children if span.parent} == roots
    for span in children:
        assert attributes(span)["gen_ai.response.finish_reasons"] == ("length",)
        assert attributes(span)["gen_ai.usage.output_tokens"] == 2


def test_a_cancelled_task_ends_its_span(model: culet.Model, telemetry: Telemetry) -> None:
    async def main() -> None:
        asynchronous = culet.AsyncModel(model)
        endless_options: Any = {"max_tokens": 0, "ignore_stop_tokens": True}
        task = asyncio.create_task(asynchronous.generate("hello", **endless_options))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        async def read() -> None:
            async for _ in endless(asynchronous):
                pass

        task = asyncio.create_task(read())  # type: ignore[arg-type]
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with endless(asynchronous) as stream:
            await stream.__anext__()

    asyncio.run(main())
    spans = telemetry.spans()
    assert len(spans) == 3
    for span in spans:
        assert attributes(span)["gen_ai.response.finish_reasons"] == ("cancelled",)
        assert span.status.status_code is StatusCode.UNSET
        assert "error.type" not in attributes(span)


def test_metrics_are_the_results_numbers(model: culet.Model, telemetry: Telemetry) -> None:
    results = [model.generate(f"What is {n} + 5?", temperature=0) for n in range(3)]
    points = telemetry.points()
    labels = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "culet",
        "gen_ai.request.model": str(PEBBLE),
    }
    usage = {point.attributes["gen_ai.token.type"]: point for point in points["gen_ai.client.token.usage"]}
    assert usage["input"].sum == sum(result.usage.prompt_tokens for result in results)
    assert usage["output"].sum == sum(result.usage.completion_tokens for result in results)
    for kind, point in usage.items():
        assert dict(point.attributes) == {**labels, "gen_ai.token.type": kind}
        assert point.count == 3
        assert point.explicit_bounds[:4] == (1, 4, 16, 64)
    timings = [result.timings for result in results]
    for name, expected in (
        ("gen_ai.server.time_to_first_token", [t.prefill_ms / 1e3 for t in timings]),
        ("gen_ai.server.request.duration", [(t.prefill_ms + t.decode_ms) / 1e3 for t in timings]),
        ("gen_ai.server.time_per_output_token", [1 / t.decode_tokens_per_s for t in timings]),
    ):
        (point,) = points[name]
        assert dict(point.attributes) == labels and point.count == 3
        assert point.sum == pytest.approx(sum(expected))
    (point,) = points["gen_ai.client.operation.duration"]
    assert point.count == 3
    assert point.sum >= sum(t.prefill_ms + t.decode_ms for t in timings) / 1e3


def test_spans_that_are_not_sampled_still_count(model: culet.Model) -> None:
    unsampled = Telemetry(sampler=ALWAYS_OFF)
    culet.telemetry.instrument(tracer_provider=unsampled.provider, meter_provider=unsampled.meters)
    try:
        model.generate("hello", max_tokens=2)
    finally:
        culet.telemetry.uninstrument()
    assert unsampled.spans() == []
    assert unsampled.points()["gen_ai.client.operation.duration"][0].count == 1


def test_twice_is_once_and_off_is_off(model: culet.Model, telemetry: Telemetry) -> None:
    culet.telemetry.instrument(tracer_provider=telemetry.provider, meter_provider=telemetry.meters)
    model.generate("hello", max_tokens=1)
    telemetry.span()
    stream = model.stream("hello", max_tokens=1)
    culet.telemetry.uninstrument()
    culet.telemetry.uninstrument()
    list(stream)  # was under way
    telemetry.span()
    model.generate("hello", max_tokens=1)
    assert telemetry.spans() == []
    culet.telemetry.CuletInstrumentor().instrument(
        tracer_provider=telemetry.provider, meter_provider=telemetry.meters, skip_dep_check=True
    )
    model.generate("hello", max_tokens=1)
    telemetry.span()
    culet.telemetry.CuletInstrumentor().uninstrument()
    model.generate("hello", max_tokens=1)
    assert telemetry.spans() == []


def test_an_exporter_that_fails_disturbs_nobody(
    model: culet.Model, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("disk full")

    for name in ("started", "first_token", "tool_call", "ended"):
        with monkeypatch.context() as patched:
            patched.setattr(culet.telemetry._Observer, name, fail)
            result = model.generate("What is the weather in Rome?", tools=[TOOL], temperature=0)
            assert result.tool_calls
