"""The loop of `train()` that launch and resume share, until a criterion is reached or a signal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol

from actorrl.cli.interrupts import Interrupted, Interrupts, read_by_somebody
from actorrl.experiment.stop import StopCriteria, lookup

CONFIRM_EPISODES = 20
# After a failed confirmation a run of N env steps trains for 0.05 N more before the next: playing
# costs time as well, and rows may be milliseconds apart. Not in seconds, so that seeds repeat.
CONFIRM_AGAIN_AFTER = 0.05
_ITERATION = "training_iteration"


class Training(Protocol):
    """What the loop needs of an Algorithm. Writing rows and recovery checkpoints is its own."""

    def train(self, *, stay: bool) -> dict[str, Any]: ...
    def save(self) -> str: ...
    def pause(self) -> Any: ...
    def finish(self) -> str: ...
    def evaluate(self, *, episodes: int, explore: bool) -> Mapping[str, Any]: ...
    def bottleneck(self) -> str: ...


class Display(Protocol):
    """What the loop needs of experiment.progress.Progress."""

    def update(self, result: Mapping[str, Any], bottleneck: str = "") -> None: ...
    def note(self, text: str) -> None: ...


class Goal(NamedTuple):
    """When the run ends by itself."""

    stop: StopCriteria
    confirm: bool  # the environment's own threshold: 20 greedy episodes have to reach it as well

    def __str__(self) -> str:
        if not self.stop:
            return "until Ctrl-C (the environment has no reward threshold; --stop sets an end)"
        if not self.confirm:
            return f"until {self.stop.describe()}"
        return (
            f"until {self.stop.describe()}, the environment's reward threshold, "
            f"confirmed by {CONFIRM_EPISODES} greedy episodes"
        )


def goal_of(stop: Mapping[str, Any], reward_threshold: float | None) -> Goal:
    """The user's criteria, else the environment's reward threshold, else none."""
    if stop or reward_threshold is None:
        return Goal(StopCriteria(stop), confirm=False)
    return Goal(StopCriteria({"episode_reward_mean": reward_threshold}), confirm=True)


def train_until(
    algo: Training,
    goal: Goal,
    display: Display,
    interrupts: Interrupts,
    checkpoint_freq: int | None = None,
) -> str | None:
    """Train to the goal. Returns it in words, or None when a signal came first.

    A checkpoint is written in both cases, and every `checkpoint_freq` iterations. The caller stops
    the algorithm, whatever happens.

    The actors go on between two iterations. They pause while greedy episodes confirm that the goal
    is reached, so that the weights that were played are those of the last checkpoint.
    """
    ended = _Ended(goal, display, lambda: interrupts.call(lambda: _greedy_mean(algo)))
    reason = None
    try:
        while reason is None:
            with read_by_somebody():  # the user's callbacks may print as well
                row = interrupts.call(partial(algo.train, stay=True))
                display.update(row, algo.bottleneck())
                reason = ended(row)
            if reason is None and checkpoint_freq and _iteration(row) % checkpoint_freq == 0:
                algo.save()
    except Interrupted:
        reason = None
    interrupts.end()
    algo.finish()
    return reason


class _Ended:
    """Asked after every row whether the goal is reached."""

    def __init__(self, goal: Goal, display: Display, play: Callable[[], float]) -> None:
        self._goal = goal
        self._display = display
        self._play = play
        self._next_confirmation = 0.0  # env steps

    def __call__(self, row: Mapping[str, Any]) -> str | None:
        """What was reached, in words; None to go on."""
        stop = self._goal.stop
        key = stop.reached(row)
        if key is None:
            return None
        reason = f"{key} {lookup(row, key):g} >= {stop.targets[key]:g}"
        if not self._goal.confirm:
            return reason
        return self._confirmed(reason, stop.targets[key], lookup(row, "timesteps_total") or 0.0)

    def _confirmed(self, reason: str, target: float, env_steps: float) -> str | None:
        if env_steps < self._next_confirmation:
            return None
        greedy = self._play()
        if greedy >= target:
            return f"{reason}, and {greedy:g} over {CONFIRM_EPISODES} greedy episodes"
        self._next_confirmation = env_steps * (1.0 + CONFIRM_AGAIN_AFTER)
        self._display.note(f"{reason}, but {greedy:g} over greedy episodes: training goes on")
        return None


def _greedy_mean(algo: Training) -> float:
    algo.pause()
    result = algo.evaluate(episodes=CONFIRM_EPISODES, explore=False)
    return float(result["episode_reward_mean"])


def _iteration(row: Mapping[str, Any]) -> int:
    return int(row[_ITERATION])
