"""Memory that one batch after the other is put into."""

from __future__ import annotations

import numpy as np
import torch

from actorrl.roles.batch import ReusedMemory


def test_the_next_batch_lies_where_the_last_one_did() -> None:
    memory = ReusedMemory("cpu")
    first = [memory.keep(np.full((4, 2), n, np.float32)) for n in range(2)]
    memory.restart()
    second = [memory.keep(np.full((4, 2), n + 5, np.float32)) for n in range(2)]
    assert all(a is b for a, b in zip(first, second, strict=True))
    assert [float(array[0, 0]) for array in second] == [5.0, 6.0]
    assert memory.to_device(second[0]).data_ptr() == second[0].__array_interface__["data"][0]


def test_columns_of_another_size_get_memory_of_their_own() -> None:
    memory = ReusedMemory("cpu")
    memory.keep(np.zeros((4, 2), np.float32))
    memory.restart()
    flags = memory.keep(np.array([True, False]))
    assert memory.to_device(flags).tolist() == [True, False]
    assert memory.to_device(flags).dtype is torch.bool
