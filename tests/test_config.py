"""Settings from text: conversion, all mistakes at once, and the words they are told in."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta

from actorrl.config import (
    Config,
    accepted,
    apply,
    did_you_mean,
    nearest,
    to_plain,
)


class Inner(Config):
    ALIASES: ClassVar[dict[str, str]] = {"hiddens": "fcnet_hiddens"}
    fcnet_hiddens: Annotated[list[int], Meta(description="layer sizes")] = msgspec.field(
        default_factory=lambda: [64, 64]
    )
    use_lstm: Annotated[bool, Meta(description="add an LSTM")] = False


class Settings(Config):
    ALIASES: ClassVar[dict[str, str]] = {"num_rollout_workers": "num_workers"}
    num_workers: Annotated[int, Meta(ge=0, description="processes")] = 1
    lr: Annotated[float, Meta(gt=0, le=1, description="step", extra={"unit": "1/update"})] = 1e-3
    seed: Annotated[int, Meta(ge=0, description="random seed")] | None = None
    autoreset: Literal["next_step", "same_step"] = "next_step"
    env_config: dict[str, Any] = {}
    env: Any = None
    model: Inner = msgspec.field(default_factory=Inner)


def test_good_values_are_converted_and_set() -> None:
    settings = Settings()
    values = {
        "num_workers": 4.0,
        "lr": "1e-4",
        "seed": "7",
        "autoreset": "same_step",
        "env": Inner,
        "env_config": {"size": 3},
        "model": {"fcnet_hiddens": (32,)},
    }
    assert apply(settings, values) == []
    assert settings.num_workers == 4 and isinstance(settings.num_workers, int)
    assert settings.lr == 1e-4
    assert settings.seed == 7
    assert settings.env is Inner
    assert settings.model.fcnet_hiddens == [32]
    assert settings.model.use_lstm is False, "a mapping changes only the keys that it names"
    assert apply(settings, {"lr": np.float64(0.5), "num_workers": np.int32(2)}) == []
    assert (settings.lr, settings.num_workers) == (0.5, 2) and type(settings.lr) is float


def test_dotted_keys_reach_into_settings_and_mappings() -> None:
    settings = Settings(env_config={"a": 1})
    values = {"model.use_lstm": "true", "model.hiddens": [8], "env_config.b.c": 2}
    assert apply(settings, values) == []
    assert settings.model == Inner(fcnet_hiddens=[8], use_lstm=True)
    assert settings.env_config == {"a": 1, "b": {"c": 2}}


def test_aliases_set_the_field_and_errors_use_the_spelling_of_the_user() -> None:
    settings = Settings()
    assert apply(settings, {"num_rollout_workers": 3}) == []
    assert settings.num_workers == 3
    assert apply(settings, {"num_rollout_workers": -1}) == [
        "num_rollout_workers: -1 is not accepted, expected a whole number >= 0"
    ]


def test_all_mistakes_come_back_at_once_and_good_values_are_kept() -> None:
    settings = Settings()
    values = {
        "num_workerz": 2,
        "lr": 0,
        "autoreset": "nextstep",
        "seed": 1.5,
        "model": {"use_lstn": True},
        "model.fcnet_hiddens": ["a"],
        "num_workers": 5,
        "lr.x": 1,
        "qqqqq": 1,
    }
    assert apply(settings, values) == [
        "num_workerz: unknown setting, did you mean 'num_workers'?",
        "lr: 0 is not accepted, expected a number > 0 and <= 1",
        "autoreset: 'nextstep' is not accepted, expected 'next_step' or 'same_step', "
        "did you mean 'next_step'?",
        "seed: 1.5 is not accepted, expected a whole number >= 0 or null",
        "model.use_lstn: unknown setting, did you mean 'use_lstm'?",
        "model.fcnet_hiddens: ['a'] is not accepted, expected a list of [a whole number]",
        "lr.x: 'lr' has no settings inside, expected a number > 0 and <= 1",
        "qqqqq: unknown setting, `actorrl config ALGO` lists the accepted ones",
    ]
    assert settings.num_workers == 5


@pytest.mark.parametrize("value", [math.nan, "nan", True, None, [], "fast"])
def test_what_is_no_number_is_refused(value: object) -> None:
    settings = Settings()
    assert len(apply(settings, {"lr": value})) == 1
    assert settings.lr == 1e-3


def test_a_scalar_for_nested_settings_is_refused() -> None:
    assert apply(Settings(), {"model": 3}) == [
        "model: 3 is not accepted, expected a mapping of settings"
    ]


def test_origin_goes_before_every_key() -> None:
    assert apply(Inner(), {"x": 1}, origin="model.")[0].startswith("model.x: ")


@settings(deadline=None)
@given(st.dictionaries(st.text(), st.one_of(st.none(), st.integers(), st.text(), st.floats())))
def test_no_input_makes_apply_raise(values: dict[str, Any]) -> None:
    for line in apply(Settings(), values):
        assert ": " in line


def test_the_word_meant_is_found_without_regard_to_case() -> None:
    assert nearest("apx", ["APEX", "A3C"]) == "APEX"
    assert did_you_mean("PP0", ["PPO", "APPO"]) == ", did you mean 'PPO'?"
    assert did_you_mean("zzz", ["PPO"]) == ""


def test_accepted_names_types_in_words() -> None:
    assert accepted(tuple[int, ...]) == "a list of [a whole number, ...]"
    assert accepted(float | Literal["auto"]) == "a number or 'auto'"
    assert accepted(dict[str, int]) == "a mapping"


def test_plain_settings_hold_no_objects() -> None:
    plain = to_plain(Settings(env=Inner, env_config={"a": np.float32(0.5), "b": np.arange(2)}))
    assert plain["env"] == f"{Inner.__module__}:Inner"
    assert plain["env_config"] == {"a": 0.5, "b": [0, 1]}
    assert plain["model"] == {"fcnet_hiddens": [64, 64], "use_lstm": False}
