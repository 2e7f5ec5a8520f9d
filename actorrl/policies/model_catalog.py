"""ModelCatalog: RLlib's registry of users' models, and its way to the default ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from gymnasium import spaces
from torch import Tensor, nn

from actorrl.config import apply
from actorrl.envs.preprocessors import preprocessor_for
from actorrl.errors import ConfigError
from actorrl.models import registry
from actorrl.models.action_distribution import (
    ActionDistribution,
    Deterministic,
    SquashedGaussian,
)
from actorrl.models.action_families import distribution_for
from actorrl.models.actor_critic import ActorCriticNetwork
from actorrl.models.model_config import ModelConfig

_DISTRIBUTIONS: dict[str, type] = {
    "deterministic": Deterministic,
    "squashed_gaussian": SquashedGaussian,
}


class Model(NamedTuple):
    """S0's model: built around its inputs [N, ...]."""

    inputs: Tensor
    outputs: Tensor  # [N, num_outputs]
    last_layer: Tensor  # [N, features], what the last layer saw
    network: nn.Module


class ModelCatalog:
    """All methods are static. Names are known to this process only: the driver resolves them."""

    @staticmethod
    def register_custom_model(model_name: str, model_class: type) -> None:
        """Make `model={"custom_model": model_name}` mean this class, a TorchModelV2."""
        registry.register("custom_model", model_name, model_class)

    @staticmethod
    def register_custom_action_dist(action_dist_name: str, action_dist_class: type) -> None:
        """Make `model={"custom_action_dist": action_dist_name}` mean this class."""
        registry.register("custom_action_dist", action_dist_name, action_dist_class)

    @staticmethod
    def register_custom_preprocessor(preprocessor_name: str, preprocessor_class: type) -> None:
        """Make `model={"custom_preprocessor": preprocessor_name}` mean this class, derived from
        actorrl.Preprocessor."""
        registry.register("custom_preprocessor", preprocessor_name, preprocessor_class)

    @staticmethod
    def get_action_dist(
        action_space: spaces.Space[Any],
        config: Mapping[str, Any] | None = None,
        dist_type: str | None = None,
    ) -> tuple[Callable[[Tensor], ActionDistribution], int]:
        """What makes distributions of a network's outputs [..., n], and n.

        `dist_type` is "deterministic", "squashed_gaussian" or a registered name.
        """
        settings = _settings(config)
        if dist_type is not None:
            settings.custom_action_dist = _DISTRIBUTIONS.get(dist_type, dist_type)
        _resolve(settings)
        family = distribution_for(action_space, settings)
        return family.bind, family.num_inputs

    @staticmethod
    def get_model(
        inputs: Tensor, num_outputs: int, options: Mapping[str, Any] | None = None
    ) -> Model:
        """A network of the settings `options` for inputs [N, ...], run on them once."""
        shape = tuple(inputs.shape[1:])
        network = ActorCriticNetwork(
            spaces.Box(float("-inf"), float("inf"), shape), num_outputs, 1, _settings(options)
        )
        last_layer: list[Tensor] = []
        hook = network.policy_head.register_forward_pre_hook(lambda _, x: last_layer.append(x[0]))
        outputs, _, _ = network.sequence(inputs.unsqueeze(0), network.initial_state(len(inputs)))
        hook.remove()
        return Model(inputs, outputs[0], last_layer[0], network)

    @staticmethod
    def get_preprocessor(env: Any, options: Mapping[str, Any] | None = None) -> Any:
        """What turns the observations of an environment into arrays: ours many at once, a
        `custom_preprocessor` of the options one at a time, as its class has it."""
        return ModelCatalog.get_preprocessor_for_space(env.observation_space, options)

    @staticmethod
    def get_preprocessor_for_space(
        observation_space: spaces.Space[Any], options: Mapping[str, Any] | None = None
    ) -> Any:
        settings = _settings(options)
        _resolve(settings)
        if settings.custom_preprocessor is None:
            return preprocessor_for(observation_space)
        return settings.custom_preprocessor(observation_space, dict(options or {}))


def _resolve(settings: ModelConfig) -> None:
    """Classes in the place of their names. Raises ConfigError for a name that is not known."""
    lines = registry.resolve(settings)
    if lines:
        raise ConfigError([f"model.{line}" for line in lines])


def _settings(options: Mapping[str, Any] | None) -> ModelConfig:
    settings = ModelConfig()
    errors = apply(settings, options or {}, "model.")
    if errors:
        raise ConfigError(errors)
    return settings
