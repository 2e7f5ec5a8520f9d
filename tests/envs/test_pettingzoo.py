"""PettingZoo's AEC and parallel environments, through our adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from actorrl.algorithms.ppo import PPOConfig
from actorrl.algorithms.restoring import checked
from actorrl.envs.multi_agent import MultiAgentVector
from actorrl.envs.pettingzoo import ParallelPettingZooEnv, PettingZooEnv
from actorrl.envs.registry import EnvContext, register_env

pettingzoo = pytest.importorskip(
    "pettingzoo", reason="PettingZoo is not installed: pip install 'actorrl[multi-agent]'"
)


class Copycat(pettingzoo.ParallelEnv):
    """Who plays what the other has played last is paid; "second" leaves after 4 of 6 rounds."""

    metadata = {"name": "copycat"}
    possible_agents = ["first", "second"]

    def observation_space(self, agent: Any) -> Any:
        return gym.spaces.Box(0, 1, (2,), np.float32)

    def action_space(self, agent: Any) -> Any:
        return gym.spaces.Discrete(2)

    def _obs(self) -> Any:
        turned = {"first": self.last[::-1], "second": self.last}
        return {agent: turned[agent].astype(np.float32) for agent in self.possible_agents}

    def reset(self, seed: Any = None, options: Any = None) -> Any:
        self.agents, self.round = list(self.possible_agents), 0
        self.last = np.array([0, 1])
        return self._obs(), {agent: {} for agent in self.agents}

    def step(self, actions: Any) -> Any:
        assert set(actions) == set(self.agents)
        self.round += 1
        shown = self._obs()
        rewards = {a: float(actions[a] == shown[a][0]) for a in actions}
        for i, agent in enumerate(self.possible_agents):
            self.last[i] = actions.get(agent, self.last[i])
        ended = {a: (a == "second" and self.round == 4) for a in self.agents}
        cut = dict.fromkeys(self.agents, self.round == 6)
        obs = {a: o for a, o in self._obs().items() if a in self.agents}
        self.agents = [a for a in self.agents if not (ended[a] or cut[a])]
        return obs, rewards, ended, cut, {a: {} for a in obs}


def aec() -> Any:
    from pettingzoo.utils.conversions import parallel_to_aec

    return parallel_to_aec(Copycat())


def by_agent(agent: str, **kwargs: Any) -> str:
    return agent


def play(env: Any) -> tuple[list[str], dict[str, float], Any]:
    """Who acted, what each was paid where all copy, and the last tick."""
    vector = MultiAgentVector(lambda config: env, [EnvContext()])
    tick, acted, paid = vector.reset(0), [], {"first": 0.0, "second": 0.0}
    while not tick.ended:
        over = {a for flags in (tick.terminateds, tick.truncateds) for a in flags if flags[a]}
        actions = {a: int(obs[0]) for a, obs in tick.obs.items() if a not in over}
        acted += list(actions)
        tick = vector.step(0, actions)
        for agent, reward in tick.rewards.items():
            paid[agent] += reward
    return acted, paid, tick


def test_a_parallel_environment_has_all_agents_act_at_once() -> None:
    acted, paid, tick = play(ParallelPettingZooEnv(Copycat()))
    assert acted == ["first", "second"] * 4 + ["first"] * 2
    assert paid == {"first": 6.0, "second": 4.0}
    assert tick.truncateds == {"first": True} and tick.ended


def test_an_aec_environment_has_them_act_by_turns_and_pays_each_at_its_turn() -> None:
    acted, paid, tick = play(PettingZooEnv(aec()))
    assert acted == ["first", "second"] * 4 + ["first"] * 2
    assert paid == {"first": 6.0, "second": 4.0}
    assert tick.truncateds == {"first": True} and tick.ended


@pytest.mark.parametrize("kind", ["aec", "parallel"])
def test_two_policies_learn_a_pettingzoo_game(kind: str, tmp_path: Path) -> None:
    def make(config: Any) -> Any:
        return PettingZooEnv(aec()) if kind == "aec" else ParallelPettingZooEnv(Copycat())

    register_env("copycat", make)
    config = PPOConfig().environment("copycat").rollouts(num_workers=0, num_envs_per_worker=4)
    config.training(train_batch_size=256, lr=5e-3, gamma=0.5).debugging(seed=2)
    config.multi_agent(policies=["first", "second"], policy_mapping_fn=by_agent)
    with config.build(name="run", results=tmp_path) as algo:
        for _ in range(12):
            row = algo.train()
        assert row["policy_reward_mean"]["first"] > 5 and row["policy_reward_mean"]["second"] > 3.3
        assert algo.evaluate(episodes=3)["episode_reward_mean"] == 10


class Generations(Copycat):
    """Each round another agent comes, of a name that nobody knows before; one stays three."""

    @property
    def possible_agents(self) -> Any:
        raise AttributeError("who knows")

    def _obs(self) -> Any:
        return {agent: np.zeros(2, np.float32) for agent in self.agents}

    def reset(self, seed: Any = None, options: Any = None) -> Any:
        self.agents, self.round = ["agent 0"], 0
        return self._obs(), {}

    def step(self, actions: Any) -> Any:
        self.round += 1
        gone = f"agent {self.round - 3}"
        obs, ended = self._obs(), {agent: agent == gone for agent in self.agents}
        self.agents = [agent for agent in self.agents if agent != gone]
        if self.round < 6:
            self.agents.append(f"agent {self.round}")
        return obs | self._obs(), dict.fromkeys(ended, 1.0), ended, {}, {}


def test_agents_may_be_made_up_on_the_way() -> None:
    config = PPOConfig().environment(lambda context: ParallelPettingZooEnv(Generations()))
    config.multi_agent(policies=["p"], policy_mapping_fn=lambda agent, **kwargs: "p")
    assert checked(config).policies["p"].action_space == gym.spaces.Discrete(2)
    tick = play_out(ParallelPettingZooEnv(Generations()))
    assert tick.ended and tick.terminateds == {"agent 5": True}


def play_out(env: Any) -> Any:
    vector = MultiAgentVector(lambda config: env, [EnvContext()])
    tick = vector.reset(0)
    while not tick.ended:
        over = {agent for agent, ended in tick.terminateds.items() if ended}
        tick = vector.step(0, {agent: 0 for agent in tick.obs if agent not in over})
    return tick
