"""A checkpoint of one policy, by RLlib's `export_policy_checkpoint`, and the policy of one.

It has the policy's weights, spaces and settings, and nothing of the environment, so that whoever
loads it needs neither that nor a run. Like all checkpoints it holds nothing that is run.
"""

from __future__ import annotations

from pathlib import Path

from actorrl.algorithms import multi_agent, registry
from actorrl.algorithms.config import AlgorithmConfig
from actorrl.algorithms.multi_agent import PolicySpec
from actorrl.algorithms.restoring import POLICY_ID, config_of, plain_config
from actorrl.algorithms.setup import acting_policy
from actorrl.envs import plain_spaces
from actorrl.envs.check import EnvInfo
from actorrl.envs.preprocessors import preprocessor_for
from actorrl.errors import ConfigError
from actorrl.experiment.checkpoints import read_checkpoint, read_manifest, write_checkpoint
from actorrl.policies.base import Policy


def export(
    folder: Path, config: AlgorithmConfig, info: EnvInfo, policy_id: str, policy: Policy
) -> str:
    """Its path. Raises ConfigError for a policy that is not of the run's algorithm."""
    spec = multi_agent.specs_of(config.policies).get(policy_id, PolicySpec())
    if spec.policy_class is not None:
        raise ConfigError(
            f"export_policy_checkpoint: {policy_id!r} is a {spec.policy_class.__name__}, expected a"
            " policy of the run's own algorithm"
        )
    seen, own = info, config.copy()
    if info.policies is not None:
        seen, own = info.policies[policy_id], multi_agent.config_for(config, policy_id)
        own.policies = own.policy_mapping_fn = own.policies_to_train = None
    own.model.custom_preprocessor = None  # a part of the environment
    settings = plain_config(own)
    del settings["env"]
    observed = seen.raw_observation_space if seen.frame_stack == 1 else seen.observation_space
    about = {
        "algo": registry.name_of(config.algorithm),
        POLICY_ID: policy_id,
        "config": settings,
        "observation_space": plain_spaces.to_plain(observed),
        "action_space": plain_spaces.to_plain(seen.action_space),
        "frame_stack": seen.frame_stack,
    }
    return str(write_checkpoint(folder, {"weights": policy.flat_weights()}, about))


def is_of_policy(path: str | Path) -> bool:
    return POLICY_ID in read_manifest(path).about


def load(path: str | Path) -> Policy:
    """Raises CheckpointError, and ConfigError for a custom model that is not found."""
    said = read_manifest(path).about
    config = config_of(path, of_policy=True)
    observed = plain_spaces.from_plain(said["observation_space"])
    info = EnvInfo(
        env="",
        name=said[POLICY_ID],
        observation_space=preprocessor_for(observed).space,
        action_space=plain_spaces.from_plain(said["action_space"]),
        raw_observation_space=observed,
        reward_threshold=None,
        max_episode_steps=None,
        frame_stack=said["frame_stack"],
        notices=[],
    )
    policy: Policy = acting_policy(config, info, config.algorithm.make_policy)(
        0, config.greediest_env()
    )
    policy.load_flat(read_checkpoint(path)["weights"], version=1)
    return policy
