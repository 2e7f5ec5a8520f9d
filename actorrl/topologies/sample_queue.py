"""A stream of fragments: workers sample without pause, the learner takes what comes (IMPALA).

                   samples
  rollout/0..N  ============>  learner/0
        ^                         |
        '--------- weights -------'

samples   stream, `CREDIT` fragments in flight per worker. Full: the worker waits.
weights   state. Never full: workers load the newest version between two fragments.
metrics   report to the driver. Full: dropped and counted.

Where there are several learners, learner/0 shares its batches with the others (learners.py).
"""

from __future__ import annotations

from actorrl.roles.queue_learner import QueueLearner
from actorrl.roles.rollout_worker import RolloutWorker
from actorrl.roles.settings import LearnerSettings, MakePolicy, MakePostprocess, WorkerSettings
from actorrl.runtime.program import Program, Report, State, Stream
from actorrl.runtime.refs import DRIVER
from actorrl.topologies.learners import add_learners

CREDIT = 2  # one on its way while the next is being sampled; more only makes the data older
PRELOAD = ("actorrl.roles.rollout_worker", "actorrl.roles.queue_learner")


def build(
    name: str,
    workers: WorkerSettings,
    learner: LearnerSettings,
    make_policy: MakePolicy,
    make_postprocess: MakePostprocess,
) -> Program:
    program = Program(name, PRELOAD)
    learner_ref = add_learners(program, QueueLearner, learner)
    rollouts = program.add_group(
        "rollout",
        RolloutWorker,
        workers,
        make_policy,
        make_postprocess,
        count=workers.num_workers,
    )
    program.link("samples", Stream(CREDIT, full="wait"), rollouts, learner_ref)
    program.link("weights", State(), learner_ref, rollouts)
    program.link("metrics", Report(), rollouts, DRIVER)
    return program
