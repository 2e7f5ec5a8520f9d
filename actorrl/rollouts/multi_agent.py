"""Steps environments with several agents and policies, and writes fragments with a group for each.

Letters: T ticks of a fragment, B lanes of a policy. A tick steps each environment once, or resets
it; in a tick a policy is asked once, for all agents of all environments that act with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from actorrl.data.fragment import Episode, Fragment
from actorrl.envs.base_env import AgentsVector
from actorrl.envs.failure import Phase, failure, place
from actorrl.envs.multi_agent import Tick
from actorrl.envs.numbers import check_numbers
from actorrl.envs.preprocessors import preprocessor_for, problem_with
from actorrl.errors import EnvironmentFailure
from actorrl.rollouts.collector import ActingPolicy
from actorrl.rollouts.harvest import Harvest
from actorrl.rollouts.lanes import Lane, Lanes, extras_of, stacked_states
from actorrl.rollouts.policy_mapping import EpisodeInfo, MappingFn, with_accepted_arguments
from actorrl.rollouts.watching import AgentsWatcher, metrics_of


class Policies(Protocol):
    """Policies by id, with one version for all."""

    @property
    def version(self) -> int: ...
    @property
    def policies(self) -> Mapping[str, ActingPolicy]: ...


class MultiAgentCollector:
    """Like `Collector`, for agents that come and go, take turns, and have different policies."""

    def __init__(
        self,
        env: AgentsVector,
        policies: Policies,
        mapping_fn: MappingFn,
        raw_spaces: Mapping[str, gym.Space[Any]],
        fragment_length: int,
        *,
        first_env_index: int = 0,
        worker_index: int = 0,
        explore: bool | Mapping[str, bool] = True,
        whole_episodes: bool = False,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        """`explore`: that of all policies, or of each by its id. `whole_episodes`: it goes on until
        there are as many steps of these as a fragment would have had, and gives out what agents
        lived through from beginning to end, with the first version that acted; `beat` is called in
        each of its ticks."""
        self.env = env
        self.policies = policies
        self.fragment_length = fragment_length
        self.worker_index = worker_index
        if not isinstance(explore, Mapping):
            explore = dict.fromkeys(policies.policies, explore)
        self.explore = explore
        self.num_steps_total = 0
        self.timers = {"env_s": 0.0, "policy_s": 0.0, "total_s": 0.0}
        self.watcher: AgentsWatcher | None = None  # calls the user's callbacks
        self._whole = whole_episodes
        self._beat = beat
        self._map = with_accepted_arguments(mapping_fn)
        self._raw_spaces = raw_spaces
        self._preprocessors = {name: preprocessor_for(s) for name, s in raw_spaces.items()}
        self._first_env_index = first_env_index
        self._num_episodes = 0
        self._lanes = Lanes()
        self._episodes: list[EpisodeInfo | None] = [None] * env.num_envs
        self._created: dict[int, EpisodeInfo] = {}  # those whose environment is to be reset
        self._ended: list[EpisodeInfo] = []  # not told of yet
        self._fresh: dict[str, tuple[np.ndarray, ...]] = {
            name: tuple(part[0] for part in policy.initial_state(1))
            for name, policy in policies.policies.items()
        }

    def collect(self) -> Fragment:
        """The next T ticks. Raises EnvironmentFailure."""
        started, num_resets = perf_counter(), 0
        harvest = Harvest(self.policies.version)
        if self._whole:
            ended = self._tick_through_episodes()
            num_env_steps = sum(episode.length for episode in ended)
        else:
            before = self._num_episodes
            num_env_steps = sum(self._tick() for _ in range(self.fragment_length))
            num_resets = self._num_episodes - before
            ended, self._ended = self._ended, []
        for name, policy in self.policies.policies.items():
            if self._whole:
                harvest.take_whole(name, self._lanes)
            else:
                harvest.take(name, policy, self._lanes, self.fragment_length + 1)
        if self.watcher is not None:
            self.watcher.end_fragment(harvest.groups, harvest.owners)
        self._lanes.forget_idle()
        self.num_steps_total += num_env_steps
        self.timers["total_s"] += perf_counter() - started
        return Fragment(
            groups=harvest.groups,
            num_env_steps=num_env_steps,
            policy_version=harvest.version,
            episodes=[_told(episode) for episode in ended],
            worker_index=self.worker_index,
            num_resets=num_resets,
            lanes=harvest.numbers,
        )

    def _tick_through_episodes(self) -> list[EpisodeInfo]:
        """Those that have ended."""
        wanted = self.fragment_length * self.env.num_envs
        while sum(episode.length for episode in self._ended) < wanted:
            self._tick()
            self._beat()
        ended, self._ended = self._ended, []
        self._tick()  # the rows behind their ends; what ends in it comes with the next fragment
        return ended

    # ---- a tick -------------------------------------------------------------------------

    def _tick(self) -> int:
        """Act, then step or reset each environment; how many were stepped."""
        actions: list[dict[Any, Any]] = [{} for _ in self._episodes]
        before = perf_counter()
        for name in self.policies.policies:
            self._act(name, actions)
        self._create_episodes()
        between = perf_counter()
        self.timers["policy_s"] += between - before
        stepped = 0
        told = self.env.advance(
            [None if e is None else a for e, a in zip(self._episodes, actions, strict=True)]
        )
        for i, (episode, tick) in enumerate(zip(self._episodes, told, strict=True)):
            if tick is None:
                continue  # not ready
            if episode is None:
                self._begin(i, tick)
            elif tick.broken:
                self._end(i, tick)  # it has no result
            else:
                self._hear(i, episode, tick, actions[i])
                stepped += 1
        self.timers["env_s"] += perf_counter() - between
        return stepped

    def _act(self, name: str, actions: list[dict[Any, Any]]) -> None:
        """One question to a policy: all its agents that act, and those whose end waits for a
        row."""
        asked: list[tuple[int, Any, Lane]] = []
        shown: list[np.ndarray] = []
        for i, agent, lane in self._lanes.of_policy(name):
            if (obs := lane.shown) is not None:
                asked.append((i, agent, lane))
                shown.append(obs)
        if not asked:
            return
        policy, states = self.policies.policies[name], stacked_states([x for _, _, x in asked])
        act = policy.act(np.stack(shown), states, self.explore[name])
        env_actions = policy.env_actions(act.actions)
        for k, (i, agent, lane) in enumerate(asked):
            state = tuple(part[k] for part in act.state)
            if lane.acted(act.actions[k], extras_of(act.extras, k), state, self.policies.version):
                actions[i][agent] = env_actions[k]

    def _create_episodes(self) -> None:
        """Of the environments that will be reset."""
        for i, episode in enumerate(self._episodes):
            if episode is None and i not in self._created:
                self._num_episodes += 1
                self._created[i] = EpisodeInfo(self._num_episodes, self._first_env_index + i)
                if self.watcher is not None:
                    self.watcher.create(i, self._created[i])

    def _begin(self, i: int, tick: Tick) -> None:
        self._episodes[i] = episode = self._created.pop(i)
        for policy in self.policies.policies.values():
            if (tell := getattr(policy, "episodes_begin", None)) is not None:
                tell(np.array([i]))
        for agent, obs in tick.obs.items():
            self._enter(i, episode, agent, obs, "reset")
        if self.watcher is not None:
            self.watcher.begin(i, episode, tick)

    def _enter(self, i: int, episode: EpisodeInfo, agent: Any, obs: Any, phase: Phase) -> None:
        """An agent's first observation of an episode."""
        name = self._policy_of(i, episode, agent)
        lane = self._lanes.free(name, i, agent)
        lane.begin(self._transform(i, agent, name, obs, phase), self._fresh[name], episode)

    def _transform(self, i: int, agent: Any, name: str, obs: Any, phase: Phase) -> np.ndarray:
        try:
            problem = problem_with(self._raw_spaces[name], obs)
            if problem is not None:
                raise ValueError(f"agent {agent!r}: {phase}() returned an observation {problem}")
            array = self._preprocessors[name].transform([obs])
            check_numbers(array, f"agent {agent!r}: {phase}")
        except ValueError as error:
            raise failure(error, phase, self.worker_index + 1, i) from error
        first: np.ndarray = array[0]
        return first

    def _policy_of(self, i: int, episode: EpisodeInfo, agent: Any) -> str:
        name = episode.policy_of.get(agent)
        if name is None:
            name = self._map(agent, episode)
            if name not in self.policies.policies:
                accepted = ", ".join(self.policies.policies)
                raise EnvironmentFailure(
                    f"{place(self.worker_index + 1, i)}: policy_mapping_fn({agent!r}) returned"
                    f" {name!r}, expected one of {accepted}"
                )
            episode.policy_of[agent] = name
        return name

    def _hear(self, i: int, episode: EpisodeInfo, tick: Tick, actions: dict[Any, Any]) -> None:
        episode.length += 1
        for agent, reward in tick.rewards.items():
            self._reward(i, episode, agent, reward)
        for agent in {**tick.obs, **tick.terminateds, **tick.truncateds}:
            terminated = tick.terminateds.get(agent, False)
            truncated = tick.truncateds.get(agent, False)
            lane = self._open_lane(i, episode, agent)
            obs = tick.obs.get(agent)
            if lane is not None:
                name = episode.policy_of[agent]
                seen = None if obs is None else self._transform(i, agent, name, obs, "step")
                lane.outcome(seen, terminated, truncated)
            elif obs is not None and not (tick.ended or terminated or truncated):
                self._enter(i, episode, agent, obs, "step")
        if self.watcher is not None:
            self.watcher.after_step(i, episode, tick, actions)
        if tick.ended:
            self._end(i, tick)
            self._ended.append(episode)

    def _open_lane(self, i: int, episode: EpisodeInfo, agent: Any) -> Lane | None:
        """That of an agent that has acted and waits for the outcome."""
        name = episode.policy_of.get(agent)
        return None if name is None else self._lanes.open(name, i, agent)

    def _reward(self, i: int, episode: EpisodeInfo, agent: Any, reward: float) -> None:
        """For what the agent did last; one that has not acted yet has it in its return only."""
        name = self._policy_of(i, episode, agent)
        episode.count_reward(agent, name, reward)
        lane = self._open_lane(i, episode, agent)
        if lane is not None:
            lane.rows[-1].reward += reward

    def _end(self, i: int, tick: Tick) -> None:
        """The episode is over for all: agents that wait for their outcome get it now. Where the
        environment broke, what they did last is truncated."""
        for lane in self._lanes.of_environment(i):
            lane.end(tick.all_terminated)
        self._episodes[i] = None


def _told(episode: EpisodeInfo) -> Episode:
    """Once the user's callbacks have seen all of it."""
    return Episode(
        episode.env_index,
        episode.total_reward,
        episode.length,
        metrics_of(episode),
        policy_returns=dict(sorted(episode.policy_rewards.items())),
    )
