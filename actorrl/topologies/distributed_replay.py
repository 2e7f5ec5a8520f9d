"""Distributed prioritized replay: workers fill shards, the learner asks them for batches (Ape-X).

                 samples                   replay (asked)
  rollout/0..N ===========>  replay/0..M  <==============>  learner/0
        ^                       |   ^                        |  |
        |                inserts '---+------------------------>  |
        |                           '------- priorities ---------|
        '------------------------ weights -----------------------'

samples    stream, `SAMPLES_CREDIT` in flight per worker and shard. Full (or the shard is ahead of
           the learner): the worker waits.
replay     request, `PREFETCH` open in all. Full: the learner asks no more. A shard answers when
           the ratio of samples to inserts allows.
priorities stream, `PRIORITIES_CREDIT` in flight per shard. Full: the oldest are dropped, counted.
inserts    stream of counts, 1 in flight per shard. Full: summed up until there is credit.
weights    state. Never full: workers load the newest version between two fragments.
metrics    report to the driver. Full: dropped and counted.
"""

from __future__ import annotations

from actorrl.policies.exploration import PiecewiseSchedule
from actorrl.roles.replay_learner import ReplayLearner
from actorrl.roles.replay_shard import ReplayShard, ShardSettings
from actorrl.roles.rollout_worker import RolloutWorker
from actorrl.roles.settings import LearnerSettings, MakePolicy, MakePostprocess, WorkerSettings
from actorrl.runtime.program import Program, Report, Request, State, Stream
from actorrl.runtime.refs import DRIVER

SAMPLES_CREDIT = 2
PREFETCH = 2  # batches being gathered or waiting while one is learned from; each 29 MB on Atari
PRIORITIES_CREDIT = 16
PRELOAD = (
    "actorrl.roles.rollout_worker",
    "actorrl.roles.replay_shard",
    "actorrl.roles.replay_learner",
)


def build(
    name: str,
    workers: WorkerSettings,
    learner: LearnerSettings,
    shard: ShardSettings,
    num_shards: int,
    make_policy: MakePolicy,
    make_postprocess: MakePostprocess,
    beta: PiecewiseSchedule,
) -> Program:
    program = Program(name, PRELOAD)
    shards = program.add_group("replay", ReplayShard, shard, count=num_shards, cpu=0.2)
    learner_ref = program.add(
        "learner", ReplayLearner, learner, beta, PREFETCH, shard.seed, gpu=learner.num_gpus
    )
    rollouts = program.add_group(
        "rollout",
        RolloutWorker,
        workers,
        make_policy,
        make_postprocess,
        count=workers.num_workers,
    )
    program.link("samples", Stream(SAMPLES_CREDIT, full="wait"), rollouts, shards)
    program.link("replay", Request(PREFETCH), learner_ref, shards)
    program.link("priorities", Stream(PRIORITIES_CREDIT, full="drop_oldest"), learner_ref, shards)
    program.link("inserts", Stream(1, full="drop_oldest"), shards, learner_ref)
    program.link("weights", State(), learner_ref, rollouts)
    program.link("metrics", Report(), rollouts, DRIVER)
    return program
