"""A policy from a loss function: RLlib's functional builder.

    def policy_gradient_loss(policy, model, dist_class, train_batch):
        logits, _ = model.from_batch(train_batch)
        action_dist = dist_class(logits, model)
        return -torch.mean(action_dist.logp(train_batch["actions"]) * train_batch["rewards"])

    MyTorchPolicy = build_torch_policy(name="MyTorchPolicy", loss_fn=policy_gradient_loss)
    policy = MyTorchPolicy(observation_space, action_space, {"lr": 1e-3})
    stats = policy.learn_on_batch(batch)

`actorrl.build_trainer` makes an algorithm of it, whose workers and learner have such policies.

N rows of a batch.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from actorrl.config import apply
from actorrl.data import columns as c
from actorrl.data.sample_batch import SampleBatch
from actorrl.errors import ConfigError
from actorrl.models.model_config import ModelConfig
from actorrl.policies.actor_critic import ActorCriticPolicy
from actorrl.policies.base import Array

# (policy, model, dist_class, train_batch of tensors) -> scalar loss
LossFunction = Callable[[Any, "BatchModel", Any, Mapping[str, Tensor]], Tensor]
# (policy, an episode's rows, other agents' rows, episode) -> the rows to learn from
PostprocessFunction = Callable[[Any, SampleBatch, Any, Any], SampleBatch]


class BatchModel:
    """The model as RLlib's losses call it: `model(batch)` gives (outputs [N, n], state), and then
    `value_function()` the values [N]."""

    def __init__(self, policy: ActorCriticPolicy) -> None:
        self._policy = policy
        self._values: Tensor | None = None

    def from_batch(self, batch: Mapping[str, Any]) -> tuple[Tensor, list[Tensor]]:
        obs = batch[c.OBS]
        inputs, self._values = self._policy.model(torch.as_tensor(obs, device=self._policy.device))
        return inputs, []

    __call__ = from_batch

    def value_function(self) -> Tensor:
        assert self._values is not None, "value_function() before the model was called"
        return self._values


class LossPolicy(ActorCriticPolicy):
    """Base of built policies; without recurrence. `config` takes `lr`, `grad_clip` and `model`."""

    loss_fn: LossFunction
    postprocess_fn: PostprocessFunction | None = None
    defaults: Mapping[str, Any] = {}

    def __init__(
        self,
        observation_space: Any,
        action_space: Any,
        config: Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
    ) -> None:
        settings = {"lr": 1e-3, "grad_clip": None, "model": {}, **self.defaults, **(config or {})}
        model_config, errors = settings["model"], []
        if not isinstance(model_config, ModelConfig):  # that of a run
            model_config = ModelConfig()
            errors = apply(model_config, settings["model"], "model.")
        if model_config.use_lstm:
            errors.append("model.use_lstm: true is not accepted by a built policy, expected false")
        if errors:
            raise ConfigError(errors)
        super().__init__(observation_space, action_space, 1, model_config, seed)
        self.config = settings

    @functools.cached_property
    def _optimizer(self) -> torch.optim.Optimizer:
        """Of one that learns by itself: in a run the learner has one."""
        return torch.optim.Adam([self.flat.vector], lr=self.config["lr"])

    def loss(self, model: BatchModel, dist_class: Any, train_batch: Mapping[str, Tensor]) -> Tensor:
        """The user's function; override it in a subclass for the same effect."""
        return type(self).loss_fn(self, model, dist_class, train_batch)

    def batch_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The loss of a batch [N]."""
        return self.loss(BatchModel(self), self.dist_class, batch)

    def postprocess_trajectory(
        self, sample_batch: SampleBatch, other_agent_batches: Any = None, episode: Any = None
    ) -> SampleBatch:
        """RLlib's: what is learned from an episode's rows, the user's `postprocess_fn` of them."""
        function = type(self).postprocess_fn
        if function is None:
            return sample_batch
        return function(self, sample_batch, other_agent_batches, episode)

    def compute_gradients(self, samples: Any) -> tuple[list[Array], dict[str, Any]]:
        """The gradient [P] of the loss over a batch, in a list as RLlib's, and its stats."""
        rows = {k: v for k, v in SampleBatch(samples).items() if np.asarray(v).dtype != object}
        loss = self.batch_loss(self.tensors(rows))
        self.flat.zero_gradient()
        loss.backward()
        norm = self.flat.clip_gradient(self.config["grad_clip"])
        stats = {"total_loss": float(loss.detach()), "grad_gnorm": float(norm)}
        return [self.flat_gradient()], stats

    def apply_gradients(self, gradients: Sequence[Array]) -> None:
        """One step of the optimizer with `compute_gradients`'s, maybe another process's."""
        self.set_flat_gradient(gradients[0])
        self._optimizer.step()
        self.flat.num_writes += 1

    def learn_on_batch(self, samples: Any) -> dict[str, Any]:
        """Raises ValueError where the loss or its gradient is not finite; the weights are as before
        then."""
        gradients, stats = self.compute_gradients(samples)
        for what, key in (("loss", "total_loss"), ("gradient", "grad_gnorm")):
            if not np.isfinite(stats[key]):
                raise ValueError(f"the {what} of {type(self).__name__} is {stats[key]}")
        self.apply_gradients(gradients)
        return {"learner_stats": stats}


def build_torch_policy(
    name: str,
    *,
    loss_fn: LossFunction,
    get_default_config: Callable[[], Mapping[str, Any]] | None = None,
    postprocess_fn: PostprocessFunction | None = None,
    module: str | None = None,
) -> type[LossPolicy]:
    """A policy class of this name, in the caller's module (as a namedtuple is). Continuous actions
    come to the loss as they are stored."""
    parts: dict[str, Any] = {
        "loss_fn": staticmethod(loss_fn),
        "postprocess_fn": staticmethod(postprocess_fn) if postprocess_fn else None,
        "defaults": dict(get_default_config() if get_default_config else {}),
        "__module__": module or sys._getframe(1).f_globals["__name__"],
    }
    return type(name, (LossPolicy,), parts)


def make_policy(
    *, loss_fn: LossFunction, name: str = "CustomPolicy", **more: Any
) -> type[LossPolicy]:
    """`build_torch_policy` without ceremony."""
    module = sys._getframe(1).f_globals["__name__"]
    return build_torch_policy(name, loss_fn=loss_fn, module=module, **more)
