"""The policy of the on-policy algorithms: a distribution over actions and a state value.

T rows of a fragment, B environments, K final observations, n inputs of the distribution, k frames
in a stack.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from actorrl.data import columns as c
from actorrl.data.frame_stack import last_observations
from actorrl.envs.filters import NoFilter
from actorrl.errors import ConfigError
from actorrl.models.action_distribution import ActionDistribution
from actorrl.models.action_families import distribution_for
from actorrl.models.actor_critic import ActorCriticNetwork
from actorrl.models.custom import CustomNetwork
from actorrl.models.frames import final_observations, observations
from actorrl.models.input_filter import FilteredNetwork
from actorrl.models.masks import mask_size
from actorrl.models.model_config import ModelConfig
from actorrl.models.precision import acting_network, set_precision
from actorrl.policies.base import Act, Array, ArrayState
from actorrl.policies.filtering import FilteringPolicy
from actorrl.policies.learnable import as_tensor, seeded
from actorrl.policies.previous import with_previous


class SequenceOutput(NamedTuple):
    """What a learner sees of a fragment, with gradient, but maybe for the bootstrap value."""

    inputs: Tensor  # [T, B, n], of the action distribution
    values: Tensor  # [T+1, B]; the last row is the bootstrap value


class ActorCriticPolicy(FilteringPolicy):
    """Acts step by step, and recomputes the same numbers for whole fragments.

    With the same weights, `forward_sequence` gives the log-probabilities that `act` stored, to
    1e-5: V-trace's importance ratios are then 1.
    """

    model: ActorCriticNetwork | CustomNetwork | FilteredNetwork

    def __init__(
        self,
        observation_space: Any,
        action_space: Any,
        frame_stack: int = 1,
        model_config: ModelConfig | None = None,
        seed: int = 0,
        observation_filter: str = "NoFilter",
    ) -> None:
        super().__init__(
            observation_space,
            action_space,
            frame_stack=frame_stack,
            seed=seed,
            observation_filter=observation_filter,
        )
        self.model_config = model_config or ModelConfig()
        self._family = distribution_for(action_space, self.model_config)
        with seeded(seed):
            network = self._make_network()
        if isinstance(self.filter, NoFilter):
            self._adopt(network)
        else:
            self._adopt(FilteredNetwork(network, observation_space.shape))

    def _make_network(self) -> ActorCriticNetwork | CustomNetwork:
        num_inputs, config = self._family.num_inputs, self.model_config
        space, stack = self.observation_space, self.frame_stack
        if config.custom_model is not None and not config.use_lstm:  # else it is the LSTM's body
            return CustomNetwork(space, self.action_space, num_inputs, stack, config)
        mask = mask_size(space, self.action_space)
        return ActorCriticNetwork(space, num_inputs, stack, config, mask, self.action_space)

    def _weights_moved(self) -> None:
        self._numpy_forward = self.model.numpy_forward()
        self._acting = acting_network(self.model)

    @property
    def _network(self) -> ActorCriticNetwork | CustomNetwork:
        return self.model.network if isinstance(self.model, FilteredNetwork) else self.model

    @property
    def recurrent(self) -> bool:
        return self.model.recurrent

    def use_precision(self, precision: str) -> None:
        """ "fp32", or "bf16" to run the network's body in bfloat16 (heads and losses never)."""
        network = self._network
        set_precision(network, precision)
        self._weights_moved()

    # ---- acting ---------------------------------------------------------------------------------

    def initial_state(self, batch: int) -> ArrayState:
        return tuple(part.cpu().numpy() for part in self.model.initial_state(batch))

    def act(self, obs: Array, state: ArrayState = (), explore: bool = True) -> Act:
        inputs, values, state = self._forward(obs, state, True)
        actions, logp = self._family.draw(inputs, self.random, not explore)
        extras = {c.ACTION_LOGP: logp, c.ACTION_DIST_INPUTS: inputs, c.VF_PREDS: values}
        return Act(actions, extras, state)

    def acting_without(self, unread: frozenset[str]) -> Callable[[Array, ArrayState, bool], Act]:
        is_ours = type(self).act is ActorCriticPolicy.act
        if not is_ours or c.VF_PREDS not in unread or self._family.in_two_steps is None:
            return self.act
        needs_inputs = not unread.issuperset((c.ACTION_DIST_INPUTS, c.ACTION_LOGP))
        return functools.partial(self._act_only, self._family.in_two_steps.choose, needs_inputs)

    def _act_only(
        self, choose: Any, needs_inputs: bool, obs: Array, state: ArrayState, explore: bool
    ) -> Act:
        """What `act` does, without values, and with log-probabilities to come."""
        inputs, _, state = self._forward(obs, state, False)
        actions = choose(inputs, self.random, not explore)
        return Act(actions, {c.ACTION_DIST_INPUTS: inputs} if needs_inputs else {}, state)

    def complete(self, columns: dict[str, Array], unread: frozenset[str]) -> None:
        two = self._family.in_two_steps
        if c.ACTION_LOGP not in columns and c.ACTION_LOGP not in unread and two is not None:
            inputs, actions = columns[c.ACTION_DIST_INPUTS], columns[c.ACTIONS]
            logp = two.log_prob(inputs.reshape(-1, inputs.shape[-1]), actions.reshape(-1))
            columns[c.ACTION_LOGP] = logp.reshape(actions.shape)
        super().complete(columns, unread)

    def _forward(
        self, obs: Array, state: ArrayState, with_values: bool = True
    ) -> tuple[Array, Array, ArrayState]:
        """Inputs [B, n], values [B] (those that cost something only if they are wanted), state."""
        if self._numpy_forward is not None:
            return *self._numpy_forward(obs, with_values), state
        return self._torch_forward(obs, state)

    def _torch_forward(self, obs: Array, state: ArrayState) -> tuple[Array, Array, ArrayState]:
        device = self.device
        model = self._acting.of(self.flat.num_writes) if self._acting is not None else self.model
        with torch.inference_mode():
            x = as_tensor(obs, device)
            if self.recurrent:
                tensors = tuple(as_tensor(part, device) for part in state)
                inputs, values, tensors = model.sequence(x.unsqueeze(0), tensors)
                inputs, values = inputs[0], values[0]
                state = tuple(part.cpu().numpy() for part in tensors)
            else:
                inputs, values = model(x)
        return inputs.cpu().numpy(), values.cpu().numpy(), state

    def greedy(
        self, obs: Tensor, state: tuple[Tensor, ...] = ()
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        inputs, _, state = self.model.sequence(obs.unsqueeze(0), state)
        return self.distribution(inputs[0]).deterministic_sample(), inputs[0], state

    def compute_log_likelihoods(
        self,
        actions: Any,
        obs_batch: Any,
        state_batches: Sequence[Array] | None = None,
        prev_action_batch: Any = None,
        prev_reward_batch: Any = None,
        actions_normalized: bool = True,
    ) -> Array:
        stored = np.asarray(actions) if actions_normalized else self.action_layout.from_env(actions)
        obs = np.asarray(obs_batch)
        obs = with_previous(self.observation_space, obs, prev_action_batch, prev_reward_batch)
        state = tuple(state_batches) if state_batches else self.initial_state(len(obs))
        inputs, _, _ = self._torch_forward(obs, state)
        logp = self.distribution(torch.from_numpy(inputs)).logp(as_tensor(stored))
        found: Array = logp.numpy()
        return found

    def value_function(self, obs_batch: Any, state_batches: Sequence[Array] | None = None) -> Array:
        obs = np.asarray(obs_batch)
        state = tuple(state_batches) if state_batches else self.initial_state(len(obs))
        return self._torch_forward(obs, state)[1]

    # ---- estimating in the worker (GAE) ---------------------------------------------------------

    def last_values(self, columns: Mapping[str, Array], state: ArrayState) -> Array:
        """V of the observation after a fragment's last row, [B]; `state` is that after the row.

        With the weights that acted: call it before the next `load_flat`.
        """
        return self._forward(last_observations(columns, self.frame_stack), state)[1]

    # ---- learning -------------------------------------------------------------------------------

    def forward_sequence(self, columns: Mapping[str, Tensor], T: int, B: int) -> SequenceOutput:
        """One forward over the T+1 observations of a fragment whose columns are on the device.

        Reads OBS [T+1, B, ...], or FRAMES and AGE; with an LSTM also AGE and state_in(i) [B, H].
        The state starts as the worker's at row 0 and is zeroed before every row of age 0.
        """
        obs = self.observations(columns)
        assert obs.shape[:2] == (T + 1, B), (tuple(obs.shape), T, B)
        if self.recurrent:
            parts = len(self.model.initial_state(1))
            state = tuple(columns[c.state_in(i)] for i in range(parts))
            inputs, values, _ = self.model.sequence(obs, state, columns[c.AGE] == 0)
        elif obs.dim() > 3 and isinstance(self._network, ActorCriticNetwork):
            # Nobody differentiates the bootstrap: of images that is worth a forward of its own.
            inputs, values, _ = self.model.sequence(obs[:T])
            with torch.no_grad():
                _, bootstrap, _ = self.model.sequence(obs[T:])
            values = torch.cat([values, bootstrap])
        else:
            inputs, values, _ = self.model.sequence(obs)
        return SequenceOutput(inputs[:T], values)

    def forward_episodes(self, columns: Mapping[str, Tensor]) -> Tensor:
        """Inputs of the action distribution [N, n], with gradient, for rows of whole episodes one
        behind the other.

        Reads OBS [N, ...]; with an LSTM also T [N], 0 where an episode begins: the episodes then
        run side by side from their initial states, padded behind their ends.
        """
        obs = columns[c.OBS]
        if not self.recurrent:
            inputs: Tensor = self.model(obs)[0]
            return inputs
        starts = torch.nonzero(columns[c.T] == 0).flatten().cpu()
        lengths = torch.diff(starts, append=torch.tensor([len(obs)])).tolist()
        padded = pad_sequence(obs.split(lengths))  # [L, S, ...]
        inputs = self.model.sequence(padded, self.model.initial_state(len(lengths)))[0]
        return torch.cat([inputs[:length, i] for i, length in enumerate(lengths)])

    def note_observations(self, columns: Mapping[str, Tensor]) -> None:
        """The learner's, after each update: the batch's valid observations join the statistics,
        with which the next version filters. Each row must come here once.

        Reads OBS [T+1, B, ...] and VALID, or OBS [N, ...].
        """
        if isinstance(self.filter, NoFilter):
            return
        obs, valid = columns[c.OBS], columns.get(c.VALID)
        if valid is not None:
            obs = obs[: len(valid)][valid]
        self.note(obs.cpu().numpy())

    def vf_weight(self, coeff: float, advantages_normalised: bool = False) -> Tensor | float:
        """Of the loss of values, for which `coeff` weighs it against the policy's whatever the
        size of rewards.

        Values' loss grows with their square. The policy's is as large as its advantages, so one
        unit (ValueHead) of values is left in the weight; where they are normalised, none is. Body
        and LSTM that both share would else follow one of the two alone.
        """
        network = self._network
        if isinstance(network, CustomNetwork):
            return coeff
        unit = network.value_head.unit.clamp(min=1.0).squeeze()
        return coeff / (unit.square() if advantages_normalised else unit)

    def follow_value_targets(self, rms: Tensor) -> None:
        """The learner's, after each update: the size of its value targets (a scalar, the same for
        all learners of a group) moves the unit in which values are predicted."""
        network = self._network
        if not isinstance(network, CustomNetwork):
            network.value_head.adapt(rms.square())

    def distribution(self, inputs: Tensor) -> ActionDistribution:
        """What `forward_sequence` and ACTION_DIST_INPUTS mean: logp, entropy, kl of stored actions.

        Leading axes are free: [T, B, n] goes with actions [T, B, ...].
        """
        return self._family.bind(inputs)

    def dist_class(self, inputs: Tensor, model: Any = None) -> ActionDistribution:
        """RLlib's name of `distribution`."""
        return self.distribution(inputs)

    def next_values(self, columns: Mapping[str, Tensor], values: Tensor) -> Tensor:
        """V of the observation after each row's action, [T+1, B] -> [T, B], without gradient.

        Under NEXT_STEP the row after an end holds the final observation, so this is the next row's
        value. Under SAME_STEP it holds the reset's; the values of FINAL_OBS take their place.
        """
        following = values[1:].detach().clone()
        rows = columns.get(c.FINAL_ROWS)
        if rows is not None and len(rows):
            following.view(-1)[rows] = self.final_values(columns)
        return following

    @torch.no_grad()
    def final_values(self, columns: Mapping[str, Tensor]) -> Tensor:
        """V of FINAL_OBS, [K]."""
        if self.recurrent:
            raise ConfigError("autoreset: same_step together with use_lstm, expected next_step")
        values: Tensor = self.model(final_observations(columns, self.frame_stack))[1]
        return values

    def observations(self, columns: Mapping[str, Tensor]) -> Tensor:
        """[T+1, B, ...], frames stacked to [T+1, B, k, H, W]."""
        return observations(columns, self.frame_stack)
