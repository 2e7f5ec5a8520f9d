"""The body for observations of several parts, images among them (a Dict or Tuple, flattened).

N rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from actorrl.models.networks import MLP


class ImagePiece(NamedTuple):
    """Where an image lies in a flat observation, and the convolutions that look at it."""

    piece: slice
    shape: tuple[int, ...]
    is_bytes: bool  # 0 to 255, also where the flat vector is float32
    body: nn.Module


class MixedBody(nn.Module):
    """Flat observations [N, F] -> [N, output_size]: features of each image and all other numbers
    side by side, then fully connected layers; an image alone is followed by none."""

    def __init__(
        self,
        images: Sequence[ImagePiece],
        rest: Sequence[slice],
        hiddens: Sequence[int],
        activation: str,
    ) -> None:
        super().__init__()
        self._pieces = [(image.piece, image.shape, image.is_bytes) for image in images]
        self._rest = list(rest)
        self.bodies = nn.ModuleList(image.body for image in images)
        sizes = [int(body.output_size) for body in self.bodies]  # type: ignore[arg-type]
        size = sum(sizes) + sum(piece.stop - piece.start for piece in rest)
        alone = len(images) == 1 and not rest
        self.join = MLP(size, [] if alone else hiddens, activation)
        self.output_size = self.join.output_size

    def forward(self, x: Tensor) -> Tensor:
        features = [x[:, piece].float() for piece in self._rest]
        for (piece, shape, is_bytes), body in zip(self._pieces, self.bodies, strict=True):
            image = x[:, piece].reshape(x.shape[0], *shape)
            features.append(body(image.to(torch.uint8) if is_bytes else image.float()))
        joined: Tensor = self.join(torch.cat(features, dim=1))
        return joined
