"""Evaluation on workers of its own, beside training (`evaluation_num_workers`)."""

from __future__ import annotations

import contextlib
import functools
import logging
import numbers
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from actorrl.algorithms import playing
from actorrl.algorithms.acting import policies_of
from actorrl.algorithms.config import AlgorithmConfig
from actorrl.algorithms.mirror import PolicyMirror
from actorrl.algorithms.playing import EVALUATION_SEED
from actorrl.algorithms.setup import acting_policy
from actorrl.algorithms.worker_set import TIMEOUT_S, WorkerSet
from actorrl.config import shown
from actorrl.data.fragment import Episode
from actorrl.envs.check import EnvInfo
from actorrl.errors import ActorDied, CallError, ConfigError, EnvironmentFailure
from actorrl.roles.evaluator import Evaluator
from actorrl.roles.worker_view import WorkerView
from actorrl.rollouts import evaluation
from actorrl.runtime.calls import Future
from actorrl.runtime.program import Program
from actorrl.runtime.refs import NO_LIMIT, ActorRef

ROLE = "evaluator"
_ROUND = 10  # episodes of an evaluator, where nobody says how many
_log = logging.getLogger(__name__)


def add_evaluators(program: Program, config: AlgorithmConfig, info: EnvInfo) -> None:
    """They have no links: weights come with each request, so that it is said which they are."""
    make_policy = functools.partial(_greedy_policy, config.algorithm.make_policy, config, info)
    config = config.for_evaluation()
    program.add_group(
        ROLE,
        Evaluator,
        playing.stage_of(config, info),
        0,
        make_policy,
        count=config.evaluation_num_workers,
    )


def _greedy_policy(
    make_policy: Any, config: AlgorithmConfig, info: EnvInfo, seed: int, indices: np.ndarray
) -> Any:
    """A config tells no actor of an algorithm of the user's own."""
    return acting_policy(config, info, make_policy)(seed, config.greediest_env())


class Duration(NamedTuple):
    """How long an evaluation is: so many episodes, or env steps in all."""

    amount: int
    in_steps: bool = False


def duration_of(
    steps: int | None, episodes: int | None, duration_fn: Callable[[int], int] | None
) -> Duration | None:
    """As `Algorithm.evaluate` is told it; None: as the config says. Raises ConfigError."""
    if steps is not None:
        return Duration(_positive("steps", steps), in_steps=True)
    count = duration_fn(0) if duration_fn is not None else episodes
    return None if count is None else Duration(_positive("episodes", count))


def _metrics_of(found: Any) -> dict[str, Any]:
    if not isinstance(found, Mapping):
        raise ConfigError(
            f"custom_evaluation_function: returned {shown(found)}, expected a dict of metrics"
        )
    return dict(found)


def _positive(what: str, count: int) -> int:
    if not isinstance(count, numbers.Integral) or count < 1:
        raise ConfigError(f"evaluate: {what}={count!r} is not accepted, expected at least 1")
    return count


class Evaluations:
    """Those of a run: by its evaluators, or where there is none (any more) by the driver."""

    def __init__(
        self,
        config: AlgorithmConfig,
        info: EnvInfo,
        evaluators: list[ActorRef],
        policy: PolicyMirror,
    ) -> None:
        self._config = config.for_evaluation()
        self._info = info
        self._evaluators = evaluators
        self._policy = policy
        self._under_way: Evaluation | None = None
        self._films = config.record_video

    def begin(self) -> None:
        """One with the weights of now, if there are evaluators to play it beside training, and no
        function of the user's that plays otherwise."""
        if self._evaluators and self._config.custom_evaluation_function is None:
            goes_on = self._config.evaluation_duration == "auto"
            duration = self._duration()
            if goes_on:
                duration = Duration(_ROUND * len(self._evaluators))
            self._under_way = self._start(duration, self._config.evaluation_explore, goes_on)

    def _duration(self) -> Duration:
        """The config's."""
        count = self._config.evaluation_duration
        if count == "auto":
            return Duration(_ROUND)
        return Duration(count, in_steps=self._config.evaluation_duration_unit == "timesteps")

    def play(self, duration: Duration | None, explore: bool | None) -> dict[str, Any]:
        """The end of the one under way, else a new one."""
        explore = self._config.evaluation_explore if explore is None else explore
        duration = duration or self._duration()
        under_way, self._under_way = self._under_way, None
        if under_way is None and self._evaluators:
            under_way = self._start(duration, explore)
        found = under_way.metrics() if under_way is not None else None
        if found is None:
            play = playing.play_steps if duration.in_steps else playing.play_episodes
            policy = self._policy.refresh()
            found = play(self._config, self._info, policy, duration.amount, explore)
        return found

    def by_function(self, function: Callable[..., Any], algorithm: Any) -> dict[str, Any]:
        """What a user's `function(algorithm, workers)` returns. The workers are the evaluators with
        the newest weights, or where there are none the driver with an environment of its own."""
        policy, explore = self._policy.refresh(), self._config.evaluation_explore
        evaluators = self._ready(policy, explore)
        if evaluators:
            own = WorkerView(0, policies_of(self._policy, self._info))
            return _metrics_of(function(algorithm, EvaluatorSet(evaluators, own)))
        stage = playing.stage_of(self._config, self._info)
        env = stage.vector(1, EVALUATION_SEED, native=False)
        try:
            own = stage.worker(env, policy, explore, 0)
            return _metrics_of(function(algorithm, EvaluatorSet([], own)))
        finally:
            env.close()

    def _ready(self, policy: Any, explore: bool) -> list[ActorRef]:
        """The evaluators, with the policy's weights; one that has died is left out."""
        weights = policy.flat_weights()
        asked = [
            evaluator.get_ready.within(NO_LIMIT).call(weights, explore, EVALUATION_SEED + 1000 * i)
            for i, evaluator in enumerate(self._evaluators)
        ]
        ready = []
        for evaluator, future in zip(self._evaluators, asked, strict=True):
            with contextlib.suppress(ActorDied):
                future.result()
                ready.append(evaluator)
        return ready

    def film_if_due(self, iteration: int, folder: Path) -> None:
        """One greedy episode into `folder`. An environment that cannot be rendered costs the
        films, not the run."""
        interval = self._config.evaluation_interval
        due = _is_cube(iteration) if interval is None else iteration % interval == 0
        if not self._films or not due:
            return
        title = playing.FilmTitle(folder, f"iteration_{iteration:06d}")
        try:
            playing.film(self._config, self._info, self._policy.refresh(), title)
        except EnvironmentFailure as error:
            self._films = False
            _log.warning("record_video: %s: no films of this run", error)

    def _start(self, duration: Duration, explore: bool, goes_on: bool = False) -> Evaluation:
        weights = self._policy.refresh().flat_weights()
        return Evaluation(self._evaluators, weights, duration, explore, goes_on)


class EvaluatorSet(WorkerSet):
    """The driver's copy is among the workers only where there is no other, as RLlib's evaluation
    workers are."""

    def foreach_worker_with_index(
        self,
        func: Callable[[Any, int], Any],
        local_worker: bool = True,
        timeout_s: float = TIMEOUT_S,
    ) -> list[Any]:
        alone = local_worker and not self.num_remote_workers()
        return super().foreach_worker_with_index(func, alone, timeout_s)


class Evaluation:
    """One evaluation under way, shared out evenly over the evaluators."""

    def __init__(
        self,
        evaluators: list[ActorRef],
        weights: np.ndarray,
        duration: Duration,
        explore: bool,
        goes_on: bool = False,
    ) -> None:
        """`goes_on`: as much again and again, until `metrics` is asked for."""
        self._endless = evaluators if goes_on else []
        self._futures: list[Future] = []
        for i, evaluator in enumerate(evaluators):
            share = duration.amount // len(evaluators) + (i < duration.amount % len(evaluators))
            if share:
                call = evaluator.evaluate.within(NO_LIMIT).call
                seed = EVALUATION_SEED + 1000 * i
                future = call(weights, share, explore, seed, goes_on, duration.in_steps)
                self._futures.append(future)

    def metrics(self) -> dict[str, Any] | None:
        """Wait for the end of it. The share of an evaluator that has died is left out: `episodes`
        says how many were played; None if none were."""
        for evaluator in self._endless:
            evaluator.enough.tell()
        played: list[Episode] = []
        for future in self._futures:
            try:
                played += [Episode.from_row(row) for row in future.result()]
            except CallError:
                continue
        return evaluation.summary(played) if played else None


def _is_cube(iteration: int) -> bool:
    """Often at the start, when much changes: 1, 8, 27 ... (as Gym's Monitor did with episodes)."""
    return round(iteration ** (1 / 3)) ** 3 == iteration
