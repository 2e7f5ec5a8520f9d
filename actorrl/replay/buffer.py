"""Which buffer a run has, and how a worker's rows get into it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping

import numpy as np

from actorrl.data import columns as c
from actorrl.replay.frame_store import FRAME_STORES, FrameStore
from actorrl.replay.prioritized import PrioritizedReplay
from actorrl.replay.uniform import UniformReplay

Replay = PrioritizedReplay | UniformReplay
MakeStore = Callable[[int, tuple[int, ...]], FrameStore]  # (capacity in frames, frame's shape)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BufferSettings:
    """Of one buffer, be it a shard's or a learner's own."""

    capacity: int
    alpha: float | None  # exponent of priorities; None: rows are sampled uniformly
    eps: float = 1e-6
    seed: int = 0
    num_frames: int = 0  # of the frame ring; 0: observations are stored as they are
    storage: str = "raw"  # of frames; see FRAME_STORES, and "cuda": on the learner's device
    overlap_frames: int = 0  # with which a fragment repeats the end of its worker's last one

    def make(
        self,
        rows: Mapping[str, np.ndarray],
        index: int = 0,
        incarnation: int = 1,
        on_device: MakeStore | None = None,
    ) -> Replay:
        """The buffer of actor `index`, for rows like the first ones. `on_device`, of a role that
        has a device, makes the store of storage "cuda"."""
        frames = rows.get(c.FRAMES)
        make_store = FRAME_STORES[self.storage] if on_device is None else on_device
        store = None if frames is None else make_store(self.num_frames, frames.shape[1:])
        seed = self.seed + 1009 * index + incarnation
        if self.alpha is None:
            return UniformReplay(
                self.capacity, seed=seed, frame_store=store, generation=incarnation
            )
        return PrioritizedReplay(
            self.capacity,
            alpha=self.alpha,
            eps=self.eps,
            seed=seed,
            frame_store=store,
            generation=incarnation,
        )

    def add(self, replay: Replay, rows: Mapping[str, np.ndarray], stream: Hashable) -> None:
        """Put a worker's rows in. Rows without priorities get the highest one so far."""
        rows = dict(rows)
        frames = rows.pop(c.FRAMES, None)
        priorities = rows.pop(c.PRIORITIES, None)
        if frames is None:
            replay.add(rows, priorities)
        else:  # flat frames: as if of one environment
            replay.add(
                rows,
                priorities,
                frames=frames[:, None],
                stream=stream,
                overlap=self.overlap_frames,
            )


def num_rows(rows: Mapping[str, np.ndarray]) -> int:
    """Transitions in what a worker sent."""
    return len(rows[c.REWARDS])
