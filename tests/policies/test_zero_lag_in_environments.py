"""Zero lag over what the collector really writes, in both autoreset modes."""

from __future__ import annotations

import pytest
import torch

from actorrl.data import columns as c
from actorrl.envs.vector import make_vector
from actorrl.losses.vtrace import vtrace
from actorrl.models.catalog import ModelConfig
from actorrl.policies.actor_critic import ActorCriticPolicy
from actorrl.rollouts.collector import Collector

torch.set_num_threads(1)


def ratios(env, settings, T, fragments):
    """The importance ratios of every fragment at its valid rows, and how often episodes ended."""
    policy = ActorCriticPolicy(
        env.observation_space, env.action_space, env.frame_stack, ModelConfig(**settings), seed=1
    )
    weights = policy.get_weights()
    weights["policy_head.weight"] *= 100  # actions far from even
    policy.set_weights(weights)
    collector, found, ends = Collector(env, policy, T), [], 0
    for _ in range(fragments):
        columns = policy.tensors(collector.collect().columns)
        logits, values = policy.forward_sequence(columns, T, env.num_envs)
        result = vtrace(
            behaviour_logp=columns[c.ACTION_LOGP],
            target_logp=policy.distribution(logits).logp(columns[c.ACTIONS]),
            rewards=columns[c.REWARDS],
            values=values[:-1],
            next_values=policy.next_values(columns, values),
            terminateds=columns[c.TERMINATEDS],
            truncateds=columns[c.TRUNCATEDS],
            valid=columns[c.VALID],
            gamma=0.99,
        )
        found.append(result.rhos[columns[c.VALID]])
        ends += int((columns[c.TERMINATEDS] | columns[c.TRUNCATEDS]).sum())
        torch.testing.assert_close(values[:-1], columns[c.VF_PREDS], atol=2e-5, rtol=1e-5)
    return torch.cat(found), ends


@pytest.mark.parametrize(
    ("autoreset", "settings"),
    [
        ("next_step", {}),
        ("next_step", {"use_lstm": True, "lstm_cell_size": 32}),
        ("same_step", {}),  # which an LSTM refuses
    ],
)
def test_every_ratio_is_one_on_cartpole(autoreset, settings):
    env = make_vector("CartPole-v1", {}, 3, seed=1, autoreset=autoreset)
    found, ends = ratios(env, settings, T=25, fragments=4)
    env.close()
    assert ends > 3
    assert (found - 1).abs().max() < 1e-5


@pytest.mark.parametrize("settings", [{}, {"use_lstm": True, "lstm_cell_size": 32}])
def test_every_ratio_is_one_on_atari(settings):
    pytest.importorskip("ale_py")
    env = make_vector("ALE/Pong-v5", {}, 2, seed=1)
    assert env.frame_stack == 4
    found, _ = ratios(env, settings, T=8, fragments=2)
    env.close()
    assert (found - 1).abs().max() < 1e-5
