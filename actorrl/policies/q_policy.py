"""The policy of DQN and Ape-X: action values, epsilon-greedy with an epsilon per environment, or
with an explorer of another kind.

B environments side by side, N rows in any order, A actions.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Discrete
from torch import Tensor

from actorrl.data import columns as c
from actorrl.data.frame_stack import final_stacks
from actorrl.errors import ConfigError
from actorrl.models.flat_parameters import Float32
from actorrl.models.masks import MASKED, mask_size
from actorrl.models.model_config import ModelConfig
from actorrl.models.precision import acting_network, set_precision
from actorrl.models.q_network import QNetwork, Support
from actorrl.policies.base import Act, Array, ArrayState
from actorrl.policies.exploration import PiecewiseSchedule
from actorrl.policies.filtering import ReplayPolicy
from actorrl.policies.learnable import as_tensor, seeded
from actorrl.policies.q_explorers import Explorer


class QPolicy(ReplayPolicy):
    """`epsilons` [B] float: environment b of the worker acts at random with epsilons[b]. With an
    `epsilon_schedule` over the run's env steps, that is the epsilon of all.

    A noisy network explores by its noise: each environment acts with one of its own, new for every
    row. The values in Q_VALUES are those before epsilon: initial priorities are computed from them.
    """

    model: QNetwork

    def __init__(
        self,
        observation_space: Any,
        action_space: Any,
        frame_stack: int = 1,
        model_config: ModelConfig | None = None,
        seed: int = 0,
        *,
        dueling: bool = True,
        double: bool = True,
        epsilons: Array | None = None,
        epsilon_schedule: PiecewiseSchedule | None = None,
        support: Support | None = None,
        noisy_sigma: float | None = None,
        explorer: Explorer | None = None,
        observation_filter: str = "NoFilter",
        precision: str = "fp32",
    ) -> None:
        """`precision` "bf16" runs the network's body in bfloat16, and that of target networks."""
        super().__init__(
            observation_space,
            action_space,
            frame_stack=frame_stack,
            seed=seed,
            observation_filter=observation_filter,
        )
        self.num_actions = _discrete_size(action_space)
        self.model_config = model_config or ModelConfig()
        if self.model_config.use_lstm:
            raise ConfigError("model.use_lstm: true is not accepted by a Q policy, expected false")
        self.dueling, self.double = dueling, double
        self.noisy = noisy_sigma is not None
        self.epsilon_schedule = epsilon_schedule
        self._explorer = explorer
        self._precision = precision
        self._make_network = functools.partial(
            QNetwork,
            observation_space,
            self.num_actions,
            frame_stack,
            self.model_config,
            dueling,
            support,
            noisy_sigma,
            mask_size(observation_space, action_space),
            action_space,
        )
        with seeded(seed):
            self._adopt(self._make_model())
        self.set_epsilons(np.zeros(1) if epsilons is None else epsilons)

    def _make_model(self) -> QNetwork:
        network = self._make_network()
        set_precision(network, self._precision)
        return self._with_filter(network)

    def _weights_moved(self) -> None:
        self._numpy_forward = self.model.numpy_forward()
        self._acting = acting_network(self.model)

    def set_epsilons(self, epsilons: Array | float) -> None:
        """One epsilon for each environment, or a single one for however many there are."""
        values = np.atleast_1d(np.asarray(epsilons, dtype=np.float64))
        if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"epsilons must be a vector within [0, 1], not {epsilons!r}")
        self.epsilons = values

    def act(self, obs: Array, state: ArrayState = (), explore: bool = True) -> Act:
        if self.noisy and explore:
            self.model.draw_noise(self.random, len(obs))
        elif self.noisy:
            self.model.be_quiet()
        obs = self.filtered_numpy(obs)
        q = self._q_numpy(obs)
        if explore and self._explorer is not None:
            return Act(self._explorer.choose(self, obs, q), {c.Q_VALUES: q}, state)
        actions = q.argmax(axis=1)
        if explore:
            self._explore(actions, q)
        return Act(actions, {c.Q_VALUES: q}, state)

    def episodes_begin(self, environments: Array) -> None:
        """Called by collectors before the first action in these environments of the worker."""
        if self._explorer is not None:
            self._explorer.episodes_begin(self, environments)

    def epsilon(self) -> float:
        """Now, of the first environment."""
        if self.epsilon_schedule is not None:
            self.set_epsilons(self.epsilon_schedule(self.timesteps))
        return float(self.epsilons[0])

    def _explore(self, actions: Array, q: Float32) -> None:
        """Replace actions [B] in place, each with its environment's probability, by any allowed."""
        self.epsilon()
        if len(self.epsilons) not in (1, len(actions)):
            raise ValueError(f"{len(self.epsilons)} epsilons for {len(actions)} environments")
        (chosen,) = np.nonzero(self.random.random(len(actions)) < self.epsilons)
        if len(chosen) and self.model.mask_size:
            lots = self.random.random((len(chosen), self.num_actions))
            actions[chosen] = np.where(q[chosen] > MASKED, lots, -1.0).argmax(axis=1)
        elif len(chosen):
            actions[chosen] = self.random.integers(self.num_actions, size=len(chosen))

    def compute_q_values(self, obs: Array) -> Float32:
        """Q [N, A] of observations [N, ...], NumPy in, NumPy out, without gradient."""
        return self._q_numpy(self.filtered_numpy(obs))

    def _q_numpy(self, obs: Array) -> Float32:
        """Of filtered ones."""
        if self._numpy_forward is not None:
            return self._numpy_forward(obs)
        model = self._acting.of(self.flat.num_writes) if self._acting is not None else self.model
        with torch.inference_mode():
            q: Float32 = model(as_tensor(obs, self.device)).cpu().numpy()
        return q

    def greedy(
        self, obs: Tensor, state: tuple[Tensor, ...] = ()
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        self.model.be_quiet()
        q = self.q_values(self.filtered(obs))
        return q.argmax(dim=1), q, state

    def value_function(self, obs_batch: Any, state_batches: Sequence[Array] | None = None) -> Array:
        """The greedy action's value, [B]."""
        values: Array = self.compute_q_values(np.asarray(obs_batch)).max(axis=1)
        return values

    def final_q_values(self, columns: Mapping[str, Array]) -> Float32:
        """Q [K, A] of FINAL_OBS, which under SAME_STEP autoreset nobody has acted on."""
        finals = columns[c.FINAL_OBS]
        if not len(finals):
            return np.empty((0, self.num_actions), np.float32)
        if c.FRAMES in columns:
            finals = final_stacks(columns[c.FRAMES], columns[c.AGE], columns[c.FINAL_ROWS], finals)
        return self.compute_q_values(finals)

    def q_values(self, obs: Tensor) -> Tensor:
        """Q [N, A] of filtered observations [N, ...] on the device, with gradient."""
        q: Tensor = self.model(obs)
        return q


def _discrete_size(action_space: Any) -> int:
    """Number of actions of a Discrete space; raises ConfigError, naming it, for another."""
    if not isinstance(action_space, Discrete):
        raise ConfigError(
            f"env: this policy cannot act in the action space {action_space}, expected Discrete(n)"
        )
    return int(action_space.n)
