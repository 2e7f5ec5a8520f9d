"""What `actorrl config ALGO` tells of settings."""

from __future__ import annotations

import json
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from actorrl.algorithms.registry import algorithm_class, names
from actorrl.cli import rllib_defaults
from actorrl.cli.config_table import describe
from actorrl.cli.main import run
from actorrl.config import Config


class Inner(Config):
    hiddens: Annotated[list[int], Meta(description="layer sizes")] = msgspec.field(
        default_factory=lambda: [64, 64]
    )


class Settings(Config):
    num_workers: Annotated[int, Meta(ge=0, description="processes")] = 1
    lr: Annotated[float, Meta(gt=0, le=1, description="step", extra={"unit": "1/update"})] = 1e-3
    seed: Annotated[int, Meta(ge=0, description="random seed")] | None = None
    model: Inner = msgspec.field(default_factory=Inner)


def test_every_setting_is_there_with_unit_and_rllibs_default() -> None:
    rllib = {"num_workers": 2, "lr": 1e-3, "model.hiddens": [256, 256]}
    rows = {row.key: row for row in describe(Settings, rllib)}
    assert list(rows) == ["num_workers", "lr", "seed", "model.hiddens"]
    assert rows["num_workers"].rllib == 2 and rows["num_workers"].differs_from_rllib
    assert rows["lr"].unit == "1/update" and not rows["lr"].differs_from_rllib
    assert rows["seed"].description == "random seed"
    assert rows["seed"].rllib is None and not rows["seed"].differs_from_rllib
    assert rows["model.hiddens"].default == [64, 64] and rows["model.hiddens"].differs_from_rllib


@pytest.mark.parametrize("name", names())
def test_no_setting_is_without_a_description(name: str) -> None:
    rows = describe(algorithm_class(name).config_class, {})
    assert [row.key for row in rows if not row.description] == []


def test_rllibs_defaults_are_of_settings_that_there_are_and_of_all_algorithms() -> None:
    assert set(rllib_defaults.OF_ALGORITHMS) == set(names())
    classes = [algorithm_class(name).config_class for name in names()]
    keys = {row.key for cls in classes for row in describe(cls, {})}
    for of_algorithm in (rllib_defaults.ALL, *rllib_defaults.OF_ALGORITHMS.values()):
        assert of_algorithm.keys() <= keys


# algorithm -> settings with what RLlib 2.6.3 has in their place, or None where it has the same
@pytest.mark.parametrize(
    ("algo", "expected"),
    [
        ("PPO", {"lambda_": [1.0], "grad_clip": [None], "entropy_coeff": None, "num_workers": [2]}),
        ("TD3", {"train_batch_size": [100], "replay_capacity": [1_000_000], "tau": None}),
        ("APEX_DDPG", {"train_batch_size": [512], "learning_starts": [50_000], "n_step": None}),
        ("SAC", {"evaluation_explore": [True], "gamma": None}),
    ],
)
def test_each_algorithm_is_set_against_its_own_in_rllib(
    algo: str, expected: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["config", algo, "--json"]) == 0
    told = {row["key"]: row for row in json.loads(capsys.readouterr().out)}
    found = {key: [told[key]["rllib"]] if "rllib" in told[key] else None for key in expected}
    assert found == expected


def test_an_algorithm_of_the_users_own_has_those_of_what_it_derives_from() -> None:
    ppo = algorithm_class("PPO")
    assert rllib_defaults.of(type("Mine", (ppo,), {})) == rllib_defaults.of(ppo)
    assert rllib_defaults.of(algorithm_class("actorrl.algorithms.built:BuiltTrainer")) == {}
