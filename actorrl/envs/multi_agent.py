"""Environments with several agents: dicts by agent id in, dicts by agent id out.

    obs, infos = env.reset(seed=...)
    obs, rewards, terminateds, truncateds, infos = env.step(actions)

An agent that is in `obs` acts next; one that is not waits, so agents may come and go, or take
turns. `terminateds["__all__"]` or `truncateds["__all__"]` ends the episode for all.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym

from actorrl.envs.failure import Phase, failure, small_seed, successors_seed
from actorrl.envs.numbers import reward_number
from actorrl.envs.old_form import takes, todays_form
from actorrl.envs.recreating import Recreating
from actorrl.envs.registry import EnvContext, EnvLike, make_env, resolve
from actorrl.errors import EnvironmentFailure

ALL = "__all__"


class MultiAgentEnv:
    """Base of environments with several agents. The constructor need not call ours.

    `observation_space` and `action_space` are one space for all agents, or a dict (a plain one or
    `gymnasium.spaces.Dict`) with a space for each. RLlib's old form works as well: `reset()` that
    returns the observations alone, `step()` that returns (obs, rewards, dones, infos).
    """

    observation_space: Any = None
    action_space: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[Any, Any], dict[Any, Any]]:
        """First observations of the agents that act first, and infos."""
        raise NotImplementedError

    def step(
        self, action_dict: dict[Any, Any]
    ) -> tuple[dict[Any, Any], dict[Any, float], dict[Any, bool], dict[Any, bool], dict[Any, Any]]:
        """Observations, rewards, terminateds, truncateds, infos, each by agent."""
        raise NotImplementedError

    def render(self, *args: Any, **kwargs: Any) -> Any:
        """Nothing, unless the environment draws."""

    def close(self) -> None:
        """Nothing, unless the environment holds something."""


def make_multi_agent(env_name_or_creator: Any) -> type[MultiAgentEnv]:
    """N copies of an environment as agents 0..N-1 of one, N from `env_config["num_agents"]`.

    The episode ends when the last of them does; one that has ended earlier waits.
    """

    class Copies(MultiAgentEnv):
        def __init__(self, config: EnvContext | None = None) -> None:
            context = _context_like(config)
            count = int(context.pop("num_agents", 1))
            found = resolve(env_name_or_creator).env
            self.envs = [todays_form(make_env(found, context)) for _ in range(count)]
            self.observation_space = self.envs[0].observation_space
            self.action_space = self.envs[0].action_space
            self.metadata = self.envs[0].metadata
            self._over: set[int] = set()

        def reset(
            self, *, seed: int | None = None, options: dict[str, Any] | None = None
        ) -> tuple[dict[Any, Any], dict[Any, Any]]:
            self._over = set()
            seeds: list[int | None] = [None] * len(self)
            if seed is not None:
                seeds = [small_seed(seed * len(self) + i) for i in range(len(self))]
            started = [env.reset(seed=s) for env, s in zip(self.envs, seeds, strict=True)]
            obs, infos = zip(*started, strict=True)
            return dict(enumerate(obs)), dict(enumerate(infos))

        def step(self, action_dict: dict[Any, Any]) -> Any:
            obs, rewards, terminateds, truncateds, infos = {}, {}, {}, {}, {}
            for i, action in action_dict.items():
                told = self.envs[i].step(action)
                obs[i], rewards[i], terminateds[i], truncateds[i], infos[i] = told
                if terminateds[i] or truncateds[i]:
                    self._over.add(i)
            over = len(self._over) == len(self.envs)
            terminateds[ALL], truncateds[ALL] = over, False
            return obs, rewards, terminateds, truncateds, infos

        def __len__(self) -> int:
            return len(self.envs)

        def render(self, *args: Any, **kwargs: Any) -> Any:
            """The first one's."""
            return self.envs[0].render()

        def close(self) -> None:
            for env in self.envs:
                env.close()

    return Copies


def _context_like(config: Mapping[str, Any] | None) -> EnvContext:
    """A copy that may be changed, with the same place in the run."""
    context = EnvContext(config)
    if isinstance(config, EnvContext):
        vars(context).update(vars(config))
    return context


def space_of(spaces: Any, agent: Any) -> gym.Space[Any] | None:
    """The space of one agent where `spaces` is one for all or one for each; None: not said."""
    if isinstance(spaces, gym.spaces.Dict):
        return spaces[agent] if agent in spaces.spaces else spaces
    if isinstance(spaces, Mapping):
        found: gym.Space[Any] | None = spaces.get(agent)
        return found
    return spaces if isinstance(spaces, gym.Space) else None


@dataclass(slots=True)
class Tick:
    """What one environment said, in today's form. `ended`: the episode is over for all; `broken`:
    since the environment failed, and was made anew."""

    obs: dict[Any, Any]
    rewards: dict[Any, float]
    terminateds: dict[Any, bool]
    truncateds: dict[Any, bool]
    ended: bool = False
    all_terminated: bool = False
    broken: bool = False


class MultiAgentVector(Recreating):
    """Several environments with several agents each, stepped one by one. `env` is what
    `registry.resolve` returned. With `recreate_failed` one that fails is made anew, unless it fails
    again and again, as in PythonVector."""

    def __init__(
        self,
        env: EnvLike,
        contexts: list[EnvContext],
        *,
        seed: int | None = None,
        first: Any = None,
        recreate_failed: bool = False,
    ) -> None:
        """`first`: an environment that was made before, of the first context."""
        super().__init__(len(contexts), recreate_failed)
        self.contexts = contexts
        self._env = env
        self._seeds = [None if seed is None else seed + i for i in range(len(contexts))]
        self._started = [False] * len(contexts)
        self.last_infos: list[Any] = [{}] * len(contexts)  # by agent, of each one's last step
        self.notices: list[str] = []
        self.envs = [] if first is None else [self._checked(first)]
        self.envs += [self._make(i) for i in range(len(self.envs), len(contexts))]

    @property
    def num_envs(self) -> int:
        return len(self.envs)

    def reset(self, i: int) -> Tick:
        """A new episode in environment i; its first one starts from the seed."""
        env = self.envs[i]
        try:
            seed = None if self._started[i] else self._seeds[i]
            if seed is not None and takes(env.reset, "seed"):
                returned = env.reset(seed=small_seed(seed))
            else:
                if seed is not None and callable(getattr(env, "seed", None)):
                    env.seed(small_seed(seed))  # the old form
                returned = env.reset()
            self._started[i] = True
            obs = returned[0] if isinstance(returned, tuple) else returned
            self._note_old_form(not isinstance(returned, tuple))
            return Tick(_by_agent(obs, "reset() must return observations by agent"), {}, {}, {})
        except Exception as error:
            raise self._failure(error, "reset", i) from error

    def advance(self, actions: Sequence[Mapping[Any, Any] | None]) -> list[Tick | None]:
        """What each environment says to its actions; None in their place is a reset."""
        return [self._told(i, given) for i, given in enumerate(actions)]

    def _told(self, i: int, actions: Mapping[Any, Any] | None) -> Tick:
        if actions is not None:
            try:
                tick = self.step(i, dict(actions))
                self._went_well(i)
                return tick
            except EnvironmentFailure as error:
                self._recreate(i, error)
                return Tick({}, {}, {}, {}, ended=True, broken=True)
        while True:
            try:
                return self.reset(i)
            except EnvironmentFailure as error:
                self._recreate(i, error)

    def _recreate(self, i: int, failure: EnvironmentFailure) -> None:
        """Raises the failure unless that is wanted and helps."""
        self.envs[i] = self._in_place_of(i, failure, functools.partial(self._make, i))
        self._started[i] = False
        self._seeds[i] = successors_seed(self._seeds[i], self.num_recreated)
        self.on_made_anew(i)

    def step(self, i: int, actions: dict[Any, Any]) -> Tick:
        try:
            returned = self.envs[i].step(actions)
            if not isinstance(returned, tuple) or len(returned) not in (4, 5):
                raise TypeError(
                    "step() must return (obs, rewards, terminateds, truncateds, infos), each a dict"
                    " by agent"
                )
            if len(returned) == 4:  # RLlib's old form
                self._note_old_form(True)
                obs, rewards, terminateds, self.last_infos[i] = returned
                return tick_of(obs, rewards, terminateds, {})
            obs, rewards, terminateds, truncateds, self.last_infos[i] = returned
            return tick_of(obs, rewards, terminateds, truncateds)
        except Exception as error:
            raise self._failure(error, "step", i) from error

    def close(self) -> None:
        for env in self.envs:
            close: Callable[[], Any] | None = getattr(env, "close", None)
            if close is not None:
                close()

    def _make(self, i: int) -> Any:
        try:
            return self._checked(make_env(self._env, self.contexts[i]))
        except Exception as error:
            raise self._failure(error, "make", i) from error

    def _checked(self, env: Any) -> Any:
        if not hasattr(env, "reset") or not hasattr(env, "step"):
            raise TypeError(f"expected a MultiAgentEnv, got a {type(env).__name__}")
        return env

    def _note_old_form(self, is_old: bool) -> None:
        notice = "the environment speaks RLlib's old form (observations alone, dones): dones count"
        if is_old and not self.notices:
            self.notices.append(f"{notice} as terminations")

    def _failure(self, error: Exception, phase: Phase, i: int) -> Exception:
        return failure(error, phase, self.contexts[i].worker_index, i)


def tick_of(obs: Any, rewards: Any, terminateds: Any, truncateds: Any) -> Tick:
    """From the dicts that an environment has told. Raises TypeError for what is none."""
    said = "step() must return dicts by agent"
    ended = {name: dict(_by_agent(d, said)) for name, d in (("t", terminateds), ("u", truncateds))}
    all_terminated = bool(ended["t"].pop(ALL, False))
    all_truncated = bool(ended["u"].pop(ALL, False))
    return Tick(
        obs=_by_agent(obs, said),
        rewards={agent: reward_number(r) for agent, r in _by_agent(rewards, said).items()},
        terminateds={agent: bool(flag) for agent, flag in ended["t"].items()},
        truncateds={agent: bool(flag) for agent, flag in ended["u"].items()},
        ended=all_terminated or all_truncated,
        all_terminated=all_terminated,
    )


def _by_agent(value: Any, said: str) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{said}, not a {type(value).__name__}")
    return dict(value)
