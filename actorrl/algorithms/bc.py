"""BC: behaviour cloning, the likelihood of recorded actions (Pomerleau 1991).

    dataset --[N] rows--> learner: -log pi(a | s)

N rows of a batch. There are no rollout workers: the dataset was recorded by another run with
`output=DIR`, the environment is used for its spaces and for evaluation alone. `timesteps_total`
counts the rows that were learned from; `episode_reward_mean` stays empty, `evaluation` has the
score. The loss is a mean over the rows.
"""

from __future__ import annotations

import functools
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from msgspec import Meta
from torch import Tensor

from actorrl.algorithms.actor_critic import ActorCriticConfig, make_policy
from actorrl.algorithms.base import Algorithm, Setup
from actorrl.algorithms.config import Gathers, StepSize
from actorrl.algorithms.host_settings import Count
from actorrl.algorithms.optimizer import OneOptimizer, Optimizer
from actorrl.data import columns as c
from actorrl.envs.check import EnvInfo
from actorrl.errors import ConfigError
from actorrl.models.action_layout import action_layout
from actorrl.offline.dataset import DatasetError
from actorrl.offline.reader import DatasetReader
from actorrl.roles.settings import Metrics
from actorrl.runtime.program import Program
from actorrl.topologies import offline

_COLUMNS = (c.OBS, c.ACTIONS)
_UPDATES = 100  # of an iteration


class BCConfig(ActorCriticConfig):
    reproducible: ClassVar[bool] = True
    gathers: ClassVar[Gathers] = "dataset"
    collects_fragments: ClassVar[bool] = False
    WITHOUT_EFFECT: ClassVar[dict[str, str]] = {
        **dict.fromkeys(
            ("entropy_coeff", "entropy_coeff_schedule", "vf_loss_coeff"),
            "the loss is the likelihood of recorded actions alone",
        ),
        **dict.fromkeys(("gamma", "clip_rewards"), "nothing is learned from rewards"),
        "explore": "nobody acts but in evaluations",
    }

    ALIASES: ClassVar[dict[str, str]] = {**ActorCriticConfig.ALIASES, "input": "input_"}

    input_: (
        Annotated[
            str | list[str],
            Meta(description="dataset to learn from: a folder, a pattern, or several"),
        ]
        | None
    ) = None
    lr: StepSize = 1e-3
    train_batch_size: Annotated[int, Meta(ge=1, description="rows of one update")] = 256
    num_workers: (
        Annotated[Count, Meta(description="0 or null: nobody plays, the dataset is there already")]
        | None
    ) = 0
    evaluation_interval: (
        Annotated[int, Meta(ge=1, description="iterations between evaluations; null: none")] | None
    ) = 5

    def validate(self) -> list[str]:
        lines = super().validate()
        if self.input_ is None:
            lines.append("input: missing, expected a folder recorded with output=DIR")
        else:
            try:
                self.reader(0)
            except DatasetError as error:
                lines.append(f"input: {error}")
        if self.output is not None:
            lines.append("output: BC plays no episodes that could be recorded, expected null")
        if self.wants_whole_episodes():
            lines.append("batch_mode: complete_episodes is not accepted, BC learns from rows")
        if not self.normalize_actions:
            lines.append("normalize_actions: false is not accepted, recorded actions are: true")
        if self.model.use_lstm:
            lines.append("model.use_lstm: true is not accepted, BC learns from single rows")
        if self.num_workers:
            lines.append(f"num_workers: {self.num_workers} is not accepted, BC has none: 0")
        return lines

    def counted(self) -> Self:
        """There is nobody to count. Null stays: 0 is one process and no other hosts."""
        copy = super().counted()
        copy.num_workers = self.num_workers
        return copy

    def default_num_workers(self) -> int:
        """Null takes no cores from the learner either."""
        return 1

    def reader(self, seed: int) -> DatasetReader:
        assert self.input_ is not None
        return DatasetReader(
            self.input_, columns=_COLUMNS, batch_size=self.train_batch_size, seed=seed
        )

    def check_fits(self, info: EnvInfo) -> None:
        """Raises ConfigError unless the dataset's rows are of the environment's spaces."""
        recorded = self.reader(0).columns
        shape = info.observation_space.shape
        wanted = shape if info.frame_stack == 1 else (info.frame_stack, *shape)
        if recorded[c.OBS].shape != wanted:
            raise ConfigError(
                f"input: observations of shape {list(recorded[c.OBS].shape)} were recorded,"
                f" {info.name} has {list(wanted)}"
            )
        actions, layout = recorded[c.ACTIONS], action_layout(info.action_space)
        is_other = actions.space not in ("", str(info.action_space))
        if is_other or actions.shape != layout.shape or actions.dtype != layout.dtype.str:
            raise ConfigError(
                f"input: actions {actions} were recorded, {info.name} has {info.action_space}"
            )


# ---- policy: actor_critic.py's; its value is not trained ------------------------------------


# ---- update ---------------------------------------------------------------------------------


class BCUpdate(OneOptimizer):
    """One step of the optimizer on one batch of rows."""

    def __init__(self, config: BCConfig, info: EnvInfo, seed: int, device: str) -> None:
        self.policy = make_policy(config, info, seed, np.arange(1))
        self.policy.to(device)
        self._optimizer = Optimizer(
            self.policy, config.lr, config.lr_schedule, config.gradient_clip()
        )

    def __call__(self, batch: dict[str, Tensor], timesteps: int) -> Metrics:
        inputs, _ = self.policy.model(batch[c.OBS])
        dist = self.policy.distribution(inputs)
        loss = -dist.logp(batch[c.ACTIONS]).mean()
        entropy = dist.entropy().mean().detach()
        metrics: dict[str, Any] = {"bc_loss": loss.detach(), "entropy": entropy}
        return {**metrics, **self._optimizer.minimize(loss, timesteps)}


# ---- program --------------------------------------------------------------------------------


class BC(Algorithm):
    config_class = BCConfig
    make_policy = staticmethod(make_policy)

    @staticmethod
    def program(config: BCConfig, setup: Setup) -> Program:
        config.check_fits(setup.info)
        make_update = functools.partial(BCUpdate, config, setup.info, setup.seed)
        make_reader = functools.partial(config.reader, setup.seed)
        return offline.build("BC", setup.learner(config, make_update), make_reader)

    @staticmethod
    def iteration(config: BCConfig) -> dict[str, float]:
        return {"min_updates": _UPDATES, "min_env_steps": 0, "min_time_s": 0.0}


BCConfig.algorithm = BC
DEFAULT_CONFIG, BCTrainer = BCConfig(), BC  # RLlib's older names
