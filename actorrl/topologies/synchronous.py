"""Synchronous sampling: the learner asks all workers, waits for all, learns, publishes.

                  samples (asked)
  rollout/0..N  <================>  learner/0
        ^                              |
        '-----------  weights  --------'

samples   request, `IN_FLIGHT` open per worker: its own share of the round and, when another has
          died, that one's. Full: the learner waits.
weights   state. Never full: the newest version, published before the next request.
metrics   report to the driver. Full: dropped and counted.

Where there are several learners, learner/0 shares its batches with the others (learners.py).
"""

from __future__ import annotations

from actorrl.roles.rollout_worker import RolloutWorker
from actorrl.roles.settings import LearnerSettings, MakePolicy, MakePostprocess, WorkerSettings
from actorrl.roles.synchronous_learner import SynchronousLearner
from actorrl.runtime.program import Program, Report, Request, State
from actorrl.runtime.refs import DRIVER
from actorrl.topologies.learners import add_learners

IN_FLIGHT = 2  # an answer holds its place until the round ends
PRELOAD = ("actorrl.roles.rollout_worker", "actorrl.roles.synchronous_learner")


def build(
    name: str,
    workers: WorkerSettings,
    learner: LearnerSettings,
    make_policy: MakePolicy,
    make_postprocess: MakePostprocess,
) -> Program:
    program = Program(name, PRELOAD)
    learner_ref = add_learners(program, SynchronousLearner, learner)
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
