"""Bodies of networks: observations [N, ...] in, features [N, output_size] out.

N rows, C channels, H height, W width. uint8 images are scaled to [0, 1] here and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

Filter = tuple[int, int | tuple[int, int], int]  # output channels, kernel, stride

NATURE_FILTERS: list[Filter] = [(32, 8, 4), (64, 4, 2), (64, 3, 1)]
NATURE_SMALLEST_IMAGE = 36  # pixels a side; below, the third convolution has nothing left
NATURE_SUITED_IMAGE = 60  # below, its strides leave a cell or two
MIDDLE_IMAGE = 16  # from here on, stride 2 leaves something
SMALL_FILTERS: list[Filter] = [(16, 3, 1)]  # for images of a few cells, as MinAtar's

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "elu": functional.elu,
    "silu": functional.silu,
    "swish": functional.silu,  # RLlib's name
    "linear": lambda x: x,
}
# For what nobody else holds, such as a layer's fresh output.
_IN_PLACE: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu_}
_PIECE_BYTES = 2 * 1024 * 1024  # of pixels, one byte each: 74 stacks of four Atari frames
# Gains that keep the variance of activations about constant through the layers.
GAINS = {
    "tanh": math.sqrt(2.0),
    "relu": math.sqrt(2.0),
    "elu": 1.4,
    "silu": 1.7,
    "swish": 1.7,
    "linear": 1.0,
}


def linear(inputs: int, outputs: int, gain: float) -> nn.Linear:
    """A linear layer with orthogonal weights of this gain and zero biases."""
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


class MLP(nn.Module):
    """Fully connected layers; what comes as [N, ...] is flattened to [N, input_size] float32."""

    def __init__(self, input_size: int, hiddens: Sequence[int], activation: str = "tanh") -> None:
        super().__init__()
        self.activation = activation
        self.input_size = input_size
        sizes = [input_size, *hiddens]
        self.layers = nn.ModuleList(
            linear(inputs, outputs, GAINS[activation]) for inputs, outputs in pairwise(sizes)
        )
        self.output_size = sizes[-1]

    def forward(self, x: Tensor) -> Tensor:
        activate = ACTIVATIONS[self.activation]
        x = x.reshape(x.shape[0], -1)
        if x.dtype != torch.bfloat16:  # of convolutions under autocast
            x = x.float()
        for layer in self.layers:
            x = activate(layer(x))
        return x


class ImageShape(NamedTuple):
    """How images arrive: [N, C, H, W], [N, H, W, C] or, for a single channel, [N, H, W]."""

    channels: int
    height: int
    width: int
    order: str  # "chw", "hwc" or "hw"

    def to_channels_first(self, x: Tensor) -> Tensor:
        if self.order == "hwc":
            return x.permute(0, 3, 1, 2)
        return x.unsqueeze(1) if self.order == "hw" else x


class PixelConv(nn.Conv2d):
    """The convolution that sees the image itself.

    For uint8 the factor 1/255 goes into the weights: the same numbers, one pass over the images
    less. Under autocast they become bfloat16 at once, which has all numbers from 0 to 255. Training
    in channels-last layout takes 3/4 of the time on CPUs; acting gains nothing.
    """

    channels_last = True

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * (1.0 / 255.0) if x.dtype == torch.uint8 else self.weight
        device = x.device.type
        autocast = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if autocast else torch.float32
        if self.channels_last and torch.is_grad_enabled():
            x = x.to(dtype, memory_format=torch.channels_last)
        return self._conv_forward(x.to(dtype), weight, self.bias)


def in_pieces(convolve: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """`convolve(images)`, on the CPU some images at a time: [N, ...] -> [N, features].

    What lies between two layers then stays in the cache, and so it does when autograd goes back
    through the pieces, the last one first: 4/5 of the time for a batch of 800 Atari stacks.
    """
    size = max(1, _PIECE_BYTES // max(1, images[:1].numel()))
    if images.device.type != "cpu" or len(images) <= size:
        return convolve(images)
    return torch.cat([convolve(piece) for piece in images.split(size)])


class ConvNet(nn.Module):
    """Convolutions without padding, then fully connected layers, an activation after each."""

    def __init__(
        self,
        image: ImageShape,
        filters: Sequence[Filter],
        hiddens: Sequence[int] = (512,),
        channels_last: bool = True,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.image = image
        self.activation = activation
        self.convolutions = nn.ModuleList()
        channels, height, width = image.channels, image.height, image.width
        for index, (outputs, kernel, stride) in enumerate(filters):
            make = PixelConv if index == 0 else nn.Conv2d
            layer = _orthogonal(make(channels, outputs, kernel, stride), GAINS[activation])
            self.convolutions.append(layer)
            height = _output_length(height, layer.kernel_size[0], stride)
            width = _output_length(width, layer.kernel_size[1], stride)
            channels = outputs
        if min(height, width) < 1:
            raise ValueError(
                f"{list(filters)} leave nothing of a {image.height}x{image.width} image"
            )
        _set_channels_last(self, channels_last)
        self.head = MLP(channels * height * width, hiddens, activation)
        self.output_size = self.head.output_size

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.head(in_pieces(self._convolve, self.image.to_channels_first(x)))
        return features

    def _convolve(self, x: Tensor) -> Tensor:
        """Images [N, C, H, W] -> what the last convolution sees in them, flat [N, ...]."""
        activate = _IN_PLACE.get(self.activation, ACTIVATIONS[self.activation])
        for layer in self.convolutions:
            x = activate(layer(x))
        return x.flatten(1)


def nature_cnn(image: ImageShape, channels_last: bool = True, activation: str = "relu") -> ConvNet:
    """The network of Mnih et al. 2015, "Human-level control through deep RL", in Nature."""
    return ConvNet(image, NATURE_FILTERS, (512,), channels_last, activation)


def fitting_filters(height: int, width: int) -> list[Filter]:
    """Filters that suit images of this size: stride 2 until ten cells a side or fewer are left."""
    filters: list[Filter] = []
    side = min(height, width)
    while side > 10:
        filters.append((32, 3, 2))
        side = _output_length(side, 3, 2)
    kernel = min(3, side)
    return [*filters, (32, kernel, 1)]


class ImpalaResNet(nn.Module):
    """The deep network of Espeholt et al. 2018, "IMPALA", figure 3: 15 convolutions, then 256."""

    def __init__(
        self,
        image: ImageShape,
        stages: Sequence[int] = (16, 32, 32),
        hidden: int = 256,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        self.image = image
        channels, height, width = image.channels, image.height, image.width
        self.stages = nn.ModuleList()
        for index, outputs in enumerate(stages):
            self.stages.append(_ResidualStage(channels, outputs, first=index == 0))
            channels, height, width = outputs, (height + 1) // 2, (width + 1) // 2
        _set_channels_last(self, channels_last)
        self.head = MLP(channels * height * width, [hidden], "relu")
        self.output_size = hidden

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.head(in_pieces(self._convolve, self.image.to_channels_first(x)))
        return features

    def _convolve(self, x: Tensor) -> Tensor:
        for stage in self.stages:
            x = stage(x)
        return torch.relu(x).flatten(1)


class _ResidualStage(nn.Module):
    """Convolution, max-pooling to half the size, two residual blocks."""

    def __init__(self, inputs: int, outputs: int, first: bool) -> None:
        super().__init__()
        make = PixelConv if first else nn.Conv2d
        self.entry = _orthogonal(make(inputs, outputs, 3, padding=1), 1.0)
        self.blocks = nn.Sequential(_ResidualBlock(outputs), _ResidualBlock(outputs))

    def forward(self, x: Tensor) -> Tensor:
        pooled = functional.max_pool2d(self.entry(x), kernel_size=3, stride=2, padding=1)
        blocks: Tensor = self.blocks(pooled)
        return blocks


class _ResidualBlock(nn.Module):
    """Two convolutions around which the input is added; at first they add little."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _orthogonal(nn.Conv2d(channels, channels, 3, padding=1), GAINS["relu"])
        self.second = _orthogonal(nn.Conv2d(channels, channels, 3, padding=1), 0.3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(torch.relu(self.first(torch.relu(x))))


def _orthogonal(layer: nn.Conv2d, gain: float) -> nn.Conv2d:
    nn.init.orthogonal_(layer.weight, gain)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def _output_length(length: int, kernel: int, stride: int) -> int:
    return (length - kernel) // stride + 1


def _set_channels_last(network: nn.Module, channels_last: bool) -> None:
    for module in network.modules():
        if isinstance(module, PixelConv):
            module.channels_last = channels_last
