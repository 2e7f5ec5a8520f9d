"""What an algorithm file's `program` gets beside its config, and how a config may be given."""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from actorrl.algorithms import multi_agent
from actorrl.algorithms.config import AlgorithmConfig
from actorrl.algorithms.multi_agent import PolicySpec
from actorrl.config import shown
from actorrl.data.columns import DEFAULT_POLICY
from actorrl.envs.check import EnvInfo
from actorrl.errors import ConfigError
from actorrl.policies.base import Policy
from actorrl.policies.policy_map import PolicyMap
from actorrl.roles import several_policies
from actorrl.roles.batch import FragmentBatch
from actorrl.roles.compiling import compiling
from actorrl.roles.gradient_worker import ComputeGradient, by_backward
from actorrl.roles.settings import (
    LearnerSettings,
    MakePolicy,
    MakePostprocess,
    MakeUpdate,
    Postprocess,
    Update,
    WorkerSettings,
)
from actorrl.roles.several_policies import GroupedBatch, SeveralUpdates, Still
from actorrl.roles.shown_update import showing


class Setup(NamedTuple):
    """What an algorithm file's `program` gets beside its config."""

    info: EnvInfo
    seed: int
    recover: Any  # () -> the learner's state of the newest whole checkpoint, or None

    def workers(self, config: AlgorithmConfig) -> WorkerSettings:
        return WorkerSettings(
            env=self.info.env,
            env_config=config.env_config,
            num_workers=config.resolved_num_workers(),
            num_envs_per_worker=config.num_envs(),
            fragment_length=config.fragment_length(),
            seed=self.seed,
            autoreset=config.autoreset,
            recreate_failed_envs=config.recreate_failed_envs,
            whole_episodes=config.wants_whole_episodes(),
            num_lead_in=config.num_lead_in(),
            unread=config.unread,
            output=config.output,
            callbacks=config.callbacks_class,
            collects_fragments=config.collects_fragments,
            mapping_fn=multi_agent.mapping_of(config) if self.info.policies is not None else None,
            raw_spaces=self.info.raw_spaces(),
        )

    def update(self, config: AlgorithmConfig, update: Callable[..., Update]) -> MakeUpdate:
        """`update(config, info, seed, device)` for the learner; with several policies one each."""
        if self.info.policies is None:
            return functools.partial(update, config, self.info, self.seed)
        specs = collections.defaultdict(PolicySpec, multi_agent.specs_of(config.policies))
        makers = {
            name: functools.partial(
                update, multi_agent.config_for(config, name), info, self.seed + i
            )
            if specs[name].policy_class is None
            else functools.partial(_still, _player(config, name, specs[name], info), self.seed + i)
            for i, (name, info) in enumerate(self.info.policies.items())
        }
        shown = {name: _shown(config, make, name) for name, make in makers.items()}
        to_train = multi_agent.learning(config, makers)
        return functools.partial(SeveralUpdates, shown, to_train)

    def acting(self, config: AlgorithmConfig, make_policy: Callable[..., Policy]) -> MakePolicy:
        """`make_policy(config, info, seed, env_indices)` for the workers."""
        return acting_policy(config, self.info, make_policy)

    def gradient(
        self, config: AlgorithmConfig, compute_loss: Callable[..., Any]
    ) -> ComputeGradient:
        """`compute_loss(config, clip_rewards, policy, batch, timesteps)` for workers that
        differentiate."""
        if self.info.policies is None:
            clips = config.clips_rewards(self.info.frame_stack)
            return functools.partial(by_backward, functools.partial(compute_loss, config, clips))
        computes = {}
        for name in multi_agent.learning(config, self.info.policies):
            own = multi_agent.config_for(config, name)
            computes[name] = functools.partial(compute_loss, own, own.clips_rewards(1))
        return functools.partial(several_policies.gradient_of_each, computes)

    def postprocess(
        self, config: AlgorithmConfig, make: Callable[..., Postprocess]
    ) -> MakePostprocess:
        """`make(config, clip_rewards, policy, num_envs)` for the workers. Where `learns_from_rows`,
        what it makes spans fragments: each agent has its own."""
        if self.info.policies is None:
            clips = config.clips_rewards(self.info.frame_stack)
            return functools.partial(make, config, clips)
        makers = {}
        for name in multi_agent.learning(config, self.info.policies):
            own = multi_agent.config_for(config, name)
            makers[name] = functools.partial(make, own, own.clips_rewards(1))
        rows = config.learns_from_rows
        several = several_policies.make_rows if rows else several_policies.make_postprocess
        return functools.partial(several, makers)

    def learner(
        self, config: AlgorithmConfig, make_update: MakeUpdate, **more: Any
    ) -> LearnerSettings:
        if self.info.policies is not None:
            make_batch = more.get("make_batch", FragmentBatch)
            more["make_batch"] = functools.partial(GroupedBatch, make_batch)
        else:
            make_update = _shown(config, make_update, DEFAULT_POLICY)
        return LearnerSettings(
            make_update=compiling(make_update, config.compile_mode()),
            train_batch_size=config.train_batch_size,
            num_learners=config.resolved_num_learners(),
            num_gpus=config.resolved_num_gpus(),
            num_threads=config.learner_threads(),
            recover=self.recover,
            **more,
        )


def _shown(config: AlgorithmConfig, make_update: MakeUpdate, policy_id: str) -> MakeUpdate:
    """To the user's callbacks."""
    return showing(
        make_update, config.callbacks_class, policy_id, type(config).learner_differentiates
    )


def acting_policy(
    config: AlgorithmConfig, info: EnvInfo, make_policy: Callable[..., Policy]
) -> MakePolicy:
    """(seed, environment indices) -> the policy that acts there, or a PolicyMap of several."""
    config = config.counted()
    if info.policies is None:
        return functools.partial(_exploring, make_policy, config, info)
    specs = collections.defaultdict(PolicySpec, multi_agent.specs_of(config.policies))
    makers = {
        name: functools.partial(_exploring, make_policy, multi_agent.config_for(config, name), own)
        if specs[name].policy_class is None
        else _player(config, name, specs[name], own)
        for name, own in info.policies.items()
    }
    return functools.partial(_policy_map, makers)


def _exploring(
    make_policy: Callable[..., Policy],
    config: AlgorithmConfig,
    info: EnvInfo,
    seed: int,
    env_indices: np.ndarray,
) -> Policy:
    policy = make_policy(config, info, seed, env_indices)
    policy.explore = config.explore
    return policy


def _player(
    config: AlgorithmConfig, name: str, spec: PolicySpec, info: EnvInfo
) -> Callable[[int, np.ndarray], Policy]:
    """What makes a policy that plays and does not learn: of another algorithm with its own settings
    but for what is said, or of a class of the user's, made as RLlib makes it."""
    if multi_agent.is_algorithm(spec.policy_class):
        own = multi_agent.config_for(config, name)
        return functools.partial(_others_policy, spec.policy_class.make_policy, own, info)
    return functools.partial(_users_policy, spec, info)


def _others_policy(
    make_policy: Callable[..., Policy],
    config: AlgorithmConfig,
    info: EnvInfo,
    seed: int,
    env_indices: np.ndarray,
) -> Policy:
    """Its agents are not the environments: an epsilon for each of these would fit none."""
    return _exploring(make_policy, config, info, seed, config.greediest_env())


def _users_policy(spec: PolicySpec, info: EnvInfo, seed: int, env_indices: np.ndarray) -> Policy:
    settings = dict(spec.config or {})
    policy: Policy = spec.policy_class(info.observation_space, info.action_space, settings)
    policy.explore = bool(settings.get("explore", True))
    return policy


def _still(make_player: Callable[[int, np.ndarray], Policy], seed: int, device: str) -> Still:
    return Still(make_player(seed, np.arange(1)))


def _policy_map(
    makers: Mapping[str, Callable[..., Policy]], seed: int, env_indices: np.ndarray
) -> PolicyMap:
    return PolicyMap(
        {name: make(seed + i, env_indices) for i, (name, make) in enumerate(makers.items())}
    )


def as_config(
    config_class: type[AlgorithmConfig],
    config: Any,
    env: Any,
) -> AlgorithmConfig:
    """RLlib's ways to say it: a config object, a dict, or nothing, and `env` beside it; its first
    release had the two the other way round. A copy. Raises ConfigError."""
    if isinstance(config, str) and (env is None or isinstance(env, dict | AlgorithmConfig)):
        config, env = env, config
    if config is None or isinstance(config, dict):
        config = config_class().update_from_dict(config or {})
    elif not isinstance(config, config_class):
        raise ConfigError(
            f"config: {shown(config)} is not accepted, expected a {config_class.__name__} or a dict"
            " of settings"
        )
    checked = config.copy() if env is None else config.copy().environment(env)
    wrong = checked.change(checked.to_dict())  # what was set by attribute may be anything
    if wrong:
        raise ConfigError(wrong)
    return checked
