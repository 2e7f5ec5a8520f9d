"""While a command imports torch, the agent of its run already does the same."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator

from actorrl.runtime.host_specs import LOCAL
from actorrl.runtime.launchers import early, local

# What the actors of most runs import; whoever needs more imports it when it starts.
_PRELOAD = (
    "actorrl.roles.rollout_worker",
    "actorrl.roles.gradient_worker",
    "actorrl.roles.parameter_server",
    "actorrl.roles.queue_learner",
    "actorrl.roles.synchronous_learner",
    "actorrl.roles.local_replay_learner",
    "actorrl.roles.replay_learner",
    "actorrl.roles.replay_shard",
    "actorrl.algorithms.base",
)


@contextlib.contextmanager
def early_agent() -> Iterator[None]:
    """One waits for the run that the block may start; it ends with the block if none took it."""
    early.start(local.environment(secrets.token_hex(8), LOCAL), _PRELOAD)
    try:
        yield
    finally:
        early.discard()
