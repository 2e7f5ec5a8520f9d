"""The Program of a run, and whether it can be carried out: nothing is made, reached or started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorrl.algorithms import evaluating, restoring
from actorrl.algorithms.config import AlgorithmConfig
from actorrl.algorithms.setup import Setup, acting_policy
from actorrl.envs.check import EnvInfo
from actorrl.runtime.inventory import this_host
from actorrl.runtime.memory_limits import check_said
from actorrl.runtime.offers import assumed_offers, listening
from actorrl.runtime.placement import place
from actorrl.runtime.program import Program

if TYPE_CHECKING:
    from actorrl.algorithms.base import Algorithm


def program_of(algorithm: type[Algorithm], config: AlgorithmConfig, setup: Setup) -> Program:
    """The file's Program, and what its actors ask of their hosts."""
    program = algorithm.program(config, setup)
    evaluating.add_evaluators(program, config, setup.info)
    for role, needed in config.memory_needs(setup.info).items():
        program.require(role, mem=needed.num_bytes, because=needed.arithmetic)
        check_said(role, config.cluster_spec().role(role), *needed)
    for role, spec in config.cluster_spec().roles.items():
        program.require(role, cpu=spec.cpu, gpu=spec.gpu, mem=spec.mem)
    return program


def plan(
    algorithm: type[Algorithm], config: AlgorithmConfig, info: EnvInfo | None = None
) -> Program:
    """What `build` would start. Raises ConfigError, EnvironmentFailure."""
    info = info or restoring.checked(config)
    # Spaces and models that cannot be are refused here, not by an actor that has been started.
    acting_policy(config, info, algorithm.make_policy)(0, config.greediest_env())
    return program_of(algorithm, config, Setup(info, config.seed or 0, lambda: None))


def check_placement(algorithm: type[Algorithm], config: AlgorithmConfig, info: EnvInfo) -> None:
    """On what this machine has and the host list says. Raises PlacementError."""
    spec, program = config.cluster_spec(), plan(algorithm, config, info)
    hosts, listeners = assumed_offers(spec, this_host(), program), listening(program, spec)
    place(program, hosts, spec.roles, listeners=listeners)
