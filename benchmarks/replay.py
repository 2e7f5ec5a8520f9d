"""How fast is a round of prioritized replay, and how many bytes does a transition take?

A round inserts 512 transitions in chunks of 64, samples 512 and updates their priorities, in a
buffer that holds 100,000. Against cpprb (C++) and RLlib's buffer. Budget: at least half of cpprb,
at least 20 times RLlib, on small observations. Bytes: all columns and the tree, per Atari
transition, against the 56,448 bytes of two stacked observations; budget a seventh.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import numpy as np

from actorrl.data.columns import ACTIONS, DISCOUNTS, INDICES, NEXT_OBS, OBS, REWARDS
from actorrl.replay.frame_store import RingFrameStore
from actorrl.replay.prioritized import PrioritizedReplay
from benchmarks.harness.pairing import Case, Sample, Side, Window
from benchmarks.peers import peer

_CAPACITY = 1_000_000
_FILLED = 100_000
_BATCH, _CHUNK = 512, 64
_WINDOW_S = 2.0
_STACKED_BYTES = 2 * 4 * 84 * 84
_ATARI_ROWS, _ATARI_FRAGMENT = 20_000, 50


def cases(peers: bool) -> list[Case]:
    found = [
        Case("bytes per Atari transition", "bytes", _bytes(), _two_stacks(), "<= 1/7", pairs=1)
    ]
    if peers:
        found += [
            Case("round, cpprb", "rows/s", _round(), _peer("cpprb", "cpprb"), ">= 0.5"),
            Case("round, RLlib", "rows/s", _round(), _peer("rllib 2.6.3", "ray263"), ">= 20"),
        ]
    return found


def _peer(label: str, environment: str) -> Side:
    return peer.side(label, environment, "replay_rounds.py", environment)


def _rows(number: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        OBS: rng.normal(size=(number, 4)).astype(np.float32),
        NEXT_OBS: rng.normal(size=(number, 4)).astype(np.float32),
        ACTIONS: rng.integers(2, size=number),
        REWARDS: np.ones(number, np.float32),
        DISCOUNTS: np.full(number, 0.97, np.float32),
    }


def _round() -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        rng = np.random.default_rng(0)
        replay = PrioritizedReplay(_CAPACITY, seed=0)
        chunk = _rows(_CHUNK, rng)
        for _ in range(_FILLED // _CHUNK):
            replay.add(chunk, rng.random(_CHUNK))

        def window() -> Sample:
            done, started = 0, time.perf_counter()
            while time.perf_counter() - started < _WINDOW_S:
                for _ in range(_BATCH // _CHUNK):
                    replay.add(chunk, rng.random(_CHUNK))
                batch = replay.sample(_BATCH)
                replay.update_priorities(batch[INDICES], rng.random(_BATCH))
                done += _BATCH
            return Sample(done / (time.perf_counter() - started))

        yield window

    return Side("actorrl", opened)


def _bytes() -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        yield lambda: Sample(_bytes_per_transition())

    return Side("actorrl", opened)


def _bytes_per_transition() -> float:
    """A full buffer of fragments of 50 steps whose frames are stored once, n = 3."""
    lead_in = 3 + 3  # of a stack of 4, and of rows carried over by n-step
    per_fragment = lead_in + _ATARI_FRAGMENT
    frames_held = (_ATARI_ROWS // _ATARI_FRAGMENT + 1) * per_fragment
    store = RingFrameStore(frames_held, (84, 84))
    replay = PrioritizedReplay(_ATARI_ROWS, seed=0, frame_store=store)
    for _ in range(_ATARI_ROWS // _ATARI_FRAGMENT):
        first = store.add(np.zeros((per_fragment, 84, 84), np.uint8))
        newest = first + lead_in - 4 + np.arange(_ATARI_FRAGMENT)
        stacks = newest[:, None] - np.arange(3, -1, -1)
        rows = {
            "obs_frames": np.maximum(stacks, first),
            "new_obs_frames": stacks + 3,
            ACTIONS: np.zeros(_ATARI_FRAGMENT, np.int64),
            REWARDS: np.zeros(_ATARI_FRAGMENT, np.float32),
            DISCOUNTS: np.full(_ATARI_FRAGMENT, 0.97, np.float32),
        }
        replay.add(rows, np.ones(_ATARI_FRAGMENT))
    return replay.nbytes / len(replay)


def _two_stacks() -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        yield lambda: Sample(float(_STACKED_BYTES))

    return Side("two stacks", opened)
