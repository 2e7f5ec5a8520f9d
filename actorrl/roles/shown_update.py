"""A learner's policy and batches, shown to the user's callbacks."""

from __future__ import annotations

import functools
from typing import Any

from torch import Tensor

from actorrl.roles.settings import MakeUpdate, Metrics, State, Update
from actorrl.rollouts.callbacks import (
    DefaultCallbacks,
    call_user,
    introduce_policies,
    overrides,
)


def showing(
    make_update: MakeUpdate,
    callbacks: type[DefaultCallbacks] | None,
    policy_id: str,
    has_batches: bool = True,
) -> MakeUpdate:
    """`make_update`, whose policy and batches the callbacks see. `has_batches`: false where the
    learner only applies what workers have differentiated."""
    if not overrides(callbacks, "on_create_policy", "on_learn_on_batch"):
        return make_update
    assert callbacks is not None
    return functools.partial(_make, make_update, callbacks, policy_id, has_batches)


def _make(
    make_update: MakeUpdate,
    callbacks: type[DefaultCallbacks],
    policy_id: str,
    has_batches: bool,
    device: str,
) -> Update:
    update, seeing = make_update(device), callbacks()
    introduce_policies(seeing, {policy_id: update.policy})
    update.policy.weights_replaced()  # perhaps, and not by `set_weights` alone
    return ShownUpdate(update, seeing) if has_batches else update


class ShownUpdate:
    """An update before which `on_learn_on_batch` is called."""

    def __init__(self, update: Update, callbacks: DefaultCallbacks) -> None:
        self._update = update
        self._callbacks = callbacks

    @property
    def policy(self) -> Any:
        return self._update.policy

    def __call__(self, batch: dict[str, Tensor], timesteps: int) -> Metrics:
        """Raises EnvironmentFailure for what the user's code raises."""
        result: dict[str, Any] = {}
        call_user(
            self._callbacks,
            "on_learn_on_batch",
            policy=self.policy,
            train_batch=batch,
            result=result,
        )
        return {**result, **self._update(batch, timesteps)}

    def state_dict(self) -> State:
        return self._update.state_dict()

    def load_state_dict(self, state: State) -> None:
        self._update.load_state_dict(state)
