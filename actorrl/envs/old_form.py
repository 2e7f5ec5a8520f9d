"""Environments of the old Gym: reset() -> obs, step() -> (obs, reward, done, info)."""

from __future__ import annotations

import inspect
from typing import Any

import gymnasium as gym

NOTICE = "speaks the old Gym's form (observation alone, one done flag): wrapped into Gymnasium's"


def speaks_old_form(env: Any) -> bool:
    """Not a gymnasium.Env but shaped like one, or one whose own reset() takes no seed."""
    if isinstance(env, gym.Wrapper):
        return False
    if isinstance(env, gym.Env):
        return not _takes_seed(env)
    return all(hasattr(env, name) for name in _PARTS)


class OldForm(gym.Env[Any, Any]):
    """Gymnasium's form of an old environment. `TimeLimit.truncated` in its info truncates."""

    def __init__(self, env: Any) -> None:
        self.env = env
        self.observation_space = todays(env.observation_space)
        self.action_space = todays(env.action_space)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        if _takes_seed(self.env):
            returned = self.env.reset(seed=seed)
        else:
            if seed is not None and hasattr(self.env, "seed"):
                self.env.seed(seed)
            returned = self.env.reset()
        if isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], dict):
            return returned
        return returned, {}

    def step(self, action: Any) -> Any:
        returned = self.env.step(action)
        if not isinstance(returned, tuple) or len(returned) != 4:
            return returned  # today's form; anything else is the caller's to refuse
        obs, reward, done, info = returned
        truncated = bool(done) and bool((info or {}).get("TimeLimit.truncated", False))
        return obs, reward, bool(done) and not truncated, truncated, info

    def render(self) -> Any:
        return self.env.render()

    def close(self) -> None:
        close = getattr(self.env, "close", None)
        if close is not None:
            close()


def todays(space: Any) -> gym.Space[Any]:
    """The same space of Gymnasium's for one of the old Gym's, told by its class's name."""
    kind = type(space).__name__
    if isinstance(space, gym.Space):
        return space
    if kind == "Box":
        return gym.spaces.Box(space.low, space.high, space.shape, space.dtype)
    if kind == "Discrete":
        return gym.spaces.Discrete(int(space.n), start=int(getattr(space, "start", 0)))
    if kind == "MultiDiscrete":
        return gym.spaces.MultiDiscrete(space.nvec)
    if kind == "MultiBinary":
        return gym.spaces.MultiBinary(space.n)
    raise TypeError(f"{space!r} is no space that Gymnasium knows")


def _takes_seed(env: Any) -> bool:
    parameters = inspect.signature(env.reset).parameters
    return "seed" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


_PARTS = ("reset", "step", "observation_space", "action_space")
