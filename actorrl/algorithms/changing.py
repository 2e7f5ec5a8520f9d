"""Policies that are added and removed while a run goes on: the part of Algorithm that does it.

The actors are started anew, in the same run, with the new set of policies: so an actor that dies
later comes back with that set, and so does a checkpoint. What was learned goes on: weights and
optimizers of the policies that stay, counters, the window of episodes. What does not: episodes
under way, and the rows of a replay.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from actorrl.algorithms import multi_agent, restoring
from actorrl.algorithms.acting import Acting
from actorrl.algorithms.config import AlgorithmConfig
from actorrl.algorithms.mirror import PolicyMirror, PolicyPart
from actorrl.algorithms.multi_agent import PolicySpec
from actorrl.data.columns import DEFAULT_POLICY
from actorrl.errors import ConfigError
from actorrl.policies.policy_map import PolicyMap
from actorrl.roles.settings import State


class Changing(Acting):
    """Base of Algorithm."""

    _check_placement: Callable[[], None]
    _hosts_ready: Callable[[], AbstractContextManager[None]]
    _prepare: Callable[[Any], None]

    def add_policy(
        self,
        policy_id: str,
        policy_cls: Any = None,
        policy: Any = None,
        *,
        observation_space: Any = None,
        action_space: Any = None,
        config: Any = None,
        policy_state: Mapping[str, Any] | None = None,
        policy_mapping_fn: Callable[..., str] | None = None,
        policies_to_train: Collection[str] | Callable[..., bool] | None = None,
        **ignored: Any,
    ) -> PolicyPart:
        """RLlib's: one more policy, from now on, with the weights of `policy` or `policy_state`
        where given. Spaces that are not given are those of its agents, or of the other policies
        where these have all the same. A mapping function replaces the present one.

        Raises ConfigError, with nothing changed, for what cannot be."""
        specs = self._specs()
        if policy_id in specs:
            raise ConfigError(f"add_policy: there is a policy {policy_id!r} already")
        if self._is_own(policy_cls):
            policy_cls = None
        wrong = multi_agent.class_lines(policy_id, policy_cls)
        if wrong:
            raise ConfigError(wrong)
        own: Any = config if isinstance(config, AlgorithmConfig) else dict(config or {})
        specs[policy_id] = PolicySpec(policy_cls, observation_space, action_space, own)
        weights = _weights_of(policy, policy_state)
        self._change(specs, policy_mapping_fn, policies_to_train)
        found = self.get_policy(policy_id)
        assert isinstance(found, PolicyPart)
        if weights is not None:
            found.set_weights(weights)
        return found

    def remove_policy(
        self,
        policy_id: str = DEFAULT_POLICY,
        *,
        policy_mapping_fn: Callable[..., str] | None = None,
        policies_to_train: Collection[str] | Callable[..., bool] | None = None,
        **ignored: Any,
    ) -> None:
        """RLlib's: one policy less. No agent may be mapped to it any more. Raises ConfigError, with
        nothing changed, for what cannot be."""
        specs = self._specs()
        if policy_id not in specs:
            known = ", ".join(map(repr, specs))
            raise ConfigError(f"remove_policy: no policy {policy_id!r}: this run has {known}")
        if len(specs) == 1:
            raise ConfigError(f"remove_policy: {policy_id!r} is the only policy of this run")
        del specs[policy_id]
        self._change(specs, policy_mapping_fn, policies_to_train)

    def _is_own(self, policy_class: Any) -> bool:
        """The algorithm's own policy is what RLlib's users name as well: it is meant anyway."""
        if policy_class in (PolicyMirror, PolicyPart):  # the type of what `get_policy` returns
            return True
        if not multi_agent.is_policy(policy_class):
            return False
        given = multi_agent.specs_of(self.config.policies)
        players = {name for name, spec in given.items() if spec.policy_class is not None}
        policies = self.newest_policy().policies
        return any(isinstance(policies[n], policy_class) for n in policies if n not in players)

    def _specs(self) -> dict[str, PolicySpec]:
        """The present ones, with the spaces that they have."""
        if self.info.policies is None:
            raise ConfigError(
                f"policies: '{self.info.name}' has one agent; policies are added and removed where"
                " a MultiAgentEnv has several"
            )
        given = multi_agent.specs_of(self.config.policies)
        return {
            name: given.get(name, PolicySpec())._replace(
                observation_space=info.raw_observation_space, action_space=info.action_space
            )
            for name, info in self.info.policies.items()
        }

    def _change(
        self,
        specs: Mapping[str, PolicySpec],
        mapping: Callable[..., str] | None,
        to_train: Collection[str] | Callable[..., bool] | None,
    ) -> None:
        """Check all, then go on with these policies."""
        before = self.config, self.info
        config = self.config.copy()
        config.put("policies", dict(specs))
        if mapping is not None:
            config.put("policy_mapping_fn", mapping)
        learning = config.policies_to_train
        if to_train is not None:
            learning = to_train if callable(to_train) else list(to_train)
        elif not (learning is None or callable(learning)):
            learning = [name for name in learning if name in specs]
        config.put("policies_to_train", learning)
        self.info = restoring.checked(config)
        config.freeze()
        self.config = config
        try:
            self._check_placement()
        except BaseException:
            self.config, self.info = before
            raise
        self._start_anew()

    def _start_anew(self) -> None:
        run = self._run
        run.pause()
        state, before = run.state(), self.newest_policy()
        learned = {name: before[name].get_weights() for name in before}
        run.cluster.stop()
        with self._hosts_ready():
            self._prepare(run.record)
            self._run.start()
        fresh = self._run.state()["learner"]
        policies: PolicyMap = self.newest_policy()
        for name in set(learned) & set(policies):
            policies[name].set_weights(learned[name])
        merged = _merged(state["learner"], fresh, policies)
        self._run.load_state({**state, "learner": merged})
        self._run.record.on_event({"event": "policies_changed", "policies": list(policies)})
        self._run.write_status("running")


def _merged(learned: State, fresh: State, policies: PolicyMap) -> State:
    """The learner's state: of policies that stay what was learned, of a new one what it began with.
    `policies` have the weights that belong to that."""
    return {
        **learned,
        "weights": policies.flat_weights(),
        **{
            part: {name: learned[part].get(name, own) for name, own in fresh[part].items()}
            for part in ("update", "filter")
        },
    }


def _weights_of(policy: Any, state: Mapping[str, Any] | None) -> dict[str, np.ndarray] | None:
    """By name, from a policy or from its state: {"weights": {...}}, or the weights alone."""
    if policy is not None:
        return dict(policy.get_weights())
    if state is None:
        return None
    return dict(state.get("weights", state))
