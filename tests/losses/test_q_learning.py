from __future__ import annotations

import numpy as np
import pytest
import torch

from actorrl.losses.q_learning import double_q_td, huber
from tests.losses import reference

torch.set_num_threads(1)
N, A = 40, 5


def example(seed):
    random = np.random.default_rng(seed)
    return {
        "q_tm1": random.normal(size=(N, A)),
        "actions": random.integers(A, size=N),
        "rewards_n": random.normal(size=N),
        "discounts": random.choice([0.99, 0.99**2, 0.99**3, 0.0], size=N),
        "q_next_online": random.normal(size=(N, A)),
        "q_next_target": random.normal(size=(N, A)),
    }


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_td_errors_agree_with_the_slow_reference(double, seed):
    rows = example(seed)
    expected = reference.double_q_td(**rows, double=double)
    given = {n: torch.from_numpy(x) for n, x in rows.items()}
    td = double_q_td(**{n: x.float() for n, x in given.items()}, double=double)
    np.testing.assert_allclose(td, expected, atol=1e-5)


def test_only_the_chosen_action_of_the_first_observation_gets_a_gradient():
    given = {n: torch.from_numpy(x) for n, x in example(1).items()}
    for name in ("q_tm1", "q_next_online", "q_next_target"):
        given[name].requires_grad_(True)
    double_q_td(**given).sum().backward()
    expected = torch.zeros(N, A).scatter_(1, given["actions"].unsqueeze(1), -1.0)
    assert torch.equal(given["q_tm1"].grad.float(), expected)
    assert given["q_next_online"].grad is None and given["q_next_target"].grad is None


def test_behind_a_termination_nothing_is_looked_at():
    given = {n: torch.from_numpy(x) for n, x in example(2).items()}
    terminated = given["discounts"] == 0
    assert terminated.any()
    before = double_q_td(**given)
    given["q_next_target"][terminated] = float("nan")
    assert torch.equal(double_q_td(**given), before)


def test_a_three_step_row_by_hand():
    """Rewards 1, 2, 4 with gamma .5: 1 + 1 + 1 + .125 * Q_target(online's choice) - Q."""
    one = torch.ones(1)
    td = double_q_td(
        q_tm1=torch.tensor([[7.0, 0.5]]),
        actions=torch.tensor([1]),
        rewards_n=3.0 * one,
        discounts=0.125 * one,
        q_next_online=torch.tensor([[2.0, 1.0]]),
        q_next_target=torch.tensor([[8.0, 100.0]]),
    )
    assert td.item() == 3.0 + 1.0 - 0.5


def test_huber_is_quadratic_inside_and_linear_outside():
    td = torch.tensor([-3.0, -0.5, 0.0, 0.5, 1.0, 2.0], requires_grad=True)
    loss = huber(td)
    assert loss.tolist() == [2.5, 0.125, 0.0, 0.125, 0.5, 1.5]
    loss.sum().backward()
    assert td.grad.tolist() == [-1.0, -0.5, 0.0, 0.5, 1.0, 1.0]
    reference_loss = torch.nn.functional.huber_loss
    x = torch.randn(100)
    expected = reference_loss(x, torch.zeros(100), reduction="none", delta=0.7)
    torch.testing.assert_close(huber(x, 0.7), expected)
