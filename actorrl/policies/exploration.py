"""How much at random: Ape-X's ladder over environments, and schedules over env steps."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def exploration_ladder(
    num_envs_total: int, base: float = 0.4, exponent: float = 7.0
) -> NDArray[np.float64]:
    """base^(1 + exponent i / (N-1)) over the run's N environments, [N]: epsilons, or deviations of
    noise.

    Horgan et al. 2018, "Distributed Prioritized Experience Replay", section 4.1, where i runs over
    actors: here every environment of every worker is one. N = 1 explores least: base^(1+exponent).
    """
    if num_envs_total < 1:
        raise ValueError(f"num_envs_total must be at least 1, not {num_envs_total}")
    if num_envs_total == 1:
        return np.array([base ** (1.0 + exponent)])
    share = np.arange(num_envs_total) / (num_envs_total - 1)
    ladder: NDArray[np.float64] = base ** (1.0 + exponent * share)
    return ladder


class PiecewiseSchedule:
    """Linear between (env steps, value) points, constant before the first and after the last.

    Evaluated on the learner's global count of valid env steps. It is stateless: a checkpoint needs
    only that count.
    """

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        if not points:
            raise ValueError("a schedule needs at least one point")
        self._steps = [float(step) for step, _ in points]
        self._values = [float(value) for _, value in points]
        if any(b <= a for a, b in zip(self._steps[:-1], self._steps[1:], strict=True)):
            raise ValueError(f"env steps of a schedule must increase, not {self._steps}")

    def __call__(self, num_env_steps: float) -> float:
        right = bisect_right(self._steps, num_env_steps)
        if right == 0:
            return self._values[0]
        if right == len(self._steps):
            return self._values[-1]
        start, end = self._steps[right - 1], self._steps[right]
        share = (num_env_steps - start) / (end - start)
        return self._values[right - 1] + share * (self._values[right] - self._values[right - 1])


class EpsilonSchedule(PiecewiseSchedule):
    """From `initial` to `final` over `horizon` env steps, then constant (DQN)."""

    def __init__(self, initial: float = 1.0, final: float = 0.02, horizon: float = 10_000) -> None:
        super().__init__([(0.0, initial), (float(horizon), final)])
