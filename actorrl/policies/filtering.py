"""What the policies with an observation filter share: whose statistics, and where they filter.

The learner's policy has the statistics (`filter`). What the forward needs of them is in an
InputFilter of its model, so it reaches every other policy with the weights.

B environments side by side, N rows in any order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from torch import Tensor, nn

from actorrl.data import columns as c
from actorrl.envs.filters import MeanStdFilter, NoFilter, filter_for
from actorrl.models.input_filter import InputFilter
from actorrl.policies.base import Array, Policy
from actorrl.policies.learnable import seeded
from actorrl.policies.target import TargetNetwork

Network = TypeVar("Network", bound=nn.Module)


class FilteringPolicy(Policy):
    """`observation_filter` by RLlib's names; raises ConfigError for images. Where there is one, the
    model has an InputFilter by the name `filter`."""

    filter: NoFilter | MeanStdFilter

    def __init__(
        self,
        observation_space: Any,
        action_space: Any,
        *,
        frame_stack: int = 1,
        seed: int = 0,
        observation_filter: str = "NoFilter",
    ) -> None:
        super().__init__(observation_space, action_space, frame_stack=frame_stack, seed=seed)
        self.filter = filter_for(observation_filter, observation_space)

    def merge_observations(self, delta: Mapping[str, Array]) -> None:
        """The learner's: statistics of rows that have not come before (`take_delta`). The next
        version of the weights filters with them."""
        self.filter.merge(delta)
        self._publish_filter()

    def note(self, obs: Array) -> None:
        """Observations [N, ...], likewise."""
        self.filter.note(obs)
        self.merge_observations(self.filter.take_delta())

    def filter_state(self) -> dict[str, Array]:
        """The statistics in full, for checkpoints; weights carry only what the forward needs."""
        return self.filter.state_dict()

    def load_filter_state(self, state: Mapping[str, Array]) -> None:
        self.filter.load_state_dict(state)
        self._publish_filter()

    def _publish_filter(self) -> None:
        if isinstance(self.filter, MeanStdFilter):
            inside = self.model.filter
            assert isinstance(inside, InputFilter)
            inside.set_filter(self.filter.mean, self.filter.scale)


class ReplayPolicy(FilteringPolicy):
    """Base of the policies that learn from replayed rows.

    Replay keeps observations as the environment gave them, and they are filtered when they are
    acted on or learned from, with the statistics of then. So a state looks the same in every row,
    old or new, and at acting; RLlib stores what the worker's filter of then made of it. Target
    networks take the same filtered rows: their own copy of the filter's numbers is not used.
    """

    def _make_model(self) -> Any:
        """New networks of the policy's own kind."""
        raise NotImplementedError

    def make_target(self) -> TargetNetwork:
        """A copy of the networks that changes only when told to."""
        with seeded(0):
            return TargetNetwork(self, self._make_model())

    def _with_filter(self, network: Network) -> Network:
        """The network, with a place for the filter's numbers among its weights. It does not look
        at them itself: whoever calls it filters, once for the policy and its target."""
        if not isinstance(self.filter, NoFilter):
            network.filter = InputFilter(self.observation_space.shape)
        return network

    def note_rows(self, rows: Mapping[str, Array]) -> None:
        if not isinstance(self.filter, NoFilter):
            self.note(rows[c.OBS])

    @property
    def _input(self) -> InputFilter | None:
        return getattr(self.model, "filter", None)

    def filtered(self, obs: Tensor) -> Tensor:
        """Observations [N, ...] as the networks take them."""
        return obs if self._input is None else self._input(obs)

    def filtered_numpy(self, obs: Array) -> Array:
        """The same, for acting."""
        return obs if self._input is None else self._input.in_numpy(obs)

    def filtered_rows(self, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The rows' first and bootstrap observations as the networks take them."""
        return {**rows, **{name: self.filtered(rows[name]) for name in (c.OBS, c.NEXT_OBS)}}
