"""Agents that come and go and take turns: each one's decisions are a proper sequence."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import pytest

from actorrl.data import columns as c
from actorrl.envs.multi_agent import ALL, MultiAgentEnv, MultiAgentVector
from actorrl.envs.registry import EnvContext
from actorrl.errors import EnvironmentFailure
from actorrl.rollouts.advantages import gae, next_values
from actorrl.rollouts.multi_agent import MultiAgentCollector
from tests.rollouts.layouts import check_layout

SPACE = gym.spaces.Box(-1e9, 1e9, (2,), np.float64)
GAMMA = 0.9


class Act(NamedTuple):
    actions: np.ndarray
    extras: dict[str, np.ndarray]
    state: tuple[np.ndarray, ...]


class Knowing:
    """A policy whose value of an observation is its second number. It counts its own decisions in
    a state of one number, which its caller must reset."""

    version = 1

    def __init__(self) -> None:
        self.batches: list[int] = []

    def act(self, obs: np.ndarray, state: tuple[np.ndarray, ...], explore: bool) -> Act:
        self.batches.append(len(obs))
        extras = {c.VF_PREDS: obs[:, 1].astype(np.float32), "count": state[0][:, 0].copy()}
        return Act(np.zeros(len(obs), np.int64), extras, (state[0] + 1,))

    def initial_state(self, num_envs: int) -> tuple[np.ndarray, ...]:
        return (np.zeros((num_envs, 1), np.float32),)

    def env_actions(self, actions: np.ndarray) -> np.ndarray:
        return actions


class Knowers:
    version = 1

    def __init__(self, *names: str) -> None:
        self.policies = {name: Knowing() for name in names}


def collector(env: type[MultiAgentEnv], rows: int, mapping: Any, *names: str, envs: int = 1) -> Any:
    vector = MultiAgentVector(env, [EnvContext({}, 1, i) for i in range(envs)], seed=0)
    spaces = dict.fromkeys(names, SPACE)
    return MultiAgentCollector(vector, Knowers(*names), mapping, spaces, rows)


class Steady(MultiAgentEnv):
    """Two agents, reward 1 each step, ten steps. An observation tells [step, true value]."""

    truncates = False
    limit = 10

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.t = 0
        return self._obs(), {}

    def _obs(self) -> dict[str, np.ndarray]:
        left = self.limit - self.t
        value = 10.0 if self.truncates else (1 - GAMMA**left) / (1 - GAMMA)
        return {agent: np.array([self.t, value]) for agent in ("x", "y")}

    def step(self, action_dict: Any) -> Any:
        assert set(action_dict) == {"x", "y"}
        self.t += 1
        over = self.t == self.limit
        ends = {ALL: over and not self.truncates}, {ALL: over and self.truncates}
        return self._obs(), {"x": 1.0, "y": 1.0}, *ends, {}


class SteadyTruncated(Steady):
    truncates = True


class InTurns(Steady):
    """As Steady, but the agents act by turns; who acts is paid 1 when the other has acted, too."""

    def _obs(self) -> dict[str, np.ndarray]:
        own_left = (self.limit - self.t + 1) // 2
        value = 10.0 if self.truncates else (1 - GAMMA**own_left) / (1 - GAMMA)
        return {"xy"[self.t % 2]: np.array([self.t, value])}

    def step(self, action_dict: Any) -> Any:
        assert set(action_dict) == {"xy"[self.t % 2]}
        self.t += 1
        over = self.t == self.limit
        paid = {"xy"[self.t % 2]: 1.0} if self.t > 1 else {}
        if over:
            paid["xy"[(self.t - 1) % 2]] = 1.0
        ends = {ALL: over and not self.truncates}, {ALL: over and self.truncates}
        return ({} if over else self._obs()), paid, *ends, {}


@pytest.mark.parametrize("rows", [1, 3, 10, 11, 25])
@pytest.mark.parametrize("env", [Steady, SteadyTruncated, InTurns])
def test_true_values_leave_no_advantage_whatever_the_fragments_length(env: Any, rows: int) -> None:
    one = collector(env, rows, lambda agent: "p", "p", envs=2)
    decisions = 0
    for _ in range(60 // rows + 2):
        fragment = one.collect()
        for group in fragment.groups.values():
            check_layout(group, rows + 1, group[c.VALID].shape[1])
            values = group[c.VF_PREDS]
            after = next_values(np.concatenate([values, values[:1] * np.nan]))
            advantages, _ = gae(
                group[c.REWARDS],
                values,
                after,
                group[c.TERMINATEDS],
                group[c.TRUNCATEDS],
                group[c.VALID],
                GAMMA,
                0.8,
            )
            assert np.abs(advantages).max() < 1e-5
            decisions += int(group[c.VALID].sum())
    assert decisions >= 60


@pytest.mark.parametrize("rows", [1, 2, 7, 30])
def test_each_agents_decisions_are_complete_and_in_order(rows: int) -> None:
    one = collector(InTurns, rows, lambda agent: agent, "x", "y")
    seen: dict[str, list[int]] = {"x": [], "y": []}
    steps = 0
    for _ in range(66 // rows):
        fragment = one.collect()
        steps += fragment.num_env_steps
        assert fragment.num_env_steps + fragment.num_resets == rows * one.env.num_envs
        for agent, group in fragment.groups.items():
            valid = group[c.VALID]
            seen[agent] += group[c.OBS][:-1][valid][:, 0].astype(int).tolist()
            assert (group["count"][valid] == group[c.AGE][:-1][valid]).all(), "its own count"
            assert (group[c.REWARDS][valid] == 1.0).all()
    assert 40 < steps == one.num_steps_total
    for agent, first in (("x", 0), ("y", 1)):
        episodes = np.array(seen[agent][: len(seen[agent]) // 5 * 5]).reshape(-1, 5)
        assert (episodes == np.arange(first, 10, 2)).all(), "nothing lost, nothing twice"


def test_an_episode_counts_the_rewards_of_all_agents_and_of_each_policy() -> None:
    one = collector(Steady, 11, lambda agent: agent, "x", "y")
    (episode,) = one.collect().episodes
    assert (episode.episode_return, episode.length) == (20.0, 10)
    assert episode.policy_returns == {"x": 10.0, "y": 10.0}


class Guests(MultiAgentEnv):
    """Agents 0, 1, 2 ... each stay for three steps; one comes every second step. Twelve steps."""

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.t = 0
        return {0: np.array([0.0, 0.0])}, {}

    def step(self, action_dict: Any) -> Any:
        present = [guest for guest in range(7) if 2 * guest <= self.t < 2 * guest + 3]
        assert sorted(action_dict) == present
        self.t += 1
        obs = {g: np.array([self.t, g]) for g in range(7) if 2 * g <= self.t < 2 * g + 3}
        leaving = {g: True for g in present if g not in obs}
        obs.update({g: np.array([99.0, g]) for g in leaving})
        return obs, {g: float(g) for g in present}, leaving, {ALL: self.t == 12}, {}


@pytest.mark.parametrize("rows", [1, 5, 40])
def test_agents_come_and_go_and_each_stay_ends_for_itself(rows: int) -> None:
    one = collector(Guests, rows, lambda agent: "even" if agent % 2 == 0 else "odd", "even", "odd")
    stays, ends = 0, 0
    for _ in range(80 // rows):
        for name, group in one.collect().groups.items():
            valid = group[c.VALID]
            guests = group[c.OBS][:-1][valid][:, 1]
            assert (guests % 2 == (name == "odd")).all()
            assert (group[c.REWARDS][valid] == guests).all()
            assert (group[c.OBS][:-1][valid][:, 0] != 99).all(), "final observations decide nothing"
            ended = group[c.TERMINATEDS] & valid
            stays += int((group[c.AGE][:-1][valid] == 0).sum())
            ends += int(ended.sum())
            rows_after = group[c.OBS][1:][ended]
            assert (rows_after[:, 0] == 99).all(), "the bootstrap is the final observation"
    assert stays > 20 and ends > 15


def test_a_policy_is_asked_once_a_tick_for_all_its_agents() -> None:
    one = collector(Steady, 5, lambda agent: "p", "p", envs=3)
    one.collect()
    assert max(one.policies.policies["p"].batches) == 6


def test_mapping_functions_of_all_of_rllibs_ages_work() -> None:
    def oldest(agent: Any) -> str:
        return "p"

    def older(agent: Any, episode: Any) -> str:
        assert episode.env_index == 0
        return "p"

    def newest(agent: Any, episode: Any, worker: Any, **kwargs: Any) -> str:
        return "p"

    for mapping in (oldest, older, newest, lambda agent_id, episode, **kwargs: "p"):
        assert collector(Steady, 3, mapping, "p").collect().num_env_steps == 2


def test_an_unknown_policy_is_named_with_the_agent_and_what_is_accepted() -> None:
    one = collector(Steady, 3, lambda agent: "q", "p")
    told = r"^environment 0 of worker 1: policy_mapping_fn\('x'\) returned 'q'.* p$"
    with pytest.raises(EnvironmentFailure, match=told):
        one.collect()


class Dizzy(Steady):
    def step(self, actions: Any) -> Any:
        obs, *rest = super().step(actions)
        return {agent: np.full_like(each, np.nan) for agent, each in obs.items()}, *rest


def test_an_observation_that_is_no_number_is_refused_naming_environment_and_agent() -> None:
    one = collector(Dizzy, 3, lambda agent: "p", "p", envs=2)
    with pytest.raises(
        EnvironmentFailure, match=r"agent 'x': step\(\) .* element \[0\] is nan"
    ) as e:
        one.collect()
    assert str(e.value).startswith("environment 0 of worker 1 failed in step")


class Changing(Steady):
    """Shows something else from its third step on."""

    def __init__(self, config: Any) -> None:
        self.other = config["other"]

    def _obs(self) -> Any:
        return {agent: self.other if self.t >= 3 else np.zeros(2, np.int64) for agent in ("x", "y")}


@pytest.mark.parametrize(
    ("space", "other", "said"),
    [
        (SPACE, np.zeros(3), r"of shape \(3,\), but observation_space has \(2,\)"),
        (gym.spaces.MultiDiscrete([3, 3]), np.array([0, -1]), "that is not in MultiDiscrete"),
        (gym.spaces.Box(0, 255, (2,), np.uint8), np.array([0, -1]), "with -1 as element"),
    ],
)
def test_an_observation_of_another_space_is_refused_whenever_it_comes(
    space: Any, other: Any, said: str
) -> None:
    vector = MultiAgentVector(Changing, [EnvContext({"other": other}, 1, 0)], seed=0)
    one = MultiAgentCollector(vector, Knowers("p"), lambda agent: "p", {"p": space}, 9)
    told = rf"environment 0 of worker 1 failed in step.*agent 'x': step\(\) .* {said}"
    with pytest.raises(EnvironmentFailure, match=told):
        one.collect()


class Breaks(Steady):
    """As Steady, with the number of its life in the first place; some lives break."""

    made: list[int] = []
    # Life -> (episode, step) that raises; step 0: its reset, and of episode -1 when it is made.
    breaks = {0: (0, 3), 1: (1, 0)}

    def __init__(self, config: Any) -> None:
        self.life, self.episode = len(self.made), -1
        self.made.append(self.life)
        self._break_if(0)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.episode += 1
        self._break_if(0)
        return super().reset(seed=seed)

    def step(self, action_dict: Any) -> Any:
        self._break_if(self.t + 1)
        return super().step(action_dict)

    def _break_if(self, step: int) -> None:
        if self.breaks.get(self.life) == (self.episode, step):
            raise RuntimeError("lost")

    def _obs(self) -> dict[str, np.ndarray]:
        return {agent: np.array([100 * self.life + self.t, 0.0]) for agent in ("x", "y")}


def broken(breaks: Any, rows: int, recreate_failed: bool = True) -> Any:
    Breaks.made, Breaks.breaks = [], breaks
    contexts = [EnvContext({}, 1, 0)]
    vector = MultiAgentVector(Breaks, contexts, seed=0, recreate_failed=recreate_failed)
    return MultiAgentCollector(vector, Knowers("p"), lambda agent: "p", {"p": SPACE}, rows)


@pytest.mark.parametrize("rows", [1, 4, 30])
def test_an_environment_that_fails_is_made_anew_and_its_episode_has_no_result(rows: int) -> None:
    one = broken({0: (0, 3), 1: (1, 0)}, rows)
    heard: list[int] = []
    one.env.on_made_anew = heard.append
    fragments = [one.collect() for _ in range(60 // rows)]
    assert (one.env.num_recreated, heard) == (2, [0, 0]) and "lost" in one.env.last_failure
    episodes = [episode for fragment in fragments for episode in fragment.episodes]
    assert {(e.length, e.episode_return) for e in episodes} == {(10, 20.0)}
    lives: dict[int, list[tuple[int, bool, bool]]] = {}
    for fragment in fragments:
        group = fragment.groups.get("p")
        for t, lane in zip(*np.nonzero(group[c.VALID]), strict=True) if group else ():
            life, step = divmod(int(group[c.OBS][t, lane, 0]), 100)
            assert group[c.AGE][t, lane] == step
            ends = bool(group[c.TERMINATEDS][t, lane]), bool(group[c.TRUNCATEDS][t, lane])
            lives.setdefault(life, []).append((step, *ends))
    assert (
        sorted(lives[0])
        == [(0, False, False)] * 2 + [(1, False, False)] * 2 + [(2, False, True)] * 2
    ), "what was done last is cut short, and no row joins two lives"
    assert sorted({row for row in lives[1] if any(row[1:])}) == [(9, True, False)]
    assert lives.keys() == {0, 1, 2}


def test_one_that_fails_again_and_again_or_unasked_ends_it() -> None:
    with pytest.raises(EnvironmentFailure, match=r"environment 0 of worker 1 failed in step.*lost"):
        broken({0: (0, 3)}, 9, recreate_failed=False).collect()
    hopeless = broken(dict.fromkeys(range(9), (0, 0)), 9)
    with pytest.raises(EnvironmentFailure, match=r"failed in reset.*lost"):
        hopeless.collect()
    assert hopeless.env.num_recreated == 3
    hopeless = broken({0: (0, 3), **dict.fromkeys(range(1, 9), (-1, 0))}, 9)
    with pytest.raises(EnvironmentFailure, match=r"failed in make.*lost"):
        hopeless.collect()
    assert hopeless.env.num_recreated == 3


def test_one_that_cannot_be_made_anew_at_once_is_tried_again() -> None:
    one = broken({0: (0, 3), 1: (-1, 0), 2: (-1, 0)}, 9)
    group = one.collect().groups["p"]
    assert set((group[c.OBS][:-1][group[c.VALID]][:, 0] // 100).tolist()) == {0, 3}
    assert one.env.num_recreated == 3
