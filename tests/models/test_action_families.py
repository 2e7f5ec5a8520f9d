from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Text, Tuple
from torch import distributions as td

from actorrl.errors import ConfigError
from actorrl.models.action_distribution import (
    ActionDistribution,
    Categorical,
    Deterministic,
    SquashedGaussian,
)
from actorrl.models.action_families import distribution_for
from actorrl.models.action_layout import action_layout
from actorrl.models.model_config import ModelConfig

torch.set_num_threads(1)
SPACES = {
    "discrete": Discrete(4),
    "box": Box(-2, 2, (3,)),
    "box of two axes": Box(-np.inf, np.inf, (2, 2)),
    "box without axes": Box(-1, 1, ()),
    "multi-discrete": MultiDiscrete([3, 2, 4]),
    "multi-discrete grid": MultiDiscrete([[2, 3], [4, 2]]),
    "multi-binary": MultiBinary(3),
    "dict": Dict(a=Discrete(3, start=2), b=Box(-2, 2, (2,)), c=MultiBinary(2)),
    "tuple in tuple": Tuple([MultiDiscrete([3, 3]), Tuple([Discrete(2), Box(0, 1, (1, 2))])]),
}


def inputs_of(family, rows, seed=0):
    x = 0.7 * np.random.default_rng(seed).normal(size=(rows, family.num_inputs))
    return torch.tensor(x, dtype=torch.float32)


def reference(space, x):
    """torch.distributions over one part after the other, slow and plain: a list of parts, each a
    distribution and the function that takes its share of stored actions."""
    if isinstance(space, Discrete):
        return [(td.Categorical(logits=x), lambda a: a.reshape(len(a)))]
    if isinstance(space, MultiDiscrete):
        parts, start = [], 0
        for i, n in enumerate(space.nvec.ravel().tolist()):
            part = td.Categorical(logits=x[:, start : start + n])
            parts.append((part, lambda a, i=i: a.reshape(len(a), -1)[:, i]))
            start += n
        return parts
    if isinstance(space, MultiBinary):
        bits = td.Independent(td.Bernoulli(logits=x), 1)
        return [(bits, lambda a: a.reshape(len(a), -1).float())]
    if isinstance(space, Box):
        mean, log_std = x.chunk(2, dim=-1)
        normal = td.Independent(td.Normal(mean, log_std.exp()), 1)
        return [(normal, lambda a: a.reshape(len(a), -1))]
    parts, column, start = [], 0, 0
    for part in space.spaces.values() if isinstance(space, Dict) else space.spaces:
        size, width = distribution_for(part).num_inputs, int(np.prod(action_layout(part).shape))
        for dist, take in reference(part, x[:, start : start + size]):
            cut = slice(column, column + width)
            parts.append((dist, lambda a, take=take, cut=cut: take(a[:, cut])))
        column, start = column + width, start + size
    return parts


@pytest.mark.parametrize("name", SPACES)
def test_logp_entropy_and_kl_are_those_of_torch(name):
    space, family = SPACES[name], distribution_for(SPACES[name])
    x, y = inputs_of(family, 40), inputs_of(family, 40, seed=1)
    bound, other = family.bind(x), family.bind(y)
    actions = bound.sample()
    parts, others = reference(space, x), reference(space, y)
    logp = sum(dist.log_prob(take(actions)) for dist, take in parts)
    torch.testing.assert_close(bound.logp(actions), logp, atol=1e-5, rtol=1e-5)
    entropy = sum(dist.entropy() for dist, _ in parts)
    torch.testing.assert_close(bound.entropy(), entropy, atol=1e-5, rtol=1e-5)
    kl = sum(td.kl_divergence(p, q) for (p, _), (q, _) in zip(parts, others, strict=True))
    torch.testing.assert_close(bound.kl(other), kl, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", SPACES)
def test_what_acting_draws_is_stored_as_declared_and_valid_for_the_environment(name):
    space, family = SPACES[name], distribution_for(SPACES[name])
    layout = action_layout(space)
    x = inputs_of(family, 30)
    stored, logp = family.draw(x.numpy(), np.random.default_rng(0), False)
    assert stored.shape == (30, *layout.shape) and stored.dtype == layout.dtype
    assert logp.shape == (30,) and logp.dtype == np.float32
    learned = family.bind(x).logp(torch.from_numpy(stored))
    np.testing.assert_allclose(logp, learned, atol=1e-5, rtol=1e-5)
    assert all(space.contains(action) for action in layout.to_env(stored))
    sampled = family.bind(x).sample()
    assert sampled.shape == stored.shape


@pytest.mark.parametrize("name", SPACES)
def test_sequences_keep_their_leading_axes(name):
    family, layout = distribution_for(SPACES[name]), action_layout(SPACES[name])
    x = inputs_of(family, 15)
    flat = family.bind(x)
    actions = flat.sample()
    bound = family.bind(x.view(5, 3, -1))
    together = bound.logp(actions.view(5, 3, *layout.shape))
    assert together.shape == bound.entropy().shape == (5, 3)
    torch.testing.assert_close(together.flatten(), flat.logp(actions))
    assert bound.sample().shape == bound.mode().shape == (5, 3, *layout.shape)


@pytest.mark.parametrize("name", SPACES)
def test_the_mode_is_the_same_when_acting_and_more_probable_than_samples(name):
    family = distribution_for(SPACES[name])
    x = inputs_of(family, 50)
    bound = family.bind(x)
    mode = bound.mode()
    stored, _ = family.draw(x.numpy(), np.random.default_rng(0), True)
    np.testing.assert_allclose(stored, mode, atol=1e-6)
    assert (bound.logp(mode) >= bound.logp(bound.sample()) - 1e-5).all()


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("kind", ["acting", "learning"])
def test_samples_have_the_entropy_that_is_claimed(name, kind):
    """Minus the mean log-probability of samples is the entropy, within four standard errors."""
    family = distribution_for(SPACES[name])
    x = inputs_of(family, 1, seed=3).expand(20_000, -1)
    bound = family.bind(x)
    if kind == "acting":
        _, logp = family.draw(x.numpy().copy(), np.random.default_rng(0), False)
    else:
        logp = bound.logp(bound.sample(torch.Generator().manual_seed(0))).numpy()
    error = logp.std() / np.sqrt(len(logp))
    assert abs(-logp.mean() - bound.entropy()[0].item()) < 4 * error + 1e-4


def test_masked_logits_do_not_spoil_entropy_and_kl():
    logits = torch.tensor([[0.5, -1e9, 0.2], [-1e9, -1e9, 0.0]], requires_grad=True)
    bound = Categorical(logits)
    total = bound.entropy().sum() + bound.kl(Categorical(logits.detach())).sum()
    total.backward()
    assert torch.isfinite(total) and torch.isfinite(logits.grad).all()
    family = distribution_for(Discrete(3))
    many = np.tile(logits.detach().numpy()[:1], (50_000, 1))
    assert set(family.draw(many, np.random.default_rng(0), False)[0]) == {0, 2}


def test_a_space_without_deviations_has_no_free_ones():
    config = ModelConfig(free_log_std=True)
    assert distribution_for(SPACES["box"], config).free_log_std
    with pytest.raises(ConfigError, match=r"free_log_std: true with .* Discrete\(4\)"):
        distribution_for(Discrete(4), config)


def test_unknown_spaces_are_refused_by_name():
    with pytest.raises(ConfigError, match="Text"):
        distribution_for(Tuple([Discrete(2), Text(3)]))


class Sharper(Categorical):
    """A user's distribution."""

    def __init__(self, inputs, model=None):
        super().__init__(inputs * 100, model)


class Halves(ActionDistribution):
    """RLlib's form, with a number of inputs of its own: [-1, 1] as the mean of two outputs."""

    @staticmethod
    def required_model_output_shape(action_space, model_config):
        return 2

    def sample(self, generator=None):
        return self.inputs.mean(-1, keepdim=True)

    mode = sample

    def logp(self, actions):
        return torch.zeros(self.inputs.shape[:-1])

    def entropy(self):
        return torch.zeros(self.inputs.shape[:-1])

    def kl(self, other):
        return torch.zeros(self.inputs.shape[:-1])


def test_a_users_distribution_takes_the_place_of_the_spaces_own():
    family = distribution_for(Discrete(4), ModelConfig(custom_action_dist=Sharper))
    assert family.num_inputs == 4
    logits = np.tile(np.array([0.0, 0.1, 0.2, 1.0], np.float32), (500, 1))
    actions, _ = family.draw(logits, np.random.default_rng(0), False)
    assert (actions == 3).all() and actions.dtype == np.int64
    family = distribution_for(Box(-1, 1, (1,)), ModelConfig(custom_action_dist=Halves))
    assert family.num_inputs == 2
    stored, _ = family.draw(np.array([[0.2, 0.6]], np.float32), np.random.default_rng(0), False)
    np.testing.assert_allclose(stored, [[0.4]])


def test_what_a_users_distribution_draws_follows_the_policys_generator():
    family = distribution_for(Discrete(4), ModelConfig(custom_action_dist=Categorical))
    logits = np.zeros((100, 4), np.float32)
    one, same, other = (family.draw(logits, np.random.default_rng(s), False)[0] for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_squashed_and_deterministic_ones_can_be_chosen_for_bounded_boxes():
    space = Box(-2, 2, (3,))
    family = distribution_for(space, ModelConfig(custom_action_dist=SquashedGaussian))
    x = inputs_of(family, 200)
    stored, logp = family.draw(x.numpy(), np.random.default_rng(0), False)
    assert np.abs(stored).max() < 1
    bound, other = family.bind(x), family.bind(inputs_of(family, 200, seed=1))
    np.testing.assert_allclose(logp, bound.logp(torch.from_numpy(stored)), atol=1e-4, rtol=1e-4)
    samples = torch.stack([-bound.logp(bound.sample()) for _ in range(200)]).mean()
    estimates = torch.stack([bound.entropy() for _ in range(200)]).mean()
    assert estimates.item() == pytest.approx(samples.item(), abs=0.1)
    plain = distribution_for(space)
    unsquashed = plain.bind(bound.inputs).kl(plain.bind(other.inputs))
    torch.testing.assert_close(bound.kl(other), unsquashed)
    assert distribution_for(space, ModelConfig(custom_action_dist=Deterministic)).num_inputs == 3
    with pytest.raises(ConfigError, match=r"SquashedGaussian with the action space Discrete\(2\)"):
        distribution_for(Discrete(2), ModelConfig(custom_action_dist=SquashedGaussian))
