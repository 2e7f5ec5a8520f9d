"""A corridor whose states look alike: the best there is to learn is a coin of the right weight."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from actorrl.algorithms.a2c import A2CConfig
from actorrl.data import columns as c


def expected_return(right: float) -> float:
    """Of a policy that goes right with this probability: minus the expected steps to the goal.
    The optimum is -11.66 at .59; a fair coin gets -12, and who always does the same never ends."""
    left = 1.0 - right
    steps_on = np.array([[left, right, 0.0], [right, 0.0, left], [0.0, left, 0.0]])
    return -float(np.linalg.solve(np.eye(3) - steps_on, np.ones(3))[0])


def test_a2c_learns_the_stochastic_optimum(tmp_path: Path) -> None:
    config = A2CConfig().environment("actorrl.testing.probe_envs:AliasedCorridor")
    config.rollouts(num_workers=0).debugging(seed=101).reporting(min_time_s_per_iteration=0.0)
    found = []
    with config.build(results=tmp_path, name="run") as algo:
        while (steps := algo.train(stay=True)["timesteps_total"]) < 60_000:
            if steps > 40_000:  # a mean over what the step size makes it wander
                logits = algo.get_policy().act(np.ones((1, 1))).extras[c.ACTION_DIST_INPUTS][0]
                found.append(1.0 / (1.0 + np.exp(logits[0] - logits[1])))
        played = algo.evaluate(episodes=300, explore=True)
    assert expected_return(float(np.mean(found))) > -11.8
    assert played["episode_reward_mean"] > -14.0
