"""If this fails, culet needs OpenTelemetry to run, is not found by it, or names things in its own way."""

import inspect
import re
from pathlib import Path

from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics

import culet.telemetry
from conftest import check_clean, installed, run_python


def test_names_are_the_conventions() -> None:
    source = inspect.getsource(culet.telemetry)
    used = set(re.findall(r'"(gen_ai\.[a-z_.]+)"', source))
    assert len(used) > 15
    known = {}
    for module in (gen_ai_attributes, gen_ai_metrics):
        text = Path(str(module.__file__)).read_text()
        for name, about in re.findall(r'^GEN_AI_\w+: Final = "([\w.]+)"\n"""(.*?)"""', text, re.S | re.M):
            known[name] = about
    for name in used:
        assert name in known, name
        assert "Replaced by" not in known[name], known[name]


def test_nothing_is_imported_that_nobody_asked_for() -> None:
    done = run_python(
        """
        import sys
        import culet
        with culet.Model(threads=1) as model:
            model.generate("hello", max_tokens=1)
        assert not [name for name in sys.modules if name.startswith("opentelemetry")]
        assert "culet.telemetry" not in sys.modules
        print("ok")
        """
    )
    check_clean(done)


def test_without_opentelemetry_culet_runs_and_says_what_is_missing() -> None:
    done = run_python(
        """
        import sys
        sys.modules["opentelemetry"] = None
        import culet
        with culet.Model(threads=1) as model:
            model.generate("hello", max_tokens=1)
        try:
            import culet.telemetry
        except ImportError as error:
            assert 'pip install "culet[telemetry]"' in str(error), error
            assert error.name == "opentelemetry"
            print("ok")
        """
    )
    check_clean(done)


def test_opentelemetrys_own_command_finds_it(tmp_path: Path) -> None:
    done = run_python(
        """
        from opentelemetry.instrumentation.auto_instrumentation import initialize
        initialize(swallow_exceptions=False)
        from culet import _observe
        assert len(_observe.observers) == 1
        print("ok")
        """,
        PYTHONPATH=installed(tmp_path),
    )
    check_clean(done)


def test_providers_that_are_set_later_are_used() -> None:
    done = run_python(
        """
        import culet, culet.telemetry
        culet.telemetry.instrument()
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        with culet.Model(threads=1) as model:
            model.generate("hello", max_tokens=1)
            exporter = InMemorySpanExporter()
            provider = TracerProvider()
            provider.add_span_processor(SimpleSpanProcessor(exporter))
            trace.set_tracer_provider(provider)
            model.generate("hello", max_tokens=1)
        assert [span.name for span in exporter.get_finished_spans()] == ["chat pebble"]
        print("ok")
        """
    )
    check_clean(done)
