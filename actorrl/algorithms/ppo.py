"""PPO: proximal policy optimization (Schulman et al. 2017).

    workers --[T, B] fragments, GAE--> learner: epochs of minibatches over the whole train batch
       ^------------------------------ weights -----------------------------'

T rows of a fragment, B environments of all workers, N valid rows of the train batch. All workers
act with the version that the learner has, and values, log-probabilities and advantages are those of
that version. Advantages are normalised once per train batch, over the valid rows of all workers.
Losses are means over a minibatch, so `grad_clip` is of a mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from msgspec import Meta
from torch import Tensor

from actorrl.algorithms.actor_critic import ClipParam, GAEConfig, make_policy
from actorrl.algorithms.base import Algorithm, Setup
from actorrl.algorithms.config import FragmentRows, Gathers, StepSize, TrainRows
from actorrl.algorithms.optimizer import Optimizer
from actorrl.data import columns as c
from actorrl.data.fragment import Fragment
from actorrl.envs.check import EnvInfo
from actorrl.losses.policy_gradient import Loss, normalised, value_metrics
from actorrl.losses.ppo import adapted_kl_coeff, ppo_loss
from actorrl.models.action_distribution import ActionDistribution
from actorrl.policies.actor_critic import ActorCriticPolicy
from actorrl.policies.base import Policy
from actorrl.roles.settings import Arrays, Body, Metrics, Postprocess, State
from actorrl.rollouts.advantages import ValuePolicy, add_advantages
from actorrl.runtime.program import Program
from actorrl.topologies import synchronous


class PPOConfig(GAEConfig):
    several_policies: ClassVar[bool] = True
    several_learners: ClassVar[bool] = True
    gathers: ClassVar[Gathers] = "rounds"
    reproducible: ClassVar[bool] = True

    lr: StepSize = 5e-4
    rollout_fragment_length: (
        Annotated[
            FragmentRows,
            Meta(description='rows of a fragment; "auto": one round fills a train batch'),
        ]
        | Literal["auto"]
    ) = "auto"
    train_batch_size: TrainRows = 1024
    sgd_minibatch_size: Annotated[
        int,
        Meta(ge=1, description="rows of one step", extra={"unit": "env steps"}),
    ] = 128
    num_sgd_iter: Annotated[int, Meta(ge=1, description="epochs over a train batch")] = 8
    clip_param: ClipParam = 0.2
    vf_clip_param: (
        Annotated[
            float,
            Meta(
                gt=0,
                description="how far a value may move in a train batch; null: as far as it likes "
                "(RLlib limits the squared error instead)",
                extra={"unit": "return"},
            ),
        ]
        | None
    ) = None
    vf_loss_coeff: Annotated[float, Meta(ge=0, description="weight of the value loss")] = 1.0
    kl_coeff: Annotated[float, Meta(ge=0, description="first weight of the KL term; 0: none")] = 0.0
    kl_target: Annotated[
        float, Meta(gt=0, description="the KL that its weight is adapted to", extra={"unit": "nat"})
    ] = 0.01
    ALIASES: ClassVar[dict[str, str]] = {
        **GAEConfig.ALIASES,
        "sgd_batchsize": "sgd_minibatch_size",
        "minibatch_size": "sgd_minibatch_size",
        "mini_batch_size_per_learner": "sgd_minibatch_size",
        "num_epochs": "num_sgd_iter",
        "kl_coefficient": "kl_coeff",
    }


# ---- policy: actor_critic.py's --------------------------------------------------------------


# ---- postprocess ----------------------------------------------------------------------------


def make_postprocess(
    config: PPOConfig, clip_rewards: bool, policy: Policy, num_envs: int
) -> Postprocess:
    """Advantages and value targets with the weights that acted, in place of the rewards."""

    def postprocess(fragment: Fragment) -> tuple[Body, Arrays]:
        estimator: ValuePolicy = policy  # type: ignore[assignment]  # an ActorCriticPolicy
        add_advantages(fragment, estimator, config.gamma, config.lambda_, clip_rewards)
        for name in (c.REWARDS, c.TERMINATEDS, c.TRUNCATEDS, c.FINAL_OBS, c.FINAL_ROWS):
            fragment.columns.pop(name, None)
        return fragment.to_message()

    return postprocess


# ---- update ---------------------------------------------------------------------------------


class PPOUpdate:
    """Epochs of minibatches over one train batch, then the KL term's next weight."""

    def __init__(self, config: PPOConfig, info: EnvInfo, seed: int, device: str) -> None:
        self._config = config
        self.policy = make_policy(config, info, seed, np.arange(1))
        self.policy.to(device)
        self._optimizer = Optimizer(
            self.policy, config.lr, config.lr_schedule, config.gradient_clip()
        )
        self._kl_coeff = config.kl_coeff

    def __call__(self, batch: dict[str, Tensor], timesteps: int) -> Metrics:
        config, valid, group = self._config, batch[c.VALID], self.policy.group
        batch[c.ADVANTAGES] = normalised(batch[c.ADVANTAGES], valid, group)
        about_values = value_metrics(batch[c.VF_PREDS], batch[c.VALUE_TARGETS], valid, group)
        entropy_coeff = config.entropy_at(timesteps)
        rows = None if self.policy.recurrent else _valid_rows(self.policy, batch)
        steps: list[Metrics] = []
        sizes: list[Tensor] = []  # of minibatches, of which this learner may have small parts
        for _ in range(config.num_sgd_iter):
            epoch = len(steps)  # where it begins
            for part in self._minibatches(batch, rows):
                loss, metrics = self._loss(part, entropy_coeff)
                stepped = self._optimizer.minimize(loss, timesteps, part[c.VALID])
                self.policy.follow_value_targets(about_values["vf_targets_rms"])
                steps.append({**metrics, **stepped})
                sizes.append(part[c.VALID].sum())
        num_rows = torch.stack(sizes)
        kls = torch.stack([step["kl"] for step in steps[epoch:]]) * num_rows[epoch:]
        kl = float(group.mean(kls.sum(), num_rows[epoch:].sum()))
        self._kl_coeff = adapted_kl_coeff(self._kl_coeff, kl, config.kl_target)
        return {
            **{name: _mean([step[name] for step in steps], num_rows) for name in steps[0]},
            "kl": kl,
            "cur_kl_coeff": self._kl_coeff,
            "entropy_coeff": entropy_coeff,
            **about_values,
            "num_sgd_steps": len(steps),
        }

    def _minibatches(
        self, batch: dict[str, Tensor], rows: dict[str, Tensor] | None
    ) -> Iterator[dict[str, Tensor]]:
        """The valid rows in a new order, or with an LSTM whole sequences, cut evenly. Several
        learners draw the same order of everybody's, and each takes its own out of every part."""
        if rows is not None:
            count, size = len(rows[c.VALID]), self._config.sgd_minibatch_size
        else:
            num_rows, count = batch[c.VALID].shape
            size = max(1, self._config.sgd_minibatch_size // num_rows)
        start, total = self.policy.group.place(count)
        order = torch.from_numpy(self.policy.random.permutation(total)).to(batch[c.VALID].device)
        for indices in torch.tensor_split(order, max(1, round(total / size))):
            if total != count:
                indices = indices[(indices >= start) & (indices < start + count)] - start
            kept = indices if len(indices) else order.new_zeros(1)
            if rows is not None:
                part = {name: column[kept] for name, column in rows.items()}
            else:
                part = {
                    name: column.index_select(0 if c.is_state_in(name) else 1, kept)
                    for name, column in batch.items()
                }
            if not len(indices):  # the others' alone: one that does not count
                part[c.VALID] = torch.zeros_like(part[c.VALID])
            yield part

    def _forward(self, part: dict[str, Tensor]) -> tuple[ActionDistribution, Tensor]:
        """Distribution and values of a minibatch's rows."""
        if not self.policy.recurrent:
            inputs, values = self.policy.model(part[c.OBS])
            return self.policy.distribution(inputs), values
        inputs, values = self.policy.forward_sequence(part, *part[c.VALID].shape)
        return self.policy.distribution(inputs), values[:-1]

    def _loss(self, part: dict[str, Tensor], entropy_coeff: float) -> Loss:
        """Of a minibatch of rows [n], or of sequences [T, b]."""
        config = self._config
        dist, values = self._forward(part)
        old_dist = self.policy.distribution(part[c.ACTION_DIST_INPUTS])
        return ppo_loss(
            logp=dist.logp(part[c.ACTIONS]),
            old_logp=part[c.ACTION_LOGP],
            entropy=dist.entropy(),
            kl=old_dist.kl(dist),
            values=values,
            old_values=part[c.VF_PREDS],
            advantages=part[c.ADVANTAGES],
            value_targets=part[c.VALUE_TARGETS],
            valid=part[c.VALID],
            clip_param=config.clip_param,
            vf_clip_param=config.vf_clip_param,
            vf_loss_coeff=self.policy.vf_weight(config.vf_loss_coeff, advantages_normalised=True),
            entropy_coeff=entropy_coeff,
            kl_coeff=self._kl_coeff,
        )

    def state_dict(self) -> State:
        return {
            "optimizer": self._optimizer.state_dict(),
            "kl_coeff": self._kl_coeff,
            "order": self.policy.random_state(),
        }

    def load_state_dict(self, state: State) -> None:
        self._optimizer.load_state_dict(state["optimizer"])
        self._kl_coeff = float(state["kl_coeff"])
        self.policy.set_random_state(state["order"])


def _valid_rows(policy: ActorCriticPolicy, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The [N] valid rows of all [T, B] columns, with the observations that they were decided on."""
    valid = batch[c.VALID]
    kept = valid.flatten().nonzero().squeeze(1)
    if not len(kept):  # all are another learner's: one that does not count
        kept = kept.new_zeros(1)
    obs = policy.observations(batch)[:-1]
    columns = {name: x for name, x in batch.items() if c.axes_of(name) is c.Axes.TB}
    return {
        name: column.flatten(0, 1).index_select(0, kept)
        for name, column in {**columns, c.OBS: obs}.items()
    }


def _mean(values: list[Any], num_rows: Tensor) -> Any:
    """Of steps over so many rows each."""
    if not isinstance(values[0], Tensor):
        return sum(values) / len(values)
    return (torch.stack(values) * num_rows).sum() / num_rows.sum().clamp(min=1)


# ---- program --------------------------------------------------------------------------------


class PPO(Algorithm):
    config_class = PPOConfig
    make_policy = staticmethod(make_policy)

    @staticmethod
    def program(config: PPOConfig, setup: Setup) -> Program:
        return synchronous.build(
            "PPO",
            setup.workers(config),
            setup.learner(config, setup.update(config, PPOUpdate)),
            setup.acting(config, make_policy),
            setup.postprocess(config, make_postprocess),
        )


PPOConfig.algorithm = PPO
DEFAULT_CONFIG, PPOAgent, PPOTrainer = PPOConfig(), PPO, PPO  # RLlib's older names
