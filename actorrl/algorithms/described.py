"""What params.json says of a run, so that another can repeat it."""

from __future__ import annotations

from typing import Any

from actorrl.algorithms import restoring
from actorrl.algorithms.config import AlgorithmConfig
from actorrl.envs.check import EnvInfo
from actorrl.experiment import provenance
from actorrl.runtime.program import Program


def params(config: AlgorithmConfig, info: EnvInfo, program: Program, seed: int) -> dict[str, Any]:
    """Resolved settings, hosts, seed, versions."""
    spec = config.cluster_spec()
    reproducible = "yes: synchronous" if config.reproducible else "not reproducible: asynchronous"
    return {
        "env": info.name,
        "config": restoring.plain_config(config),
        "seed": seed,
        "reproducible": reproducible,
        "hosts": [host.name for host in spec.hosts],
        "host_list": spec.path_or_text(),
        "notices": info.notices,
        "arithmetic": config.arithmetic(),
        "program": str(program),
        "versions": provenance.versions(),
        "git_revision": provenance.git_revision(),
        "command_line": provenance.command_line(),
    }
