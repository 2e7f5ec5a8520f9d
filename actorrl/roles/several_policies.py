"""Several policies in one worker and one learner: each is acted with and learned as if alone.

An algorithm's file knows one policy. What it gives (update, postprocess) is made once for each
here; columns and weights travel under "policy/name".
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping

import numpy as np
import torch
from torch import Tensor

from actorrl.data import columns as c
from actorrl.data.allocate import Allocate
from actorrl.data.columns import DEFAULT_POLICY
from actorrl.data.fragment import Fragment, single_group
from actorrl.policies.base import Policy
from actorrl.policies.policy_map import SEPARATOR, PolicyMap, part_of
from actorrl.roles.gradient_worker import ComputeLoss, by_backward
from actorrl.roles.settings import (
    Arrays,
    Batch,
    Body,
    MakeBatch,
    MakePostprocess,
    MakeUpdate,
    Metrics,
    Postprocess,
    State,
    Update,
)
from actorrl.rollouts.lanes import pieces


class Still:
    """The `Update` of a policy that plays and never learns here; others may set its weights."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def __call__(self, batch: dict[str, Tensor], timesteps: int) -> Metrics:
        return {}

    def state_dict(self) -> State:
        return {}

    def load_state_dict(self, state: State) -> None:
        pass


class SeveralUpdates:
    """An `Update` for each policy that has weights, those in `to_train` learn."""

    def __init__(
        self, makers: Mapping[str, MakeUpdate], to_train: Collection[str], device: str
    ) -> None:
        made: dict[str, Update] = {name: make(device) for name, make in makers.items()}
        self._updates = {name: x for name, x in made.items() if hasattr(x.policy, "flat")}
        self._to_train = [name for name in makers if name in to_train]
        self.policy = PolicyMap({name: update.policy for name, update in self._updates.items()})

    def __call__(self, batch: dict[str, Tensor], timesteps: int) -> Metrics:
        """Policies of whom nobody has acted in this batch, of all learners' shares, stay as they
        are. An empty batch: steps with the gradients that a worker has sent."""
        parts = {name: part_of(batch, name) for name in self._to_train}
        acted = torch.tensor([float(_has_rows(part)) for part in parts.values()])
        metrics = {}
        for (name, part), learns in zip(
            parts.items(), self.policy.group.sum(acted).tolist(), strict=True
        ):
            if learns or (not batch and self._updates[name].policy.flat.has_gradient()):
                for key, value in self._updates[name](part, timesteps).items():
                    metrics[f"{name}{SEPARATOR}{key}"] = value
        return metrics

    def state_dict(self) -> State:
        return {name: update.state_dict() for name, update in self._updates.items()}

    def load_state_dict(self, state: State) -> None:
        for name, update in self._updates.items():
            update.load_state_dict(state[name])


def _has_rows(part: Mapping[str, Tensor]) -> bool:
    """Decisions in fragments side by side, or rows one behind the other."""
    if c.VALID in part:
        return bool(part[c.VALID].any())
    return any(len(column) > 0 for column in part.values())


class GroupedBatch:
    """A batch of the algorithm's own kind for each policy, as full as the fullest of them."""

    def __init__(self, make: MakeBatch, device: str = "cpu") -> None:
        self._make = functools.partial(make, device)
        self._batches: dict[str, Batch] = {}

    @property
    def num_env_steps(self) -> int:
        """What `train_batch_size` is compared with."""
        return max((batch.num_env_steps for batch in self._batches.values()), default=0)

    @property
    def is_empty(self) -> bool:
        return all(batch.is_empty for batch in self._batches.values())

    def add(self, columns: Mapping[str, np.ndarray], num_env_steps: int) -> None:
        by_policy: dict[str, dict[str, np.ndarray]] = {}
        for key, column in columns.items():  # those of the default policy alone have no prefix
            name, _, own = key.rpartition(SEPARATOR)
            by_policy.setdefault(name or DEFAULT_POLICY, {})[own] = column
        for name, own_columns in by_policy.items():
            self._batches.setdefault(name, self._make()).add(own_columns, num_env_steps)

    def tensors(self) -> dict[str, Tensor]:
        return {
            f"{name}{SEPARATOR}{key}": tensor
            for name, batch in self._batches.items()
            if not batch.is_empty
            for key, tensor in batch.tensors().items()
        }

    def clear(self) -> None:
        for batch in self._batches.values():
            batch.clear()


def gradient_of_each(
    computes: Mapping[str, ComputeLoss],
    policy: PolicyMap,
    fragment: Fragment,
    timesteps: int,
    allocate: Allocate = np.empty,
) -> tuple[np.ndarray, dict[str, float]]:
    """A worker's gradient [P] of all policies, each of the loss of its own agents (A3C)."""
    metrics: dict[str, float] = {}
    parts: list[np.ndarray] = []
    for name in policy.with_weights():
        parts.append(np.zeros(policy[name].flat.vector.numel(), np.float32))
        if name in computes and name in fragment.groups:
            part = Fragment(single_group(fragment.groups[name]), 0, fragment.policy_version)
            parts[-1], found = by_backward(computes[name], policy[name], part, timesteps)
            metrics |= {f"{name}{SEPARATOR}{key}": float(x) for key, x in found.items()}
    gradient = allocate((sum(map(len, parts)),), np.dtype(np.float32))
    return np.concatenate(parts, out=gradient), metrics


def make_postprocess(
    makers: Mapping[str, MakePostprocess], policy: Policy | PolicyMap, num_envs: int
) -> Callable[[Fragment], tuple[Body, Arrays]]:
    """Each group of a fragment through its policy's own postprocess."""
    assert isinstance(policy, PolicyMap)
    parts = {name: make(policy[name], num_envs) for name, make in makers.items()}

    def postprocess(fragment: Fragment) -> tuple[Body, Arrays]:
        arrays: Arrays = {}
        for name, columns in fragment.groups.items():
            if name not in parts:
                continue  # a policy that does not learn
            part = Fragment(single_group(columns), fragment.num_env_steps, fragment.policy_version)
            # Its last row is no decision: what the state behind it would be is of no account.
            part.state_out = policy[name].initial_state(columns[c.VALID].shape[1])
            _, made = parts[name](part)
            for key, array in made.items():
                arrays[f"{name}{SEPARATOR}{key.rpartition(SEPARATOR)[2]}"] = array
        body, _ = fragment.to_message()
        return body, arrays

    return postprocess


def make_rows(
    makers: Mapping[str, MakePostprocess], policy: Policy | PolicyMap, num_envs: int
) -> Postprocess:
    """For algorithms that learn from single rows: what an agent has lived through goes through a
    postprocess of its own, as if it were alone in an environment, for rows span fragments."""
    assert isinstance(policy, PolicyMap)
    lanes: dict[tuple[str, int], Postprocess] = {}  # those whose episode goes on

    def postprocess(fragment: Fragment) -> tuple[Body, Arrays]:
        found: dict[str, list[np.ndarray]] = {}
        for name, group in fragment.groups.items():
            if name not in makers:
                continue  # a policy that does not learn
            for number, columns in pieces(group, fragment.lanes[name]):
                one = lanes.pop((name, number), None) or makers[name](policy[name], 1)
                part = Fragment(
                    single_group(columns), int(columns[c.VALID].sum()), fragment.policy_version
                )
                _, rows = one(part)
                for key, array in rows.items():
                    own = key.rpartition(SEPARATOR)[2]
                    found.setdefault(f"{name}{SEPARATOR}{own}", []).append(array)
                if not (columns[c.TERMINATEDS][-1, 0] or columns[c.TRUNCATEDS][-1, 0]):
                    lanes[name, number] = one
        body, _ = fragment.to_message()
        return body, {key: np.concatenate(arrays) for key, arrays in found.items()}

    return postprocess
