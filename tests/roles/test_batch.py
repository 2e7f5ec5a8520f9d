"""Memory that one batch after the other is put into."""

from __future__ import annotations

import numpy as np
import torch

from actorrl.data import columns as c
from actorrl.roles.batch import FragmentBatch, ReusedMemory


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


def test_fragments_of_different_lengths_are_padded_with_rows_that_are_no_decision() -> None:
    """Also where memory has grown, and where it holds an earlier batch."""
    batch, random = FragmentBatch(), np.random.default_rng(0)
    for shapes in ([(3, 2), (5, 1), (2, 4)], [(2, 1), (4, 3)], [(9, 2)]):
        parts = [fragment(random, *shape) for shape in shapes]
        for part in parts:
            batch.add(part, int(part[c.VALID].sum()))
        found, longest = batch.tensors(), max(rows for rows, _ in shapes)
        for name, missing in ((c.VALID, 0), (c.REWARDS, 0), (c.OBS, 0), (c.AGE, 1)):
            rows = longest + (name in (c.OBS, c.AGE))
            wanted = [
                np.concatenate(
                    [part[name], np.full((rows - len(part[name]), *part[name].shape[1:]), missing)]
                )
                for part in parts
            ]
            np.testing.assert_array_equal(found[name].numpy(), np.concatenate(wanted, axis=1))
        states = np.concatenate([part[c.state_in(0)] for part in parts])
        np.testing.assert_array_equal(found[c.state_in(0)].numpy(), states)
        assert batch.num_env_steps == found[c.VALID].sum()
        batch.clear()


def fragment(random: np.random.Generator, rows: int, envs: int) -> dict[str, np.ndarray]:
    return {
        c.VALID: random.random((rows, envs)) < 0.8,
        c.REWARDS: random.normal(size=(rows, envs)).astype(np.float32),
        c.OBS: random.normal(size=(rows + 1, envs, 3)).astype(np.float32),
        c.AGE: random.integers(0, 5, (rows + 1, envs)).astype(np.int32),
        c.state_in(0): random.normal(size=(envs, 4)).astype(np.float32),
    }
