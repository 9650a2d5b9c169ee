"""If this fails, a configuration takes a value that cannot be, or refuses one without naming the field."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy
import pytest

import culet
from culet import GenerationConfig, ModelConfig

BAD_GENERATION = [
    ("max_tokens", -1, ValueError),
    ("max_tokens", 1.5, TypeError),
    ("max_tokens", True, TypeError),
    ("max_tokens", "10", TypeError),
    ("max_tokens", 2**70, ValueError),
    ("temperature", -0.1, ValueError),
    ("temperature", 100.5, ValueError),
    ("temperature", math.nan, ValueError),
    ("temperature", math.inf, ValueError),
    ("temperature", "warm", TypeError),
    ("temperature", False, TypeError),
    ("temperature", 1j, TypeError),
    ("top_k", -1, ValueError),
    ("top_k", 2.0, TypeError),
    ("top_p", 0, ValueError),
    ("top_p", 1.01, ValueError),
    ("top_p", "all", TypeError),
    ("min_p", 1, ValueError),
    ("min_p", -1e-9, ValueError),
    ("repetition_penalty", 0, ValueError),
    ("repetition_penalty", 101, ValueError),
    ("repetition_penalty", [], TypeError),
    ("seed", -1, ValueError),
    ("seed", 2**64, ValueError),
    ("seed", 0.5, TypeError),
    ("stop", "", ValueError),
    ("stop", ["a", ""], ValueError),
    ("stop", ["a", 1], TypeError),
    ("stop", 5, TypeError),
    ("stop", b"end", TypeError),
    ("stop", {"a": 1}, TypeError),
    ("stop", "half \ud800", ValueError),
    ("stop", None, TypeError),
    ("logprobs", -1, ValueError),
    ("logprobs", 1001, ValueError),
    ("logprobs", None, TypeError),
    ("timeout_s", 0, ValueError),
    ("timeout_s", -1.0, ValueError),
    ("timeout_s", math.nan, ValueError),
    ("timeout_s", "soon", TypeError),
    ("ignore_stop_tokens", 1, TypeError),
    ("ignore_stop_tokens", None, TypeError),
]

BAD_MODEL = [
    ("device", "gpu", ValueError),
    ("device", "cuda:", ValueError),
    ("device", "cuda:-1", ValueError),
    ("device", "CPU", ValueError),
    ("device", 0, TypeError),
    ("device", None, TypeError),
    ("threads", -1, ValueError),
    ("threads", 1025, ValueError),
    ("threads", 2.0, TypeError),
    ("context", -1, ValueError),
    ("context", 2**24 + 1, ValueError),
    ("context", "8k", TypeError),
    ("context", True, TypeError),
    ("chunk", 0, ValueError),
    ("chunk", 65537, ValueError),
    ("sequences", -1, ValueError),
    ("sequences", 4097, ValueError),
    ("pool_tokens", -1, ValueError),
    ("pool_tokens", 2**40 + 1, ValueError),
    ("prefix_tokens", -1, ValueError),
    ("prefix_tokens", "all", TypeError),
    ("image_tokens", 0, ValueError),
    ("image_tokens", "all", TypeError),
    ("prompt_rows_beside_decoding", 0, ValueError),
    ("queue", -1, ValueError),
    ("queue", None, TypeError),
    ("kv", "f16", ValueError),
    ("kv", 16, TypeError),
    ("quant", "int3", ValueError),
    ("tokenizer", 5, TypeError),
    ("tokenizer", b"tokenizer.json", TypeError),
    ("allow_control_tokens", "yes", TypeError),
    ("overrides", ["a=1"], TypeError),
    ("overrides", "a=1", TypeError),
    ("overrides", {"a": object()}, ValueError),
    ("overrides", {"a": math.nan}, ValueError),
    ("overrides", {1: "x"}, TypeError),
    ("cpu_level", 2, TypeError),
    ("offline", 0, TypeError),
]


@pytest.mark.parametrize(("field", "value", "error"), BAD_GENERATION)
def test_a_bad_value_of_a_generation_config_is_refused_by_name(
    field: str, value: Any, error: type[Exception], model: culet.Model
) -> None:
    with pytest.raises(error, match=field):
        GenerationConfig(**{field: value})
    for call in (model.generate, model.stream):
        with pytest.raises(error, match=field):
            call("hello", **{field: value})
    with pytest.raises(error, match=field):
        model.chat(**{field: value})


@pytest.mark.parametrize(("field", "value", "error"), BAD_MODEL)
def test_a_bad_value_of_a_model_config_is_refused_by_name(
    field: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match=field):
        ModelConfig(**{field: value})
    with pytest.raises(error, match=field):
        culet.Model("a model that is not there", **{field: value})


def test_every_field_has_a_row_in_the_table() -> None:
    for kind, table in ((GenerationConfig, BAD_GENERATION), (ModelConfig, BAD_MODEL)):
        assert {field.name for field in dataclasses.fields(kind)} == {row[0] for row in table}


def test_wrong_values_are_errors_of_culet_too() -> None:
    with pytest.raises(culet.InvalidArgumentError):
        GenerationConfig(temperature=-1)


def test_unknown_keywords_are_refused_with_the_nearest_name(model: culet.Model) -> None:
    with pytest.raises(TypeError, match='"temprature"; did you mean "temperature"'):
        model.generate("hello", temprature=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="zzz"):
        model.chat(zzz=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match='"contxt"; did you mean "context"'):
        culet.Model("nosuch", contxt=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="temprature"):
        GenerationConfig(temprature=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="config"):
        model.generate("hello", config=ModelConfig())  # type: ignore[arg-type]


def test_configurations_are_frozen_and_equal_by_value() -> None:
    config = GenerationConfig(stop="end", temperature=1, seed=3)
    assert config == GenerationConfig(stop=["end"], temperature=1.0, seed=3)
    assert hash(config) == hash(GenerationConfig(stop=("end",), temperature=1.0, seed=3))
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 4  # type: ignore[misc]
    assert dataclasses.replace(config, seed=4).stop == ("end",)
    with pytest.raises(ValueError, match="seed"):
        dataclasses.replace(config, seed=-4)


def test_numbers_of_numpy_are_numbers() -> None:
    config = GenerationConfig(max_tokens=numpy.int64(3), temperature=numpy.float32(0.5))
    assert config.max_tokens == 3 and type(config.max_tokens) is int
    assert config.temperature == 0.5 and type(config.temperature) is float


def test_a_config_and_keywords_go_together(model: culet.Model) -> None:
    config = GenerationConfig(max_tokens=1, temperature=0)
    assert model.generate("hello", config=config).usage.completion_tokens == 1
    assert model.generate("hello", config=config, max_tokens=2).usage.completion_tokens == 2


def test_defaults_are_the_models_generation_config(model: culet.Model) -> None:
    import json

    file = json.loads((Path(model.info.path) / "generation_config.json").read_text())
    defaults = model.defaults
    assert defaults.top_k == (file.get("top_k", 0) if file.get("do_sample") else 0)
    assert defaults.temperature == (file.get("temperature", 1.0) if file.get("do_sample") else 0.0)
    same = [
        model.generate("hello", seed=5),
        model.generate("hello", config=defaults, seed=5),
    ]
    assert same[0].tokens == same[1].tokens


def test_a_device_that_is_not_there_is_refused(model: culet.Model) -> None:
    for device in ("cuda", "cuda:0", "cuda:7"):
        with pytest.raises(culet.UnsupportedError, match=f'device is "{device}"'):
            culet.Model(model.info.path, device=device)
        with pytest.raises(culet.UnsupportedError, match=device):
            culet.memory_plan(model.info.path, device=device)
    assert model.info.device == "cpu"


def test_overrides_reach_the_config(model: culet.Model) -> None:
    with culet.Model(model.info.path, overrides={"text_config.sliding_window": 32}) as other:
        assert other.info.window == 32
    config = ModelConfig(overrides={"text_config.sliding_window": 32})
    assert dataclasses.replace(config, threads=1).overrides == config.overrides
    with culet.Model(model.info.path, config=config) as other:
        assert other.info.window == 32
