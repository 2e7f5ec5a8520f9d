"""What an environment returns where numbers belong: refused before it reaches a network, whose
weights would all turn into NaN without a word."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np


def reward_number(reward: Any) -> float:
    """Of an array with one element that one. Raises ValueError, in a sentence, for what is no
    finite number."""
    try:
        if isinstance(reward, np.ndarray):
            reward = reward.item()
        number = math.nan if isinstance(reward, str | bytes) else float(reward)
    except (TypeError, ValueError):
        number = math.nan
    if math.isfinite(number):
        return number
    raise ValueError(f"step() returned the reward {_shown(reward)}, expected a finite number")


def check_numbers(obs: np.ndarray, phase: str) -> None:
    """Of B observations [B, ...]. Raises WrongNumber if one of them holds NaN."""
    if not _may_hold_nan(obs):
        return
    nowhere = np.argwhere(np.isnan(obs))
    if len(nowhere):
        env_index, *element = nowhere[0].tolist()
        raise WrongNumber(
            f"{phase}() returned an observation whose element {element} is nan, expected a number",
            env_index,
        )


def check_bounds(obs: np.ndarray, space: gym.spaces.Box, phase: str) -> None:
    """The same for elements that are NaN or outside of the space's bounds."""
    inside = (obs >= space.low) & (obs <= space.high)
    if inside.all():
        return
    env_index, *element = np.argwhere(~inside)[0].tolist()
    at = tuple(element)
    raise WrongNumber(
        f"{phase}() returned an observation that is not in observation_space: element {element} is"
        f" {obs[env_index][at]}, allowed are {space.low[at]} to {space.high[at]}",
        env_index,
    )


def check_rows(obs: np.ndarray, phase: str) -> None:
    """The same of [T, B, ...]."""
    if _may_hold_nan(obs):
        for row in obs:
            check_numbers(row, phase)


def _may_hold_nan(array: np.ndarray) -> bool:
    """Quick, and certain where it says no: a sum of infinities is NaN as well."""
    if array.dtype.kind != "f":
        return False
    with np.errstate(all="ignore"):
        return math.isnan(array.sum())


def check_rewards(rewards: np.ndarray) -> None:
    """Of T steps of B environments [T, B]. Raises WrongNumber."""
    with np.errstate(all="ignore"):
        total = rewards.sum()
    if not math.isfinite(total):
        wrong = np.argwhere(~np.isfinite(rewards))
        if len(wrong):
            row, env_index = wrong[0].tolist()
            text = f"step() returned the reward {rewards[row, env_index]}, expected a finite number"
            raise WrongNumber(text, env_index)


class WrongNumber(ValueError):
    def __init__(self, text: str, env_index: int) -> None:
        super().__init__(text)
        self.env_index = env_index


def _shown(value: Any, most: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."
