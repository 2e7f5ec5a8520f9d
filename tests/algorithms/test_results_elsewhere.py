"""What RLlib's users pass beside the config: logger_creator, upload_dir, env before config."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from gymnasium.envs.classic_control import CartPoleEnv

from actorrl.algorithms import ppo
from actorrl.errors import ConfigError


class Rows:
    """RLlib's Logger, as far as it is called."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings, self.rows, self.closed = settings, [], False

    def on_result(self, row: dict[str, Any]) -> None:
        self.rows.append(row)

    def close(self) -> None:
        self.closed = True


def test_results_reach_the_users_logger_and_the_folder_its_copy(tmp_path: Path) -> None:
    config = ppo.DEFAULT_CONFIG.copy()
    config.update({"num_workers": 0, "train_batch_size": 200, "num_envs_per_worker": 2})
    made: list[Rows] = []

    def logger_creator(settings: dict[str, Any]) -> Rows:
        made.append(Rows(settings))
        return made[-1]

    algo = ppo.PPOAgent(
        "CartPole-v1",
        config,
        name="run",
        results=tmp_path / "here",
        logger_creator=logger_creator,
        upload_dir=tmp_path / "there",
    )
    result = algo.train()
    checkpoint = algo.save()
    assert algo.logdir == str(tmp_path / "here" / "run")
    algo.stop()
    (rows,) = made
    assert rows.settings["train_batch_size"] == 200 and rows.closed
    assert [row["timesteps_total"] for row in rows.rows] == [result["timesteps_total"]]
    copy = tmp_path / "there" / "run"
    assert (copy / "checkpoints" / Path(checkpoint).name / "manifest.json").is_file()
    assert (copy / "result.json").read_text().count("\n") == 1
    assert '"state": "stopped"' in (copy / "status.json").read_text().replace('":"', '": "')


def test_loggers_may_be_functions(tmp_path: Path) -> None:
    config = ppo.PPOConfig().environment("CartPole-v1").rollouts(num_workers=0)
    config.rollouts(num_envs_per_worker=2).training(train_batch_size=200)
    rows: list[dict[str, Any]] = []
    kept = Rows({})
    with config.build(results=tmp_path, name="run", loggers=[rows.append, kept]) as algo:
        result = algo.train()
    assert [row["timesteps_total"] for row in rows] == [result["timesteps_total"]]
    assert len(kept.rows) == 1 and kept.closed


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"logger_creator": 5}, "logger_creator: 5 is no function of the settings"),
        ({"logger_creator": lambda settings: None}, "loggers: None takes no results, accepted are"),
        ({"loggers": [print, "log"]}, "loggers: 'log' takes no results, accepted are"),
        ({"upload_dir": 5}, "upload_dir: 5, accepted are a folder, host:path, "),
    ],
)
def test_what_results_cannot_go_to_is_refused_before_anything_is_made(
    wrong: dict[str, Any], said: str, tmp_path: Path
) -> None:
    config = ppo.PPOConfig().environment("CartPole-v1").rollouts(num_workers=0)
    with pytest.raises(ConfigError, match=said):
        config.build(results=tmp_path, **wrong)
    assert list(tmp_path.iterdir()) == []


class Wanderer(CartPoleEnv):
    """Goes to another directory."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        os.chdir(config["to"])


def test_an_environment_that_goes_elsewhere_does_not_take_the_results_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    config = ppo.PPOConfig().environment(Wanderer, env_config={"to": str(tmp_path / "elsewhere")})
    config.rollouts(num_workers=0, num_envs_per_worker=2).training(train_batch_size=100)
    with config.build(results="results", name="run") as algo:
        algo.train()
        algo.save()
    assert (tmp_path / "results" / "run" / "result.json").exists()
    assert list((tmp_path / "elsewhere").iterdir()) == []
