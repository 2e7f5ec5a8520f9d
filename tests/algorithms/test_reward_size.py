"""The size of rewards, and what a body learns that policy and values share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from actorrl.algorithms.a2c import A2CUpdate
from actorrl.algorithms.appo import APPOUpdate
from actorrl.algorithms.impala import IMPALAUpdate
from actorrl.data import columns as c
from actorrl.testing.probe_envs import CountingEnv
from tests.policies.fragments import Stream
from tests.roles import worlds

UPDATES: dict[str, Any] = {"A2C": A2CUpdate, "IMPALA": IMPALAUpdate, "APPO": APPOUpdate}


def direction(algo: str, unit: float) -> np.ndarray:
    """Of the shared body's gradient, where rewards, and values as far as they are learned, are as
    many times larger as the unit."""
    config, info = worlds.configured(algo, CountingEnv, entropy_coeff=0.0)
    config.training(model={"fcnet_hiddens": [16], "vf_share_layers": True})
    update = UPDATES[algo](config, info, 0, "cpu")
    batch = update.policy.tensors(Stream(update.policy, 4, seed=4).collect(6))
    batch[c.REWARDS] = unit * torch.randn(
        batch[c.REWARDS].shape, generator=torch.Generator().manual_seed(5)
    )
    network = update.policy.model
    with torch.no_grad():
        network.value_head.unit.fill_(unit)
    update(batch, 0)
    gradient = torch.cat([p.grad.flatten() for p in network.body.parameters()]).numpy()
    return gradient / np.linalg.norm(gradient)


@pytest.mark.parametrize("algo", list(UPDATES))
def test_a_shared_body_heeds_policy_and_values_alike_with_rewards_of_any_size(algo: str) -> None:
    np.testing.assert_allclose(direction(algo, 2.0), direction(algo, 100.0), atol=1e-5)
