"""ARS's step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from actorrl.algorithms.ars import ARSUpdate
from actorrl.roles.evolution_worker import RETURNS, SEEDS
from tests.roles import worlds


def stepped(**settings: Any) -> tuple[np.ndarray, dict[str, Any]]:
    """How far one update moves the parameters, and what it tells."""
    settings = {"observation_filter": "NoFilter", "lr": 0.5, **settings}
    config, info = worlds.configured("ARS", "CartPole-v1", **settings)
    update = ARSUpdate(config, info, 0, "cpu")
    before = update.policy.parameters.copy()
    returns = torch.tensor([[1.0, 5.0], [7.0, 2.0]])
    metrics = update({RETURNS: returns, SEEDS: torch.tensor([3, 4])}, 0)
    return update.policy.parameters - before, metrics


def test_the_direction_of_a_step_is_limited_by_grad_clip() -> None:
    free, told = stepped(num_rollouts=2, rollouts_used=2)
    length = float(np.linalg.norm(free))
    assert told["grad_gnorm"] == pytest.approx(length / 0.5, rel=1e-5)
    assert told["step_norm"] == pytest.approx(length, rel=1e-5)
    clipped, told = stepped(num_rollouts=2, rollouts_used=2, grad_clip=0.1)
    np.testing.assert_allclose(clipped, free * (0.05 / length), atol=1e-6)
    assert told["step_norm"] == pytest.approx(0.05, rel=1e-3)
    each, _ = stepped(num_rollouts=2, rollouts_used=2, grad_clip=0.1, grad_clip_by="value")
    np.testing.assert_allclose(each, np.clip(free, -0.05, 0.05), atol=1e-6)
