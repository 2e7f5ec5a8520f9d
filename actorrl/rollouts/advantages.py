"""Generalised advantage estimates, in NumPy, for synchronous topologies.

Letters: T rows of a fragment, B environments, K final observations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from actorrl.data import columns as c
from actorrl.data.fragment import Fragment


class ValuePolicy(Protocol):
    """What is asked of the policy that acted, while it has the weights that it acted with."""

    def last_values(
        self, columns: Mapping[str, np.ndarray], state: tuple[np.ndarray, ...], /
    ) -> np.ndarray: ...  # [B]

    def final_values(self, columns: Any, /) -> Any: ...  # [K], of FINAL_OBS

    def tensors(self, columns: Mapping[str, np.ndarray], /) -> Any: ...


def add_advantages(
    fragment: Fragment, policy: ValuePolicy, gamma: float, lambda_: float, clip_rewards: bool
) -> None:
    """Put ADVANTAGES and VALUE_TARGETS beside the columns of a worker's own fragment."""
    columns = fragment.columns
    values = columns[c.VF_PREDS]
    rewards = columns[c.REWARDS]
    rows = columns.get(c.FINAL_ROWS)
    finals = None
    if rows is not None and len(rows):
        finals = policy.final_values(policy.tensors(columns)).cpu().numpy()
    last = policy.last_values(columns, fragment.state_out)
    columns[c.ADVANTAGES], columns[c.VALUE_TARGETS] = gae(
        np.clip(rewards, -1.0, 1.0) if clip_rewards else rewards,
        values,
        next_values(np.concatenate([values, last[None]]), rows, finals),
        columns[c.TERMINATEDS],
        columns[c.TRUNCATEDS],
        columns[c.VALID],
        gamma,
        lambda_,
    )


def next_values(
    values: np.ndarray,
    final_rows: np.ndarray | None = None,
    final_values: np.ndarray | None = None,
) -> np.ndarray:
    """V of the observation after each row, [T, B], from `values` [T+1, B].

    Under NEXT_STEP the row after an end holds the final observation, so this is a shift. Under
    SAME_STEP that row holds the reset observation: pass V(final observations) [K] and their rows.
    """
    after = values[1:].copy()
    if final_rows is not None and len(final_rows):
        assert final_values is not None
        after.reshape(-1)[final_rows] = final_values
    return after


def gae(
    rewards: np.ndarray,
    values: np.ndarray,
    next_values: np.ndarray,
    terminateds: np.ndarray,
    truncateds: np.ndarray,
    valid: np.ndarray,
    gamma: float,
    lambda_: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Advantages and value targets, [T, B] float32 (Schulman et al. 2016, equations 11 and 16).

    All arguments are [T, B]; `next_values[t]` is V of the observation after row t, at an end the
    final one's. A termination has no value after it, a truncation has; the recursion stops at
    both. Rows that are not valid give zeros and reach no other row.
    """
    assert rewards.ndim == 2
    for array in (values, next_values, terminateds, truncateds, valid):
        assert array.shape == rewards.shape, (array.shape, rewards.shape)
    deltas = rewards + gamma * np.where(terminateds, 0.0, next_values) - values
    decay = gamma * lambda_ * ~(terminateds | truncateds)
    advantages = np.zeros(rewards.shape, np.float64)
    ahead = np.zeros(rewards.shape[1], np.float64)
    for t in range(len(rewards) - 1, -1, -1):
        # `where` and not a product: the values of an invalid row may be anything, even NaN.
        ahead = np.where(valid[t], deltas[t] + decay[t] * ahead, 0.0)
        advantages[t] = ahead
    targets = np.where(valid, advantages + values, 0.0)
    return advantages.astype(np.float32), targets.astype(np.float32)
