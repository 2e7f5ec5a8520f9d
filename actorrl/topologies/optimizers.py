"""RLlib's policy optimizers by their names: our topologies, driven by another library's evaluators.

    AsyncOptimizer            async_gradients       A3C      (later AsyncGradientsOptimizer)
    LocalSyncOptimizer        synchronous           A2C, PG  (later SyncSamplesOptimizer)
    LocalMultiGPUOptimizer    synchronous, several passes: PPO
    LocalSyncReplayOptimizer  local_replay          DQN      (later SyncReplayOptimizer)
    ApexOptimizer             distributed_replay    Ape-X    (later AsyncReplayOptimizer)
    AsyncSamplesOptimizer     sample_queue          IMPALA

    with LocalSyncOptimizer(make_evaluator, num_workers=2, train_batch_size=64) as optimizer:
        report = optimizer.step()

`make_evaluator(worker_index)` is called in each worker (from 1) and in the learner (0); see
`roles.policy_evaluator.PolicyEvaluator` for what it returns. An optimizer is a context manager.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from actorrl.policies.exploration import PiecewiseSchedule
from actorrl.roles import policy_evaluator as evaluators
from actorrl.roles.batch import RowBatch
from actorrl.roles.local_replay_learner import LocalReplaySettings
from actorrl.roles.policy_evaluator import EvaluatorUpdate, MakeEvaluator
from actorrl.roles.replay_shard import ShardSettings
from actorrl.roles.settings import LearnerSettings, WorkerSettings
from actorrl.runtime.cluster import Cluster
from actorrl.runtime.program import Program
from actorrl.runtime.refs import NO_LIMIT
from actorrl.topologies import (
    async_gradients,
    distributed_replay,
    local_replay,
    sample_queue,
    synchronous,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """Sizes are rows of `sample()`. The last five are replay's, the two before synchronous."""

    num_workers: int = 2  # processes; 0: everything in the caller's own
    train_batch_size: int = 200
    seed: int = 0
    num_sgd_iter: int = 1
    sgd_minibatch_size: int | None = None
    replay_capacity: int = 10_000
    learning_starts: int = 1000
    samples_per_insert: float = 8.0
    prioritized_replay_alpha: float = 0.6
    prioritized_replay_beta: float = 0.4


class PolicyOptimizer:
    """Base: starts the Program of its topology, steps it, stops it."""

    def __init__(
        self,
        make_evaluator: MakeEvaluator,
        cluster: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        """`settings` are those of OptimizerSettings, `cluster` those of Cluster (hosts). Raises
        TypeError for another one, RunFailed if an actor cannot start."""
        self.settings = OptimizerSettings(**settings)
        self.make_evaluator = make_evaluator
        launcher = "local" if self.settings.num_workers else "inproc"
        self._cluster = Cluster(self.program(), launcher=launcher, **(cluster or {}))
        self._cluster.start()
        self._learner = self._cluster.ref("learner/0")

    def program(self) -> Program:
        """The actors and links of its topology."""
        raise NotImplementedError

    # ---- what a user calls --------------------------------------------------------------

    def step(self, min_updates: int = 1) -> dict[str, Any]:
        """Learn until so many updates are done; what has happened since the last step: counts,
        `stats` of `compute_gradients`, and `episodes`, rows [worker, return, length]."""
        future = self._learner.train.within(NO_LIMIT).call(min_updates, 0, 0.0)
        while not future.done():
            self._cluster.poll(0.05)
        report: dict[str, Any] = future.result()
        return report

    def get_weights(self) -> dict[str, np.ndarray]:
        """The learner's, by name, in its own evaluator's shapes."""
        policy = evaluators.EvaluatorPolicy(self.make_evaluator(0))
        policy.load(self._learner.get_state.within(NO_LIMIT).call().result()["weights"])
        return policy.get_weights()

    def set_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Of the learner, and with its next version of all workers."""
        self._learner.set_weights.within(NO_LIMIT).call(dict(weights)).result()

    def stop(self) -> None:
        self._cluster.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    # ---- what Programs are made of ------------------------------------------------------

    def _workers(self) -> WorkerSettings:
        return WorkerSettings(
            env=None,
            env_config={},
            num_workers=max(1, self.settings.num_workers),
            num_envs_per_worker=1,
            fragment_length=1,
            seed=self.settings.seed,
            make_source=evaluators.make_source,
        )

    def _learner_settings(self, passes: int = 1, minibatch: int | None = None) -> LearnerSettings:
        return LearnerSettings(
            make_update=functools.partial(EvaluatorUpdate, self.make_evaluator, passes, minibatch),
            train_batch_size=self.settings.train_batch_size,
            make_batch=RowBatch,
        )

    def _policy(self) -> Any:
        return functools.partial(evaluators.make_policy, self.make_evaluator)


class AsyncOptimizer(PolicyOptimizer):
    """Takes the workers' gradients as they come; each goes on with the newest weights (A3C)."""

    def program(self) -> Program:
        return async_gradients.build(
            type(self).__name__,
            self._workers(),
            self._learner_settings(),
            self._policy(),
            evaluators.compute_gradient,
        )


class LocalSyncOptimizer(PolicyOptimizer):
    """Asks all workers for samples, learns from them together, hands out the weights (A2C)."""

    def program(self) -> Program:
        settings = self.settings
        learner = self._learner_settings(settings.num_sgd_iter, settings.sgd_minibatch_size)
        return synchronous.build(
            type(self).__name__,
            self._workers(),
            learner,
            self._policy(),
            evaluators.as_fragments,
        )


class LocalMultiGPUOptimizer(LocalSyncOptimizer):
    """The same, for `num_sgd_iter` passes of minibatches over each batch (PPO). Where the batch
    goes (a GPU) is the evaluator's own affair."""


class AsyncSamplesOptimizer(PolicyOptimizer):
    """Workers stream samples, the learner takes what comes (IMPALA)."""

    def program(self) -> Program:
        return sample_queue.build(
            type(self).__name__,
            self._workers(),
            self._learner_settings(),
            self._policy(),
            evaluators.as_fragments,
        )


class LocalSyncReplayOptimizer(PolicyOptimizer):
    """Rounds of samples into the learner's own prioritized buffer, then updates from it (DQN)."""

    def program(self) -> Program:
        settings = self.settings
        replay = LocalReplaySettings(
            capacity=settings.replay_capacity,
            alpha=settings.prioritized_replay_alpha,
            seed=settings.seed,
            min_size=settings.learning_starts,
            samples_per_insert=settings.samples_per_insert,
            beta=PiecewiseSchedule([(0.0, settings.prioritized_replay_beta)]),
        )
        return local_replay.build(
            type(self).__name__,
            self._workers(),
            self._learner_settings(),
            replay,
            self._policy(),
            evaluators.as_rows,
        )


class ApexOptimizer(PolicyOptimizer):
    """Workers fill shards, the learner asks them for batches by priority (Ape-X)."""

    NUM_SHARDS = 2

    def program(self) -> Program:
        settings, shards = self.settings, self.NUM_SHARDS
        ahead = max(2.0 * settings.train_batch_size, 0.1 * settings.replay_capacity)
        shard = ShardSettings(
            capacity=settings.replay_capacity // shards,
            alpha=settings.prioritized_replay_alpha,
            seed=settings.seed,
            min_size=max(1, settings.learning_starts // shards),
            samples_per_insert=settings.samples_per_insert,
            tolerance=ahead * settings.samples_per_insert,
        )
        return distributed_replay.build(
            type(self).__name__,
            self._workers(),
            self._learner_settings(),
            shard,
            shards,
            self._policy(),
            evaluators.as_rows,
            PiecewiseSchedule([(0.0, settings.prioritized_replay_beta)]),
        )
