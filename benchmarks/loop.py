"""The same work in one process and one loop: step, act, learn; no actors, no wire. A reference.

    python -m benchmarks.loop --env CartPole-v1 --workers 2 --envs 8 --counts FILE

uses the library's environments, policy, loss and optimizer, and writes its own loop around them. It
acts and learns on arrays of the same shapes as a run of so many workers: a fragment of each is a
batch.
"""

from __future__ import annotations

import time

import click
import numpy as np
import torch

from actorrl.algorithms.impala import IMPALAConfig, IMPALAUpdate, make_policy
from actorrl.envs.check import check_env
from actorrl.envs.vector import make_vector
from actorrl.roles.batch import FragmentBatch
from actorrl.rollouts.collector import Collector


@click.command()
@click.option("--env", required=True)
@click.option("--workers", default=2)
@click.option("--envs", default=8, help="of each worker")
@click.option("--rows", default=50, help="of a fragment")
@click.option("--counts", required=True, type=click.Path())
def main(env: str, workers: int, envs: int, rows: int, counts: str) -> None:
    """Train IMPALA's update on the newest fragments, for ever."""
    torch.set_num_threads(1)
    info = check_env(env, {})
    config = IMPALAConfig()
    policies, collectors = [], []
    for index in range(workers):
        vector = make_vector(info.env, {}, envs, worker_index=index, num_workers=workers, seed=1)
        first = index * envs
        policies.append(make_policy(config, info, 1, np.arange(envs) + first))
        collectors.append(Collector(vector, policies[-1], rows, first_env_index=first))
    update = IMPALAUpdate(config, info, 1, "cpu")
    batch = FragmentBatch()
    started, steps = time.monotonic(), 0
    written = started
    while True:
        for collector in collectors:
            fragment = collector.collect(unread=config.unread)
            batch.add(fragment.flat_columns(), fragment.num_env_steps)
            steps += fragment.num_env_steps
        update(batch.tensors(), steps)
        batch.clear()
        for policy in policies:
            policy.load_flat(update.policy.weights_in_place(), steps)
        now = time.monotonic()
        if now - written > 0.5:
            written = now
            with open(counts, "a") as file:
                file.write(f"{now - started} {steps} nan\n")


if __name__ == "__main__":
    main()
