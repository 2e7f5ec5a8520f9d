"""The batch of one update, gathered as fragments come: side by side, or row behind row.

Letters: T rows of a fragment, B environments of a worker, n fragments of the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from actorrl import copies
from actorrl.data import columns as c
from actorrl.data.columns import Axes

_FINALS = (c.FINAL_OBS, c.FINAL_ROWS)


class FragmentBatch:
    """[T, n B] columns, filled by copying each fragment once, reused for every batch. T is that of
    the longest fragment, the others are padded with rows that are no decision.

    On a GPU learner the memory is pinned, so that it moves to the device without another copy. The
    tensors of `tensors()` are views (on the CPU): the next `add` after `clear` writes over them.
    """

    def __init__(self, device: str = "cpu") -> None:
        self._device = device
        self._buffers: dict[str, Tensor] = {}
        self._finals: list[tuple[np.ndarray, np.ndarray]] = []
        self._rows = 0  # T
        self._envs = 0  # of all fragments so far
        self._capacity = (0, 0)  # rows and envs
        self.num_env_steps = 0

    @property
    def is_empty(self) -> bool:
        return self._envs == 0

    def add(self, columns: Mapping[str, np.ndarray], num_env_steps: int) -> None:
        """Copy one fragment in."""
        rows, envs = columns[c.VALID].shape
        start, end = self._envs, self._envs + envs
        if rows > self._capacity[0] or end > self._capacity[1]:
            self._grow(columns, rows, end)
        self._rows = max(self._rows, rows)
        for name, array in columns.items():
            if name in _FINALS:
                continue
            target = self._buffers[name].numpy()
            if _axis(name) == 0:
                target[start:end] = array
            else:
                target[: len(array), start:end] = array
                target[len(array) :, start:end] = name == c.AGE  # no episode begins there
        if c.FINAL_ROWS in columns:
            row, env = np.divmod(columns[c.FINAL_ROWS], envs)
            self._finals.append((columns[c.FINAL_OBS].copy(), np.stack([row, env + start])))
        self._envs = end
        self.num_env_steps += num_env_steps
        if copies.COUNTING:
            copies.note_all("batch", columns)

    def _grow(self, columns: Mapping[str, np.ndarray], rows: int, envs: int) -> None:
        """What was there stays, at the beginning of both axes."""
        most_rows, most_envs = self._capacity
        if envs > most_envs:
            most_envs = max(envs, 2 * most_envs)
        capacity = max(rows, most_rows), most_envs
        grown = {}
        for name, array in columns.items():
            if name in _FINALS:
                continue
            shape = (capacity[1], *array.shape[1:])
            if _axis(name) == 1:
                shape = (len(array) - rows + capacity[0], capacity[1], *array.shape[2:])
            dtype = torch.from_numpy(np.empty(0, array.dtype)).dtype
            buffer = torch.empty(shape, dtype=dtype, pin_memory=self._device != "cpu")
            if name in self._buffers:
                old = self._buffers[name]
                if _axis(name) == 1:
                    buffer[len(old) :] = int(name == c.AGE)
                    buffer[: len(old), : old.shape[1]] = old
                else:
                    buffer[: len(old)] = old
            grown[name] = buffer
        self._buffers, self._capacity = grown, capacity

    def tensors(self) -> dict[str, Tensor]:
        """The batch on the learner's device."""
        envs, spare = self._envs, self._capacity[0] - self._rows
        batch = {}
        for name, buffer in self._buffers.items():
            used = np.s_[:envs] if _axis(name) == 0 else np.s_[: len(buffer) - spare, :envs]
            batch[name] = buffer[used].to(self._device, non_blocking=True)
        if self._finals:
            obs = np.concatenate([obs for obs, _ in self._finals])
            row, env = np.concatenate([places for _, places in self._finals], axis=1)
            batch[c.FINAL_OBS] = torch.from_numpy(obs).to(self._device)
            batch[c.FINAL_ROWS] = torch.from_numpy(row * envs + env).to(self._device)
        return batch

    def clear(self) -> None:
        self._finals.clear()
        self._rows = self._envs = self.num_env_steps = 0


class RowBatch:
    """[N] rows one behind the other, for updates that look at single rows in any order."""

    def __init__(self, device: str = "cpu") -> None:
        self._device = device
        self._parts: list[dict[str, np.ndarray]] = []
        self.num_env_steps = 0

    @property
    def is_empty(self) -> bool:
        return not self._parts

    def add(self, columns: Mapping[str, np.ndarray], num_env_steps: int) -> None:
        """Copy a message's rows in. They may be fewer than the env steps that it tells of, or more:
        the batch is full by its own rows."""
        self._parts.append({name: np.array(column) for name, column in columns.items()})
        self.num_env_steps += len(next(iter(columns.values())))
        if copies.COUNTING:  # here, and when the parts are put together
            copies.note_all("batch", columns, times=2)

    def tensors(self) -> dict[str, Tensor]:
        """The batch on the learner's device."""
        return {
            name: torch.from_numpy(np.concatenate([part[name] for part in self._parts])).to(
                self._device
            )
            for name in self._parts[0]
        }

    def clear(self) -> None:
        self._parts.clear()
        self.num_env_steps = 0


class ReusedMemory:
    """Arrays for one batch after the other: the i-th that is taken for a batch lies where the i-th
    of the last one did, if it is of the same shape and dtype. Pinned for a GPU learner."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._arrays: list[np.ndarray] = []
        self._next = 0

    def restart(self) -> None:
        """The last batch was learned from: its arrays may be written again."""
        self._next = 0

    def take(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array to be filled."""
        index, self._next = self._next, self._next + 1
        if index == len(self._arrays):
            self._arrays.append(self._new(shape, dtype))
        elif self._arrays[index].shape != shape or self._arrays[index].dtype != dtype:
            self._arrays[index] = self._new(shape, dtype)
        return self._arrays[index]

    def keep(self, array: np.ndarray) -> np.ndarray:
        """A copy that is good until `restart`."""
        kept = self.take(array.shape, array.dtype)
        np.copyto(kept, array)
        return kept

    def _new(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        kind = torch.from_numpy(np.empty(0, dtype)).dtype
        return torch.empty(shape, dtype=kind, pin_memory=self._device != "cpu").numpy()

    def to_device(self, array: np.ndarray | Tensor) -> Tensor:
        """On the learner's device, where a tensor is already; on the CPU the same memory."""
        if isinstance(array, Tensor):
            return array
        return torch.from_numpy(array).to(self._device, non_blocking=True)


def _axis(name: str) -> int:
    """The environments' axis of a column."""
    return 0 if c.axes_of(name) is Axes.B else 1
