"""The same work in one process and one loop: step, act, learn; no actors, no wire. A reference.

    python -m benchmarks.loop --env CartPole-v1 --envs 16 --counts FILE

uses the library's environments, policy, loss and optimizer, and writes its own loop around them.
"""

from __future__ import annotations

import time

import click
import numpy as np
import torch

from actorrl.algorithms.impala import IMPALAConfig, IMPALAUpdate, make_policy
from actorrl.data import columns as c
from actorrl.envs.check import check_env
from actorrl.envs.vector import make_vector
from actorrl.rollouts.collector import Collector

_NOT_LEARNED = (c.ACTION_DIST_INPUTS, c.VF_PREDS)


@click.command()
@click.option("--env", required=True)
@click.option("--envs", default=16)
@click.option("--rows", default=32)
@click.option("--threads", default=2)
@click.option("--counts", required=True, type=click.Path())
def main(env: str, envs: int, rows: int, threads: int, counts: str) -> None:
    """Train IMPALA's update on the newest fragment, for ever."""
    torch.set_num_threads(threads)
    info = check_env(env, {})
    config = IMPALAConfig()
    vector = make_vector(info.env, {}, envs, worker_index=0, num_workers=1, seed=1)
    policy = make_policy(config, info, 1, np.arange(envs))
    collector = Collector(vector, policy, rows, first_env_index=0)
    update = IMPALAUpdate(config, info, 1, "cpu")
    started, steps = time.monotonic(), 0
    written = started
    while True:
        fragment = collector.collect()
        columns = {k: v for k, v in fragment.columns.items() if k not in _NOT_LEARNED}
        steps += fragment.num_env_steps
        update({name: torch.from_numpy(array) for name, array in columns.items()}, steps)
        policy.load_flat(update.policy.flat_weights(), fragment.policy_version + 1)
        now = time.monotonic()
        if now - written > 0.5:
            written = now
            with open(counts, "a") as file:
                file.write(f"{now - started} {steps}\n")


if __name__ == "__main__":
    main()
