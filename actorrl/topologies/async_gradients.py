"""Asynchronous gradients: each worker differentiates its own fragment (A3C).

                   gradients
  rollout/0..N  =============>  learner/0 (the parameter server)
        ^                          |
        '---------- weights -------'

gradients stream, 1 in flight per worker. Full: the worker waits; the credit comes back when its
          gradient is applied and the weights are published, so it goes on from those; on another
          host from somewhat older ones, which its agent has brought by then.
weights   state. Never full: the newest version.
metrics   report to the driver. Full: dropped and counted.
"""

from __future__ import annotations

from actorrl.roles.gradient_worker import ComputeGradient, GradientWorker
from actorrl.roles.parameter_server import ParameterServer
from actorrl.roles.settings import LearnerSettings, MakePolicy, WorkerSettings
from actorrl.runtime.program import Program, Report, State, Stream
from actorrl.runtime.refs import DRIVER

CREDIT = 1
PRELOAD = ("actorrl.roles.gradient_worker", "actorrl.roles.parameter_server")


def build(
    name: str,
    workers: WorkerSettings,
    learner: LearnerSettings,
    make_policy: MakePolicy,
    compute_gradient: ComputeGradient,
) -> Program:
    program = Program(name, PRELOAD)
    server = program.add("learner", ParameterServer, learner, gpu=learner.num_gpus)
    rollouts = program.add_group(
        "rollout", GradientWorker, workers, make_policy, compute_gradient, count=workers.num_workers
    )
    program.link("gradients", Stream(CREDIT, full="wait"), rollouts, server)
    program.link("weights", State(), server, rollouts)
    program.link("metrics", Report(), rollouts, DRIVER)
    return program
