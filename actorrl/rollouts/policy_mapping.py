"""Which policy an agent acts with: what the user's mapping function is asked, and told."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

MappingFn = Callable[..., str]
_ANY = inspect.Parameter


@dataclass(slots=True)
class EpisodeInfo:
    """What a mapping function is told of the episode under way (RLlib's `episode`)."""

    episode_id: int
    env_index: int
    length: int = 0
    total_reward: float = 0.0
    agent_rewards: dict[Any, float] = field(default_factory=dict)
    policy_rewards: dict[str, float] = field(default_factory=dict)
    policy_of: dict[Any, str] = field(default_factory=dict)
    user_data: dict[str, Any] = field(default_factory=dict)  # of the user's callbacks, as RLlib's
    custom_metrics: dict[str, float] = field(default_factory=dict)
    hist_data: dict[str, list[float]] = field(default_factory=dict)
    last: dict[str, dict[Any, Any]] = field(default_factory=dict)  # for callbacks: what -> agent

    def count_reward(self, agent: Any, policy: str, reward: float) -> None:
        self.total_reward += reward
        self.agent_rewards[agent] = self.agent_rewards.get(agent, 0.0) + reward
        self.policy_rewards[policy] = self.policy_rewards.get(policy, 0.0) + reward

    def get_agents(self) -> list[Any]:
        return list(self.policy_of)

    def last_observation_for(self, agent_id: Any) -> Any:
        return self.last.get("observation", {}).get(agent_id)

    def last_action_for(self, agent_id: Any) -> Any:
        return self.last.get("action", {}).get(agent_id)

    def last_reward_for(self, agent_id: Any) -> Any:
        return self.last.get("reward", {}).get(agent_id)

    def last_info_for(self, agent_id: Any) -> Any:
        return self.last.get("info", {}).get(agent_id)

    def policy_for(self, agent_id: Any) -> str:
        return self.policy_of[agent_id]


def with_accepted_arguments(function: MappingFn) -> Callable[[Any, EpisodeInfo], str]:
    """As it is called here. RLlib has called it with more and more over the years: `f(agent)`,
    `f(agent, episode)`, `f(agent, episode, worker, **kwargs)`, the second by its place."""
    parameters = inspect.signature(function).parameters
    kinds = [p.kind for p in parameters.values()]
    by_place = sum(k in (_ANY.POSITIONAL_ONLY, _ANY.POSITIONAL_OR_KEYWORD) for k in kinds)
    takes_more = _ANY.VAR_KEYWORD in kinds
    has_second = by_place > 1 or _ANY.VAR_POSITIONAL in kinds
    by_name = not has_second and (takes_more or "episode" in parameters)
    more = {"worker": None} if takes_more or "worker" in parameters else {}

    def call(agent: Any, episode: EpisodeInfo) -> str:
        if has_second:
            return function(agent, episode, **more)
        return function(agent, **({"episode": episode} if by_name else {}), **more)

    return call
