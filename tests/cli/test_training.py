"""The loop: when it ends, when it saves, how the environment's own threshold is confirmed."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from typing import Any

from actorrl.cli.interrupts import Interrupts
from actorrl.cli.training import Goal, goal_of, train_until
from actorrl.experiment.stop import StopCriteria


class Climber:
    """An algorithm whose reward is 10 per iteration, and whose greedy reward is scripted."""

    def __init__(
        self, greedy: Callable[[int], float] = lambda _: 0.0, signal_at: int | None = None
    ) -> None:
        self.iteration = 0
        self.paused = True
        self.saved_at: list[int] = []
        self.evaluated_at: list[int] = []
        self.greedy = greedy
        self.signal_at = signal_at

    def train(self, *, stay: bool) -> dict[str, Any]:
        self.iteration += 1
        self.paused = not stay
        if self.iteration == self.signal_at:
            signal.raise_signal(signal.SIGINT)
        return {
            "training_iteration": self.iteration,
            "timesteps_total": 100 * self.iteration,
            "episode_reward_mean": 10.0 * self.iteration,
            "info": {"loss": 1.0 / self.iteration},
        }

    def pause(self) -> None:
        self.paused = True

    def finish(self) -> str:
        self.pause()
        return self.save()

    def save(self) -> str:
        self.saved_at.append(self.iteration)
        return f"checkpoint_{self.iteration:06d}"

    def evaluate(self, *, episodes: int, explore: bool) -> Mapping[str, Any]:
        assert episodes == 20 and not explore
        assert self.paused, "else the weights change while they are played"
        self.evaluated_at.append(self.iteration)
        return {"episode_reward_mean": self.greedy(self.iteration)}

    def bottleneck(self) -> str:
        return "learner waits"


class Lines:
    """A display that keeps what it is told."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, Any]] = []
        self.notes: list[str] = []

    def update(self, result: Mapping[str, Any], bottleneck: str = "") -> None:
        assert bottleneck == "learner waits"
        self.rows.append(result)

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_the_run_ends_at_the_first_criterion_reached_and_saves() -> None:
    algo, lines = Climber(), Lines()
    goal = goal_of({"episode_reward_mean": 1000, "timesteps_total": "300"}, reward_threshold=5.0)
    reason = train_until(algo, goal, lines, Interrupts())
    assert reason == "timesteps_total 300 >= 300"
    assert algo.paused, "the last row, the last checkpoint and the weights are the same"
    assert algo.saved_at == [3] and len(lines.rows) == 3 and algo.evaluated_at == []


def test_checkpoints_are_written_every_so_many_iterations() -> None:
    algo = Climber()
    train_until(algo, goal_of({"training_iteration": 6}, None), Lines(), Interrupts(), 2)
    assert algo.saved_at == [2, 4, 6], "the last one is the end's, not written twice"


def test_the_environments_threshold_needs_greedy_episodes_and_is_not_asked_at_every_row() -> None:
    algo, lines = Climber(greedy=lambda iteration: 900.0 if iteration > 40 else 3.0), Lines()
    reason = train_until(algo, goal_of({}, reward_threshold=400.0), lines, Interrupts())
    assert algo.evaluated_at == [40, 42], "5 % more env steps than at the first time"
    assert reason == "episode_reward_mean 420 >= 400, and 900 over 20 greedy episodes"
    assert lines.notes == [
        "episode_reward_mean 400 >= 400, but 3 over greedy episodes: training goes on"
    ]


def test_a_signal_ends_after_the_iteration_with_a_checkpoint() -> None:
    algo, lines = Climber(signal_at=4), Lines()
    with Interrupts() as interrupts:
        reason = train_until(algo, goal_of({"training_iteration": 99}, None), lines, interrupts)
    assert reason is None and interrupts.exit_code == 130
    assert algo.saved_at == [4] and len(lines.rows) == 4


def test_a_first_signal_at_the_end_does_not_cost_the_last_checkpoint() -> None:
    class Signalled(Climber):
        def finish(self) -> str:
            signal.raise_signal(signal.SIGINT)
            return super().finish()

    algo = Signalled()
    with Interrupts() as interrupts:
        reason = train_until(algo, goal_of({"training_iteration": 2}, None), Lines(), interrupts)
    assert reason == "training_iteration 2 >= 2" and algo.saved_at == [2]


def test_the_goal_says_when_the_run_ends() -> None:
    assert str(goal_of({"timesteps_total": 1e6}, 475.0)) == "until timesteps_total >= 1e+06"
    assert "threshold, confirmed by 20 greedy episodes" in str(goal_of({}, 475.0))
    assert "until Ctrl-C" in str(Goal(StopCriteria({}), confirm=False))
