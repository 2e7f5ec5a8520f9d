"""Which action spaces an algorithm takes: said before anything starts."""

from __future__ import annotations

from gymnasium import spaces

from actorrl.envs.check import EnvInfo
from actorrl.errors import ConfigError
from actorrl.models.action_layout import is_bounded


def require_discrete(algo: str, info: EnvInfo) -> None:
    """Raises ConfigError, naming the space, where actions are not Discrete."""
    if not isinstance(info.action_space, spaces.Discrete):
        _refuse(algo, info, "Discrete (SAC, TD3 and PPO take a Box)")


def require_bounded_box(algo: str, info: EnvInfo) -> None:
    """Raises ConfigError where actions are no Box with finite bounds."""
    if not is_bounded(info.action_space):
        _refuse(algo, info, "a Box with finite bounds (DQN and SAC take Discrete)")


def require_discrete_or_box(algo: str, info: EnvInfo) -> None:
    """Raises ConfigError where actions are neither Discrete nor a Box with finite bounds."""
    if not isinstance(info.action_space, spaces.Discrete) and not is_bounded(info.action_space):
        _refuse(algo, info, "Discrete or a Box with finite bounds")


def _refuse(algo: str, info: EnvInfo, expected: str) -> None:
    raise ConfigError(
        f"env: {algo} cannot act in the action space {info.action_space} of {info.name},"
        f" expected {expected}"
    )
