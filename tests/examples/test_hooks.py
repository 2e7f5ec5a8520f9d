"""The five hooks of RLlib: model, environment, action distribution, policy, sample collection. An
example for each, of less than 80 lines, which learns."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import ModuleType

import pytest

from actorrl.examples import (
    custom_action_distribution,
    custom_environment,
    custom_model,
    custom_policy,
    custom_sampling,
)

HOOKS = [
    custom_action_distribution,
    custom_environment,
    custom_model,
    custom_policy,
    custom_sampling,
]


@pytest.mark.parametrize("example", HOOKS)
def test_an_example_has_less_than_80_lines_and_says_how_it_is_run(example: ModuleType) -> None:
    source = inspect.getsource(example)
    assert len(source.splitlines()) < 80 and f"python -m {example.__name__}\n" in source


def test_ones_own_environment_is_learned(tmp_path: Path) -> None:
    """Straight on is .5, a random walk pays less than -1.5."""
    assert custom_environment.train(results=tmp_path) > 0.3


def test_ones_own_model_learns(tmp_path: Path) -> None:
    assert custom_model.train(results=tmp_path) > 0.3


def test_ones_own_action_distribution_learns_and_goes_on_slipping(tmp_path: Path) -> None:
    assert 0.3 < custom_action_distribution.train(results=tmp_path) < 0.5


def test_ones_own_rewards_are_learned_from_and_the_environments_are_reported(
    tmp_path: Path,
) -> None:
    """12 cells: straight on is -.2, and 40 steps without arriving -4."""
    result = custom_sampling.train(results=tmp_path)
    assert -1.0 < result["episode_reward_mean"] <= -0.2 + 1e-6
    assert "hints_mean" in result["custom_metrics"]


def test_ones_own_policy_trains_cartpole_to_150(tmp_path: Path) -> None:
    assert custom_policy.train(until=150.0, results=tmp_path) >= 150.0
