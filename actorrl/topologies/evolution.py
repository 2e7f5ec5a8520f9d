"""Evolution: the learner hands out seeds, workers play them and answer with returns (ES, ARS).

              samples (asked: seeds, answered: returns)
  rollout/0..N  <================================>  learner/0
        ^                                              |
        '-------------------  weights  ----------------'

samples   request, `IN_FLIGHT` open per worker: its own share of the round and, when another has
          died, that one's. Full: the learner waits. Messages do not grow with the network.
weights   state. Never full: the newest version, published before the next request.
metrics   report to the driver. Full: dropped and counted.
"""

from __future__ import annotations

from actorrl.roles.evolution_learner import EvolutionLearner
from actorrl.roles.evolution_worker import EvolutionWorker
from actorrl.roles.settings import LearnerSettings, MakePolicy, WorkerSettings
from actorrl.runtime.program import Program, Report, Request, State
from actorrl.runtime.refs import DRIVER

IN_FLIGHT = 2  # an answer holds its place until the round ends
PRELOAD = ("actorrl.roles.evolution_worker", "actorrl.roles.evolution_learner")


def build(
    name: str,
    workers: WorkerSettings,
    learner: LearnerSettings,
    make_policy: MakePolicy,
    noise_stddev: float,
    num_plain: int,
) -> Program:
    """`num_plain`: episodes of the unchanged policy that each worker plays in a round."""
    program = Program(name, PRELOAD)
    learner_ref = program.add(
        "learner", EvolutionLearner, learner, workers.seed, gpu=learner.num_gpus
    )
    rollouts = program.add_group(
        "rollout",
        EvolutionWorker,
        workers,
        make_policy,
        noise_stddev,
        num_plain,
        count=workers.num_workers,
    )
    program.link("samples", Request(IN_FLIGHT), learner_ref, rollouts)
    program.link("weights", State(), learner_ref, rollouts)
    program.link("metrics", Report(), rollouts, DRIVER)
    return program
