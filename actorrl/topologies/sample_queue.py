"""A stream of fragments: workers sample without pause, the learner takes what comes (IMPALA).

                   samples
  rollout/0..N  ============>  learner/0
        ^                         |
        '--------- weights -------'

samples   stream, `CREDIT` fragments in flight per worker. Full: the worker waits.
weights   state. Never full: workers load the newest version between two fragments.
metrics   report to the driver. Full: dropped and counted.
"""

from __future__ import annotations

from actorrl.roles.queue_learner import QueueLearner
from actorrl.roles.rollout_worker import RolloutWorker
from actorrl.roles.settings import LearnerSettings, MakePolicy, MakePostprocess, WorkerSettings
from actorrl.runtime.program import Program, Report, State, Stream
from actorrl.runtime.refs import DRIVER

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
    learner_ref = program.add("learner", QueueLearner, learner, gpu=learner.num_gpus)
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
