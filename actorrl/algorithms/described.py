"""What params.json says of a run, so that another can repeat it."""

from __future__ import annotations

import sys
from typing import Any

from actorrl.algorithms import restoring, without_effect
from actorrl.algorithms.config import AlgorithmConfig
from actorrl.envs.check import EnvInfo
from actorrl.experiment import provenance
from actorrl.rollouts.callbacks import OF_FRAGMENTS, overrides
from actorrl.runtime.program import Program


def notices(config: AlgorithmConfig, info: EnvInfo) -> list[str]:
    """What a user may want to know: successors of old names, what was wrapped."""
    told = [*info.notices, *config.notices, *without_effect.notices(config)]
    return [*told, *_rewards_clipped(config, info), *_not_shown(config)]


def _rewards_clipped(config: AlgorithmConfig, info: EnvInfo) -> list[str]:
    """Where nobody has asked for it."""
    if config.clip_rewards is not None or not config.clips_rewards(info.frame_stack):
        return []
    return [
        "clip_rewards: rewards of Atari are learned clipped to [-1, 1]; results have the true ones,"
        " and false learns from these"
    ]


def _not_shown(config: AlgorithmConfig) -> list[str]:
    """Where there are no episodes to show in training."""
    given = config.callbacks_class
    silent = [name for name in OF_FRAGMENTS if overrides(given, name)]
    if config.collects_fragments or not silent:
        return []
    return [
        f"callbacks: {given.__name__}.{', '.join(silent)}: never called in the training of"
        f" {type(config).__name__.removesuffix('Config')}, which collects no fragments"
    ]


def announce(algo: str, config: AlgorithmConfig, info: EnvInfo) -> None:
    """To stderr, once, when a script builds a run; the command line has words of its own."""
    lines = [f"notice: {notice}" for notice in notices(config, info)]
    lines.append(f"{algo} on {info.name}: {config.arithmetic()}")
    print("\n".join(lines), file=sys.stderr, flush=True)


def params(
    algo: str, config: AlgorithmConfig, info: EnvInfo, program: Program, seed: int
) -> dict[str, Any]:
    """Resolved settings, hosts, seed, versions."""
    spec = config.cluster_spec()
    reproducible = "yes: synchronous" if config.reproducible else "not reproducible: asynchronous"
    return {
        "algo": algo,
        "env": info.name,
        "config": restoring.plain_config(config.counted()),
        "seed": seed,
        "reproducible": reproducible,
        "hosts": [host.name for host in spec.hosts],
        "host_list": spec.path_or_text(),
        "grace_s": spec.failure.grace_s,
        "notices": notices(config, info),
        "arithmetic": config.arithmetic(),
        "program": str(program),
        "versions": provenance.versions(),
        "git_revision": provenance.git_revision(),
        "command_line": provenance.command_line(),
    }
