"""Evaluation on workers of its own, beside training (`evaluation_num_workers`)."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from actorrl.algorithms.config import AlgorithmConfig
from actorrl.algorithms.restoring import EVALUATION_SEED
from actorrl.data.fragment import Episode
from actorrl.envs.check import EnvInfo
from actorrl.errors import CallError
from actorrl.roles.evaluator import Evaluator
from actorrl.rollouts import evaluation
from actorrl.runtime.calls import Future
from actorrl.runtime.program import Program
from actorrl.runtime.refs import NO_LIMIT, ActorRef

ROLE = "evaluator"


def add_evaluators(program: Program, config: AlgorithmConfig, info: EnvInfo) -> None:
    """They have no links: weights come with each request, so that it is said which they are."""
    make_policy = functools.partial(_greedy_policy, config, info)
    program.add_group(
        ROLE,
        Evaluator,
        info.env,
        config.env_config,
        0,
        make_policy,
        count=config.evaluation_num_workers,
    )


def _greedy_policy(config: AlgorithmConfig, info: EnvInfo, seed: int, indices: np.ndarray) -> Any:
    return config.algorithm.make_policy(config, info, seed, config.greediest_env())


def evaluators_of(program: Program) -> list[ActorRef]:
    return [ref for name, ref in program.refs.items() if name.startswith(f"{ROLE}/")]


class Evaluation:
    """One evaluation under way, shared out evenly over the evaluators."""

    def __init__(
        self, evaluators: list[ActorRef], weights: np.ndarray, episodes: int, explore: bool
    ) -> None:
        self._futures: list[Future] = []
        for i, evaluator in enumerate(evaluators):
            share = episodes // len(evaluators) + (i < episodes % len(evaluators))
            if share:
                call = evaluator.evaluate.within(NO_LIMIT).call
                self._futures.append(call(weights, share, explore, EVALUATION_SEED + 1000 * i))

    def metrics(self) -> dict[str, Any] | None:
        """Wait for the end of it. The share of an evaluator that has died is left out: `episodes`
        says how many were played; None if none were."""
        played: list[Episode] = []
        for future in self._futures:
            try:
                played += [Episode.from_row(row) for row in future.result()]
            except CallError:
                continue
        return evaluation.summary(played) if played else None
