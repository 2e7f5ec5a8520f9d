"""Local replay: rounds of rows from all workers into the learner's own buffer, then updates.

                  samples (asked)
  rollout/0..N  <================>  learner/0 (with the buffer)
        ^                              |
        '-----------  weights  --------'

samples   request, `IN_FLIGHT` open per worker: its own share of the round and, when another has
          died, that one's. Full: the learner waits.
weights   state. Never full: the newest version, published before the next request.
metrics   report to the driver. Full: dropped and counted.
"""

from __future__ import annotations

import dataclasses
import math

from actorrl.roles.local_replay_learner import LocalReplayLearner, LocalReplaySettings
from actorrl.roles.rollout_worker import RolloutWorker
from actorrl.roles.settings import LearnerSettings, MakePolicy, MakePostprocess, WorkerSettings
from actorrl.runtime.program import Program, Report, Request, State
from actorrl.runtime.refs import DRIVER

IN_FLIGHT = 2  # an answer holds its place until the round ends
ITERATION_ENV_STEPS = 1000
PRELOAD = ("actorrl.roles.rollout_worker", "actorrl.roles.local_replay_learner")


def build(
    name: str,
    workers: WorkerSettings,
    learner: LearnerSettings,
    replay: LocalReplaySettings,
    make_policy: MakePolicy,
    make_postprocess: MakePostprocess,
) -> Program:
    program = Program(name, PRELOAD)
    # Published once a round, not after each of its updates: nobody would act with those.
    learner = dataclasses.replace(learner, min_publish_interval_s=math.inf)
    learner_ref = program.add("learner", LocalReplayLearner, learner, replay, gpu=learner.num_gpus)
    rollouts = program.add_group(
        "rollout",
        RolloutWorker,
        workers,
        make_policy,
        make_postprocess,
        count=workers.num_workers,
    )
    program.link("samples", Request(IN_FLIGHT), learner_ref, rollouts)
    program.link("weights", State(), learner_ref, rollouts)
    program.link("metrics", Report(), rollouts, DRIVER)
    return program


def iteration(config: object) -> dict[str, float]:
    """What one `train()` is: so many env steps, with the updates that belong to them."""
    return {"min_updates": 0, "min_env_steps": ITERATION_ENV_STEPS, "min_time_s": 0.0}
