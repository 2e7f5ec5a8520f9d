"""What a run over several hosts needs beside: the hosts made ready, and a learner on another host
brought back, since it cannot read the run folder."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from actorrl.algorithms import actor_states, restoring
from actorrl.errors import ActorDied
from actorrl.runtime import permissions
from actorrl.runtime.counts import counted
from actorrl.runtime.host_specs import ClusterSpec
from actorrl.runtime.program import Program
from actorrl.runtime.refs import ActorRef
from actorrl.runtime.ways_needed import host_pairs

if TYPE_CHECKING:
    from actorrl.algorithms.config import AlgorithmConfig
    from actorrl.runtime.launchers.over_ssh import SshLauncher


def ready(spec: ClusterSpec, plan: Callable[[], Program]) -> SshLauncher | None:
    """None where there is this machine alone; else the hosts are made ready for what `plan` gives.
    Raises HostError, VersionError, ConfigError, before anything is made here."""
    if not spec.remote_hosts:
        return None
    from actorrl.runtime.launchers.over_ssh import SshLauncher  # paramiko only where it is needed

    program = plan()
    pairs = host_pairs(program, spec, permissions.callers_of(program))
    launch = SshLauncher(spec, lambda line: print(line, file=sys.stderr, flush=True), pairs)
    launch.bootstrap()
    return launch


def with_cores(config: AlgorithmConfig, launch: SshLauncher | None) -> AlgorithmConfig:
    """The config with the cores of the hosts that were reached, by which workers are counted."""
    if launch is None:
        return config
    known = config.copy()
    known.hosts = counted(config.hosts, launch.cores())
    known.freeze()
    return known


def recover(learner: ActorRef, folder: str, check: Callable[[], None]) -> None:
    """Give a learner that was started again the newest whole checkpoint: on another host it could
    not read it itself. `check` raises when the run is over."""
    found = restoring.newest_learner_state(folder)
    while True:
        try:
            recover = learner.recover.within(actor_states.STATE_TIMEOUT_S).call
            recover(found.state, found.checkpoint, found.damaged, found.epoch).result()
            return
        except ActorDied:  # the connection's end is often heard before the successor's address
            check()
