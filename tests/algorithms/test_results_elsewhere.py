"""What RLlib's users pass beside the config: logger_creator, upload_dir, env before config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from actorrl.algorithms import ppo


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
