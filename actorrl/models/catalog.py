"""From an observation space and settings to the body of a network.

Observations are arrays: Box spaces, or what `envs/preprocessors.py` makes of others.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import nn

from actorrl.errors import ConfigError
from actorrl.models.custom import CustomBody
from actorrl.models.mixed_body import ImagePiece, MixedBody
from actorrl.models.model_config import ModelConfig
from actorrl.models.networks import (
    MIDDLE_IMAGE,
    MLP,
    NATURE_SMALLEST_IMAGE,
    NATURE_SUITED_IMAGE,
    SMALL_FILTERS,
    ConvNet,
    ImageShape,
    ImpalaResNet,
    fitting_filters,
    nature_cnn,
)

__all__ = ["ModelConfig", "body_for", "image_shape", "observation_shape"]


# Spaces are typed Any: gymnasium is not imported in this room, only `shape` and `dtype` are read.
def body_for(
    observation_space: Any, frame_stack: int, config: ModelConfig, action_space: Any = None
) -> nn.Module:
    """A module [N, *shape] -> [N, body.output_size]; raises ConfigError for what has no shape.

    Of flat observations with an action mask (`FlatBox`) it takes what follows the mask; a user's
    own (`CustomBody`), which is told the action space, takes all.
    """
    if config.custom_model is not None:
        return CustomBody(observation_space, action_space, frame_stack, config)
    leaves = [leaf for leaf in getattr(observation_space, "leaves", ()) if not _is_mask(leaf)]
    if leaves:
        return _body_of_leaves(leaves, config)
    shape = observation_shape(observation_space, frame_stack)
    image = image_shape(shape, frame_stack) if _looks_like_image(shape, config) else None
    if image is None:
        return MLP(math.prod(shape), config.fcnet_hiddens, config.fcnet_activation)
    return _image_body(image, config)


def _is_mask(leaf: Any) -> bool:
    return bool(leaf.path == ("action_mask",))


def _body_of_leaves(leaves: list[Any], config: ModelConfig) -> nn.Module:
    """Of a flat vector: each image in it has convolutions of its own, the rest is one vector."""
    first, size = leaves[0].start, leaves[-1].stop - leaves[0].start
    images, rest = [], []
    for leaf in leaves:
        piece = slice(leaf.start - first, leaf.stop - first)
        if _looks_like_image(leaf.shape, config):
            body = _image_body(image_shape(leaf.shape, 1), config)
            images.append(ImagePiece(piece, leaf.shape, leaf.dtype == np.uint8, body))
        else:
            rest.append(piece)
    if not images:
        return MLP(size, config.fcnet_hiddens, config.fcnet_activation)
    return MixedBody(images, rest, config.fcnet_hiddens, config.fcnet_activation)


def observation_shape(observation_space: Any, frame_stack: int = 1) -> tuple[int, ...]:
    """Shape of one observation as the network sees it, a stack's k frames first."""
    shape = getattr(observation_space, "shape", None)
    discrete = hasattr(observation_space, "n") or hasattr(observation_space, "nvec")
    if shape is None or discrete or len(shape) > 3 - (frame_stack > 1):
        raise ConfigError(
            f"env: a network cannot read the observation space {observation_space}, "
            "expected a Box of up to three axes, or what a preprocessor turns into one"
        )
    return (frame_stack, *shape) if frame_stack > 1 else tuple(shape)


def image_shape(shape: tuple[int, ...], frame_stack: int) -> ImageShape:
    """How a shape with two or three axes is read as an image.

    Stacks are [k, H, W]. Other three axes are [H, W, C], unless the first is the smallest.
    """
    if len(shape) == 2:
        return ImageShape(1, shape[0], shape[1], "hw")
    if frame_stack > 1 or shape[0] < min(shape[1:]):
        return ImageShape(shape[0], shape[1], shape[2], "chw")
    return ImageShape(shape[2], shape[0], shape[1], "hwc")


def _looks_like_image(shape: tuple[int, ...], config: ModelConfig) -> bool:
    """Three axes are an image; two are only if the settings name filters (an 84x84 screen)."""
    if len(shape) == 2:
        return config.conv_filters is not None or min(shape) >= NATURE_SMALLEST_IMAGE
    return len(shape) == 3


def _image_body(image: ImageShape, config: ModelConfig) -> nn.Module:
    """By the smaller side: from 60 pixels (84, 96, 64) the Nature network, from 16 (42) as many
    convolutions of stride 2 as fit, below (MinAtar's 10) a single one that keeps the cells."""
    filters, channels_last, activation = (
        config.conv_filters,
        config.channels_last,
        config.conv_activation,
    )
    side = min(image.height, image.width)
    suited = fitting_filters(image.height, image.width)
    if filters == "impala":
        return ImpalaResNet(image, channels_last=channels_last)
    try:
        if filters == "nature" or (filters is None and side >= NATURE_SUITED_IMAGE):
            return nature_cnn(image, channels_last, activation)
        if filters is not None:
            return ConvNet(image, filters, config.fcnet_hiddens, channels_last, activation)
    except ValueError as error:
        raise ConfigError(
            f"model.conv_filters: {error}, expected smaller kernels or strides, for instance "
            f"{[list(filter_) for filter_ in suited]}"
        ) from None
    if side < MIDDLE_IMAGE:
        small = list(SMALL_FILTERS) if side >= 3 else suited
        return ConvNet(image, small, (128,), channels_last, activation)
    return ConvNet(image, suited, (256,), channels_last, activation)
