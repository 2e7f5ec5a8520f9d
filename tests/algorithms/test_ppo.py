"""PPO's own parts: estimates in the worker, minibatches, and what a checkpoint holds of it."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from actorrl.algorithms.ppo import PPOUpdate, make_policy, make_postprocess
from actorrl.data import columns as c
from actorrl.envs.vector import make_vector
from actorrl.losses.returns import lambda_returns
from actorrl.rollouts.collector import Collector
from tests.roles import worlds

COUNTING = "actorrl.testing.probe_envs:CountingEnv"
LSTM = {"use_lstm": True, "lstm_cell_size": 8}


def configured(**settings: Any) -> Any:
    model = {"fcnet_hiddens": [16], **settings.pop("model", {})}
    config, info = worlds.configured("PPO", COUNTING, **settings)
    return config.training(model=model), info


def collected(config: Any, info: Any, rows: int = 9, envs: int = 4) -> tuple[Any, Any, Any]:
    """A fragment's columns before and after postprocessing, and the policy that acted."""
    policy = make_policy(config, info, 0, np.arange(envs))
    env = make_vector(info.env, {}, envs, seed=3, autoreset=config.autoreset)
    collector = Collector(env, policy, rows)
    collector.collect()  # so that the second one starts within episodes
    fragment = collector.collect()
    before = {name: array.copy() for name, array in fragment.columns.items()}
    make_postprocess(config, False, policy, envs)(fragment)
    return before, fragment.columns, policy


@pytest.mark.parametrize(
    ("autoreset", "model"), [("next_step", {}), ("same_step", {}), ("next_step", LSTM)]
)
def test_advantages_from_the_worker_are_those_that_a_learner_would_find(
    autoreset: str, model: dict[str, Any]
) -> None:
    config, info = configured(model=model, autoreset=autoreset)
    before, after, policy = collected(config, info)
    columns = policy.tensors(before)
    with torch.no_grad():
        _, values = policy.forward_sequence(columns, *before[c.VALID].shape)
        found = lambda_returns(
            rewards=columns[c.REWARDS],
            values=values[:-1],
            next_values=policy.next_values(columns, values),
            terminateds=columns[c.TERMINATEDS],
            truncateds=columns[c.TRUNCATEDS],
            valid=columns[c.VALID],
            gamma=config.gamma,
            lambda_=config.lambda_,
        )
    valid = before[c.VALID]
    np.testing.assert_allclose(after[c.ADVANTAGES][valid], found.advantages[valid], atol=1e-4)
    np.testing.assert_allclose(after[c.VALUE_TARGETS][valid], found.value_targets[valid], atol=1e-4)


def batch_of(config: Any, info: Any) -> dict[str, torch.Tensor]:
    _, columns, _ = collected(config, info)
    return {name: torch.from_numpy(np.array(array)) for name, array in columns.items()}


@pytest.mark.parametrize("model", [{}, LSTM], ids=["rows", "sequences"])
def test_every_epoch_sees_every_valid_row_once(model: dict[str, Any]) -> None:
    config, info = configured(model=model, sgd_minibatch_size=9)
    update, batch = PPOUpdate(config, info, 0, "cpu"), batch_of(config, info)
    marks = torch.arange(36).view(9, 4)
    batch[c.VALUE_TARGETS] = marks.float()
    seen: list[list[int]] = []

    def note(part: dict[str, torch.Tensor], entropy_coeff: float) -> Any:
        seen.append(part[c.VALUE_TARGETS][part[c.VALID]].int().tolist())
        return PPOUpdate._loss(update, part, entropy_coeff)

    update._loss = note  # type: ignore[method-assign,assignment]
    metrics = update(batch, 0)
    count = int(metrics["num_sgd_steps"]) // config.num_sgd_iter
    assert count == (4 if model else round(int(batch[c.VALID].sum()) / 9))
    for epoch in range(config.num_sgd_iter):
        rows = sorted(itertools.chain(*seen[epoch * count : (epoch + 1) * count]))
        assert rows == marks[batch[c.VALID]].tolist()


@pytest.mark.parametrize("model", [{}, LSTM], ids=["rows", "sequences"])
def test_before_the_first_step_nothing_has_moved(model: dict[str, Any]) -> None:
    """One epoch of one minibatch: the ratio is 1, so the loss is the mean advantage, and KL 0."""
    config, info = configured(model=model, sgd_minibatch_size=1000, num_sgd_iter=1, gamma=0.5)
    metrics = PPOUpdate(config, info, 0, "cpu")(batch_of(config, info), 0)
    assert metrics["kl"] == pytest.approx(0.0, abs=1e-6)
    assert float(metrics["policy_loss"]) == pytest.approx(0.0, abs=1e-5)


def test_the_kl_terms_weight_changes_once_per_batch_and_is_in_the_state() -> None:
    config, info = configured(kl_coeff=0.2, kl_target=1e-9, lr=1e-3)
    update = PPOUpdate(config, info, 0, "cpu")
    assert update(batch_of(config, info), 0)["cur_kl_coeff"] == pytest.approx(0.3)
    assert update(batch_of(config, info), 0)["cur_kl_coeff"] == pytest.approx(0.45)
    other = PPOUpdate(config, info, 0, "cpu")
    other.load_state_dict(update.state_dict())
    other.policy.flat.load(update.policy.flat_weights())
    one, two = (u(batch_of(config, info), 0) for u in (update, other))
    assert one["cur_kl_coeff"] == two["cur_kl_coeff"] == pytest.approx(0.675)
    np.testing.assert_array_equal(update.policy.flat_weights(), other.policy.flat_weights())


def test_the_entropys_weight_follows_its_schedule() -> None:
    config, _ = configured(entropy_coeff_schedule=[[0, 0.1], [1000, 0.0]])
    assert [config.entropy_at(t) for t in (0, 500, 2000)] == pytest.approx([0.1, 0.05, 0.0])
