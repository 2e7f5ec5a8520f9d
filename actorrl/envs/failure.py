"""An environment's own error, told as the user's: their traceback, without our frames."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Literal

import gymnasium as gym
import numpy as np

import actorrl
from actorrl.errors import EnvironmentFailure

Phase = Literal["make", "reset", "step"]

# Frames of these packages that lead up to the user's code tell the user nothing.
_OURS = (Path(actorrl.__file__).parent, Path(gym.__file__).parent)


def failure(
    error: BaseException, phase: Phase, worker_index: int, env_index: int | None
) -> EnvironmentFailure:
    """The error to raise from `error`. `env_index` is None where a vectoriser does not tell."""
    return EnvironmentFailure(
        f"{place(worker_index, env_index)} failed in {phase}: {type(error).__name__}: {error}",
        user_traceback=user_traceback(error),
    )


def place(worker_index: int, env_index: int | None) -> str:
    """Which environment; worker 0 is the driver."""
    which = "an environment" if env_index is None else f"environment {env_index}"
    return f"{which} of worker {worker_index}" if worker_index else which


def small_seed(seed: int) -> int:
    """One that simulators in C take, too (31 bits), and NumPy's RandomState (32)."""
    return seed % 2**31


def successors_seed(seed: int | None, number: int) -> int | None:
    """That of an environment which takes the place of one that failed, the `number`-th: not its
    predecessor's, whose episodes it would repeat."""
    if seed is None:
        return None
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def user_traceback(error: BaseException) -> str:
    """The traceback of `error`, from the first frame on that is neither ours nor Gymnasium's; empty
    where all are, since it was us who found what is wrong."""
    frames = list(traceback.extract_tb(error.__traceback__))
    while frames and _is_ours(frames[0].filename):
        frames.pop(0)
    if not frames:
        return ""
    lines = ["Traceback (most recent call last):\n"]
    lines += traceback.format_list(frames)
    lines += traceback.format_exception_only(type(error), error)
    return "".join(lines)


def _is_ours(filename: str) -> bool:
    return any(Path(filename).is_relative_to(package) for package in _OURS)
