"""An algorithm from a policy's own loss: RLlib's `build_trainer`.

    MyTorchPolicy = build_torch_policy(name="MyTorchPolicy", loss_fn=policy_gradient_loss)
    MyTrainer = build_trainer(name="MyTrainer", default_policy=MyTorchPolicy)
    algo = MyTrainer({"num_workers": 2}, env="CartPole-v1")

    workers --[N] rows of whole episodes--> learner: one step along the loss of a train batch
       ^------------------------- weights -------------------------'

N rows. Workers give each episode to the policy's `postprocess_fn`, with the weights that acted, and
send what it returns; with `batch_mode: truncate_episodes` the pieces of a fragment. The batch of
the loss has SampleBatch's columns. `policy.config` are the settings of the run, and beside them
those that the policy's `get_default_config` has made up.
"""

from __future__ import annotations

import functools
import sys
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from msgspec import Meta
from torch import Tensor

from actorrl.algorithms.actor_critic import StochasticConfig
from actorrl.algorithms.base import Algorithm, Setup
from actorrl.algorithms.config import FragmentRows, Gathers, GradClip
from actorrl.algorithms.optimizer import OneOptimizer, Optimizer
from actorrl.algorithms.setup import as_config
from actorrl.data import columns as c
from actorrl.data.fragment import Fragment, single_group
from actorrl.data.sample_batch import SampleBatch, concat_samples
from actorrl.envs.check import EnvInfo
from actorrl.errors import ConfigError
from actorrl.models.action_layout import action_layout
from actorrl.policies.builder import LossPolicy
from actorrl.roles.batch import RowBatch
from actorrl.roles.settings import Arrays, Body, Metrics, Postprocess
from actorrl.runtime.program import Program
from actorrl.topologies import synchronous

PolicyClass = type[LossPolicy]


class BuiltConfig(StochasticConfig):
    learns_from_rows: ClassVar[bool] = True
    gathers: ClassVar[Gathers] = "rounds"
    reproducible: ClassVar[bool] = True  # the same seed gives the same rows

    lr: Annotated[float, Meta(gt=0, description="step size of Adam")] = 1e-3
    grad_clip: GradClip | None = None
    batch_mode: Annotated[
        Literal["truncate_episodes", "complete_episodes"],
        Meta(description="what postprocess_fn gets: pieces of episodes, or whole ones"),
    ] = "complete_episodes"
    rollout_fragment_length: FragmentRows | Literal["auto"] = "auto"
    train_batch_size: Annotated[
        int, Meta(ge=1, description="rows of one step, at least", extra={"unit": "env steps"})
    ] = 1000


# ---- policy ---------------------------------------------------------------------------------


def make_policy(
    policy_class: PolicyClass, config: BuiltConfig, info: EnvInfo, seed: int, indices: np.ndarray
) -> LossPolicy:
    """The policy that acts in the environments with these global indices."""
    if info.frame_stack > 1:
        raise ConfigError(
            f"env: {info.name} has stacked frames, which {policy_class.__name__}, a policy of"
            " build_torch_policy, does not see, expected an environment that shows them itself"
        )
    said = {name: getattr(config, name) for name in config.__struct_fields__}
    settings = {**policy_class.defaults, **said}
    policy = policy_class(info.observation_space, info.action_space, settings, seed=seed)
    policy.action_layout = action_layout(info.action_space, config.action_units())
    return policy


# ---- postprocess ----------------------------------------------------------------------------


def make_postprocess(
    config: BuiltConfig, clip: bool, policy: LossPolicy, num_envs: int
) -> Postprocess:
    """From fragments to the rows that `postprocess_fn` makes of their episodes."""

    def postprocess(fragment: Fragment) -> tuple[Body, Arrays]:
        rows = SampleBatch.from_fragment(fragment)
        if clip:
            rows[c.REWARDS] = rows[c.REWARDS].clip(-1.0, 1.0)
        pieces = rows.split_by_episode() or [rows]
        made = [policy.postprocess_trajectory(piece) for piece in pieces]
        fragment.groups = single_group(dict(concat_samples(made) or made[0]))
        return fragment.to_message()

    return postprocess


# ---- update ---------------------------------------------------------------------------------


class LossUpdate(OneOptimizer):
    """One step of the optimizer along the loss of one batch."""

    def __init__(
        self,
        policy_class: PolicyClass,
        config: BuiltConfig,
        info: EnvInfo,
        seed: int,
        device: str,
    ) -> None:
        self.policy = make_policy(policy_class, config, info, seed, np.arange(1))
        self.policy.to(device)
        self._optimizer = Optimizer(
            self.policy, config.lr, config.lr_schedule, config.gradient_clip()
        )

    def __call__(self, batch: dict[str, Tensor], timesteps: int) -> Metrics:
        loss = self.policy.batch_loss(batch)
        stepped = self._optimizer.minimize(loss, timesteps)
        return {"total_loss": loss.detach(), **stepped}


# ---- program --------------------------------------------------------------------------------


class BuiltTrainer(Algorithm):
    """Base of those that `build_trainer` makes."""

    config_class = BuiltConfig
    default_policy: ClassVar[PolicyClass]

    def __init__(self, config: Any = None, env: Any = None, **options: Any) -> None:
        """Where the run's settings do not say otherwise, the policy's defaults hold."""
        config = as_config(BuiltConfig, config, env)
        defaults, known = self.default_policy.defaults, config.__struct_fields__
        unsaid = [key for key in defaults if key in known and not config.is_given(key)]
        config.update({key: defaults[key] for key in unsaid})
        super().__init__(config, **options)


def build_trainer(name: str, default_policy: PolicyClass) -> type[BuiltTrainer]:
    """An algorithm of this name, in the caller's module, that learns with policies of this class,
    one of `build_torch_policy` or derived from it. Raises ConfigError for another."""
    if not (isinstance(default_policy, type) and issubclass(default_policy, LossPolicy)):
        raise ConfigError(
            f"default_policy: {default_policy!r} is not accepted, expected a class that"
            " build_torch_policy has made: others have no loss"
        )

    def program(config: BuiltConfig, setup: Setup) -> Program:
        acting = functools.partial(make_policy, default_policy)
        update = functools.partial(LossUpdate, default_policy)
        return synchronous.build(
            name,
            setup.workers(config),
            setup.learner(config, setup.update(config, update), make_batch=RowBatch),
            setup.acting(config, acting),
            setup.postprocess(config, make_postprocess),
        )

    parts = {
        "default_policy": default_policy,
        "program": staticmethod(program),
        "make_policy": staticmethod(functools.partial(make_policy, default_policy)),
        "__module__": sys._getframe(1).f_globals["__name__"],
    }
    return type(name, (BuiltTrainer,), parts)


BuiltConfig.algorithm = BuiltTrainer
