"""IMPALA's steps on one batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from actorrl.algorithms.impala import IMPALAUpdate
from tests.policies.fragments import Stream
from tests.roles import worlds

COUNTING = "actorrl.testing.probe_envs:CountingEnv"


def made(**settings: Any) -> tuple[IMPALAUpdate, dict[str, torch.Tensor]]:
    """An update, and a batch that its own policy has sampled."""
    config, info = worlds.configured("IMPALA", COUNTING, lr=1e-2, **settings)
    update = IMPALAUpdate(config, info, 0, "cpu")
    batch = update.policy.tensors(Stream(update.policy, 4, seed=4).collect(6))
    return update, {name: tensor.clone() for name, tensor in batch.items()}


def test_several_steps_on_a_batch_are_the_batch_several_times_with_v_trace_anew_for_each() -> None:
    at_once, batch = made(num_sgd_iter=3)
    one_by_one, _ = made()
    told = at_once(batch, 0)
    for _ in range(3):
        told_last = one_by_one(batch, 0)
    np.testing.assert_array_equal(
        at_once.policy.flat.vector.detach(), one_by_one.policy.flat.vector.detach()
    )
    assert told["total_loss"] == told_last["total_loss"]
    assert float(told["rho_max"]) != 1.0  # the last step's policy is not the one that acted


def test_rllibs_newer_name_of_the_steps_is_taken() -> None:
    config, _ = worlds.configured("IMPALA", COUNTING, num_epochs=2)
    assert config.num_sgd_iter == 2
