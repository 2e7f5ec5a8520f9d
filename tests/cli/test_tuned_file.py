"""RLlib's tuned-example form, from files and packaged examples."""

from __future__ import annotations

from pathlib import Path

import pytest

from actorrl.algorithms.registry import names
from actorrl.cli.tuned_file import example_names, read_tuned_file
from actorrl.errors import ConfigError

GOOD = """
cartpole-apex:
    run: APEX
    env: CartPole-v1
    stop:
        episode_reward_mean: 475
        timesteps_total: 1e6
    config:
        framework: torch
        lr: 5e-4
    checkpoint_freq: 10
    checkpoint_at_end: true
    pass: {measure: training, at_least: 475}
"""


def write(folder: Path, text: str) -> str:
    path = folder / "tuned.yaml"
    path.write_text(text)
    return str(path)


def test_an_experiment_is_read(tmp_path: Path) -> None:
    tuned = read_tuned_file(write(tmp_path, GOOD))
    assert (tuned.title, tuned.algo, tuned.env) == ("cartpole-apex", "APEX", "CartPole-v1")
    assert tuned.stop == {"episode_reward_mean": 475, "timesteps_total": 1e6}
    assert tuned.config == {"framework": "torch", "lr": 5e-4}
    assert tuned.checkpoint_freq == 10
    assert tuned.criterion == {"measure": "training", "at_least": 475}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: {run: APEX, envs: X}", ["envs: unknown entry of an experiment, did you mean 'env'?"]),
        ("a: {run: 3, stop: 5}", ["stop: 5 is not accepted", "run: 3 is not accepted"]),
        ("a: {run: APEX}\nb: {run: APEX}", ["-f: "]),
        ("a: APEX", ["a: 'APEX' is not accepted"]),
        ("a: {run: APEX, num_samples: 4}", ["num_samples: one run per command"]),
        ("a: {run: APEX, pass: 475}", ["pass: 475 is not accepted, expected measure"]),
        ("a: {pass: {measure: greedy, atleast: 4}}", ["pass: {'measure': 'greedy'"]),
        ("a: {checkpoint_freq: true}", ["checkpoint_freq: True is not accepted, expected int"]),
    ],
)
def test_mistakes_are_named_together(tmp_path: Path, text: str, expected: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read_tuned_file(write(tmp_path, text))
    assert len(caught.value.messages) == len(expected)
    for message, start in zip(caught.value.messages, expected, strict=True):
        assert message.startswith(start)


def test_a_negative_number_of_iterations_between_checkpoints_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^checkpoint_freq: -1 is not accepted"):
        read_tuned_file(write(tmp_path, "x: {run: PPO, checkpoint_freq: -1}"))


def test_a_name_that_is_neither_file_nor_example_is_told() -> None:
    with pytest.raises(ConfigError, match=r"no file and no example called 'cartpol\.yaml'"):
        read_tuned_file("cartpol.yaml")


@pytest.mark.parametrize("name", example_names())
def test_packaged_examples_are_well_formed_and_say_when_they_pass(name: str) -> None:
    tuned = read_tuned_file(name)
    assert tuned.algo is not None and tuned.criterion
    assert {"timesteps_total", "num_updates"} & set(tuned.stop), "it ends at some time"


def test_every_algorithm_has_a_packaged_example() -> None:
    assert {str(read_tuned_file(name).algo) for name in example_names()} == set(names())
