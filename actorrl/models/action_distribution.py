"""What a network's outputs mean: the distributions over actions that losses use.

The leading axes [...] are free; `inputs` are a network's outputs. Stored actions have the forms of
action_layout.py. action_families.py chooses by the action space. Users' own distributions are
classes with the methods of ActionDistribution.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from actorrl.models import distributions, gaussian


class ActionDistribution(ABC):
    """Bound to a network's outputs `inputs` [..., n]; RLlib's interface.

    `sample` takes torch's generator; gradients flow through samples of continuous ones only.
    """

    def __init__(self, inputs: Tensor, model: Any = None) -> None:
        self.inputs = inputs
        self.model = model

    @abstractmethod
    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Actions as they are stored, [..., *shape]."""

    @abstractmethod
    def mode(self) -> Tensor:
        """The most probable action (of Gaussians, the mean)."""

    @abstractmethod
    def logp(self, actions: Tensor) -> Tensor:
        """Log-probability or log-density of stored actions, [...]."""

    @abstractmethod
    def entropy(self) -> Tensor:
        """In nats, [...]."""

    @abstractmethod
    def kl(self, other: Any) -> Tensor:
        """KL(self || other) in nats, [...]; `other` is of the same class."""

    def deterministic_sample(self) -> Tensor:
        """RLlib's word for `mode`."""
        return self.mode()


class Categorical(ActionDistribution):
    """One of A actions; inputs are logits [..., A], actions [...]."""

    def __init__(self, inputs: Tensor, model: Any = None) -> None:
        super().__init__(inputs, model)
        self.log_probs = torch.log_softmax(inputs, dim=-1)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return distributions.sample(self.inputs, generator)

    def mode(self) -> Tensor:
        return self.inputs.argmax(-1)

    def logp(self, actions: Tensor) -> Tensor:
        assert actions.shape == self.inputs.shape[:-1], (actions.shape, self.inputs.shape)
        return self.log_probs.gather(-1, actions.long().unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Tensor:
        return -(self.log_probs.exp() * self.log_probs).sum(-1)

    def kl(self, other: Categorical) -> Tensor:
        return (self.log_probs.exp() * (self.log_probs - other.log_probs)).sum(-1)


class _Joint(ActionDistribution):
    """Independent `parts`; who derives from it says how their actions lie together."""

    parts: Sequence[ActionDistribution]

    @abstractmethod
    def _apart(self, actions: Tensor) -> Sequence[Tensor]:
        """Stored actions, by part."""

    @abstractmethod
    def _together(self, columns: list[Tensor]) -> Tensor:
        """The inverse."""

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return self._together([part.sample(generator) for part in self.parts])

    def mode(self) -> Tensor:
        return self._together([part.mode() for part in self.parts])

    def logp(self, actions: Tensor) -> Tensor:
        pairs = zip(self.parts, self._apart(actions), strict=True)
        return _total(part.logp(x) for part, x in pairs)

    def entropy(self) -> Tensor:
        return _total(part.entropy() for part in self.parts)

    def kl(self, other: Any) -> Tensor:
        return _total(p.kl(q) for p, q in zip(self.parts, other.parts, strict=True))


class MultiCategorical(_Joint):
    """Independent choices; inputs are all logits [..., sum of sizes], actions [..., *shape]."""

    def __init__(
        self, inputs: Tensor, model: Any = None, *, sizes: Sequence[int], shape: Sequence[int]
    ) -> None:
        super().__init__(inputs, model)
        self.shape = tuple(shape)
        self.parts = [Categorical(part) for part in inputs.split(list(sizes), dim=-1)]

    def _apart(self, actions: Tensor) -> Sequence[Tensor]:
        return actions.reshape(*self.inputs.shape[:-1], len(self.parts)).unbind(-1)

    def _together(self, columns: list[Tensor]) -> Tensor:
        return torch.stack(columns, dim=-1).view(*self.inputs.shape[:-1], *self.shape)


class Bernoulli(ActionDistribution):
    """Independent bits; inputs are their logits [..., n], actions 0 or 1 [..., *shape]."""

    def __init__(
        self, inputs: Tensor, model: Any = None, *, shape: Sequence[int] | None = None
    ) -> None:
        super().__init__(inputs, model)
        self.shape = tuple(inputs.shape[-1:] if shape is None else shape)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        uniform = torch.rand(self.inputs.shape, generator=generator, device=self.inputs.device)
        return self._bits(uniform < torch.sigmoid(self.inputs))

    def mode(self) -> Tensor:
        return self._bits(self.inputs > 0)

    def logp(self, actions: Tensor) -> Tensor:
        bits = actions.reshape(self.inputs.shape).to(self.inputs.dtype)
        return (bits * self.inputs - functional.softplus(self.inputs)).sum(-1)

    def entropy(self) -> Tensor:
        x = self.inputs
        return (functional.softplus(x) - x * torch.sigmoid(x)).sum(-1)

    def kl(self, other: Bernoulli) -> Tensor:
        x, y = self.inputs, other.inputs
        normalisers = functional.softplus(y) - functional.softplus(x)
        return (torch.sigmoid(x) * (x - y) + normalisers).sum(-1)

    def _bits(self, bits: Tensor) -> Tensor:
        return bits.to(torch.int8).view(*self.inputs.shape[:-1], *self.shape)


class DiagGaussian(ActionDistribution):
    """Independent Gaussians; inputs are means and log-deviations [..., 2K], actions
    [..., *shape], by default [..., K]."""

    def __init__(
        self, inputs: Tensor, model: Any = None, *, shape: Sequence[int] | None = None
    ) -> None:
        super().__init__(inputs, model)
        self.shape = tuple(shape) if shape is not None else (inputs.shape[-1] // 2,)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return self._shaped(gaussian.sample(self.inputs, generator))

    def mode(self) -> Tensor:
        return self._shaped(self.inputs.chunk(2, dim=-1)[0])

    def logp(self, actions: Tensor) -> Tensor:
        return gaussian.log_prob(self.inputs, self._flat(actions))

    def entropy(self) -> Tensor:
        return gaussian.entropy(self.inputs)

    def kl(self, other: DiagGaussian) -> Tensor:
        return gaussian.kl(self.inputs, other.inputs)

    def _flat(self, actions: Tensor) -> Tensor:
        return actions.reshape(*self.inputs.shape[:-1], -1)

    def _shaped(self, flat: Tensor) -> Tensor:
        return flat.reshape(*self.inputs.shape[:-1], *self.shape)


class SquashedGaussian(DiagGaussian):
    """Gaussians squashed by tanh into (-1, 1). The entropy has no closed form: it is minus the
    log-density of one sample, right in the mean and with a gradient."""

    def __init__(
        self, inputs: Tensor, model: Any = None, *, shape: Sequence[int] | None = None
    ) -> None:
        super().__init__(gaussian.clamp_log_std(inputs), model, shape=shape)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return torch.tanh(super().sample(generator))

    def mode(self) -> Tensor:
        return torch.tanh(super().mode())

    def logp(self, actions: Tensor) -> Tensor:
        u = gaussian.unsquash(self._flat(actions))
        return gaussian.squashed_log_prob(self.inputs, u)

    def entropy(self) -> Tensor:
        return -gaussian.squashed_log_prob(self.inputs, gaussian.sample(self.inputs))


class Deterministic(ActionDistribution):
    """The inputs are the action (DDPG's kind); there is nothing random about it."""

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return self.inputs

    def mode(self) -> Tensor:
        return self.inputs

    def logp(self, actions: Tensor) -> Tensor:
        return self.inputs.new_zeros(self.inputs.shape[:-1])

    def entropy(self) -> Tensor:
        return self.inputs.new_zeros(self.inputs.shape[:-1])

    def kl(self, other: Deterministic) -> Tensor:
        return self.inputs.new_zeros(self.inputs.shape[:-1])


class MultiAction(_Joint):
    """A Dict or Tuple: independent `parts`, whose inputs and actions lie side by side.

    `split` cuts stored actions [..., K] into those of the parts.
    """

    def __init__(
        self,
        inputs: Tensor,
        parts: Sequence[ActionDistribution],
        split: Callable[[Tensor], list[Tensor]],
    ) -> None:
        super().__init__(inputs)
        self.parts = parts
        self._split = split

    def _apart(self, actions: Tensor) -> Sequence[Tensor]:
        return self._split(actions)

    def _together(self, columns: list[Tensor]) -> Tensor:
        lead = self.inputs.shape[:-1]
        return torch.cat([x.float().reshape(*lead, -1) for x in columns], dim=-1)


def _total(parts: Iterable[Tensor]) -> Tensor:
    return functools.reduce(torch.add, parts)
