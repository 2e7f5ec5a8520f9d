"""What a checkpoint holds of the actors: asked of them, and given back to them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from actorrl.errors import CallError
from actorrl.runtime.cluster import Cluster
from actorrl.runtime.refs import ActorRef

STATE_TIMEOUT_S = 300.0
_RANDOM_STATE_S = 5.0


def random_states(cluster: Cluster) -> dict[str, str]:
    """Of the actors that answer soon; one that is down or busy starts from its seed again."""
    asked = {
        name: ref.get_random_state.within(_RANDOM_STATE_S).call()
        for name, ref in _drawing_actors(cluster).items()
    }
    states = {}
    for name, future in asked.items():
        with contextlib.suppress(CallError):
            states[name] = future.result()
    return states


def load_random_states(cluster: Cluster, states: Mapping[str, str]) -> None:
    told = [
        ref.set_random_state.within(_RANDOM_STATE_S).call(states[name])
        for name, ref in _drawing_actors(cluster).items()
        if name in states
    ]
    for future in told:
        with contextlib.suppress(CallError):
            future.result()


def _drawing_actors(cluster: Cluster) -> dict[str, ActorRef]:
    """All but the learner, whose random state is part of its own, and the evaluators, who start
    from the same seeds each time."""
    refs = cluster.program.refs
    left_out = ("learner/", "evaluator/")
    return {name: ref for name, ref in refs.items() if not name.startswith(left_out)}
