"""What does a learner on a GPU do, beside a loop of plain torch on the same card?

IMPALA's update of Atari's network, samples per second by batch and by mode, against the same
network, loss and optimizer written by hand, in fp32, whose batch of stacked frames lies on the card
already; gathering a batch and moving it there, against copying as many pinned bytes; and DQN's
batches of 32 drawn from frames in the host's memory and in the card's. Without a GPU there is
nothing to ask; `BENCH_DEVICE=cpu` asks all but CUDA's own modes of the CPU, to try the file out.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from actorrl.algorithms.base import Setup
from actorrl.algorithms.dqn import DQNConfig
from actorrl.algorithms.impala import IMPALAConfig, make_policy
from actorrl.algorithms.restoring import checked
from actorrl.data import columns as c
from actorrl.data.fragment import Fragment
from actorrl.envs.check import EnvInfo
from actorrl.envs.vector import make_vector
from actorrl.losses.policy_gradient import impala_loss
from actorrl.roles.batch import FragmentBatch
from actorrl.rollouts.collector import Collector
from benchmarks.harness.pairing import Case, Sample, Side, Window

_DEVICE = "cuda" if torch.cuda.is_available() else os.environ.get("BENCH_DEVICE", "")
_ROWS, _ENVS = 50, 8  # of a fragment
_FRAGMENTS = (2, 8, 32)  # of a batch
_WINDOW_S = 3.0
_MODES: dict[str, dict[str, Any]] = {
    "fp32": {},
    "bf16": {"precision": "bf16"},
    "compiled": {"torch_compile_learner": True},
    "bf16, CUDA graphs": {"precision": "bf16", "cuda_graphs": True},
}


def cases(peers: bool) -> list[Case]:
    if not _DEVICE:
        print("torch finds no CUDA device: nothing to ask")
        return []
    modes = [mode for mode in _MODES if _DEVICE == "cuda" or "CUDA" not in mode]
    found = [
        Case(
            f"batch {count * _ROWS * _ENVS}, {mode}", "samples/s", _ours(count, mode), _hand(count)
        )
        for count in _FRAGMENTS
        for mode in modes
    ]
    found.append(Case("host to device", "GB/s", _gathered(), _pinned()))
    if _DEVICE == "cuda":
        found.append(Case("DQN, storage cuda", "batches/s", _drawn("cuda"), _drawn("raw")))
    return found


# ---- updates --------------------------------------------------------------------------------


@functools.cache
def _played() -> tuple[EnvInfo, Fragment]:
    """A fragment of random play."""
    torch.set_num_threads(1)
    config = _config("fp32")
    info = checked(config)
    vector = make_vector(info.env, {}, _ENVS, seed=1)
    collector = Collector(vector, make_policy(config, info, 1, np.arange(_ENVS)), _ROWS)
    fragment = collector.collect()
    for name in (c.ACTION_DIST_INPUTS, c.VF_PREDS):
        fragment.columns.pop(name)
    vector.close()
    return info, fragment


def _config(mode: str) -> IMPALAConfig:
    config = IMPALAConfig().environment("ALE/Pong-v5").debugging(seed=1)
    config.rollouts(num_workers=1).resources(num_gpus=1 if _DEVICE == "cuda" else 0)
    return config.training(**_MODES[mode])


def _batch(count: int) -> dict[str, Tensor]:
    _, fragment = _played()
    batch = FragmentBatch(_DEVICE)
    for _ in range(count):
        batch.add(fragment.flat_columns(), fragment.num_env_steps)
    return batch.tensors()


def _ours(count: int, mode: str) -> Side:
    """The update that the learner of such a run makes."""

    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        config = _config(mode)
        program = config.algorithm.program(config, Setup(checked(config), 1, lambda: None))
        update = program.nodes["learner/0"].args[0].make_update(_DEVICE)
        batch = _batch(count)
        yield _counted(lambda: update(batch, 0), count * _ROWS * _ENVS)

    return Side("actorrl", opened)


class _Nature(nn.Module):
    def __init__(self, num_actions: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(4, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(),
            nn.Conv2d(64, 64, 3, 1), nn.ReLU(), nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(),
        )  # fmt: skip
        self.policy, self.value = nn.Linear(512, num_actions), nn.Linear(512, 1)

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(obs.flatten(0, 1).float() / 255)
        rows = obs.shape[:2]
        return self.policy(features).unflatten(0, rows), self.value(features).view(rows)


def _hand(count: int) -> Side:
    """Ten lines of torch: what one writes who has no library."""

    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        info, _ = _played()
        batch = _batch(count)
        envs = batch[c.REWARDS].shape[1]
        obs = torch.randint(0, 256, (_ROWS + 1, envs, 4, 84, 84), dtype=torch.uint8, device=_DEVICE)
        model = _Nature(int(info.action_space.n)).to(_DEVICE)  # type: ignore[attr-defined]
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)

        def update() -> None:
            logits, values = model(obs)
            dist = torch.distributions.Categorical(logits=logits[:-1])
            loss, _ = impala_loss(
                logp=dist.log_prob(batch[c.ACTIONS]),
                entropy=dist.entropy(),
                values=values[:-1],
                next_values=values[1:],
                behaviour_logp=batch[c.ACTION_LOGP],
                rewards=batch[c.REWARDS],
                terminateds=batch[c.TERMINATEDS],
                truncateds=batch[c.TRUNCATEDS],
                valid=batch[c.VALID],
                gamma=0.99,
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()

        yield _counted(update, count * _ROWS * _ENVS)

    return Side("plain torch", opened)


def _counted(work: Callable[[], object], count: int) -> Window:
    """`count` per call and second; the device has finished at both ends."""

    def window() -> Sample:
        work()
        _wait()
        started, done = time.perf_counter(), 0
        while time.perf_counter() - started < _WINDOW_S:
            work()
            _wait()
            done += count
        return Sample(done / (time.perf_counter() - started))

    return window


def _wait() -> None:
    if _DEVICE == "cuda":
        torch.cuda.synchronize()


# ---- bytes ----------------------------------------------------------------------------------


def _gathered() -> Side:
    """Two fragments into a batch, and the batch onto the device."""

    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        _, fragment = _played()
        columns, batch = fragment.flat_columns(), FragmentBatch(_DEVICE)

        def move() -> None:
            batch.clear()
            for _ in range(2):
                batch.add(columns, fragment.num_env_steps)
            batch.tensors()

        yield _counted(move, 2 * _nbytes(columns))  # see _in_gb

    return _in_gb(Side("actorrl", opened))


def _pinned() -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        _, fragment = _played()
        nbytes = 2 * _nbytes(fragment.flat_columns())
        host = torch.empty(nbytes, dtype=torch.uint8, pin_memory=_DEVICE == "cuda")
        there = torch.empty(nbytes, dtype=torch.uint8, device=_DEVICE)
        yield _counted(lambda: there.copy_(host, non_blocking=True), nbytes)

    return _in_gb(Side("pinned copy", opened))


def _nbytes(columns: dict[str, np.ndarray]) -> int:
    return sum(column.nbytes for column in columns.values())


def _in_gb(side: Side) -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        with side.open() as window:
            yield lambda: Sample(window().value / 1e9)

    return Side(side.name, opened)


# ---- replay ---------------------------------------------------------------------------------


def _drawn(storage: str) -> Side:
    """Whole runs of DQN on one environment: updates per second, as its rows say."""

    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        config = DQNConfig().environment("ALE/Pong-v5").rollouts(num_workers=0).debugging(seed=1)
        config.resources(num_gpus=1)
        config.training(storage=storage, samples_per_insert=64.0, learning_starts=2000)
        with config.build() as algo:
            while not algo.train()["num_updates"]:
                pass

            def window() -> Sample:
                first, started = algo.train()["num_updates"], time.perf_counter()
                while time.perf_counter() - started < 2 * _WINDOW_S:
                    last = algo.train()["num_updates"]
                return Sample((last - first) / (time.perf_counter() - started))

            yield window

    return Side(f"storage {storage}", opened)
