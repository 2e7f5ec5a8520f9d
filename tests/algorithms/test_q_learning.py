"""The update of DQN and Ape-X DQN, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from actorrl.algorithms import apex_dqn, dqn
from actorrl.data import columns as c
from tests.roles import worlds

torch.set_num_threads(1)
N = 12
MAKERS: dict[str, Any] = {"DQN": dqn.make_update, "APEX": apex_dqn.make_update}
both = pytest.mark.parametrize("name", MAKERS)


def update_of(name: str, **settings: Any) -> Any:
    config, info = worlds.configured(name, "CartPole-v1", **settings)
    return MAKERS[name](config, info, 0, "cpu")


def columns_of(seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        c.OBS: random.normal(size=(N, 4)).astype(np.float32),
        c.NEXT_OBS: random.normal(size=(N, 4)).astype(np.float32),
        c.ACTIONS: random.integers(2, size=N),
        c.REWARDS: 2 * random.normal(size=N).astype(np.float32),
        c.DISCOUNTS: random.choice([0.97, 0.0], size=N).astype(np.float32),
        c.WEIGHTS: random.uniform(0.1, 1.0, size=N).astype(np.float32),
    }


def learn(update: Any, columns: dict[str, np.ndarray]) -> Any:
    return update({name: torch.from_numpy(column) for name, column in columns.items()}, 0)


@both
def test_what_an_update_tells_is_what_the_rows_say_one_by_one(name: str) -> None:
    update, columns = update_of(name), columns_of()
    q, q_next = (update.policy.compute_q_values(columns[n]) for n in (c.OBS, c.NEXT_OBS))
    losses, values, errors = [], [], []
    for i in range(N):  # the target network's values are the policy's still
        target = columns[c.REWARDS][i] + columns[c.DISCOUNTS][i] * q_next[i].max()
        values.append(q[i, columns[c.ACTIONS][i]])
        errors.append(abs(target - values[-1]))
        huber = errors[-1] ** 2 / 2 if errors[-1] < 1 else errors[-1] - 0.5
        losses.append(columns[c.WEIGHTS][i] * huber)
    metrics = learn(update, columns)
    assert min(errors) < 1 < max(errors), "both arms of the loss"
    assert float(metrics["loss"]) == pytest.approx(np.mean(losses), rel=1e-5)
    assert float(metrics["mean_q"]) == pytest.approx(np.mean(values), rel=1e-5)
    assert float(metrics["mean_td_error"]) == pytest.approx(np.mean(errors), rel=1e-5)
    np.testing.assert_allclose(metrics[c.PRIORITIES], errors, rtol=1e-5)


def test_a_distributions_mean_q_is_of_the_actions_taken_too() -> None:
    update, columns = update_of("DQN", num_atoms=11), columns_of()
    q = update.policy.compute_q_values(columns[c.OBS])
    wanted = q[np.arange(N), columns[c.ACTIONS]].mean()
    assert float(learn(update, columns)["mean_q"]) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize(("name", "tau"), [("DQN", 0.25), ("APEX", 1.0)])
def test_the_target_moves_by_tau_in_dqn_and_is_copied_in_ape_x(name: str, tau: float) -> None:
    settings = {"tau": tau} if name == "DQN" else {}
    update = update_of(name, target_network_update_freq=2, **settings)
    first = update.state_dict()["target"].astype(np.float64)
    learn(update, columns_of(0))
    np.testing.assert_array_equal(update.state_dict()["target"], first)
    learn(update, columns_of(1))
    wanted = first + tau * (update.policy.flat_weights() - first)
    np.testing.assert_allclose(update.state_dict()["target"], wanted, atol=1e-6)


def test_epsilon_is_told_where_all_environments_have_the_same() -> None:
    columns = {name: torch.from_numpy(column) for name, column in columns_of().items()}
    assert update_of("DQN", epsilon_timesteps=100)(columns, 50)["cur_epsilon"] == 0.51
    for without in ({"noisy": True}, {"exploration_type": "soft_q"}):
        assert "cur_epsilon" not in update_of("DQN", **without)(columns, 50)
    assert "cur_epsilon" not in update_of("APEX")(columns, 50)
