"""From an action space to its distribution: how many outputs it needs, how acting draws from them
(NumPy), and how a learner binds them (torch).

B rows when acting. torch.distributions appears nowhere: it costs 50 us a call in a sampler.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from actorrl.errors import ConfigError
from actorrl.models import distributions, gaussian
from actorrl.models.action_distribution import (
    ActionDistribution,
    Bernoulli,
    Categorical,
    Deterministic,
    DiagGaussian,
    MultiAction,
    MultiCategorical,
    SquashedGaussian,
)
from actorrl.models.action_layout import Array, Product, action_layout, is_bounded

Float32 = NDArray[np.float32]
Bind = Callable[[Tensor], ActionDistribution]
Draw = Callable[[Float32, np.random.Generator, bool], tuple[Array, Float32]]


class InTwoSteps(NamedTuple):
    """`Draw`, whose log-probabilities may come later, for many rows at once."""

    choose: Callable[[Float32, np.random.Generator, bool], Array]
    log_prob: Callable[[Float32, Array], Float32]  # inputs [N, n], actions [N] -> [N]


class DistributionFamily(NamedTuple):
    """The distribution of one action space."""

    num_inputs: int
    bind: Bind
    draw: Draw  # (inputs [B, n], random, greedy) -> stored actions, log-probabilities [B]
    free_log_std: bool = False  # whether the last half of the inputs can be free variables
    in_two_steps: InTwoSteps | None = None  # the same draws


def distribution_for(action_space: Any, model_config: Any = None) -> DistributionFamily:
    """The family of a space; `model_config.custom_action_dist`, a class, takes its place.

    Raises ConfigError, naming the space, where there is none, and for `free_log_std` in a space
    without deviations.
    """
    custom = getattr(model_config, "custom_action_dist", None)
    family = custom_family(custom, action_space, model_config) if custom else _family(action_space)
    if getattr(model_config, "free_log_std", False) and not family.free_log_std:
        raise ConfigError(
            f"model.free_log_std: true with the action space {action_space}, expected a Box"
        )
    return family


def _family(space: Any) -> DistributionFamily:
    layout = action_layout(space)  # raises for spaces that nobody can act in
    if isinstance(space, spaces.Discrete):
        two = InTwoSteps(distributions.choose_numpy, distributions.log_prob_numpy)
        draw: Draw = distributions.sample_numpy
        return DistributionFamily(int(space.n), Categorical, draw, in_two_steps=two)
    if isinstance(space, spaces.MultiDiscrete):
        sizes = space.nvec.ravel().tolist()
        bind: Bind = functools.partial(MultiCategorical, sizes=sizes, shape=layout.shape)
        draw = functools.partial(_draw_choices, sizes=sizes, shape=layout.shape)
        return DistributionFamily(sum(sizes), bind, draw)
    if isinstance(space, spaces.MultiBinary):
        bind = functools.partial(Bernoulli, shape=layout.shape)
        draw = functools.partial(_draw_bits, shape=layout.shape)
        return DistributionFamily(math.prod(layout.shape), bind, draw)
    if isinstance(space, spaces.Box):
        bind = functools.partial(DiagGaussian, shape=layout.shape)
        draw = functools.partial(_draw_shaped, gaussian.sample_numpy, shape=layout.shape)
        return DistributionFamily(2 * math.prod(layout.shape), bind, draw, free_log_std=True)
    assert isinstance(layout, Product)
    parts = space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces
    families = [_family(part) for part in parts]
    bind = functools.partial(_bind_parts, families=families, layout=layout)
    draw = functools.partial(_draw_parts, families=families, layout=layout)
    return DistributionFamily(sum(family.num_inputs for family in families), bind, draw)


def custom_family(cls: Any, action_space: Any, model_config: Any) -> DistributionFamily:
    """The family of a user's class: `cls(inputs, model)` with ActionDistribution's methods.

    `cls.required_model_output_shape(action_space, model_config)` (RLlib's) says how many inputs;
    without it they are those of the space's own distribution.
    """
    layout = action_layout(action_space)
    if cls in (SquashedGaussian, Deterministic) and not is_bounded(action_space):
        raise ConfigError(
            f"model.custom_action_dist: {cls.__name__} with the action space {action_space}, "
            "expected a Box with finite bounds"
        )
    required = getattr(cls, "required_model_output_shape", None)
    if required is not None:
        num_inputs = math.prod(np.atleast_1d(required(action_space, model_config)))
    elif cls is Deterministic:
        num_inputs = math.prod(layout.shape)
    else:
        num_inputs = _family(action_space).num_inputs
    bind = functools.partial(_bind_custom, cls)
    draw = functools.partial(_draw_custom, cls, layout=layout)
    return DistributionFamily(int(num_inputs), bind, draw, issubclass(cls, DiagGaussian))


def _bind_parts(
    inputs: Tensor, *, families: Sequence[DistributionFamily], layout: Product
) -> ActionDistribution:
    pieces = inputs.split([family.num_inputs for family in families], dim=-1)
    parts = [family.bind(piece) for family, piece in zip(families, pieces, strict=True)]
    return MultiAction(inputs, parts, layout.split)


def _bind_custom(cls: Any, inputs: Tensor) -> ActionDistribution:
    distribution: ActionDistribution = cls(inputs, None)
    return distribution


# ---- drawing, for acting ------------------------------------------------------------------------


def _draw_choices(
    inputs: Float32,
    random: np.random.Generator,
    greedy: bool,
    *,
    sizes: Sequence[int],
    shape: Sequence[int],
) -> tuple[Array, Float32]:
    columns, total = [], np.zeros(len(inputs), np.float32)
    for part in np.split(inputs, np.cumsum(sizes)[:-1], axis=1):
        chosen, logp = distributions.sample_numpy(part, random, greedy)
        columns.append(chosen)
        total += logp
    return np.stack(columns, axis=1).reshape(len(inputs), *shape), total


def _draw_bits(
    inputs: Float32, random: np.random.Generator, greedy: bool, *, shape: Sequence[int]
) -> tuple[Array, Float32]:
    if greedy:
        bits = inputs > 0
    else:
        chances = np.exp(-np.logaddexp(np.float32(0), -inputs))  # the sigmoid, without overflow
        bits = random.random(inputs.shape, dtype=np.float32) < chances
    logp: Float32 = np.add.reduce(bits * inputs - np.logaddexp(np.float32(0), inputs), axis=1)
    return bits.astype(np.int8).reshape(len(inputs), *shape), logp


def _draw_shaped(
    draw: Draw,
    inputs: Float32,
    random: np.random.Generator,
    greedy: bool,
    *,
    shape: Sequence[int],
) -> tuple[Array, Float32]:
    flat, logp = draw(inputs, random, greedy)
    return flat.reshape(len(inputs), *shape), logp


def _draw_parts(
    inputs: Float32,
    random: np.random.Generator,
    greedy: bool,
    *,
    families: Sequence[DistributionFamily],
    layout: Product,
) -> tuple[Array, Float32]:
    ends = np.cumsum([family.num_inputs for family in families])[:-1]
    columns, total = [], np.zeros(len(inputs), np.float32)
    for family, part in zip(families, np.split(inputs, ends, axis=1), strict=True):
        actions, logp = family.draw(part, random, greedy)
        columns.append(actions)
        total += logp
    return layout.join(columns), total


def _draw_custom(
    cls: Any, inputs: Float32, random: np.random.Generator, greedy: bool, *, layout: Any
) -> tuple[Array, Float32]:
    """Torch's draw under a seed from our generator, so that the policy's state covers it."""
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(random.integers(2**63)))
        bound = cls(torch.from_numpy(np.array(inputs)), None)
        actions = bound.deterministic_sample() if greedy else bound.sample()
        logp = bound.logp(actions)
    stored = actions.numpy().astype(layout.dtype).reshape(len(inputs), *layout.shape)
    return stored, logp.numpy().astype(np.float32)
