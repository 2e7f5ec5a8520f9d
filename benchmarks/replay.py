"""How fast is a round of prioritized replay, and how many bytes does a transition take?

A round inserts 512 transitions in chunks of 64, samples 512 and updates their priorities, in a
buffer that holds 100,000. Against cpprb (C++) and RLlib's buffer, the round and each of its parts.
Budget: at least half of cpprb, at least 20 times RLlib, on small observations. Bytes: all columns
and the tree, per Atari transition, against the 56,448 bytes of two stacked observations; budget a
seventh, and a fiftieth with `storage: lz4` on the frames of a trained policy: `PONG_CHECKPOINT`
names a checkpoint of APEX (without it the play is random, whose frames are barer).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from actorrl.algorithms.apex_dqn import APEXConfig, make_policy
from actorrl.data.columns import (
    ACTIONS,
    DISCOUNTS,
    INDICES,
    NEXT_OBS,
    NEXT_Q_VALUES,
    OBS,
    Q_VALUES,
    REWARDS,
)
from actorrl.envs.check import check_env
from actorrl.envs.vector import make_vector
from actorrl.experiment.checkpoints import read_checkpoint
from actorrl.replay.frame_store import RingFrameStore
from actorrl.replay.prioritized import PrioritizedReplay
from actorrl.rollouts.collector import Collector
from actorrl.rollouts.postprocess import NStep
from benchmarks.harness.pairing import Case, Sample, Side, Window
from benchmarks.peers import peer

_CAPACITY = 1_000_000
_FILLED = 100_000
_BATCH, _CHUNK = 512, 64
_WINDOW_S = 2.0
_PARTS = ("insert", "sample", "update")
_STACKED_BYTES = 2 * 4 * 84 * 84
_ATARI_ROWS, _ATARI_FRAGMENT = 20_000, 50
_CHECKPOINT = "PONG_CHECKPOINT"


def cases(peers: bool) -> list[Case]:
    found = [
        Case("bytes per Atari transition", "bytes", _bytes(), _two_stacks(), "<= 1/7", pairs=1),
        Case("the same with lz4", "bytes", _packed(), _two_stacks(), "<= 1/50", _played(), pairs=1),
    ]
    if peers:
        for label, name, bar in (("cpprb", "cpprb", ">= 0.5"), ("rllib 2.6.3", "ray263", ">= 20")):
            for part in ("round", *_PARTS):
                other = peer.side(label, name, "replay_rounds.py", f"{name} {part}")
                case = Case(f"{part}, {label}", "rows/s", _ours(part), other)
                found.append(dataclasses.replace(case, bar=bar if part == "round" else ""))
    return found


def _rows(number: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        OBS: rng.normal(size=(number, 4)).astype(np.float32),
        NEXT_OBS: rng.normal(size=(number, 4)).astype(np.float32),
        ACTIONS: rng.integers(2, size=number),
        REWARDS: np.ones(number, np.float32),
        DISCOUNTS: np.full(number, 0.97, np.float32),
    }


def _ours(part: str) -> Side:
    """Rows per second of one part of the round, or of all three."""

    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        rng = np.random.default_rng(0)
        replay = PrioritizedReplay(_CAPACITY, seed=0)
        chunk = _rows(_CHUNK, rng)
        for _ in range(_FILLED // _CHUNK):
            replay.add(chunk, rng.random(_CHUNK))
        indices = replay.sample(_BATCH)[INDICES]

        def insert() -> None:
            for _ in range(_BATCH // _CHUNK):
                replay.add(chunk, rng.random(_CHUNK))

        def sample() -> None:
            nonlocal indices
            indices = replay.sample(_BATCH)[INDICES]

        def update() -> None:
            replay.update_priorities(indices, rng.random(_BATCH))

        parts = {"insert": insert, "sample": sample, "update": update}
        asked = list(parts.values()) if part == "round" else [parts[part]]

        def window() -> Sample:
            done, started = 0, time.perf_counter()
            while time.perf_counter() - started < _WINDOW_S:
                for one in asked:
                    one()
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


def _packed() -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        played = _bytes_of_play()
        yield lambda: Sample(played)

    return Side("actorrl", opened)


def _played() -> str:
    checkpoint = os.environ.get(_CHECKPOINT)
    return f"played by {Path(checkpoint).name}" if checkpoint else "random play"


def _bytes_of_play() -> float:
    """A full buffer of n-step rows from Pong, as a worker makes them."""
    torch.set_num_threads(1)
    config = APEXConfig(num_workers=1, replay_capacity=_ATARI_ROWS, storage="lz4")
    info = check_env("ALE/Pong-v5", {})
    envs = config.num_envs()
    policy = make_policy(config, info, 1, np.arange(envs))
    if checkpoint := os.environ.get(_CHECKPOINT):
        policy.load_flat(read_checkpoint(checkpoint)["learner"]["weights"], 1)
    vector = make_vector(info.env, {}, envs, seed=1)
    collector = Collector(vector, policy, _ATARI_FRAGMENT)
    n_step = NStep(config.n_step, config.gamma, envs)
    settings = config.shard(info, seed=1, num_shards=1)
    replay = None
    while replay is None or len(replay) < _ATARI_ROWS:
        rows = n_step.add(collector.collect().columns)
        rows = {k: v for k, v in rows.items() if k not in (Q_VALUES, NEXT_Q_VALUES)}
        replay = replay or settings.make(rows)
        settings.add(replay, rows, stream=0)
    vector.close()
    return replay.nbytes / len(replay)


def _two_stacks() -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        yield lambda: Sample(float(_STACKED_BYTES))

    return Side("two stacks", opened)
