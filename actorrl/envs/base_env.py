"""RLlib's lowest interface to environments: many at once, each with agents, each ready in its time.

    obs, rewards, terminateds, truncateds, infos, off_policy_actions = env.poll()
    env.send_actions({env_id: {agent_id: action}})
    env.try_reset(env_id)

All are dicts by environment (0, 1, ...), then by agent; an environment that is not in `obs` and
`rewards` has nothing to say yet.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from actorrl.envs.failure import Phase, failure
from actorrl.envs.multi_agent import MultiAgentEnv, MultiAgentVector, Tick, tick_of
from actorrl.envs.registry import EnvContext, EnvLike, OfSpec, make_env
from actorrl.errors import EnvironmentFailure

ByEnv = Mapping[int, Mapping[Any, Any]]

_POLLS = 10_000  # of the check before a run; `poll` may wait by itself


class BaseEnv:
    """Base of such environments. The constructor need not call ours.

    The first `poll()` tells the first observations of all environments, unless `num_envs` is set.
    RLlib's old form of five parts (one dict of dones) works as well: dones count as terminations.
    """

    observation_space: Any = None
    action_space: Any = None
    num_envs: int | None = None

    def poll(self) -> tuple[Any, ...]:
        """What has happened since the last call, from those environments that are ready. May wait.
        The last part, actions of another policy than ours, must be empty."""
        raise NotImplementedError

    def send_actions(self, action_dict: ByEnv) -> None:
        """To environments that have told observations."""
        raise NotImplementedError

    def try_reset(self, env_id: int) -> Any:
        """A new episode: its first observations by agent (also as {env_id: ...}, and with infos
        beside them), or None where a later `poll` tells them."""
        raise NotImplementedError

    def get_sub_environments(self) -> list[Any]:
        return []

    def render(self, *args: Any, **kwargs: Any) -> Any:
        """Nothing, unless it draws."""

    def stop(self) -> None:
        """Nothing, unless it holds something."""


class BaseEnvVector:
    """A BaseEnv where a worker expects a `MultiAgentVector`."""

    num_recreated = 0
    last_failure = ""

    def __init__(self, env: BaseEnv, worker_index: int = 0) -> None:
        self.env = env
        self.envs = [env]  # the one that has spaces
        self.notices: list[str] = []
        self._worker_index = worker_index
        self._early: dict[int, Tick] = {}  # told before anybody asked
        self._called_for: set[int] = set()  # first observations that a poll will tell
        self.num_envs = env.num_envs or self._count()
        self._called_for.update(range(self.num_envs))

    def _count(self) -> int:
        self._early = self._poll()
        if not self._early or sorted(self._early) != list(range(len(self._early))):
            raise EnvironmentFailure(
                f"the first poll() told of environments {sorted(self._early)}, expected 0, 1, ..."
                " or an attribute `num_envs`"
            )
        return len(self._early)

    def advance(self, actions: Sequence[Mapping[Any, Any] | None]) -> list[Tick | None]:
        """As MultiAgentVector's; None of an environment that is not ready."""
        found = {
            i: tick
            for i, tick in self._early.items()
            if actions[i] is None and i in self._called_for
        }
        self._early = {i: tick for i, tick in self._early.items() if i not in found}
        self._called_for -= set(found)
        for i, given in enumerate(actions):
            if given is None and i not in found and i not in self._called_for:
                self._reset(i, found)
        sent = {i: dict(given) for i, given in enumerate(actions) if given}
        if sent:
            self._call("step", self.env.send_actions, sent)
        if len(found) < len(actions):
            for i, tick in self._poll().items():
                found[i] = tick
                self._called_for.discard(i)
        return [found.get(i) for i in range(self.num_envs)]

    def _reset(self, i: int, found: dict[int, Tick]) -> None:
        obs = self._call("reset", self.env.try_reset, i)
        if isinstance(obs, tuple):
            obs = obs[0]
        if isinstance(obs, Mapping) and set(obs) == {i} and isinstance(obs[i], Mapping):
            obs = obs[i]
        if obs is None:
            self._called_for.add(i)
        else:
            found[i] = Tick(dict(obs), {}, {}, {})

    def _poll(self) -> dict[int, Tick]:
        parts = self._call("step", self.env.poll)
        if not isinstance(parts, tuple) or len(parts) not in (5, 6):
            raise EnvironmentFailure(
                "poll() must return (obs, rewards, terminateds, truncateds, infos,"
                " off_policy_actions), each a dict by environment and agent"
            )
        obs, rewards, terminateds = parts[:3]
        truncateds = parts[3] if len(parts) == 6 else {}
        if any(dict(parts[-1]).values()):
            raise EnvironmentFailure("poll() told of off-policy actions, which are not supported")
        ready = sorted({*obs, *rewards, *terminateds, *truncateds})
        given = (obs, rewards, terminateds, truncateds)
        return {i: tick_of(*(part.get(i, {}) for part in given)) for i in ready}

    def _call(self, phase: Phase, function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:
            raise failure(error, phase, self._worker_index, None) from error

    # ---- for the check before a run, of one environment ---------------------------------

    def reset(self, i: int) -> Tick:
        return self._until_heard(i, [None] * self.num_envs)

    def step(self, i: int, actions: dict[Any, Any]) -> Tick:
        return self._until_heard(i, [actions if k == i else {} for k in range(self.num_envs)])

    def _until_heard(self, i: int, actions: list[Any]) -> Tick:
        for _ in range(_POLLS):
            tick = self.advance(actions)[i]
            if tick is not None:
                return tick
            actions = [{} if given is not None else None for given in actions]
        raise EnvironmentFailure(f"environment {i} told nothing in {_POLLS} polls")

    def close(self) -> None:
        self.env.stop()


AgentsVector = MultiAgentVector | BaseEnvVector


def make_agents_vector(
    env: EnvLike,
    contexts: list[EnvContext],
    *,
    seed: int | None = None,
    recreate_failed: bool = False,
) -> AgentsVector:
    """Environments with agents: one for each context, or all that a BaseEnv has."""
    try:
        first = make_env(env, contexts[0])
    except Exception as error:
        raise failure(error, "make", contexts[0].worker_index, 0) from error
    if isinstance(first, BaseEnv):
        return BaseEnvVector(first, contexts[0].worker_index)
    return MultiAgentVector(env, contexts, seed=seed, first=first, recreate_failed=recreate_failed)


def has_agents(env: EnvLike, env_config: Mapping[str, Any]) -> bool:
    """Whether observations come by agent. A class says so itself; what a function makes is made."""
    kinds = (MultiAgentEnv, BaseEnv)
    if isinstance(env, str | OfSpec):
        return False
    if isinstance(env, type):
        return issubclass(env, kinds)
    try:
        made = make_env(env, EnvContext(env_config))
    except Exception:
        return False  # the check of the environment will say what is wrong
    for close in ("close", "stop"):
        with contextlib.suppress(Exception):
            getattr(made, close)()
    return isinstance(made, kinds)
