"""What a run says of itself agrees with who has counted every step and every update in files of
their own: whatever was killed, what is not in the totals is in the events, to the last one.

What the dead had begun and told nobody of is bounded: an unfinished fragment per worker, one update
per learner.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from actorrl.algorithms.apex_dqn import APEX, APEXConfig
from actorrl.algorithms.impala import IMPALA, IMPALAConfig, IMPALAUpdate, make_policy
from actorrl.algorithms.impala import make_postprocess as make_fragments
from actorrl.experiment.run_folder import RunFolder
from actorrl.topologies import sample_queue

ROWS, ENVS, WORKERS, N_STEP = 10, 2, 2, 3
UNFINISHED = ROWS * ENVS  # steps of a fragment
pytestmark = pytest.mark.timeout(400)
PATIENCE_S = 90.0
REPORTED_S = 1.0  # by which a shard has told its learner what it holds


def note(folder: str, what: str) -> None:
    """One byte, in the file when this returns, whoever is killed afterwards."""
    fd = os.open(Path(folder) / what, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, b".")
    os.close(fd)


def noted(folder: Path, what: str) -> int:
    return (folder / what).stat().st_size


class CountedEnv(gym.Env):
    """Notes each step in `folder`, once one is told."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, config):
        self.folder = config["folder"]
        self.is_played = config.worker_index > 0

    def reset(self, *, seed=None, options=None):
        self.age = 0
        return np.zeros(3, np.float32), {}

    def step(self, action):
        if self.is_played:
            note(self.folder, "steps")
        self.age += 1
        return np.ones(3, np.float32), 1.0, self.age == 17, False, {}


class CountedUpdate(IMPALAUpdate):
    """Notes each update in the environments' folder."""

    def __call__(self, batch, timesteps):
        metrics = super().__call__(batch, timesteps)
        note(self._config.env_config["folder"], "updates")
        return metrics


class CountedIMPALA(IMPALA):
    @staticmethod
    def program(config, setup):
        return sample_queue.build(
            "IMPALA",
            setup.workers(config),
            setup.learner(config, setup.update(config, CountedUpdate)),
            setup.acting(config, make_policy),
            setup.postprocess(config, make_fragments),
        )


CONFIGS = {"IMPALA": (CountedIMPALA, IMPALAConfig), "APEX": (APEX, APEXConfig)}
# of each algorithm, one after the other
VICTIMS = {
    "IMPALA": [["rollout/0"], ["learner/0"], ["rollout/0", "rollout/1"], ["learner/0"]],
    "APEX": [["replay/0"], ["rollout/1"], ["replay/0", "replay/1"], ["learner/0", "replay/0"]],
}


def build(name: str, home: Path) -> Any:
    (home / "noted").mkdir()
    cls, config_class = CONFIGS[name]
    config = config_class().environment(CountedEnv, env_config={"folder": str(home / "noted")})
    config.rollouts(
        num_workers=WORKERS, num_envs_per_worker=ENVS, rollout_fragment_length=ROWS
    ).training(train_batch_size=40)
    if name == "APEX":
        config.training(n_step=N_STEP, learning_starts=100, num_replay_shards=2)
    config.reporting(min_time_s_per_iteration=0.05)
    return cls(config, results=home / "results", name="run")


def kill(algo: Any, victims: list[str]) -> dict[str, Any]:
    """And train until their successors are at work; the last row."""
    actors = {row["name"]: row for row in algo.status()}
    for victim in victims:
        os.kill(actors[victim]["pid"], signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        row: dict[str, Any] = algo.train(stay=True)
        now = {row["name"]: row for row in algo.status()}
        if all(now[v]["incarnation"] > actors[v]["incarnation"] for v in victims) and all(
            each["state"] in ("ready", "up") for each in now.values()
        ):
            return row
        assert time.monotonic() < deadline, now


def sum_of(events: list[dict[str, Any]], kind: str, key: str) -> int:
    found = [event for event in events if event["kind"] == kind]
    assert all(event["exact"] for event in found)
    return sum(event[key] for event in found)


@pytest.mark.parametrize("name", ["IMPALA", pytest.param("APEX", marks=pytest.mark.slow)])
def test_steps_rows_and_updates_are_in_the_totals_or_told_as_lost(name, tmp_path):
    with build(name, tmp_path) as algo:
        for _ in range(3):
            algo.train(stay=True)
        for victims in VICTIMS[name]:
            kill(algo, victims)
            for _ in range(3):
                algo.train(stay=True)
        before = noted(tmp_path / "noted", "steps")
        moment = time.monotonic()
        while time.monotonic() < moment + REPORTED_S:
            algo.train(stay=True)
        row = algo.train()  # and no step more once the credit is used up
        in_flight = algo._run.cluster.program.in_flight_at_most([f"rollout/{i}" for i in range(2)])
    events = RunFolder.open(tmp_path / "results" / "run").read_events()
    deaths = [victim for victims in VICTIMS[name] for victim in victims]
    begun = UNFINISHED * (WORKERS + sum("rollout" in death for death in deaths))
    begun += UNFINISHED * in_flight
    steps = noted(tmp_path / "noted", "steps")
    told = row["timesteps_total"] + sum_of(events, "elements_lost", "rows")
    told += sum_of(events, "learner_recovered", "timesteps_lost")
    # a shard tells its learner now and then what it has taken in
    assert told <= steps and (steps if name == "IMPALA" else before) <= told + begun
    if name == "IMPALA":
        updates = noted(tmp_path / "noted", "updates")
        told = row["num_updates"] + sum_of(events, "learner_recovered", "updates_lost")
        assert told <= updates <= told + 2, "one per death of the learner"
    else:
        rows = row["info"]["learner"]["replay_size"] + sum_of(events, "rows_lost", "rows")
        on_their_way = [event for event in events if event.get("link") == "samples"]
        rows += sum_of(on_their_way, "elements_lost", "rows")
        tails = N_STEP * ENVS * (WORKERS + 1)
        assert rows <= steps and before <= rows + begun + tails
