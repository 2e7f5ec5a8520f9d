"""A batch cut into shares: together they are the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from actorrl.data import columns as c
from actorrl.roles.shares import by_policy, cut, num_rows

T, B, K = 4, 5, 3


def fragments() -> dict[str, torch.Tensor]:
    """Numbers that say where they stand; final observations of some rows."""
    place = torch.arange(T)[:, None] * 100 + torch.arange(B)[None]  # [T, B]
    rows = torch.tensor([1, 7, 14])  # row t * B + b
    return {
        c.OBS: torch.arange((T + 1) * B).reshape(T + 1, B, 1),
        c.REWARDS: place,
        c.VALID: place != 302,
        c.state_in(0): torch.arange(B)[:, None],
        c.FINAL_ROWS: rows,
        c.FINAL_OBS: place.flatten()[rows],
    }


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_fragments_are_cut_between_environments(count: int) -> None:
    batch = fragments()
    shares = cut(batch, count)
    assert shares is not None and len(shares) == count
    for name, axis in ((c.OBS, 1), (c.REWARDS, 1), (c.VALID, 1), (c.state_in(0), 0)):
        joined = torch.cat([share[name] for share in shares], dim=axis)
        assert torch.equal(joined, batch[name])
    sizes = [share[c.VALID].shape[1] for share in shares]
    assert max(sizes) - min(sizes) <= 1
    assert sum(num_rows(share) for share in shares) == T * B - 1


def test_final_observations_go_with_the_rows_that_they_belong_to() -> None:
    shares = cut(fragments(), 2)
    assert shares is not None
    found = []
    for share in shares:
        finals = share[c.FINAL_OBS]
        assert torch.equal(share[c.REWARDS].flatten()[share[c.FINAL_ROWS]], finals)
        found += finals.tolist()
    assert sorted(found) == sorted(fragments()[c.FINAL_OBS].tolist())


def test_rows_are_cut_between_episodes() -> None:
    lengths = [5, 1, 7, 4]
    batch = {
        c.T: torch.from_numpy(np.concatenate([np.arange(n) for n in lengths])),
        c.ADVANTAGES: torch.arange(sum(lengths)),
    }
    shares = cut(batch, 2)
    assert shares is not None
    assert [len(share[c.T]) for share in shares] == [6, 11]
    assert all(share[c.T][0] == 0 for share in shares)
    assert torch.equal(torch.cat([s[c.ADVANTAGES] for s in shares]), batch[c.ADVANTAGES])


def test_rows_that_are_no_episodes_are_cut_anywhere() -> None:
    shares = cut({c.ADVANTAGES: torch.arange(10)}, 3)
    assert shares is not None and [len(share[c.ADVANTAGES]) for share in shares] == [3, 4, 3]


def test_rows_that_are_not_enough_for_everybody_are_for_nobody() -> None:
    assert cut({c.T: torch.arange(8), c.ADVANTAGES: torch.arange(8)}, 2) is None, "one episode"
    assert cut({c.ADVANTAGES: torch.arange(2)}, 3) is None


def test_who_gets_no_environment_gets_one_that_does_not_count() -> None:
    shares = cut(fragments(), B + 3)
    assert shares is not None
    assert all(share[c.REWARDS].shape == (T, 1) for share in shares)
    counts = [num_rows(share) for share in shares]
    assert sorted(counts) == [0, 0, 0, T - 1, T, T, T, T]


def test_each_policys_columns_are_cut_by_themselves() -> None:
    few = {name: x for name, x in fragments().items() if name not in (c.FINAL_OBS, c.FINAL_ROWS)}
    few = {n: x.narrow(int(n != c.state_in(0)), 0, 2) for n, x in few.items()}
    batch = {f"a/{n}": x for n, x in fragments().items()} | {f"b/{n}": x for n, x in few.items()}
    shares = cut(batch, 2)
    assert shares is not None
    widths = [{p: part[c.VALID].shape[1] for p, part in by_policy(s).items()} for s in shares]
    assert widths == [{"a/": 2, "b/": 1}, {"a/": 3, "b/": 1}]
    shares = cut(batch, 3)
    assert shares is not None
    assert [num_rows(by_policy(share)["b/"]) for share in shares].count(0) == 1
