"""What all policies share: how they act, and RLlib's methods. Their weights are in `learnable`.

B environments side by side. A policy belongs to one process and one thread.
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from actorrl.data import columns as c
from actorrl.models.action_layout import action_layout
from actorrl.paths import expanded
from actorrl.policies import observed
from actorrl.policies.learnable import Learnable
from actorrl.policies.previous import with_previous

Array = NDArray[Any]
ArrayState = tuple[Array, ...]
_OWN_STREAM = 1  # of random numbers


class Act(NamedTuple):
    """What acting on B observations returns; all arrays are fresh."""

    actions: Array  # [B], as the policy stores them; `env_actions` makes them the environment's
    extras: dict[str, Array]  # each [B, ...], columns of the fragment
    state: ArrayState  # each [B, ...], the recurrent state after these observations


class Policy(Learnable):
    """What acts. A policy in another framework, or a heuristic, needs `act` only, or RLlib's
    `compute_actions`; one that learns adopts a torch model (`Learnable`)."""

    explore = True  # what workers and `compute_actions(explore=None)` do

    def __init__(
        self,
        observation_space: Any,
        action_space: Any,
        config: Mapping[str, Any] | None = None,
        *,
        frame_stack: int = 1,
        seed: int = 0,
    ) -> None:
        self.observation_space = observation_space
        self.action_space = action_space
        self.config = dict(config or {})
        self.frame_stack = frame_stack
        self.action_layout = action_layout(action_space)
        # Env steps of the whole run, on which schedules of exploration run. Whoever is told none
        # (outside of training) acts as at the end of all schedules.
        self.timesteps: float = math.inf
        # An environment of the same seed draws from `default_rng(seed)`: the same numbers for both
        # would tie what is explored to what happens there.
        self.random = np.random.default_rng([_OWN_STREAM, seed])

    @classmethod
    def from_checkpoint(cls, checkpoint: str | Path, env: Any = None) -> Any:
        """RLlib's: the policies of an algorithm's checkpoint by their ids, to act with in this
        process, or the one that `export_policy_checkpoint` has written. They take preprocessed
        observations. `env` as in `Algorithm.from_checkpoint`."""
        # What a checkpoint means is known above this room, which must not be imported here.
        playing = importlib.import_module("actorrl.algorithms.playing")
        return playing.policies_of_checkpoint(checkpoint, env)

    # ---- acting ---------------------------------------------------------------------------------

    def act(self, obs: Array, state: ArrayState = (), explore: bool = True) -> Act:
        """Act on obs [B, ...] (with frame_stack k: [B, k, H, W]); neither argument is written to.

        Called by the collector for every row. Whoever calls it zeroes the recurrent state of an
        environment before its episode's first observation.
        """
        if type(self).compute_actions is Policy.compute_actions:
            raise NotImplementedError(f"{type(self).__name__} defines no act")
        actions, state_out, extras = self.compute_actions(obs, list(state), explore=explore)
        return Act(self.action_layout.from_env(actions), dict(extras), tuple(state_out))

    def acting_without(self, unread: frozenset[str]) -> Callable[[Array, ArrayState, bool], Act]:
        """`act` for collectors whose receivers never read these of its extras: it may leave them
        out, and leave others to `complete`."""
        return self.act

    def complete(self, columns: dict[str, Array], unread: frozenset[str]) -> None:
        """Called by these collectors with the columns of each fragment: adds what is still missing,
        and takes out what is not read."""
        for name in unread:
            columns.pop(name, None)

    def initial_state(self, batch: int) -> ArrayState:
        """The recurrent state of B environments at an episode's start; () without recurrence."""
        return ()

    def env_actions(self, actions: Array) -> Any:
        """Actions as `env.step` takes them, one for each of B environments: scaled and clipped to
        their bounds; an array, or a list where the space is a Dict or Tuple."""
        return self.action_layout.to_env(actions)

    def get_initial_state(self) -> list[Array]:
        """RLlib's: the state at an episode's start without a batch axis; [] without recurrence."""
        return [part[0] for part in self.initial_state(1)]

    def compute_actions(
        self,
        obs_batch: Any,
        state_batches: Sequence[Array] | None = None,
        prev_action_batch: Any = None,
        prev_reward_batch: Any = None,
        info_batch: Any = None,
        episodes: Any = None,
        explore: bool | None = None,
        timestep: float | None = None,
    ) -> tuple[Any, list[Array], dict[str, Array]]:
        """RLlib's: environment actions of preprocessed observations [B, ...], the state after them,
        and extra columns. The last actions and rewards are for policies that are told them, see
        `with_previous`. `timestep` is where schedules of exploration stand, for this call."""
        obs = observed.numbers(obs_batch)
        obs = with_previous(self.observation_space, obs, prev_action_batch, prev_reward_batch)
        observed.check_shape(self.observation_space, self.frame_stack, obs)
        state = tuple(state_batches) if state_batches else self.initial_state(len(obs))
        before, self.timesteps = self.timesteps, self.timesteps if timestep is None else timestep
        try:
            act = self.act(obs, state, self.explore if explore is None else explore)
        finally:
            self.timesteps = before
        return self.env_actions(act.actions), list(act.state), act.extras

    def compute_actions_from_input_dict(
        self,
        input_dict: Mapping[str, Any],
        explore: bool | None = None,
        timestep: float | None = None,
        episodes: Any = None,
    ) -> tuple[Any, list[Array], dict[str, Array]]:
        """RLlib's: the same with observations, `state_in_i`, `prev_actions` and `prev_rewards` in a
        dict or SampleBatch."""
        parts = sum(c.is_state_in(name) for name in input_dict)
        state = [np.asarray(input_dict[c.state_in(i)]) for i in range(parts)]
        last = {
            f"prev_{name}_batch": input_dict[f"prev_{name}s"]
            for name in ("action", "reward")
            if f"prev_{name}s" in input_dict
        }
        return self.compute_actions(
            input_dict[c.OBS], state, **last, explore=explore, timestep=timestep
        )

    def compute_single_action(
        self,
        obs: Any,
        state: Sequence[Array] | None = None,
        prev_action: Any = None,
        prev_reward: Any = None,
        info: Any = None,
        episode: Any = None,
        explore: bool | None = None,
        **more: Any,
    ) -> tuple[Any, list[Array], dict[str, Any]]:
        """RLlib's: one observation without a batch axis -> action, state, extras, likewise; `more`
        of `compute_actions`."""
        for name, last in (("action", prev_action), ("reward", prev_reward)):
            more |= {} if last is None else {f"prev_{name}_batch": [last]}
        batched_state = [np.asarray(part)[None] for part in state] if state else None
        actions, states, extras = self.compute_actions(
            observed.numbers(obs, single=True), batched_state, explore=explore, **more
        )
        return actions[0], [s[0] for s in states], {name: x[0] for name, x in extras.items()}

    def compute_log_likelihoods(
        self,
        actions: Any,
        obs_batch: Any,
        state_batches: Sequence[Array] | None = None,
        prev_action_batch: Any = None,
        prev_reward_batch: Any = None,
        actions_normalized: bool = True,
    ) -> Array:
        """RLlib's: log-probabilities [B] of actions as they are stored, or as the environment has
        them (`actions_normalized=False`)."""
        raise NotImplementedError(f"{type(self).__name__} has no action probabilities")

    def value_function(self, obs_batch: Any, state_batches: Sequence[Array] | None = None) -> Array:
        """The value of each observation, [B]."""
        raise NotImplementedError(f"{type(self).__name__} has no value function")

    def learn_on_batch(self, samples: Any) -> dict[str, Any]:
        """RLlib's: one update. That of a run's policy is its learner's: `algo.get_policy()` has it;
        policies of `build_torch_policy` learn here."""
        raise NotImplementedError(
            f"{type(self).__name__} learns where its run's learner is, by"
            " algo.get_policy().learn_on_batch(samples); see build_torch_policy for policies with a"
            " loss of their own"
        )

    def compute_gradients(self, samples: Any) -> tuple[list[Array], dict[str, Any]]:
        """RLlib's: the gradient that `learn_on_batch` would step along, and its numbers."""
        raise NotImplementedError(
            f"{type(self).__name__} is differentiated where its run's learner is asked, by"
            " algo.get_policy().compute_gradients(samples)"
        )

    def apply_gradients(self, gradients: Sequence[Array]) -> None:
        """RLlib's: one step with what `compute_gradients` has returned, maybe elsewhere."""
        raise NotImplementedError(
            f"{type(self).__name__} has no optimizer, its run's learner has:"
            " algo.get_policy().apply_gradients(gradients)"
        )

    def greedy(
        self, obs: Tensor, state: tuple[Tensor, ...] = ()
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """What `act` does without exploring, in torch alone: stored actions [N, ...], the network's
        outputs [N, n], the state after; for `export_model`."""
        raise NotImplementedError(f"{type(self).__name__} does not act by a torch network")

    def export_model(self, export_dir: str | Path, onnx: int | None = None) -> str:
        """RLlib's: write the network into a folder, to act greedily without actorrl; the folder.

        `model.pt` is TorchScript, or with `onnx`, an opset's number, `model.onnx`; both take
        preprocessed observations [N, ...] (and an LSTM's state) and return the environment's
        actions [N, ...], the network's outputs, and the state after. `model.json` says so in full.
        Raises ConfigError where there is no network, it cannot be traced, or a package is missing.
        """
        from actorrl.policies.export import export_model

        return export_model(self, expanded(export_dir), onnx)

    # ---- state ----------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """RLlib's: the weights under "weights", for `set_state` and `add_policy(policy_state=)`."""
        return {"weights": self.get_weights()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """The inverse."""
        self.set_weights(state["weights"])

    def is_recurrent(self) -> bool:
        """RLlib's: whether there is a state from one observation to the next."""
        return bool(self.initial_state(1))

    def random_state(self) -> str:
        """The state of the sampling generator as JSON text, for checkpoints."""
        return json.dumps(self.random.bit_generator.state)

    def set_random_state(self, state: str) -> None:
        self.random.bit_generator.state = json.loads(state)
