"""The flat view of experience that users of RLlib know: [N] rows of named columns.

Letters: T rows and B environments of a fragment, N flat rows, S sequences.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from actorrl.data import columns as c
from actorrl.data.columns import DEFAULT_POLICY
from actorrl.data.flattening import flat_columns
from actorrl.data.fragment import Fragment


class SampleBatch(dict[str, np.ndarray]):
    """Columns of N rows each, episodes one after the other.

    `seq_lens` [S] cuts the rows into sequences, for recurrent policies: `state_in_i` columns then
    have S rows, not N. Raises ValueError where columns differ in length.
    """

    OBS = c.OBS
    NEXT_OBS = c.NEXT_OBS
    ACTIONS = c.ACTIONS
    REWARDS = c.REWARDS
    TERMINATEDS = c.TERMINATEDS
    TRUNCATEDS = c.TRUNCATEDS
    ACTION_LOGP = c.ACTION_LOGP
    ACTION_DIST_INPUTS = c.ACTION_DIST_INPUTS
    VF_PREDS = c.VF_PREDS
    EPS_ID = c.EPS_ID
    ENV_ID = c.ENV_ID
    SEQ_LENS = c.SEQ_LENS
    DONES = c.DONES
    INFOS = c.INFOS
    T = c.T
    AGENT_INDEX = c.AGENT_INDEX
    WEIGHTS_VERSION = c.WEIGHTS_VERSION

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        seq_lens = self.pop(c.SEQ_LENS, None)
        for name, column in self.items():
            self[name] = np.asarray(column)
        self.seq_lens: np.ndarray | None = None if seq_lens is None else np.asarray(seq_lens)
        self._check()

    def __missing__(self, name: str) -> np.ndarray:
        """`seq_lens` by its name among columns, where RLlib's recurrent losses look for it."""
        if name == c.SEQ_LENS and self.seq_lens is not None:
            return self.seq_lens
        raise KeyError(name)

    def get(self, name: str, default: Any = None) -> Any:
        try:
            return self[name]
        except KeyError:
            return default

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (name == c.SEQ_LENS and self.seq_lens is not None)

    @property
    def count(self) -> int:
        """N."""
        return next((len(self[name]) for name in self.row_columns()), 0)

    def __len__(self) -> int:
        return self.count

    def __bool__(self) -> bool:
        return self.count > 0

    def env_steps(self) -> int:
        return self.count

    agent_steps = env_steps

    def size_bytes(self) -> int:
        return sum(column.nbytes for column in self.values())

    def __repr__(self) -> str:
        return f"SampleBatch({summary(self)})"

    def row_columns(self) -> list[str]:
        """Names of the columns with N rows: all but the recurrent state."""
        return [name for name in self if not c.is_state_in(name)]

    def rows(self) -> Iterator[dict[str, Any]]:
        """One dict per row, without recurrent state."""
        names = self.row_columns()
        for i in range(self.count):
            yield {name: self[name][i] for name in names}

    def columns(self, names: Sequence[str]) -> list[np.ndarray]:
        return [self[name] for name in names]

    def copy(self) -> SampleBatch:
        """Arrays are copied, too."""
        return self._like({name: column.copy() for name, column in self.items()}, self.seq_lens)

    def slice(self, start: int, end: int) -> SampleBatch:
        """Rows start..end-1, as views. Recurrent sequences are cut only at their bounds.

        Raises ValueError where `start` or `end` lies within a sequence with recurrent state.
        """
        start, end, _ = slice(start, end).indices(self.count)
        end = max(start, end)
        rows = {name: self[name][start:end] for name in self.row_columns()}
        if self.seq_lens is None:
            return SampleBatch(rows)
        bounds = np.concatenate([[0], np.cumsum(self.seq_lens)])
        first, last = np.searchsorted(bounds, [start, end])
        if self._has_state() and (bounds[first] != start or bounds[last] != end):
            raise ValueError(f"rows {start}..{end} cut a recurrent sequence, bounds are {bounds}")
        if bounds[first] != start or bounds[last] != end:
            inner = bounds[(bounds > start) & (bounds < end)]
            lengths = np.diff(np.concatenate([[start], inner, [end]]))
            return SampleBatch(rows, seq_lens=lengths[lengths > 0])
        states = {name: self[name][first:last] for name in self if c.is_state_in(name)}
        return SampleBatch({**rows, **states}, seq_lens=self.seq_lens[first:last])

    def __getitem__(self, key: Any) -> Any:
        """A column by its name, or rows by a slice."""
        if isinstance(key, slice):
            if key.step not in (None, 1):
                raise ValueError(f"rows of a batch are cut in steps of 1, not {key.step}")
            start, end, _ = key.indices(self.count)
            return self.slice(start, end)
        return super().__getitem__(key)

    def concat(self, other: SampleBatch) -> SampleBatch:
        """These rows, then those of `other`, in a new batch."""
        return concat_samples([self, other])

    @staticmethod
    def concat_samples(batches: Iterable[SampleBatch]) -> SampleBatch:
        return concat_samples(batches)

    def timeslices(self, size: int) -> list[SampleBatch]:
        """Views of `size` rows each, the last one maybe shorter; whole sequences where there is
        recurrent state, so that a slice then ends with the sequence that fills it."""
        if not self._has_state():
            return [self.slice(i, i + size) for i in range(0, self.count, size)]
        assert self.seq_lens is not None
        ends = np.cumsum(self.seq_lens)
        cuts, start = [0], 0
        for end in ends.tolist():
            if end - start >= size or end == self.count:
                cuts.append(end)
                start = end
        return [self.slice(a, b) for a, b in pairwise(cuts)]

    def as_multi_agent(self) -> MultiAgentBatch:
        return MultiAgentBatch({DEFAULT_POLICY: self}, self.count)

    def split_by_episode(self) -> list[SampleBatch]:
        """One batch per run of rows with the same `eps_id`. Raises KeyError without that column."""
        ids = self[c.EPS_ID]
        cuts = [0, *(np.flatnonzero(ids[1:] != ids[:-1]) + 1).tolist(), self.count]
        return [self.slice(a, b) for a, b in pairwise(cuts) if b > a]

    def shuffle(self, seed: int | np.random.Generator | None = None) -> SampleBatch:
        """Permute the rows in place. Raises ValueError for recurrent sequences."""
        if self._has_state():
            raise ValueError("rows of recurrent sequences cannot be shuffled")
        order = np.random.default_rng(seed).permutation(self.count)
        for name in self.row_columns():
            self[name] = self[name][order]
        self.seq_lens = None
        return self

    @classmethod
    def from_fragment(cls, fragment: Fragment, policy_id: str | None = None) -> SampleBatch:
        """The valid rows of a fragment, environment by environment, each in order of time.

        `eps_id` counts the pieces of episodes within this fragment, so that two rows share one only
        if they belong to the same episode; each piece is one sequence. `new_obs` is the final
        observation at an end. Frames come out as stacks.
        """
        group = fragment.columns if policy_id is None else fragment.groups[policy_id]
        columns, seq_lens = flat_columns(group)
        batch = cls(columns, seq_lens=seq_lens)
        batch[c.WEIGHTS_VERSION] = np.full(batch.count, fragment.policy_version, np.int64)
        return batch

    def _check(self) -> None:
        rows = self.count
        c.check_rows({name: self[name] for name in self.row_columns()}, rows)
        if self.seq_lens is not None and int(self.seq_lens.sum()) != rows:
            raise ValueError(f"seq_lens add up to {int(self.seq_lens.sum())}, not to {rows} rows")

    def _has_state(self) -> bool:
        return any(c.is_state_in(name) for name in self)

    @staticmethod
    def _like(columns: Mapping[str, np.ndarray], seq_lens: np.ndarray | None) -> SampleBatch:
        batch = SampleBatch(columns)
        batch.seq_lens = None if seq_lens is None else seq_lens.copy()
        return batch


def concat_samples(batches: Iterable[Mapping[str, Any]]) -> SampleBatch:
    """One batch of all rows, of batches or plain dicts (what workers answer). Raises ValueError
    where the columns differ, naming them.

    Where each batch has an `eps_id` that counts from 0, ids of later batches are moved up, so that
    rows of different episodes stay apart.
    """
    wrapped = [x if isinstance(x, SampleBatch) else SampleBatch(x) for x in batches]
    filled = [batch for batch in wrapped if batch.count]
    if not filled:
        return SampleBatch()
    names = set(filled[0])
    for batch in filled:
        if set(batch) != names:
            raise ValueError(f"batches differ in the columns {sorted(set(batch) ^ names)}")
    joined = {name: np.concatenate([batch[name] for batch in filled]) for name in filled[0]}
    if c.EPS_ID in names:
        joined[c.EPS_ID] = _distinct_ids([batch[c.EPS_ID] for batch in filled])
    seq_lens = [batch.seq_lens for batch in filled if batch.seq_lens is not None]
    if len(seq_lens) == len(filled):
        return SampleBatch(joined, seq_lens=np.concatenate(seq_lens))
    return SampleBatch(joined)


class MultiAgentBatch:
    """Batches by policy, of the same `count` env steps."""

    def __init__(self, policy_batches: Mapping[str, SampleBatch], env_steps: int) -> None:
        self.policy_batches = dict(policy_batches)
        self.count = env_steps

    def env_steps(self) -> int:
        return self.count

    def agent_steps(self) -> int:
        return sum(batch.count for batch in self.policy_batches.values())

    def __len__(self) -> int:
        return self.count

    def size_bytes(self) -> int:
        return sum(batch.size_bytes() for batch in self.policy_batches.values())

    def __repr__(self) -> str:
        return f"MultiAgentBatch({self.policy_batches!r}, env steps={self.count})"

    @staticmethod
    def concat_samples(batches: Iterable[MultiAgentBatch]) -> MultiAgentBatch:
        """All rows of each policy, in the order of the batches."""
        batches = list(batches)
        names = dict.fromkeys(name for batch in batches for name in batch.policy_batches)
        joined = {
            name: concat_samples(
                b.policy_batches[name] for b in batches if name in b.policy_batches
            )
            for name in names
        }
        return MultiAgentBatch(joined, sum(batch.count for batch in batches))

    def as_multi_agent(self) -> MultiAgentBatch:
        return self

    def copy(self) -> MultiAgentBatch:
        return MultiAgentBatch({k: b.copy() for k, b in self.policy_batches.items()}, self.count)

    @classmethod
    def wrap_as_needed(
        cls, policy_batches: Mapping[str, SampleBatch], env_steps: int
    ) -> SampleBatch | MultiAgentBatch:
        """A plain SampleBatch where there is only the default policy."""
        if set(policy_batches) == {DEFAULT_POLICY}:
            return policy_batches[DEFAULT_POLICY]
        return cls(policy_batches, env_steps)

    @classmethod
    def from_fragment(cls, fragment: Fragment) -> MultiAgentBatch:
        batches = {name: SampleBatch.from_fragment(fragment, name) for name in fragment.groups}
        return cls(batches, fragment.num_env_steps)


def to_plain(value: Any) -> Any:
    """Batches as dicts of columns, `seq_lens` among them, wherever they are in a value of lists,
    tuples and dicts: so they travel, and `SampleBatch` makes one of such a dict again."""
    if isinstance(value, SampleBatch):
        cut = {} if value.seq_lens is None else {c.SEQ_LENS: value.seq_lens}
        return {**value, **cut}
    if isinstance(value, dict):
        return {key: to_plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        parts = [to_plain(part) for part in value]
        return tuple(parts) if isinstance(value, tuple) else parts
    return value


def summary(columns: Mapping[str, np.ndarray]) -> str:
    """A line for each column: shape, dtype, and what its numbers are like."""
    lines = [f"'{name}': {_summary_of(columns[name])}" for name in sorted(columns)]
    return "{ " + ",\n  ".join(lines) + "}"


def _summary_of(column: np.ndarray) -> str:
    start = f"np.ndarray({column.shape}, dtype={column.dtype}"
    if column.dtype == object or not column.size:
        return f"{start}, head={column[0]!r})" if column.size else f"{start})"
    low, high, mean = (round(float(f(column)), 3) for f in (np.min, np.max, np.mean))
    return f"{start}, min={low}, max={high}, mean={mean})"


def _distinct_ids(ids: list[np.ndarray]) -> np.ndarray:
    moved, first_free = [], 0
    for part in ids:
        moved.append(part - part.min() + first_free)
        first_free = int(moved[-1].max()) + 1
    return np.concatenate(moved)
