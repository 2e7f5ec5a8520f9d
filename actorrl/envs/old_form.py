"""Environments of the old Gym: reset() -> obs, step() -> (obs, reward, done, info).

Told by what `reset` takes: little of the old Gym's knows `seed` and `options`. What only looks like
one is passed through as it is.
"""

from __future__ import annotations

import inspect
from typing import Any

import gymnasium as gym

NOTICE = "speaks the old Gym's form (observation alone, one done flag): wrapped into Gymnasium's"
_LATE = "return_info"  # the last of the old Gym's versions took it, and knew seed and options
_PARTS = ("reset", "step", "observation_space", "action_space")


def todays_form(env: Any) -> Any:
    """`env`, with what may be of the old form wrapped: itself, or what is inside its wrappers (of
    gymnasium.make, or the user's). Anything that is no environment is returned as it is."""
    if isinstance(env, gym.Wrapper):
        innermost: Any = env
        while isinstance(innermost.env, gym.Wrapper):
            innermost = innermost.env
        if _may_be_old(innermost.env):
            innermost.env = OldForm(innermost.env)
        return env
    return OldForm(env) if _may_be_old(env) else env


def notice_about(env: Any) -> str | None:
    """A sentence, once the environment has been seen to speak the old form."""
    while isinstance(env, gym.Wrapper):
        env = env.env
    return f"{type(env.env).__name__} {NOTICE}" if isinstance(env, OldForm) and env.is_old else None


def _may_be_old(env: Any) -> bool:
    if not all(hasattr(env, name) for name in _PARTS):
        return False
    if not isinstance(env, gym.Env):
        return True
    parameters = inspect.signature(env.reset).parameters
    return not (takes(env.reset, "seed") and takes(env.reset, "options")) or _LATE in parameters


class OldForm(gym.Env[Any, Any]):
    """Gymnasium's form of an old environment. `TimeLimit.truncated` in its info truncates."""

    def __init__(self, env: Any) -> None:
        self.env = env
        self.observation_space = todays(env.observation_space)
        self.action_space = todays(env.action_space)
        self.metadata = getattr(env, "metadata", {})
        self.render_mode = getattr(env, "render_mode", None)
        self.spec = getattr(env, "spec", None)
        self.is_old = not isinstance(env, gym.Env)
        self._taken = [name for name in ("seed", "options") if takes(env.reset, name)]

    def __getattr__(self, name: str) -> Any:
        """What else the user's environment has."""
        if name == "env":  # not there yet: while this is unpickled
            raise AttributeError(name)
        return getattr(self.env, name)

    @property
    def unwrapped(self) -> Any:
        return getattr(self.env, "unwrapped", self.env)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        if "seed" not in self._taken and seed is not None:
            tell = getattr(self.env, "seed", None)
            if callable(tell):  # and no number of the user's
                tell(seed)
        given = {"seed": seed, "options": options}
        returned = self.env.reset(**{name: given[name] for name in self._taken})
        if isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], dict):
            return returned
        self.is_old = True
        return returned, {}

    def step(self, action: Any) -> Any:
        returned = self.env.step(action)
        if not isinstance(returned, tuple) or len(returned) != 4:
            return returned  # today's form; anything else is the caller's to refuse
        self.is_old = True
        obs, reward, done, info = returned
        truncated = bool(done) and bool((info or {}).get("TimeLimit.truncated", False))
        return obs, reward, bool(done) and not truncated, truncated, info or {}

    def render(self) -> Any:
        if takes(self.env.render, "mode"):
            return self.env.render(mode=self.render_mode or "human")
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
    if kind == "Tuple":
        return gym.spaces.Tuple([todays(part) for part in space.spaces])
    if kind == "Dict":
        return gym.spaces.Dict({name: todays(part) for name, part in space.spaces.items()})
    raise TypeError(f"{space!r} is no space that Gymnasium knows")


def takes(function: Any, name: str) -> bool:
    """Whether it can be called with an argument of that name."""
    parameters = inspect.signature(function).parameters
    return name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
