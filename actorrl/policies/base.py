"""What all policies share: weights in and out, and RLlib's methods for computing actions.

B environments side by side, P parameters. A policy belongs to one process and one thread.
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from actorrl.data import columns as c
from actorrl.data.allocate import Allocate
from actorrl.models.action_layout import action_layout
from actorrl.models.flat_parameters import FlatParameters, Float32
from actorrl.models.group import ALONE, Group
from actorrl.policies.previous import with_previous

Array = NDArray[Any]
ArrayState = tuple[Array, ...]


class Act(NamedTuple):
    """What acting on B observations returns; all arrays are fresh."""

    actions: Array  # [B], as the policy stores them; `env_actions` makes them the environment's
    extras: dict[str, Array]  # each [B, ...], columns of the fragment
    state: ArrayState  # each [B, ...], the recurrent state after these observations


class Policy:
    """What acts. Policies that learn call `_adopt` with a torch model, whose weights `flat` then
    holds as one vector: optimizers take `[policy.flat.vector]`.

    A policy in another framework, or a heuristic, needs `act` only, or RLlib's `compute_actions`.
    """

    group: Group = ALONE  # who learns it together with this process
    explore = True  # what workers and `compute_actions(explore=None)` do
    optimizers: tuple[Any, ...] = ()  # those of its weights, where it is learned
    _followers: tuple[Callable[[], None], ...] = ()

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
        self.version = 0
        # Env steps of the whole run, on which schedules of exploration run. Whoever is told none
        # (outside of training) acts as at the end of all schedules.
        self.timesteps: float = math.inf
        self.random = np.random.default_rng(seed)
        self.model: nn.Module
        self.flat: FlatParameters

    def _adopt(self, model: nn.Module) -> None:
        """Constructors call this last: the model's weights move into one vector."""
        self.model = model
        self.flat = FlatParameters(model)
        self._weights_moved()

    def _weights_moved(self) -> None:
        """Called when the weights lie at another place in memory: renew what points at them."""

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
        obs = np.asarray(obs_batch)
        obs = with_previous(self.observation_space, obs, prev_action_batch, prev_reward_batch)
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
            np.asarray(obs)[None], batched_state, explore=explore, **more
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

        return export_model(self, Path(export_dir).expanduser(), onnx)

    # ---- observation filters ----------------------------------------------------------------

    def note_observations(self, columns: Mapping[str, Tensor]) -> None:
        """Called by learners after each update; policies with an observation filter learn it."""

    def note_rows(self, rows: Mapping[str, Array]) -> None:
        """Called by learners with a replay, which see rows again and again, for new ones."""

    def filter_state(self) -> dict[str, Array]:
        """Statistics of the filter for checkpoints; {} without one."""
        return {}

    def load_filter_state(self, state: Mapping[str, Array]) -> None:
        """The inverse."""

    # ---- weights --------------------------------------------------------------------------------

    def get_weights(self) -> dict[str, Float32]:
        """Copies by parameter name; {} where there is no model."""
        return self.flat.named_numpy() if hasattr(self, "flat") else {}

    def set_weights(self, weights: Mapping[str, Array]) -> None:
        """The inverse; raises ValueError naming what does not fit. The version stays as it is."""
        if weights or hasattr(self, "flat"):
            self.flat.load_named(weights)
        self.weights_replaced()

    def follow(self, sync: Callable[[], None]) -> None:
        """`sync()` is called when the weights have been replaced: an update's target network takes
        them over, which was of the weights before. Not by `load_flat`: a checkpoint has its own."""
        self._followers = (*self._followers, sync)

    def weights_replaced(self) -> None:
        """To be called by who has written to the weights otherwise than by `set_weights`."""
        if hasattr(self, "flat"):
            self.flat.num_writes += 1
        for sync in self._followers:
            sync()

    def get_state(self) -> dict[str, Any]:
        """RLlib's: the weights under "weights", for `set_state` and `add_policy(policy_state=)`."""
        return {"weights": self.get_weights()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """The inverse."""
        self.set_weights(state["weights"])

    def is_recurrent(self) -> bool:
        """RLlib's: whether there is a state from one observation to the next."""
        return bool(self.initial_state(1))

    def flat_weights(self) -> Float32:
        """A copy of all weights [P], in the order of `layout`."""
        return self.flat.numpy()

    def weights_in_place(self) -> Float32:
        """The same for who copies them at once: maybe no copy."""
        return self.flat.in_place()

    def load_flat(self, values: Float32, version: int) -> None:
        """Copy [P] over the weights; the caller keeps its array. Raises ValueError on its size."""
        self.flat.load(values)
        self.version = version

    def layout(self) -> list[tuple[str, tuple[int, ...]]]:
        """Name and shape of every parameter in the order of the flat vector."""
        return list(self.flat.layout)

    def flat_gradient(self, allocate: Allocate = np.empty) -> Float32:
        """A copy of the gradient [P] of the last `backward`, where `allocate` says."""
        return self.flat.gradient_numpy(allocate)

    def set_flat_gradient(self, values: Float32) -> None:
        """Copy [P] over the gradient, for a step with a worker's gradient (A3C)."""
        self.flat.set_gradient(values)

    # ---- device and random state ----------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        return self.flat.vector.device

    def to(self, device: torch.device | str) -> None:
        """Move the weights. Optimizers over `flat.vector` stay valid, their state does not move."""
        self.flat.move(device)
        self._weights_moved()

    def tensors(self, columns: Mapping[str, Array]) -> dict[str, Tensor]:
        """Columns on the policy's device, in their own dtype; on the CPU without a copy."""
        return {name: as_tensor(array, self.device) for name, array in columns.items()}

    def random_state(self) -> str:
        """The state of the sampling generator as JSON text, for checkpoints."""
        return json.dumps(self.random.bit_generator.state)

    def set_random_state(self, state: str) -> None:
        self.random.bit_generator.state = json.loads(state)


def as_tensor(array: Array, device: torch.device | str = "cpu") -> Tensor:
    """Share memory where possible; read-only memory is copied, torch cannot protect it."""
    array = np.ascontiguousarray(array)
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's CPU generator starts from `seed` inside, and is as it was before outside.

    Layers draw their weights from torch's global generator, which belongs to the user.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
