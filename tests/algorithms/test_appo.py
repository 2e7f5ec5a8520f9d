"""APPO's three policies: what is clipped against what, and when the target follows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from actorrl.algorithms.appo import APPOUpdate
from actorrl.data import columns as c
from tests.losses import reference
from tests.policies.fragments import Stream
from tests.roles import worlds

COUNTING = "actorrl.testing.probe_envs:CountingEnv"
T, B = 6, 4


def made(**settings: Any) -> tuple[APPOUpdate, dict[str, torch.Tensor]]:
    """An update, and a batch that its own policy of some updates ago has sampled."""
    settings = {"lr": 1e-2, "num_sgd_iter": 1, "grad_clip": None, **settings}
    config, info = worlds.configured("APPO", COUNTING, **settings)
    update = APPOUpdate(config, info, 0, "cpu")
    batch = update.policy.tensors(Stream(update.policy, B, seed=4).collect(T))
    moved = torch.randn(update.policy.flat.vector.shape, generator=torch.Generator().manual_seed(1))
    update.policy.flat.load((update.policy.flat.vector.detach() + 0.1 * moved).numpy())
    update.policy.follow_value_targets(torch.tensor(20.0))
    return update, {name: tensor.clone() for name, tensor in batch.items()}


def slow_loss(update: APPOUpdate, batch: dict[str, torch.Tensor], old_logp: Any) -> float:
    """From V-trace's and PPO's formulas; `old_logp` [T, B] or None is the target's."""
    config, unit = update._config, float(update.policy.model.value_head.unit)  # type: ignore[union-attr]
    with torch.no_grad():
        inputs, values = update.policy.forward_sequence(batch, T, B)
        dist = update.policy.distribution(inputs)
        logp, entropy = dist.logp(batch[c.ACTIONS]), dist.entropy()
    mu = batch[c.ACTION_LOGP].numpy()
    columns = {n: batch[n].numpy() for n in (c.REWARDS, c.TERMINATEDS, c.TRUNCATEDS, c.VALID)}
    vs, corrected, _, bare = reference.vtrace(
        behaviour_logp=mu,
        target_logp=logp.numpy() if old_logp is None else old_logp,
        values=values[:-1].numpy(),
        next_values=values[1:].numpy(),
        gamma=config.gamma,
        rho_bar=1.0,
        c_bar=1.0,
        pg_rho_bar=1.0,
        lambda_=config.vtrace_lambda,
        **columns,
    )
    advantages = bare if old_logp is None else corrected
    valid = columns[c.VALID]
    kept = advantages[valid]
    advantages = (advantages - kept.mean()) / kept.std()
    divisor = mu if old_logp is None else np.maximum(old_logp, mu - np.log(2.0))
    total, _ = reference.ppo_loss(
        *(logp.numpy(), divisor, entropy.numpy(), np.zeros((T, B))),
        *(values[:-1].numpy(), values[:-1].numpy(), advantages, vs, valid),
        *(config.clip_param, None, config.vf_loss_coeff / unit**2, config.entropy_coeff, 0.0),
    )
    return float(total)


def test_without_a_target_the_ratio_is_to_the_policy_that_acted() -> None:
    update, batch = made(target_network_update_freq=None)
    wanted = slow_loss(update, batch, None)
    assert float(update(batch, 0)["total_loss"]) == pytest.approx(wanted, abs=1e-5)


def test_with_a_target_the_ratio_is_to_the_target_and_so_is_the_correction() -> None:
    update, batch = made(target_network_update_freq=2)
    target: Any = update._target
    moved = torch.randn(target.flat.vector.shape, generator=torch.Generator().manual_seed(2))
    target.flat.load((target.flat.vector.detach() + 0.1 * moved).numpy())
    with torch.no_grad():
        inputs, _ = target.forward_sequence(batch, T, B)
        old_logp = target.distribution(inputs).logp(batch[c.ACTIONS]).numpy()
    wanted = slow_loss(update, batch, old_logp)
    assert float(update(batch, 0)["total_loss"]) == pytest.approx(wanted, abs=1e-5)


def test_the_target_follows_every_so_many_updates_and_is_in_the_state() -> None:
    update, batch = made(target_network_update_freq=2, kl_coeff=0.2, num_sgd_iter=2)

    def same() -> bool:
        return bool((update._target.flat.vector == update.policy.flat.vector).all())  # type: ignore[union-attr]

    follows = []
    for _ in range(4):
        update(dict(batch), 0)
        follows.append(same())
    assert follows == [False, True, False, True]
    update(dict(batch), 0)
    other, _ = made(target_network_update_freq=2, kl_coeff=0.2, num_sgd_iter=2)
    other.load_state_dict(update.state_dict())
    other.policy.flat.load(update.policy.flat_weights())
    one, two = (u(dict(batch), 0) for u in (update, other))
    assert one["cur_kl_coeff"] == two["cur_kl_coeff"]
    np.testing.assert_array_equal(update.policy.flat_weights(), other.policy.flat_weights())


def test_a_kl_term_needs_a_target() -> None:
    config, _ = worlds.configured("APPO", COUNTING, kl_coeff=0.1, target_network_update_freq=None)
    assert config.validate()[0].startswith("kl_coeff: needs a target network, expected")
