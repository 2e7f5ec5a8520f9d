"""Follows a worker's environments for the user's callbacks of episodes.

Letters: B environments of a worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from actorrl.data import columns as c
from actorrl.data.columns import DEFAULT_POLICY
from actorrl.rollouts.callbacks import DefaultCallbacks, call_user
from actorrl.rollouts.pieces import Owner, Pieces

_AGENT = "agent0"  # RLlib's, where there is one


class RunningEpisode:
    """An episode under way, as its callbacks see it."""

    def __init__(self, episode_id: int, env_index: int) -> None:
        self.episode_id = episode_id
        self.env_id = env_index
        self.length = 0  # env steps
        self.total_reward = 0.0
        self.user_data: dict[str, Any] = {}
        self.custom_metrics: dict[str, float] = {}
        self.hist_data: dict[str, list[float]] = {}
        self._last: dict[str, Any] = {}

    def last_observation_for(self, agent_id: Any = None) -> Any:
        return self._last.get("observation")

    def last_action_for(self, agent_id: Any = None) -> Any:
        return self._last.get("action")

    def last_reward_for(self, agent_id: Any = None) -> float | None:
        return self._last.get("reward")

    def last_info_for(self, agent_id: Any = None) -> Any:
        return self._last.get("info")


class BaseEnvView:
    """`base_env`: the environments of a worker."""

    def __init__(self, vector: Any) -> None:
        self.vector_env = vector

    def get_sub_environments(self) -> list[Any]:
        found = getattr(self.vector_env, "get_sub_environments", None)
        return list(found() if found is not None else getattr(self.vector_env, "envs", []))


class _Caller:
    """Belongs to a collector; calls the user's class."""

    def __init__(self, callbacks: DefaultCallbacks, vector: Any, worker: Any) -> None:
        self._callbacks = callbacks
        self._vector = vector
        self._shown = {
            "worker": worker,
            "base_env": BaseEnvView(vector),
            "policies": worker.policy_map,
        }
        self._pieces = Pieces(callbacks, worker)

    def _call(self, method: str, i: int, episode: Any) -> None:
        call_user(self._callbacks, method, **self._shown, episode=episode, env_index=i)


class AgentsWatcher(_Caller):
    """Follows environments with several agents. The collector's own EpisodeInfo is the episode."""

    def create(self, i: int, episode: Any) -> None:
        """Before the environment is reset."""
        self._call("on_episode_created", i, episode)

    def begin(self, i: int, episode: Any, tick: Any) -> None:
        episode.last["observation"] = dict(tick.obs)
        self._call("on_episode_start", i, episode)

    def after_step(self, i: int, episode: Any, tick: Any, actions: Mapping[Any, Any]) -> None:
        infos = getattr(self._vector, "last_infos", None)
        told = {"observation": tick.obs, "action": actions, "reward": tick.rewards}
        for what, by_agent in {**told, "info": infos[i] if infos else {}}.items():
            episode.last.setdefault(what, {}).update(by_agent or {})  # infos may be None
        self._call("on_episode_step", i, episode)
        if tick.ended:
            self._call("on_episode_end", i, episode)

    def end_fragment(
        self, groups: Mapping[str, dict[str, np.ndarray]], owners: Mapping[str, Sequence[Owner]]
    ) -> None:
        """Show its pieces, whose rewards the user may change in the columns of each policy."""
        if self._pieces.are_wanted:
            self._pieces.show(groups, owners)


class EpisodeWatcher(_Caller):
    """Follows B environments step by step."""

    def __init__(self, callbacks: DefaultCallbacks, vector: Any, worker: Any) -> None:
        super().__init__(callbacks, vector, worker)
        self._created: dict[int, RunningEpisode] = {}
        self._episodes: dict[int, RunningEpisode] = {}
        self._num_created = 0
        self._ended: list[RunningEpisode] = []
        # By environment those with rows in this fragment, where their pieces are wanted.
        self._to_show: dict[int, list[RunningEpisode]] = {}

    def before_reset(self, num_envs: int) -> None:
        """The first one, of all."""
        for b in range(num_envs):
            self._create(b)

    def _create(self, b: int) -> None:
        self._num_created += 1
        self._created[b] = RunningEpisode(self._num_created, b)
        self._call("on_episode_created", b, self._created[b])

    def before_step(self, age: np.ndarray, obs: np.ndarray) -> None:
        """age [B], obs [B, ...] of the row that is acted on next."""
        for b in np.flatnonzero(age == 0).tolist():
            if b not in self._created:
                self._create(b)  # its environment broke, which nobody can know before
            self._episodes[b] = episode = self._created.pop(b)
            episode._last["observation"] = obs[b]
            self._call("on_episode_start", b, episode)

    def after_step(self, columns: Mapping[str, np.ndarray], t: int, obs: np.ndarray) -> None:
        """Row t is written; obs [B, ...] followed it."""
        infos = getattr(self._vector, "last_infos", None)
        for b in np.flatnonzero(columns[c.VALID][t]).tolist():
            episode = self._episodes[b]
            reward = float(columns[c.REWARDS][t, b])
            episode.length += 1
            episode.total_reward += reward
            self._note_row(b, episode)
            episode._last = {
                "observation": obs[b],
                "action": columns[c.ACTIONS][t, b],
                "reward": reward,
                "info": None if infos is None else infos[b],
            }
            self._call("on_episode_step", b, episode)
            if columns[c.TERMINATEDS][t, b] or columns[c.TRUNCATEDS][t, b]:
                self._call("on_episode_end", b, episode)
                self._ended.append(self._episodes.pop(b))
                self._create(b)

    def _note_row(self, b: int, episode: RunningEpisode) -> None:
        if self._pieces.are_wanted:
            noted = self._to_show.setdefault(b, [])
            if not noted or noted[-1] is not episode:
                noted.append(episode)

    def end_fragment(self, columns: dict[str, np.ndarray]) -> list[dict[str, float]]:
        """Show its pieces, whose rewards the user may change in `columns`. Custom metrics of the
        episodes that ended since the last call, in order of their ends."""
        if self._to_show:
            noted = [episode for _, of_env in sorted(self._to_show.items()) for episode in of_env]
            owners = [Owner(episode, _AGENT) for episode in noted]
            self._to_show.clear()
            self._pieces.show({DEFAULT_POLICY: columns}, {DEFAULT_POLICY: owners})
        ended, self._ended = self._ended, []
        return [metrics_of(episode) for episode in ended]


def metrics_of(episode: Any) -> dict[str, float]:
    """The custom metrics of an episode that has ended; of each list in `hist_data` the mean."""
    means = {name: sum(x) / len(x) for name, x in episode.hist_data.items() if len(x)}
    return {str(name): float(x) for name, x in {**means, **episode.custom_metrics}.items()}


def introduce(callbacks: DefaultCallbacks, vector: Any, worker: Any) -> None:
    """The environments of a worker that has just made them, and those that it makes anew."""
    envs = getattr(vector, "envs", [])
    contexts = getattr(vector, "contexts", None) or [None] * len(envs)

    def tell(i: int) -> None:
        call_user(
            callbacks,
            "on_sub_environment_created",
            worker=worker,
            sub_environment=envs[i],
            env_context=contexts[i],
            env_index=i,
        )

    for i in range(len(envs)):
        tell(i)
    if hasattr(vector, "on_made_anew"):
        vector.on_made_anew = tell
