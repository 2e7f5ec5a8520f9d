"""All weights of a module, and all gradients, as one vector each.

The module's parameters become views into `vector`, their gradients views into its gradient. So
sending or loading weights is one copy, an optimizer over `[flat.vector]` runs a handful of
operations however many layers there are, and its state is flat too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from actorrl.data.allocate import Allocate

Float32 = NDArray[np.float32]


class FlatParameters:
    """Owns the memory of a module's parameters. Give optimizers `[flat.vector]`.

    Nothing else may rebind `parameter.data` or `.grad`: use `move` and not `module.to`,
    `zero_gradient` and not `zero_grad(set_to_none=True)`.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.layout = [(name, tuple(p.shape)) for name, p in module.named_parameters()]
        size = sum(p.numel() for p in module.parameters())
        self.vector = nn.Parameter(torch.zeros(size))  # [P]
        self.num_writes = 0  # to it, by `load` and by optimizers: what was made of it then is old
        self._bind(torch.cat([p.detach().flatten().float() for p in module.parameters()]))

    def _bind(self, values: Tensor) -> None:
        self.vector.data = values
        self.gradient = torch.zeros_like(values)  # [P]
        self.vector.grad = self.gradient
        start = 0
        for parameter in self.module.parameters():
            end = start + parameter.numel()
            parameter.grad = None  # a gradient of the old device would refuse the new data
            parameter.data = values[start:end].view(parameter.shape)
            parameter.grad = self.gradient[start:end].view(parameter.shape)
            start = end

    def move(self, device: torch.device | str) -> None:
        """Take the weights to a device. Optimizers over `vector` stay valid."""
        if self.vector.device != torch.device(device):
            self.vector.grad = None
            self._bind(self.vector.detach().to(device))

    def span(self, name: str) -> slice:
        """Where the weights of the submodule (or parameter) `name` lie in `vector`.

        For an optimizer over `vector.data[span]` and `gradient[span]`. Raises ValueError where
        there is none, and where others' weights lie in between.
        """
        inside, start, end, position = False, 0, 0, 0
        for parameter, shape in self.layout:
            if parameter == name or parameter.startswith(f"{name}."):
                if not inside and end:
                    raise ValueError(f"the weights of {name!r} are not in one piece")
                start, inside = (start, True) if inside else (position, True)
                end = position + math.prod(shape)
            else:
                inside = False
            position += math.prod(shape)
        if not end:
            raise ValueError(f"no weights are named {name!r}, only {[n for n, _ in self.layout]}")
        return slice(start, end)

    def numpy(self) -> Float32:
        """A copy of the weights [P] on the host."""
        return np.array(self.in_place())

    def in_place(self) -> Float32:
        """The weights [P] on the host, for who copies them at once: on the CPU the very memory."""
        weights: Float32 = self.vector.detach().cpu().numpy()
        return weights

    @torch.no_grad()
    def load(self, values: Float32) -> None:
        """Copy [P] over the weights; the caller keeps the array. Raises ValueError on its size."""
        _copy_into(self.vector.data, values, "weights")
        self.num_writes += 1

    def gradient_numpy(self, allocate: Allocate = np.empty) -> Float32:
        """A copy of the gradient [P] on the host, where `allocate` says."""
        gradient = self.gradient.cpu().numpy()
        copy = allocate(gradient.shape, gradient.dtype)
        np.copyto(copy, gradient)
        return copy

    def set_gradient(self, values: Float32) -> None:
        """Copy [P] over the gradient, for an optimizer step with somebody else's gradient."""
        _copy_into(self.gradient, values, "gradients")

    def has_gradient(self) -> bool:
        """Whether any number of it is not zero."""
        return bool(self.gradient.any())

    def zero_gradient(self) -> None:
        self.gradient.zero_()

    def clip_gradient(
        self, limit: float | None, span: slice = slice(None), by: str = "global_norm"
    ) -> Tensor:
        """Scale the gradient (of a part) down to an L2 norm of at most `limit`; or `by` "norm" that
        of each parameter, or "value" each number to within +-limit. Returns the norm before."""
        gradient = self.gradient[span]
        norm = torch.linalg.vector_norm(gradient)
        if limit is None:
            return norm
        if by == "value":
            gradient.clamp_(-limit, limit)
        elif by == "norm":
            for part in self._parts(span):
                _scale_down(part, torch.linalg.vector_norm(part), limit)
        else:
            _scale_down(gradient, norm, limit)
        return norm

    def _parts(self, span: slice) -> Iterator[Tensor]:
        """The gradients of the parameters within a span, one after the other."""
        start, stop, _ = span.indices(len(self.gradient))
        position = 0
        for _, shape in self.layout:
            end = position + math.prod(shape)
            if start <= position and end <= stop:
                yield self.gradient[position:end]
            position = end

    def named_numpy(self) -> dict[str, Float32]:
        """Copies of the weights by parameter name."""
        named = {}
        vector, start = self.numpy(), 0
        for name, shape in self.layout:
            end = start + int(np.prod(shape))
            named[name] = vector[start:end].reshape(shape).copy()
            start = end
        return named

    def load_named(self, weights: Mapping[str, Float32]) -> None:
        """The inverse of `named_numpy`; raises ValueError naming what does not fit."""
        missing = [name for name, _ in self.layout if name not in weights]
        unknown = sorted(set(weights) - {name for name, _ in self.layout})
        if missing or unknown:
            raise ValueError(f"weights do not fit: missing {missing}, unknown {unknown}")
        for name, shape in self.layout:
            if np.shape(weights[name]) != shape:
                raise ValueError(f"weights {name!r}: {np.shape(weights[name])}, expected {shape}")
        self.load(
            np.concatenate([np.asarray(weights[n], np.float32).ravel() for n, _ in self.layout])
        )


def _scale_down(gradient: Tensor, norm: Tensor, limit: float) -> None:
    gradient.mul_((limit / (norm + 1e-6)).clamp(max=1.0))


def _copy_into(target: Tensor, values: Float32, what: str) -> None:
    values = np.asarray(values, dtype=np.float32)
    if values.shape != tuple(target.shape):
        raise ValueError(f"{what}: {values.shape} values, expected {tuple(target.shape)}")
    if target.device.type == "cpu":
        target.numpy()[:] = values  # also takes read-only memory, of which torch would complain
    else:
        target.copy_(torch.from_numpy(np.array(values)))
