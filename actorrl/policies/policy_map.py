"""Several policies as one: what a run with several agents acts with and learns.

P parameters of all policies together. One version counts for all of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from actorrl.models.flat_parameters import Float32
from actorrl.models.group import ALONE, Group
from actorrl.policies.base import Array, Policy

SEPARATOR = "/"  # "policy/name": weights and columns of one of several policies

Column = TypeVar("Column", np.ndarray, Tensor)


def part_of(columns: Mapping[str, Column], name: str) -> dict[str, Column]:
    """Those of one policy, under their own names."""
    prefix = f"{name}{SEPARATOR}"
    return {key.removeprefix(prefix): x for key, x in columns.items() if key.startswith(prefix)}


class PolicyMap:
    """Policies by id, in the order given; stands where a single `Policy` does."""

    def __init__(self, policies: Mapping[str, Policy]) -> None:
        self.policies = dict(policies)
        self.version = 0
        self._group = ALONE
        self.flat = self  # a learner loads `policy.flat`
        # A heuristic has no weights, and a learner does not know it.
        self._with_weights = [self.policies[name] for name in self.with_weights()]

    def __getitem__(self, policy_id: str) -> Policy:
        return self.policies[policy_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self.policies)

    def with_weights(self) -> list[str]:
        """Those that `flat_weights` has, in its order."""
        return [name for name, policy in self.policies.items() if hasattr(policy, "flat")]

    @property
    def optimizers(self) -> tuple[Any, ...]:
        """Of all policies."""
        return tuple(one for policy in self._with_weights for one in policy.optimizers)

    @property
    def timesteps(self) -> float:
        return max((policy.timesteps for policy in self.policies.values()), default=math.inf)

    @timesteps.setter
    def timesteps(self, timesteps: float) -> None:
        for policy in self.policies.values():
            policy.timesteps = timesteps

    @property
    def group(self) -> Group:
        """Who learns them together with this process."""
        return self._group

    @group.setter
    def group(self, group: Group) -> None:
        self._group = group
        for policy in self._with_weights:
            policy.group = group

    # ---- weights ------------------------------------------------------------------------

    def flat_weights(self) -> Float32:
        """[P], one policy behind the other."""
        return np.concatenate([policy.weights_in_place() for policy in self._with_weights])

    weights_in_place = flat_weights

    def load(self, values: Float32) -> None:
        """Copy [P] over the weights. Raises ValueError on its size."""
        for policy, part in zip(self._with_weights, self._parts(values), strict=True):
            policy.load_flat(part, self.version)

    def split(self, values: Float32) -> dict[str, Float32]:
        """[P] of all that have weights, by policy. Raises ValueError on its size."""
        return dict(zip(self.with_weights(), self._parts(values), strict=True))

    def set_flat_gradient(self, values: Float32) -> None:
        """Copy [P] over the gradients."""
        for policy, part in zip(self._with_weights, self._parts(values), strict=True):
            policy.set_flat_gradient(part)

    def _parts(self, values: Float32) -> list[Float32]:
        sizes = [policy.flat.vector.numel() for policy in self._with_weights]
        if sum(sizes) != len(values):
            raise ValueError(f"weights: {len(values)} values, expected {sum(sizes)}")
        return np.split(np.asarray(values), np.cumsum(sizes)[:-1])

    def load_flat(self, values: Float32, version: int) -> None:
        self.version = version
        self.load(values)

    def get_weights(self) -> dict[str, Float32]:
        """Copies, under "policy/name"."""
        return {
            f"{policy_id}{SEPARATOR}{name}": array
            for policy_id, policy in self.policies.items()
            for name, array in policy.get_weights().items()
        }

    def set_weights(self, weights: Mapping[str, Array]) -> None:
        """Of all policies or of some, under "policy/name". Raises ValueError for what does not
        fit; KeyError for an unknown policy."""
        by_policy: dict[str, dict[str, Array]] = {}
        for key, array in weights.items():
            policy_id, _, name = key.partition(SEPARATOR)
            by_policy.setdefault(policy_id, {})[name] = array
        for policy_id, named in by_policy.items():
            self.policies[policy_id].set_weights(named)

    # ---- observation filters ------------------------------------------------------------

    def note_observations(self, columns: Mapping[str, Tensor]) -> None:
        """Each policy notes its own, of columns under "policy/name"."""
        for name, policy in self.policies.items():
            part = part_of(columns, name)
            if part:
                policy.note_observations(part)

    def note_rows(self, rows: Mapping[str, Array]) -> None:
        """Likewise its own new rows."""
        for name, policy in self.policies.items():
            part = part_of(rows, name)
            if part:
                policy.note_rows(part)

    def filter_state(self) -> dict[str, Any]:
        return {name: policy.filter_state() for name, policy in self.policies.items()}

    def load_filter_state(self, state: Mapping[str, Any]) -> None:
        for name, policy in self.policies.items():
            policy.load_filter_state(state.get(name) or {})

    # ---- device -------------------------------------------------------------------------

    def to(self, device: torch.device | str) -> None:
        for policy in self.policies.values():
            policy.to(device)

    # ---- random state -------------------------------------------------------------------

    def random_state(self) -> str:
        return json.dumps({name: policy.random_state() for name, policy in self.policies.items()})

    def set_random_state(self, state: str) -> None:
        for name, one in json.loads(state).items():
            if name in self.policies:
                self.policies[name].set_random_state(one)
