"""A learner's networks through torch's compiler, and through CUDA graphs.

Of each network of the policy the parts (body, heads) are compiled, the first time that they are
called: the losses around them, and everything that acts, stay as they are. Compiling takes up to a
minute and a C++ compiler (GPU: Triton). On a CPU, updates of Atari's network take as long as before
(64 rows 78 ms and 81 compiled, 512 rows 569 and 599): convolutions are the library's either way.

CUDA graphs are torch's own, by its mode "reduce-overhead". That mode has not been run by this
project's tests: they have no GPU.
"""

from __future__ import annotations

import functools
from typing import Any, Literal

import torch

from actorrl.policies.policy_map import PolicyMap
from actorrl.roles.settings import MakeUpdate, Update

Mode = Literal["", "default", "reduce-overhead"]  # empty: nothing is compiled


def compiling(make_update: MakeUpdate, mode: Mode) -> MakeUpdate:
    """`make_update`, whose update's networks are compiled."""
    return functools.partial(_make, make_update, mode) if mode else make_update


def _make(make_update: MakeUpdate, mode: Mode, device: str) -> Update:
    import torch._inductor.config as inductor

    inductor.compile_threads = 1  # else it starts processes of its own, which outlive a killed run
    update = make_update(device)
    for network in _networks(update.policy):
        for part in network.children():
            part.compile(mode=None if mode == "default" else mode)
    return update


def _networks(policy: Any) -> list[torch.nn.Module]:
    if isinstance(policy, PolicyMap):
        return [policy[name].model for name in policy.with_weights()]
    return [policy.model]
