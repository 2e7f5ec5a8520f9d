"""Values that follow from the environment alone, found by iterating the targets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from actorrl.losses.returns import lambda_returns
from actorrl.losses.vtrace import vtrace
from tests.losses import reference

torch.set_num_threads(1)
GAMMA, LIMIT = 0.9, 10


def endless_run(rows: int, truncate: bool, next_step: bool):
    """Reward 1, an end every LIMIT decisions, cut into fragments by the callers: [rows, 1]."""
    period = LIMIT + 1 if next_step else LIMIT
    place = np.arange(rows) % period
    ends, valid = (place == LIMIT - 1)[:, None], (place < LIMIT)[:, None]
    none = np.zeros_like(ends)
    return {
        "rewards": valid.astype(np.float64),
        "terminateds": none if truncate else ends,
        "truncateds": ends if truncate else none,
        "valid": valid,
    }


def fragments(T: int, truncate: bool, next_step: bool, count: int = 110):
    """`count` successive fragments of T rows (whole periods), side by side: [T, count]."""
    columns = endless_run(T * count, truncate, next_step)
    return {name: torch.from_numpy(x.reshape(count, T).T.copy()) for name, x in columns.items()}


def fixed_point(columns, targets_of) -> float:
    """The value of a constant observation: its best constant fit to its own targets."""
    value, valid = 0.0, columns["valid"]
    for _ in range(300):
        values = torch.full(valid.shape, value, dtype=torch.float64)
        value = float(targets_of(values=values, next_values=values, **columns)[valid].mean())
    return value


def vtrace_targets(lambda_, gamma=GAMMA):
    def targets(values, **columns):
        logp = torch.zeros_like(values)
        columns |= {"behaviour_logp": logp, "target_logp": logp, "values": values}
        return vtrace(gamma=gamma, lambda_=lambda_, **columns).vs

    return targets


def returns_targets(lambda_, gamma=GAMMA):
    def targets(**columns):
        return lambda_returns(**columns, gamma=gamma, lambda_=lambda_).value_targets

    return targets


@pytest.mark.parametrize("next_step", [True, False])
@pytest.mark.parametrize("T", [1, 3, 10, 11, 64])
@pytest.mark.parametrize("targets", [vtrace_targets, returns_targets])
class TestConstantRewardWithLimit10AndGamma09:
    def test_truncation_makes_the_value_10(self, targets, T, next_step):
        """v = 1 + .9 v, however many rows a target spans."""
        for lambda_ in (0.0, 0.7, 1.0):
            value = fixed_point(fragments(T, True, next_step), targets(lambda_))
            assert value == pytest.approx(10.0, abs=1e-5)

    def test_termination_makes_the_one_step_value_5_26(self, targets, T, next_step):
        """v = 1 + .9 v 9/10: one row in ten has no bootstrap."""
        value = fixed_point(fragments(T, False, next_step), targets(0.0))
        assert value == pytest.approx(1 / (1 - 0.81), abs=1e-5)  # 5.263

    def test_termination_over_whole_returns_agrees_with_the_slow_reference(
        self, targets, T, next_step
    ):
        columns = fragments(T, False, next_step)
        value = fixed_point(columns, targets(1.0))
        plain = {name: x.numpy() for name, x in columns.items()}
        same = np.full(plain["valid"].shape, value)
        _, expected = reference.lambda_returns(
            plain["rewards"],
            same,
            same,
            plain["terminateds"],
            plain["truncateds"],
            plain["valid"],
            GAMMA,
            1.0,
        )
        assert expected[plain["valid"]].mean() == pytest.approx(value, abs=1e-5)


def test_termination_over_whole_episodes_is_the_mean_of_the_true_returns():
    """Fragments that are exactly episodes: no target bootstraps, the mean return-to-go is 4.14."""
    value = fixed_point(fragments(10, False, next_step=False), vtrace_targets(1.0))
    assert value == pytest.approx(np.mean([(1 - 0.9**k) / 0.1 for k in range(1, 11)]), abs=1e-6)


@pytest.mark.parametrize("T", [1, 3, 6, 7, 64])
@pytest.mark.parametrize("next_step", [True, False])
@pytest.mark.parametrize("targets_of", [vtrace_targets, returns_targets])
def test_a_chain_of_five_has_the_values_one_sixteenth_to_one(T, next_step, targets_of):
    """Reward 1 at the last of five states, then termination; gamma .5: 1/16, 1/8, 1/4, 1/2, 1."""
    period = 6 if next_step else 5
    rows = T * period * 7
    state = np.arange(rows + 1) % period  # state 5 is the final observation
    valid = state[:-1] < 5
    ends = state[:-1] == 4

    def cut(x):
        return torch.from_numpy(x.reshape(-1, T).T.copy())

    here, ahead = cut(state[:-1]), cut(state[1:])
    values = torch.zeros(6, dtype=torch.float64)
    targets = targets_of(0.7, gamma=0.5)
    for _ in range(100):
        columns = {
            "rewards": cut((ends & valid).astype(np.float64)),
            "next_values": values[ahead],
            "terminateds": cut(ends),
            "truncateds": cut(np.zeros_like(ends)),
            "valid": cut(valid),
        }
        found = targets(values=values[here], **columns)
        values = torch.stack([found[(here == s)].mean() for s in range(5)] + [torch.tensor(9.9)])
    np.testing.assert_allclose(values[:5], [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1], atol=1e-6)


@pytest.mark.parametrize(("rho_bar", "value"), [(1e9, 0.9), (1.0, 0.5)])
def test_a_bandit_behaved_in_by_another_policy_is_valued_as_far_as_rho_bar_lets_it(rho_bar, value):
    """Behaviour .1/.9, policy .9/.1, rewards 1/0: with weights cut at 1 it is the value of the
    policy between both, of probabilities min(behaviour, policy), here one half each."""
    best = torch.arange(10)[None] < 1  # [1, 10]: one episode in ten takes the first arm
    columns = {
        "behaviour_logp": torch.where(best, 0.1, 0.9).double().log(),
        "target_logp": torch.where(best, 0.9, 0.1).double().log(),
        "rewards": best.double(),
        "terminateds": torch.ones_like(best),
        "truncateds": torch.zeros_like(best),
        "valid": torch.ones_like(best),
    }

    def targets(**given):
        return vtrace(**given, gamma=GAMMA, rho_bar=rho_bar).vs

    assert fixed_point(columns, targets) == pytest.approx(value, abs=1e-6)
