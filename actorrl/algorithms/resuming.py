"""Runs that go on from a checkpoint: a new run, or the same one in its folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actorrl.algorithms import restoring
from actorrl.config import apply
from actorrl.errors import CheckpointError, ConfigError
from actorrl.experiment.checkpoints import newest_whole, read_checkpoint
from actorrl.experiment.ownership import dead_run
from actorrl.experiment.run_folder import RunFolder
from actorrl.experiment.state_files import read_json_lines
from actorrl.runtime import run_directory
from actorrl.runtime.inventory import this_host

if TYPE_CHECKING:
    from actorrl.algorithms.base import Algorithm
    from actorrl.algorithms.config import AlgorithmConfig

_CLEAR_S = 5.0
_log = logging.getLogger(__name__)


def from_checkpoint(
    cls: type[Algorithm], path: str | Path, env: Any, options: Mapping[str, Any]
) -> Algorithm:
    """A new run from a checkpoint of `cls`, or of what derives from it."""
    options = dict(options)
    own = cls if hasattr(cls, "config_class") else None
    config = restoring.config_of(path, env, options.pop("policy_mapping_fn", None), own)
    if not issubclass(config.algorithm, cls):
        raise CheckpointError(f"{path}: was trained by {config.algorithm.__name__}")
    keys = [key for key in ("num_workers", "num_learners") if key in options]
    asked: dict[str, Any] = {key: options.pop(key) for key in keys}
    errors = apply(config, asked)
    if errors:
        raise ConfigError(errors)
    _do_without_partners(config)
    _do_without_gpus(config)
    algo: Algorithm = config.algorithm(config, **{"start": False, **options})
    return _restored(algo, path)


def resume(
    folder: RunFolder,
    *,
    num_workers: int | None = None,
    hosts: Any = None,
    stop: Mapping[str, Any] | None = None,
    env: Any = None,
) -> Algorithm:
    """The same run from its newest whole checkpoint, on the hosts that it had unless `hosts` says
    others. Rows of results after that checkpoint are taken back."""
    owner = folder.driver_pid()
    if owner is not None:
        folder.acquire("")  # raises, naming the live driver
    dead = dead_run(folder.path)
    if dead is not None:
        run_directory.clear(dead, _CLEAR_S)
    path = _newest_whole(folder)
    config = restoring.config_of(path, env)
    if env is not None:  # before anything is written into the run's folder
        restoring.check_fits(path, restoring.about(config, restoring.checked(config), 0))
    if num_workers is not None:
        config.put("num_workers", num_workers)
        _do_without_partners(config)
    params = folder.read_params()
    config.cluster(hosts if hosts is not None else params.get("host_list"))
    _do_without_gpus(config)
    criteria = stop if stop else params.get("stop", {})
    algo: Algorithm = config.algorithm(
        config, stop=criteria, keep=params.get("keep"), run_folder=folder, announce=False
    )
    folder.append_event("run_resumed", checkpoint=str(path), **_lost_since(path, folder))
    return _restored(algo, path, rewind=True)


def tell_newest(error: Exception, folder: RunFolder) -> None:
    """Add to what has ended a run the checkpoint that it can go on from."""
    path = newest_whole(folder)
    note = f"checkpoint: {path}"
    if path is None:
        note = (
            "checkpoint: none, the run ended before its first one, which is written after the first"
            " iteration; launch it anew"
        )
    if note not in getattr(error, "__notes__", ()):  # the run's one failure may be raised again
        error.add_note(note)


def _do_without_partners(config: AlgorithmConfig) -> None:
    """What several learners have learned goes on with one, where all actors share a process."""
    asked = config.num_learners or 1
    if config.num_workers == 0 and asked > 1:
        config.put("num_learners", None)
        config.note(f"num_learners: {asked} in the checkpoint, and num_workers 0 is one process")


def _do_without_gpus(config: AlgorithmConfig) -> None:
    """What was trained on a GPU goes on without one, where there is none: the checkpoint says what
    its machine had, not what is needed."""
    if config.cluster_spec().remote_hosts or this_host().gpus:
        return
    for key in ("num_gpus", "num_gpus_per_worker"):
        asked = getattr(config, key)
        if asked:
            config.put(key, 0.0)
            config.note(f"{key}: {asked:g} in the checkpoint, and there is none here: on the CPU")
    for key, needs, instead in (("cuda_graphs", True, False), ("storage", "cuda", None)):
        if getattr(config, key, None) == needs:
            config.put(key, instead)
            config.note(f"{key}: needs the GPU that was there before the checkpoint: not now")


def _newest_whole(folder: RunFolder) -> Path:
    """The newest whole checkpoint; what had to be passed over is said."""
    damaged: list[str] = []
    path = newest_whole(folder, damaged)
    if path is None:
        reasons = "".join(f"\n  {reason}" for reason in damaged)
        raise CheckpointError(
            f"{folder.path}: this run has no whole checkpoint to go on from{reasons}"
        )
    for reason in damaged:
        _log.warning("%s; going on from %s", reason, path.name)
        folder.append_event("checkpoint_damaged", reason=reason)
    return path


def _lost_since(path: Path, folder: RunFolder) -> dict[str, int]:
    """What the last driver had done, as far as it told in its last row, and is done again."""
    rows = read_json_lines(folder.result_file)
    learner = read_checkpoint(path)["learner"]
    last = rows[-1] if rows else {}
    return {
        "updates_lost": max(0, last.get("num_updates", 0) - int(learner["num_updates"])),
        "timesteps_lost": max(0, last.get("timesteps_total", 0) - int(learner["timesteps_total"])),
    }


def _restored(algo: Algorithm, path: str | Path, rewind: bool = False) -> Algorithm:
    try:
        algo.restore(path, rewind=rewind)
    except BaseException:
        algo.stop()
        raise
    return algo
