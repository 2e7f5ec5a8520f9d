"""Rows of whole episodes with what came of each of them: what REINFORCE learns from.

Letters: T rows of a fragment, B environments, N rows of the episodes that are whole.
"""

from __future__ import annotations

import itertools

import numpy as np

from actorrl.data import columns as c
from actorrl.data.fragment import Fragment
from actorrl.data.sample_batch import SampleBatch

_KEPT = (c.OBS, c.ACTIONS, c.REWARDS)


class WholeEpisodes:
    """Keeps the rows of one worker's fragments until their episode ends.

    What it keeps is bounded by the environments' longest episodes. An episode may span several
    versions of the weights; one that never ends is never given out. `clip_rewards` c clips each
    reward to [-c, c] before it is summed.
    """

    def __init__(self, gamma: float, clip_rewards: float | None = None) -> None:
        self._gamma = gamma
        self._clip = clip_rewards
        self._begun: dict[int, list[SampleBatch]] = {}  # pieces of episodes by environment

    def add(self, fragment: Fragment) -> dict[str, np.ndarray]:
        """All rows of the episodes that ended within this fragment, in order; N may be 0.

        obs, actions  [N, ...]
        advantages    [N] float32, discounted sum of the rewards from the row to the episode's end
        t             [N] int32, rows since the episode began
        """
        flat = SampleBatch.from_fragment(fragment)
        parts = [self._rows([flat.slice(0, 0)])]  # gives the columns their shape where none ended
        for piece in flat.split_by_episode() if flat else []:
            begun = self._begun.setdefault(int(piece[c.ENV_ID][0]), [])
            if begun and piece[c.T][0] == 0:  # it broke behind the last fragment's end, untold
                parts.append(self._rows(begun))
                begun.clear()
            begun.append(piece)
            if piece[c.TERMINATEDS][-1] or piece[c.TRUNCATEDS][-1]:
                parts.append(self._rows(begun))
                begun.clear()
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _rows(self, pieces: list[SampleBatch]) -> dict[str, np.ndarray]:
        """Of one episode."""
        rows = {name: np.concatenate([piece[name] for piece in pieces]) for name in _KEPT}
        rewards = rows.pop(c.REWARDS)
        if self._clip is not None:
            rewards = rewards.clip(-self._clip, self._clip)
        returns = returns_to_go(rewards, self._gamma)
        return {**rows, c.ADVANTAGES: returns, c.T: np.arange(len(rewards), dtype=np.int32)}


def returns_to_go(rewards: np.ndarray, gamma: float) -> np.ndarray:
    """[N] rewards of one episode -> [N] float32, the discounted sum from each row on."""
    backwards = itertools.accumulate(
        rewards[::-1].tolist(), lambda after, reward: reward + gamma * after
    )
    return np.fromiter(backwards, np.float64, len(rewards))[::-1].astype(np.float32)
