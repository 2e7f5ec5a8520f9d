"""actorrl: reinforcement learning from actors.

The names below are loaded when they are first used: `import actorrl` alone imports neither torch
nor gymnasium nor zmq, and a process that only keeps replay never loads torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actorrl.algorithms.base import Algorithm
    from actorrl.algorithms.built import build_trainer
    from actorrl.algorithms.config import AlgorithmConfig
    from actorrl.algorithms.multi_agent import PolicySpec
    from actorrl.algorithms.playing import rollout
    from actorrl.data.sample_batch import MultiAgentBatch, SampleBatch
    from actorrl.envs.base_env import BaseEnv
    from actorrl.envs.multi_agent import MultiAgentEnv, make_multi_agent
    from actorrl.envs.own_preprocessor import Preprocessor
    from actorrl.envs.registry import EnvContext, register_env
    from actorrl.experiment.pretty import pretty_print
    from actorrl.models.torch_model import TorchModelV2
    from actorrl.models.torch_networks import FullyConnectedNetwork
    from actorrl.policies.base import Policy
    from actorrl.policies.builder import build_torch_policy, make_policy
    from actorrl.policies.model_catalog import ModelCatalog
    from actorrl.rollouts.callbacks import DefaultCallbacks
    from actorrl.runtime.actor import Actor, remote
    from actorrl.runtime.cluster import Cluster
    from actorrl.runtime.program import Program, Report, Request, State, Stream

_HOMES = {
    "Actor": "runtime.actor",
    "Algorithm": "algorithms.base",
    "AlgorithmConfig": "algorithms.config",
    "BaseEnv": "envs.base_env",
    "Cluster": "runtime.cluster",
    "DefaultCallbacks": "rollouts.callbacks",
    "EnvContext": "envs.registry",
    "FullyConnectedNetwork": "models.torch_networks",
    "ModelCatalog": "policies.model_catalog",
    "MultiAgentBatch": "data.sample_batch",
    "MultiAgentEnv": "envs.multi_agent",
    "Policy": "policies.base",
    "PolicySpec": "algorithms.multi_agent",
    "Preprocessor": "envs.own_preprocessor",
    "Program": "runtime.program",
    "Report": "runtime.program",
    "Request": "runtime.program",
    "SampleBatch": "data.sample_batch",
    "State": "runtime.program",
    "Stream": "runtime.program",
    "TorchModelV2": "models.torch_model",
    "build_torch_policy": "policies.builder",
    "build_trainer": "algorithms.built",
    "make_policy": "policies.builder",
    "pretty_print": "experiment.pretty",
    "make_multi_agent": "envs.multi_agent",
    "register_env": "envs.registry",
    "remote": "runtime.actor",
    "rollout": "algorithms.playing",
}

__all__ = [
    "Actor",
    "Algorithm",
    "AlgorithmConfig",
    "BaseEnv",
    "Cluster",
    "DefaultCallbacks",
    "EnvContext",
    "FullyConnectedNetwork",
    "ModelCatalog",
    "MultiAgentBatch",
    "MultiAgentEnv",
    "Policy",
    "PolicySpec",
    "Preprocessor",
    "Program",
    "Report",
    "Request",
    "SampleBatch",
    "State",
    "Stream",
    "TorchModelV2",
    "build_torch_policy",
    "build_trainer",
    "make_multi_agent",
    "make_policy",
    "pretty_print",
    "register_env",
    "remote",
    "rollout",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'actorrl' has no attribute {name!r}")
    return getattr(importlib.import_module(f"actorrl.{home}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
