"""What a user asks of the policies and workers of a run: the part of Algorithm that looks and acts.

Weights are the learner's newest, always.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from actorrl.algorithms import described, multi_agent, policy_checkpoint
from actorrl.algorithms.asked import Asked, check_units, preprocessed
from actorrl.algorithms.config import AlgorithmConfig
from actorrl.algorithms.mirror import PolicyMirror, PolicyPart
from actorrl.algorithms.run import Run
from actorrl.algorithms.worker_set import WorkerSet
from actorrl.data.columns import DEFAULT_POLICY
from actorrl.data.sample_batch import MultiAgentBatch
from actorrl.envs.check import EnvInfo
from actorrl.envs.own_preprocessor import WithPreprocessor
from actorrl.envs.previous import WithPrevious
from actorrl.experiment.checkpoints import write_checkpoint
from actorrl.paths import expanded
from actorrl.roles.worker_view import WorkerView
from actorrl.runtime.cluster import Cluster


class Acting:
    """Base of Algorithm, which sets these when it is built."""

    config: AlgorithmConfig
    info: EnvInfo
    _run: Run
    _mirror: PolicyMirror
    _workers: WorkerSet
    _about: Callable[[], dict[str, Any]]

    @property
    def training_iteration(self) -> int:
        return self._run.counters.training_iteration

    @property
    def run_folder(self) -> str:
        """Path of the run folder."""
        return str(self._run.record.folder.path)

    logdir = run_folder  # RLlib's name

    @property
    def env_name(self) -> str:
        return self.info.name

    @property
    def notices(self) -> list[str]:
        return described.notices(self.config, self.info)

    def get_state(self) -> dict[str, Any]:
        """What a checkpoint would hold of now. RLlib's name; what is in it is our own."""
        return self._run.state()

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` has returned of a run with the same settings."""
        self._mirror.begin_with(state["learner"]["weights"])
        self._run.load_state(dict(state))

    def save_checkpoint(self, checkpoint_dir: str | Path) -> str:
        """RLlib's: a checkpoint that is this folder, empty or a checkpoint till now, and not one in
        it as `save` writes; its path."""
        folder = expanded(checkpoint_dir).absolute()
        return str(write_checkpoint(folder, self._run.state(), self._about()))

    def bottleneck(self) -> str:
        """One sentence: what the run waits for, and the setting that would move it."""
        return self._run.reporter.bottleneck

    def status(self) -> list[dict[str, Any]]:
        """A row per actor."""
        return self._run.cluster.status()

    @property
    def cluster(self) -> Cluster:
        """The run's actors and hosts."""
        self._run.start()
        return self._run.cluster

    def get_policy(self, policy_id: str = DEFAULT_POLICY) -> PolicyMirror | PolicyPart:
        """The policy with the newest weights; what is written to it reaches the learner."""
        policies = policies_of(self._mirror, self.info)
        if policy_id not in policies:
            known = ", ".join(map(repr, policies))
            raise KeyError(f"no policy {policy_id!r}: this run has {known}")
        return policies[policy_id]

    def newest_policy(self) -> Any:
        """The driver's policy, or PolicyMap of several, as it is now: to play with."""
        return self._mirror.refresh()

    def get_weights(self, policies: list[str] | None = None) -> dict[str, dict[str, np.ndarray]]:
        """Policy id -> weights by name; of all, or of those named."""
        names = policies_of(self._mirror, self.info) if policies is None else policies
        return {name: self.get_policy(name).get_weights() for name in names}

    def set_weights(self, weights: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """The inverse."""
        for name, of_policy in weights.items():
            self.get_policy(name).set_weights(of_policy)

    @property
    def workers(self) -> WorkerSet:
        """The rollout workers, and the driver's own copy."""
        self._run.start()
        return self._workers

    optimizer = workers  # RLlib's older name

    @property
    def local_worker(self) -> WorkerView:
        """The driver's own copy."""
        return self.workers.local_worker()

    local_evaluator = local_worker  # RLlib's older name

    def foreach_worker(self, func: Callable[[Any], Any]) -> list[Any]:
        """What the function returned of the driver's copy and in each worker; see WorkerSet."""
        return self.workers.foreach_worker(func)

    def foreach_worker_with_index(self, func: Callable[[Any, int], Any]) -> list[Any]:
        return self.workers.foreach_worker_with_index(func)

    def sync_weights(self) -> None:
        """Nothing to do: see WorkerSet."""
        self._workers.sync_weights()

    def compute_single_action(
        self,
        observation: Any = None,
        state: Any = None,
        prev_action: Any = None,
        prev_reward: Any = None,
        info: Any = None,
        policy_id: str = DEFAULT_POLICY,
        full_fetch: bool = False,
        explore: bool | None = None,
        timestep: float | None = None,
        episode: Any = None,
        *,
        input_dict: Mapping[str, Any] | None = None,
        unsquash_action: bool | None = None,
        clip_action: bool | None = None,
    ) -> Any:
        """An action for one observation of the environment; greedy unless told to `explore`. With
        `state` (an LSTM's) or `full_fetch` a tuple (action, state, extras), as RLlib's. The last
        action and reward are for models with `lstm_use_prev_action` and `lstm_use_prev_reward`;
        none looks at `info` or `episode`. `timestep` is where schedules of exploration stand.
        `input_dict` has all of these under SampleBatch's names; actions are the environment's,
        which the last two may say (see asked.py). KeyError for an unknown policy."""
        policy, seen = self.get_policy(policy_id), self.info
        check_units(self.config, policy, unsquash_action, clip_action)
        asked = Asked(observation, state, prev_action, prev_reward).or_of(input_dict)
        observation, state, prev_action, prev_reward = asked
        if seen.policies is not None:
            seen = seen.policies[policy_id]
        obs = observation
        if isinstance(seen.env, WithPreprocessor):
            obs = observation = seen.env.transform(obs)
        if isinstance(seen.env, WithPrevious):
            obs = observation = seen.env.joined(obs, seen.action_space, prev_action, prev_reward)
        if seen.frame_stack == 1:
            obs = preprocessed(seen.raw_observation_space, observation)
        at = {} if timestep is None else {"timestep": timestep}
        found = policy.compute_single_action(obs, state, explore=bool(explore), **at)
        return found if full_fetch or state is not None else found[0]

    compute_action = compute_single_action  # RLlib's older name

    def compute_actions(
        self,
        observations: Mapping[Any, Any],
        state: Mapping[Any, Any] | None = None,
        prev_action: Mapping[Any, Any] | None = None,
        prev_reward: Mapping[Any, Any] | None = None,
        info: Any = None,
        policy_id: str = DEFAULT_POLICY,
        full_fetch: bool = False,
        explore: bool | None = None,
        timestep: float | None = None,
        episodes: Any = None,
        *,
        unsquash_actions: bool | None = None,
        clip_actions: bool | None = None,
    ) -> Any:
        """RLlib's: an action for each observation of a dict, under its key; with `state`, one for
        each key, or `full_fetch` three dicts (actions, states, extras). Of the last actions and
        rewards those that are missing are of an episode's start."""
        found = {
            key: self.compute_single_action(
                observation,
                state[key] if state is not None else None,
                (prev_action or {}).get(key),
                (prev_reward or {}).get(key),
                policy_id=policy_id,
                full_fetch=full_fetch,
                explore=explore,
                timestep=timestep,
                unsquash_action=unsquash_actions,
                clip_action=clip_actions,
            )
            for key, observation in observations.items()
        }
        if state is None and not full_fetch:
            return found
        return tuple({key: parts[i] for key, parts in found.items()} for i in range(3))

    def learn_on_batch(self, samples: Mapping[str, Any] | MultiAgentBatch) -> dict[str, Any]:
        """RLlib's, of its local worker: one update of each policy that learns and has rows in a
        MultiAgentBatch, in its order, or of the only policy with a SampleBatch or a dict. By policy
        what its own `learn_on_batch` returns; the same is raised, and KeyError for an unknown
        policy."""
        batches: Mapping[str, Any] = {DEFAULT_POLICY: samples}
        if isinstance(samples, MultiAgentBatch):
            batches = samples.policy_batches
        policies = {name: self.get_policy(name) for name in batches}
        learning = multi_agent.learning(self.config, policies)
        return {name: policies[name].learn_on_batch(batches[name]) for name in learning}

    def export_policy_checkpoint(
        self, export_dir: str | Path, policy_id: str = DEFAULT_POLICY
    ) -> str:
        """RLlib's: this folder becomes a checkpoint of one policy, for `Policy.from_checkpoint`;
        its path. KeyError for an unknown policy, ConfigError for one of another class."""
        policy: Any = self.get_policy(policy_id)
        folder = expanded(export_dir).absolute()
        return policy_checkpoint.export(folder, self.config, self.info, policy_id, policy)

    def export_policy_model(
        self, export_dir: str, policy_id: str = DEFAULT_POLICY, onnx: int | None = None
    ) -> str:
        """RLlib's: a policy's network as a file that acts without actorrl; see
        `Policy.export_model`. KeyError for an unknown policy."""
        folder: str = self.get_policy(policy_id).export_model(export_dir, onnx)
        return folder


def policies_of(mirror: PolicyMirror, info: EnvInfo) -> dict[str, PolicyMirror | PolicyPart]:
    """By id, where there are several and where there is one."""
    if info.policies is None:
        return {DEFAULT_POLICY: mirror}
    return {name: PolicyPart(mirror, name) for name in info.policies}
