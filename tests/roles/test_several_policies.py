"""Rows of several agents: each one's decisions are followed through its fragments."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from actorrl.data import columns as c
from actorrl.policies.policy_map import PolicyMap
from actorrl.roles.replay_rows import n_step_rows
from actorrl.roles.several_policies import make_rows
from tests.rollouts.test_multi_agent import Guests, InTurns, Steady, SteadyTruncated, collector

GAMMA, N = 0.9, 3


def rows_of(env: Any, fragment_length: int, ticks: int, *names: str, mapping: Any) -> Any:
    """policy -> the 3-step rows of so many ticks, sorted: the same whatever the fragments."""
    one = collector(env, fragment_length, mapping, *names, envs=2)
    makers = {name: functools.partial(n_step_rows, N, GAMMA, None) for name in names}
    postprocess = make_rows(makers, PolicyMap(one.policies.policies), 2)
    found: dict[str, list[Any]] = {name: [] for name in names}
    for _ in range(ticks // fragment_length):
        _, arrays = postprocess(one.collect())
        for name in {key.partition("/")[0] for key in arrays}:
            columns = [c.OBS, c.REWARDS, c.DISCOUNTS, c.NEXT_OBS]
            parts = [arrays[f"{name}/{column}"] for column in columns]
            for row in zip(*parts, strict=True):
                found[name].append(tuple(np.concatenate([np.ravel(x) for x in row])))
    return found


@pytest.mark.parametrize("length", [1, 3, 10, 11])
def test_a_turn_takers_rows_are_those_of_its_own_decisions(length: int) -> None:
    """Five decisions of an episode each; the other's do not come between."""
    found = rows_of(InTurns, length, 330, "x", "y", mapping=lambda agent: agent)
    for first, name in enumerate("xy"):
        assert len(found[name]) >= 2 * 5 * 25
        for t, _, reward, discount, after, _ in found[name]:
            left = 5 - (t - first) // 2
            assert reward == pytest.approx(sum(GAMMA**k for k in range(int(min(left, N)))))
            assert discount == pytest.approx(GAMMA**N if left > N else 0.0)
            assert left <= N or after == t + 2 * N


@pytest.mark.parametrize("env", [Steady, SteadyTruncated, Guests])
def test_rows_do_not_depend_on_where_fragments_end(env: Any) -> None:
    mapping = (lambda agent: "p") if env is not Guests else (lambda agent: "pq"[agent % 2])
    whole = rows_of(env, 33, 132, "p", "q", mapping=mapping)
    for length in (1, 4, 11):
        cut = rows_of(env, length, 132, "p", "q", mapping=mapping)
        for name in whole:
            missing = len(whole[name]) - len(cut[name])
            assert abs(missing) <= 2 * 2 * N, "only the last fragment's tails wait"
            assert set(cut[name]) == set(whole[name])


def test_truncated_rows_bootstrap_from_the_final_observation() -> None:
    found = rows_of(SteadyTruncated, 4, 132, "p", mapping=lambda agent: "p")["p"]
    last = [row for row in found if row[0] == 9]
    assert last and all(row[2] == 1.0 for row in last)
    assert all(row[3] == pytest.approx(GAMMA) and row[4] == 10 for row in last)


def test_agents_that_have_gone_leave_nothing_behind() -> None:
    one = collector(Guests, 13, lambda agent: "p", "p")
    for _ in range(20):
        one.collect()
    assert len(one._lanes) <= 7
