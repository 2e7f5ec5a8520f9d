"""The learner's forward gives back what acting computed: with no lag every ratio is 1 to 1e-5."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from actorrl.data import columns as c
from actorrl.losses.vtrace import vtrace
from actorrl.models.catalog import ModelConfig
from actorrl.policies.actor_critic import ActorCriticPolicy
from tests.policies.fragments import Stream

torch.set_num_threads(1)
VECTOR = Box(-np.inf, np.inf, (4,))
SCREEN = Box(0, 255, (36, 40), np.uint8)
CASES = {
    "vectors": (VECTOR, 1, {}),
    "vectors in torch": (VECTOR, 1, {"fcnet_activation": "silu"}),
    "relu, layers after the body": (
        VECTOR,
        1,
        {"fcnet_activation": "relu", "post_fcnet_hiddens": [16]},
    ),
    "two bodies": (VECTOR, 1, {"vf_share_layers": False}),
    "lstm": (VECTOR, 1, {"use_lstm": True, "lstm_cell_size": 32}),
    "lstm and layers after it": (
        VECTOR,
        1,
        {"use_lstm": True, "lstm_cell_size": 32, "post_fcnet_hiddens": [16]},
    ),
    "frame stack": (SCREEN, 4, {}),
    "frame stack in plain layout": (SCREEN, 4, {"channels_last": False}),
    "frame stack and lstm": (SCREEN, 3, {"use_lstm": True, "lstm_cell_size": 32}),
    "deep network": (Box(0, 255, (12, 16), np.uint8), 2, {"conv_filters": "impala"}),
    "colour images": (Box(0, 255, (36, 40, 3), np.uint8), 1, {}),
    "stacks of vectors": (Box(0, 255, (5,), np.uint8), 3, {}),
}


def trained(policy):
    """Weights as after training: a larger head, so that actions are far from even."""
    weights = policy.get_weights()
    weights["policy_head.weight"] *= 500
    policy.set_weights(weights)
    return policy


def make(case, device="cpu"):
    space, frame_stack, settings = CASES[case]
    config = ModelConfig(**settings)
    policy = trained(ActorCriticPolicy(space, Discrete(5), frame_stack, config))
    policy.to(device)
    return policy


@pytest.mark.parametrize("case", CASES)
def test_every_importance_ratio_is_one_on_every_valid_row(case):
    T, B = 12, 4
    policy = make(case)
    stream = Stream(policy, B)
    saw_invalid = saw_reset = False
    for _ in range(3):  # the second and third start with a state and lead-in frames
        arrays = stream.collect(T)
        columns, last = policy.tensors(arrays), policy.last_values(arrays, stream.state)
        with torch.set_grad_enabled(True):  # as a learner runs it
            logits, values = policy.forward_sequence(columns, T, B)
        logits, values = logits.detach(), values.detach()
        valid = columns[c.VALID]
        logp = policy.distribution(logits).logp(columns[c.ACTIONS])
        result = vtrace(
            behaviour_logp=columns[c.ACTION_LOGP],
            target_logp=logp,
            rewards=columns[c.REWARDS],
            values=values[:-1],
            next_values=policy.next_values(columns, values),
            terminateds=columns[c.TERMINATEDS],
            truncateds=columns[c.TRUNCATEDS],
            valid=valid,
            gamma=0.99,
        )
        assert columns[c.ACTION_DIST_INPUTS].std() > 0.3
        assert (result.rhos[valid] - 1).abs().max() < 1e-5
        assert (result.rhos[~valid] == 0).all()
        torch.testing.assert_close(values[:-1], columns[c.VF_PREDS], atol=2e-5, rtol=1e-5)
        torch.testing.assert_close(logits, columns[c.ACTION_DIST_INPUTS], atol=2e-5, rtol=1e-5)
        goes_on = arrays[c.AGE][-1] > 0  # elsewhere the value after the last row means nothing
        np.testing.assert_allclose(last[goes_on], values[-1].numpy()[goes_on], atol=2e-5, rtol=1e-5)
        saw_invalid |= bool((~valid).any())
        saw_reset |= bool((columns[c.AGE][1:] == 0).any())
    assert saw_invalid and saw_reset


@pytest.mark.parametrize("case", ["frame stack", "stacks of vectors"])
def test_the_learner_stacks_what_the_policy_saw(case):
    policy = make(case)
    stream = Stream(policy, 3)
    for _ in range(2):
        columns = policy.tensors(stream.collect(9))
        np.testing.assert_array_equal(policy.observations(columns).numpy(), stream.stacks)


@pytest.mark.parametrize("case", ["lstm", "frame stack", "frame stack and lstm"])
def test_what_follows_a_reset_never_leaks_back_and_what_precedes_it_never_leaks_on(case):
    """By gradients: rows before a reset depend on nothing after it, rows from it on nothing before.

    Only frames of the own stretch count, and the state at the start for the first stretch alone.
    """
    T, B = 12, 1
    policy = make(case)
    name = c.OBS if policy.frame_stack == 1 else c.FRAMES
    stream, lead = Stream(policy, B, seed=5), policy.frame_stack - 1
    stream.collect(5)  # so that the fragment starts within an episode
    columns = policy.tensors(stream.collect(T))
    columns = {n: x.float() if n == name else x for n, x in columns.items()}
    starts = (columns[c.AGE][:, 0] == 0).nonzero().flatten().tolist()
    assert any(1 < start < T for start in starts)
    inputs = [n for n in columns if n == name or n.startswith("state_in")]
    for start in [s for s in starts if 0 < s < T]:
        for n in inputs:
            columns[n] = columns[n].detach().requires_grad_(True)
        logits, values = policy.forward_sequence(columns, T, B)
        before = logits[:start].square().sum() + values[:start].square().sum()
        after = logits[start:].square().sum() + values[start:].square().sum()
        by_before = torch.autograd.grad(before, columns[name], retain_graph=True)[0]
        by_after = torch.autograd.grad(after, [columns[n] for n in inputs], allow_unused=True)
        assert (by_before[lead + start :] == 0).all() and (by_before != 0).any()
        for n, gradient in zip(inputs, by_after, strict=True):
            past = gradient[: lead + start] if n == name else gradient
            assert (past == 0).all()


def test_float_images_are_taken_as_they_are():
    space = Box(0.0, 1.0, (36, 40), np.float32)
    policy = ActorCriticPolicy(space, Discrete(3))
    act = policy.act(np.random.default_rng(0).random((2, 36, 40)).astype(np.float32))
    assert act.actions.shape == (2,)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("case", CASES)
def test_a_learner_on_cuda_agrees_with_acting_on_the_cpu(case):
    """Looser: the two devices sum in different orders. TF32, torch's default there, is off."""
    torch.backends.cudnn.allow_tf32 = False
    T, B = 12, 4
    acting, learning = make(case), make(case, "cuda")
    columns = Stream(acting, B).collect(T)
    tensors = learning.tensors(columns)
    logits, _ = learning.forward_sequence(tensors, T, B)
    logp = learning.distribution(logits).logp(tensors[c.ACTIONS])
    difference = (logp - tensors[c.ACTION_LOGP]).detach().abs()
    assert difference[tensors[c.VALID]].max() < 1e-4
