"""Environments with several agents: copies of one, RLlib's old form, and what is refused."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from actorrl.envs.multi_agent import (
    ALL,
    MultiAgentEnv,
    MultiAgentVector,
    make_multi_agent,
    space_of,
)
from actorrl.envs.registry import EnvContext
from actorrl.errors import EnvironmentFailure


def vector(env: Any, **settings: Any) -> MultiAgentVector:
    return MultiAgentVector(env, [EnvContext(settings, 1, 0)], seed=7)


def test_copies_of_an_environment_run_beside_each_other_until_the_last_ends() -> None:
    two = vector(make_multi_agent("CartPole-v1"), num_agents=2)
    first = two.reset(0)
    assert set(first.obs) == {0, 1} and not np.array_equal(first.obs[0], first.obs[1])
    live, steps = {0, 1}, 0
    while True:
        tick = two.step(0, {agent: agent for agent in live})  # 0 pushes left, 1 pushes right
        steps += 1
        live -= {agent for agent in tick.terminateds if tick.terminateds[agent]}
        assert tick.ended == (not live)
        if tick.ended:
            break
    assert 8 <= steps < 20


def test_the_first_episode_starts_from_the_seed_and_the_next_goes_on() -> None:
    env = make_multi_agent("CartPole-v1")
    one, same = vector(env, num_agents=2), vector(env, num_agents=2)
    assert np.array_equal(one.reset(0).obs[1], same.reset(0).obs[1])
    assert not np.array_equal(one.reset(0).obs[1], vector(env, num_agents=2).reset(0).obs[1])


class OldGym:
    """The old Gym's form; its observation says where it stands in the run."""

    observation_space = gym.spaces.Box(0, 9, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, config: Any) -> None:
        assert dict(config) == {"other": 5}, "what is the copies' own is taken out"
        self.place = np.array([config.worker_index, config.vector_index], np.float32)

    def reset(self) -> Any:
        return self.place

    def step(self, action: Any) -> Any:
        return self.place, 1.0, True, {}


def test_copies_know_their_place_in_the_run_and_may_be_of_the_old_gym() -> None:
    config = EnvContext({"num_agents": 2, "other": 5}, worker_index=3, vector_index=4)
    copies = make_multi_agent(OldGym)(config)
    assert {agent: obs.tolist() for agent, obs in copies.reset()[0].items()} == {
        0: [3, 4],
        1: [3, 4],
    }
    _, _, terminateds, truncateds, _ = copies.step({0: 0, 1: 1})
    assert terminateds == {0: True, 1: True, ALL: True} and not any(truncateds.values())
    assert config["num_agents"] == 2, "the caller's stays as it is"


class Drawn(gym.Env):
    """Numbers its steps in its infos, and draws them."""

    observation_space, action_space = OldGym.observation_space, OldGym.action_space
    metadata = {"render_fps": 7}

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.t = 0
        return np.zeros(2, np.float32), {"t": 0}

    def step(self, action: Any) -> Any:
        self.t += 1
        return np.zeros(2, np.float32), 1.0, False, False, {"t": self.t}

    def render(self) -> Any:
        return self.t


def test_copies_hand_on_infos_and_the_first_is_drawn() -> None:
    copies: Any = make_multi_agent(Drawn)(EnvContext({"num_agents": 2}))
    assert copies.reset()[1] == {0: {"t": 0}, 1: {"t": 0}}
    assert copies.step({1: 0})[-1] == {1: {"t": 1}}
    copies.step({0: 0, 1: 0})
    assert copies.render() == 1 and copies.metadata == {"render_fps": 7}


class Old(MultiAgentEnv):
    """RLlib's form before terminations and truncations; no constructor of the base is called."""

    def __init__(self, config: Any) -> None:
        self.agents = ["a", "b"]
        self.seeds: list[int] = []

    def seed(self, seed: int) -> None:
        self.seeds.append(seed)

    def reset(self) -> Any:  # type: ignore[override]
        return {agent: np.zeros(1) for agent in self.agents}

    def step(self, action_dict: Any) -> Any:
        dones = {"a": True, ALL: True}
        return self.reset(), dict.fromkeys(self.agents, 1), dones, {}


def test_rllibs_old_form_works_with_one_notice() -> None:
    old = vector(Old)
    assert set(old.reset(0).obs) == {"a", "b"}
    tick = old.step(0, {"a": 0, "b": 0})
    assert tick.ended and tick.all_terminated
    assert tick.terminateds == {"a": True} and tick.truncateds == {}
    assert len(old.notices) == 1 and "old form" in old.notices[0]
    old.reset(0)
    assert old.envs[0].seeds == [7], "before its first episode"


class Wrong(Old):
    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.what = config["what"]

    def reset(self) -> Any:  # type: ignore[override]
        if self.what == "raises":
            raise RuntimeError("no simulator")
        return np.zeros(1) if self.what == "array" else {"a": np.zeros(1)}

    def step(self, action_dict: Any) -> Any:
        return 1, 2, 3


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("raises", "environment 0 of worker 1 failed in reset: RuntimeError: no simulator"),
        ("array", "observations by agent, not a ndarray"),
    ],
)
def test_a_failure_in_reset_is_told_as_the_users_own(what: str, said: str) -> None:
    with pytest.raises(EnvironmentFailure, match=said) as caught:
        vector(Wrong, what=what).reset(0)
    assert what != "raises" or "raise RuntimeError" in caught.value.user_traceback


def test_a_step_of_another_form_is_refused_saying_what_is_expected() -> None:
    wrong = vector(Wrong, what="")
    wrong.reset(0)
    with pytest.raises(EnvironmentFailure, match=r"\(obs, rewards, terminateds, truncateds, infos"):
        wrong.step(0, {"a": 0})


def test_spaces_are_one_for_all_or_one_for_each() -> None:
    box, discrete = gym.spaces.Box(0, 1, (2,)), gym.spaces.Discrete(3)
    assert space_of(box, "a") is box
    assert space_of({"a": box, "b": discrete}, "b") is discrete
    assert space_of(gym.spaces.Dict({"a": box, "b": discrete}), "b") is discrete
    observation = gym.spaces.Dict({"position": box, "action_mask": box})
    assert space_of(observation, "a") is observation, "a Dict of an observation's own parts"
    assert space_of(None, "a") is None
