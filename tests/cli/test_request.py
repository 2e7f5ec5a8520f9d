"""From flags and files to settings: all mistakes at once, under the names that the user wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from actorrl.cli.options import how_to_end, what_to_train
from actorrl.cli.request import Request, algorithm_name, read_request, read_stop
from actorrl.errors import ConfigError


def read(*words: str) -> Request:
    """`actorrl launch WORDS` up to the point where something would be started."""

    @click.command()
    @what_to_train
    @how_to_end
    def parse(**flags: Any) -> Request:
        return read_request(words, flags)

    request: Request = parse.main(args=list(words), standalone_mode=False)
    return request


def mistakes(*words: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(*words)
    return caught.value.messages


CARTPOLE = ("--algo", "APEX", "--env", "CartPole-v1")


def test_flags_become_settings() -> None:
    request = read(
        *("--run", "impala", "--env", "CartPole-v1", "--workers", "3", "--seed", "7", "--torch"),
        *("--config", '{"lr": 1e-3, "framework": "torch"}', "--set", "model.fcnet_hiddens=[8, 8]"),
        *("--stop", "timesteps_total=1e5", "--stop", '{"episode_reward_mean": 450}'),
    )
    assert request.algo == "IMPALA"
    config = request.config
    assert (config.env, config.num_workers, config.seed) == ("CartPole-v1", 3, 7)
    assert config.lr == 1e-3 and config.model.fcnet_hiddens == [8, 8]
    assert request.stop == {"timesteps_total": 1e5, "episode_reward_mean": 450}


def test_later_sources_win_over_earlier_ones(tmp_path: Path) -> None:
    path = tmp_path / "tuned.yaml"
    path.write_text(
        "x: {run: A3C, env: CartPole-v1, stop: {timesteps_total: 5},"
        " config: {lr: 0.1, gamma: 0.5, num_workers: 1, seed: 1}}"
    )
    request = read(
        *("-f", str(path), "--config", "{gamma: 0.6, num_workers: 2, seed: 2}"),
        *("--set", "num_workers=3", "--set", "seed=3", "--seed", "4", "--algo", "A2C"),
    )
    config = request.config
    assert request.algo == "A2C" and request.stop == {"timesteps_total": 5}
    assert (config.lr, config.gamma, config.num_workers, config.seed) == (0.1, 0.6, 3, 4)


def test_all_mistakes_are_told_at_once() -> None:
    lines = mistakes(
        *("--alg", "APEX", "--env=CartPol-v1", "--workers", "-1", "--set", "num_workerz=2"),
        *("--set", "lr=fast", "--set", "gamma", "--stop", "episode_reward_meen=3"),
        *("--framework", "tf", "--hosts", "a:x,b"),
    )
    assert lines == [
        "episode_reward_meen: unknown result key, did you mean 'episode_reward_mean'?",
        "gamma: no key and value found, expected key=value",
        "num_workerz: unknown setting, did you mean 'num_workers'?",
        "lr: 'fast' is not accepted, expected a number > 0",
        "--workers: -1 is not accepted, expected a whole number >= 0 or null",
        "--hosts: 'a:x,b': 'a:x': 'x' slots are not accepted, expected a whole number >= 1",
        "--framework: 'tf' is not accepted, expected 'torch'",
        "--env: unknown environment 'CartPol-v1', did you mean 'CartPole-v1'?",
    ]


def test_an_unknown_algorithm_does_not_hide_other_mistakes() -> None:
    lines = mistakes("--run", "APX", "--env", "Cart-v1", "--stop", "x=1", "--config", "none")
    assert lines[0].startswith("--run: unknown algorithm 'APX', did you mean 'APEX'? built are ")
    assert lines[1].startswith("x: unknown result key")
    assert lines[2].startswith("--config: cannot read 'none' (No such file or directory)")
    assert lines[3].startswith("--env: unknown environment 'Cart-v1'")


def test_names_of_algorithms_that_are_not_built_are_told_apart() -> None:
    assert algorithm_name("apex") == "APEX"
    with pytest.raises(ConfigError, match="unknown algorithm 'PP0', did you mean 'PPO'"):
        algorithm_name("PP0")
    with pytest.raises(ConfigError, match="marwil is not built yet, built are"):
        algorithm_name("marwil")


def test_algorithm_and_environment_have_to_be_named() -> None:
    assert mistakes()[0].startswith("--algo: missing, one of ")
    assert mistakes("--algo", "APEX") == [
        "--env: missing, expected an environment (`actorrl list envs`)"
    ]


def test_a_file_that_cannot_be_read_is_the_mistake_and_not_what_it_should_have_said() -> None:
    (line,) = mistakes("-f", "/nonexistent.yaml")
    assert line.startswith("-f: no file and no example called '/nonexistent.yaml'")
    assert [line.partition(":")[0] for line in mistakes("-f", "x.yaml", "--env", "y")] == [
        "-f", "--env"
    ]  # fmt: skip


def test_an_algorithm_of_ones_own_that_cannot_be_is_told_by_the_option() -> None:
    (line,) = mistakes("--run", "no_such_module:PPO", "--env", "CartPole-v1")
    assert line.startswith("--run: 'no_such_module:PPO' cannot be imported (No module named")


def test_the_environment_may_come_from_the_settings() -> None:
    assert read("--algo", "APEX", "--config", "{env: CartPole-v1}").config.env == "CartPole-v1"


def test_stop_takes_rllibs_json_and_refuses_nonsense() -> None:
    assert read_stop(['{"training_iteration": 3}', "a=1e-4"]) == {
        "training_iteration": 3,
        "a": 1e-4,
    }
    with pytest.raises(ConfigError) as caught:
        read_stop(["{a", "b"])
    assert len(caught.value.messages) == 2
