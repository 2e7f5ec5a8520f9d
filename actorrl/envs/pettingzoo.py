"""PettingZoo's two interfaces as a MultiAgentEnv. Nothing of PettingZoo itself is imported here.

register_env("game", lambda config: PettingZooEnv(tictactoe_v3.env()))
register_env("herd", lambda config: ParallelPettingZooEnv(pistonball_v6.parallel_env()))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from actorrl.envs.multi_agent import ALL, MultiAgentEnv


class _Spaces(Mapping[Any, Any]):
    """By agent, asked for when wanted: some environments make up agents as they go on."""

    def __init__(self, space_of: Callable[[Any], Any], agents: list[Any]) -> None:
        self._space_of, self._agents = space_of, agents

    def __getitem__(self, agent: Any) -> Any:
        return self._space_of(agent)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._agents)

    def __len__(self) -> int:
        return len(self._agents)


class _Adapted(MultiAgentEnv):
    """The spaces of each agent, by its name."""

    def __init__(self, env: Any) -> None:
        self.env = env
        self.possible_agents = list(getattr(env, "possible_agents", []))  # of those named before
        self.observation_space = _Spaces(env.observation_space, self.possible_agents)
        self.action_space = _Spaces(env.action_space, self.possible_agents)

    def render(self, *args: Any, **kwargs: Any) -> Any:
        return self.env.render()

    def close(self) -> None:
        self.env.close()


class PettingZooEnv(_Adapted):
    """An AEC environment: agents act one after the other, and each is told what it has earned
    since its last action when its turn comes."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[Any, Any], dict[Any, Any]]:
        self.env.reset(seed=seed, options=options)
        obs, _, _, _, infos = self._until_a_turn()
        return obs, infos

    def step(self, action_dict: dict[Any, Any]) -> tuple[Any, Any, Any, Any, Any]:
        self.env.step(action_dict[self.env.agent_selection])
        return self._until_a_turn()

    def _until_a_turn(self) -> tuple[Any, Any, Any, Any, Any]:
        """What the next agent is told, and all before it that have ended."""
        obs: dict[Any, Any] = {}
        rewards: dict[Any, float] = {}
        terminateds: dict[Any, bool] = {}
        truncateds: dict[Any, bool] = {}
        infos: dict[Any, Any] = {}
        while self.env.agents:
            agent = self.env.agent_selection
            obs[agent], rewards[agent], terminated, truncated, infos[agent] = self.env.last()
            if not (terminated or truncated):
                break
            terminateds[agent], truncateds[agent] = terminated, truncated
            self.env.step(None)  # PettingZoo's way to take one that has ended out
        terminateds[ALL] = not self.env.agents
        return obs, rewards, terminateds, truncateds, infos


class ParallelPettingZooEnv(_Adapted):
    """A parallel environment: all agents that are there act at once."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[Any, Any], dict[Any, Any]]:
        obs, infos = self.env.reset(seed=seed, options=options)
        return obs, infos or {}

    def step(self, action_dict: dict[Any, Any]) -> tuple[Any, Any, Any, Any, Any]:
        obs, rewards, terminateds, truncateds, infos = self.env.step(action_dict)
        terminateds = {**terminateds, ALL: not self.env.agents}
        return obs, rewards, terminateds, truncateds, infos
