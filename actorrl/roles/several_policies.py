"""Several policies in one worker and one learner: each is acted with and learned as if alone.

An algorithm's file knows one policy. What it gives (update, postprocess) is made once for each
here; columns and weights travel under "policy/name".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
from torch import Tensor

from actorrl.data import columns as c
from actorrl.data.fragment import Fragment, single_group
from actorrl.policies.base import Policy
from actorrl.policies.policy_map import SEPARATOR, PolicyMap, part_of
from actorrl.roles.batch import FragmentBatch
from actorrl.roles.settings import Arrays, Body, MakePostprocess, MakeUpdate, Metrics, State, Update


class SeveralUpdates:
    """An `Update` for each policy, those in `to_train` learn."""

    def __init__(
        self, makers: Mapping[str, MakeUpdate], to_train: Collection[str], device: str
    ) -> None:
        self._updates: dict[str, Update] = {name: make(device) for name, make in makers.items()}
        self._to_train = [name for name in makers if name in to_train]
        self.policy = PolicyMap({name: update.policy for name, update in self._updates.items()})

    def __call__(self, batch: dict[str, Tensor], timesteps: int) -> Metrics:
        """Policies of whom nobody has acted in this batch stay as they are."""
        metrics = {}
        for name in self._to_train:
            part = part_of(batch, name)
            if part and bool(part[c.VALID].any()):
                for key, value in self._updates[name](part, timesteps).items():
                    metrics[f"{name}{SEPARATOR}{key}"] = value
        return metrics

    def state_dict(self) -> State:
        return {name: update.state_dict() for name, update in self._updates.items()}

    def load_state_dict(self, state: State) -> None:
        for name, update in self._updates.items():
            update.load_state_dict(state[name])


class GroupedBatch:
    """A `FragmentBatch` for each policy; together they count the env steps."""

    def __init__(self, device: str = "cpu") -> None:
        self._device = device
        self._batches: dict[str, FragmentBatch] = {}
        self.num_env_steps = 0

    def add(self, columns: Mapping[str, np.ndarray], num_env_steps: int) -> None:
        for name in {key.rpartition(SEPARATOR)[0] for key in columns}:
            batch = self._batches.setdefault(name, FragmentBatch(self._device))
            batch.add(part_of(columns, name), 0)
        self.num_env_steps += num_env_steps

    def tensors(self) -> dict[str, Tensor]:
        return {
            f"{name}{SEPARATOR}{key}": tensor
            for name, batch in self._batches.items()
            if batch.num_envs
            for key, tensor in batch.tensors().items()
        }

    def clear(self) -> None:
        for batch in self._batches.values():
            batch.clear()
        self.num_env_steps = 0


def make_postprocess(
    makers: Mapping[str, MakePostprocess], policy: Policy | PolicyMap, num_envs: int
) -> Callable[[Fragment], tuple[Body, Arrays]]:
    """Each group of a fragment through its policy's own postprocess."""
    assert isinstance(policy, PolicyMap)
    parts = {name: make(policy[name], num_envs) for name, make in makers.items()}

    def postprocess(fragment: Fragment) -> tuple[Body, Arrays]:
        arrays: Arrays = {}
        for name, columns in fragment.groups.items():
            part = Fragment(single_group(columns), fragment.num_env_steps, fragment.policy_version)
            # Its last row is no decision: what the state behind it would be is of no account.
            part.state_out = policy[name].initial_state(columns[c.VALID].shape[1])
            _, made = parts[name](part)
            for key, array in made.items():
                arrays[f"{name}{SEPARATOR}{key.rpartition(SEPARATOR)[2]}"] = array
        body, _ = fragment.to_message()
        return body, arrays

    return postprocess
