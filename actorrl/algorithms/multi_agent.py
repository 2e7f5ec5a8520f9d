"""Which policies a run has, what each is made of, and who acts with which: RLlib's
`multi_agent(...)`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import gymnasium as gym

from actorrl.algorithms.registry import those_with
from actorrl.data.columns import DEFAULT_POLICY
from actorrl.errors import ConfigError
from actorrl.models import registry as models
from actorrl.policies.base import Policy
from actorrl.rollouts.policy_mapping import MappingFn

if TYPE_CHECKING:
    from actorrl.algorithms.config import AlgorithmConfig


class PolicySpec(NamedTuple):
    """One entry of `policies` (RLlib's, also as a plain tuple of four). Spaces that are None are
    found. A class derived from Policy plays beside those that learn (a heuristic), and so does the
    policy of another algorithm, where its class is given: weights come from a run of that one."""

    policy_class: Any = None
    observation_space: gym.Space[Any] | None = None
    action_space: gym.Space[Any] | None = None
    config: Mapping[str, Any] | None = None  # settings that differ from the run's


def specs_of(policies: Any) -> dict[str, PolicySpec]:
    """RLlib's ways to say it: ids, or a dict of None, tuples and specs. Raises ConfigError."""
    if policies is None:
        return {}
    if not isinstance(policies, Mapping):
        if isinstance(policies, str) or not isinstance(policies, Collection):
            raise ConfigError(
                f"policies: {policies!r} is not accepted, expected a dict of policies by id, or a"
                " list of ids"
            )
        policies = dict.fromkeys(policies)
    specs, errors = {}, []
    for name, given in policies.items():
        if not isinstance(name, str) or not name or "/" in name:
            errors.append(f"policies: {name!r} is no policy id, expected a text without '/'")
        elif given is None or (isinstance(given, tuple) and len(given) == len(PolicySpec._fields)):
            spec = PolicySpec(*(given or ()))
            specs[name] = spec._replace(config=_of_a_policy(spec.config))
            errors += class_lines(name, specs[name].policy_class)
            errors += _settings_lines(name, specs[name].config)
        else:
            errors.append(
                f"policies.{name}: {given!r} is not accepted, expected None or (None,"
                " observation_space, action_space, config)"
            )
    if errors:
        raise ConfigError(errors)
    return specs


def _of_a_policy(settings: Any) -> Any:
    """Of a whole config, which RLlib takes too, what a policy can have of its own."""
    of_the_run = getattr(settings, "OF_THE_RUN", None)
    if of_the_run is None:
        return settings
    return {key: value for key, value in settings.items() if key not in of_the_run}


def _settings_lines(name: str, settings: Any) -> list[str]:
    if settings is None or hasattr(settings, "keys"):  # a mapping, or another config
        return []
    return [
        f"policies.{name}: its config {settings!r} is not accepted, expected a dict of settings"
    ]


def class_lines(name: str, policy_class: Any) -> list[str]:
    """What is wrong with the class of a policy."""
    if is_policy(policy_class) and policy_class.__module__.startswith("actorrl.policies."):
        return [
            f"policies.{name}: {policy_class.__name__} is not accepted, expected None (the"
            " algorithm's own policy), or the class of the algorithm that has such policies: one"
            " that plays and does not learn"
        ]
    if policy_class is None or is_policy(policy_class) or is_algorithm(policy_class):
        return []
    return [
        f"policies.{name}: {policy_class!r} is not accepted, expected None (the algorithm's own"
        " policy, with a model of yours where you give one), or a class derived from Policy or"
        " another algorithm's, which plays and does not learn"
    ]


def is_algorithm(policy_class: Any) -> bool:
    return isinstance(policy_class, type) and hasattr(policy_class, "config_class")


def is_policy(policy_class: Any) -> bool:
    return isinstance(policy_class, type) and issubclass(policy_class, Policy)


def learning(config: AlgorithmConfig, names: Iterable[str]) -> list[str]:
    """Those that learn: all of `policies_to_train` that have no class of the user's."""
    specs, wanted = specs_of(config.policies), config.policies_to_train
    names = list(names)
    if callable(wanted):
        wanted = [name for name in names if _learns(wanted, name)]
    own = [name for name in names if specs.get(name, PolicySpec()).policy_class is None]
    return own if wanted is None else [name for name in own if name in wanted]


def _learns(function: Callable[..., Any], name: str) -> bool:
    """RLlib's functions may want a batch beside the id: who learns is settled before any."""
    try:
        inspect.signature(function).bind(name)
    except TypeError:
        return bool(function(name, None))
    except ValueError:  # one of Python's own that does not say what it takes
        pass
    return bool(function(name))


def config_for(config: AlgorithmConfig, name: str) -> Any:
    """The run's settings, or another algorithm's own where its policy plays, with those of one
    policy over them; models that are named are classes in it. Raises ConfigError."""
    spec = specs_of(config.policies).get(name, PolicySpec())
    found = _without_own(config, spec)
    before = found.copy()
    errors = found.change(dict(spec.config or {}))
    errors += [
        f"{key}: is one for all policies of a run, expected it among the run's settings"
        for key in sorted(found.OF_THE_RUN)
        if getattr(found, key) != getattr(before, key)
    ]
    errors += [f"model.{line}" for line in models.resolve(found.model)]
    if errors:
        raise ConfigError([f"policies.{name}.{line}" for line in errors])
    return found


def _without_own(config: AlgorithmConfig, spec: PolicySpec) -> Any:
    """What a policy's own settings go over."""
    return spec.policy_class.config_class() if is_algorithm(spec.policy_class) else config.copy()


def _own_lines(config: AlgorithmConfig, name: str, spec: PolicySpec) -> list[str]:
    """What is wrong with a policy's own settings, beside what is wrong without them."""
    if not spec.config or is_policy(spec.policy_class):
        return []
    try:
        own = config_for(config, name)
    except ConfigError as error:
        return list(error.messages)
    before = _without_own(config, spec)
    for one in (own, before):  # their own lines are those of the run
        one.policies = one.policy_mapping_fn = one.policies_to_train = None
    known = before.validate()
    return [f"policies.{name}.{line}" for line in own.validate() if line not in known]


def mapping_of(config: AlgorithmConfig) -> MappingFn:
    """Agent -> policy. Without a function, the only policy acts for all."""
    if config.policy_mapping_fn is not None:
        function: MappingFn = config.policy_mapping_fn
        return function
    names = list(specs_of(config.policies)) or [DEFAULT_POLICY]
    return functools.partial(_only, names[0])


def _only(name: str, agent: Any) -> str:
    return name


def lines(config: AlgorithmConfig) -> list[str]:
    """What is wrong with the settings of several policies."""
    try:
        specs = specs_of(config.policies)
    except ConfigError as error:
        return list(error.messages)
    wrong = []
    if specs and not type(config).several_policies:
        wrong.append(refusal(config))
    if len(specs) > 1 and config.policy_mapping_fn is None:
        wrong.append(
            f"policy_mapping_fn: missing, expected a function of an agent's id that returns one of"
            f" {', '.join(specs)}"
        )
    if config.policy_mapping_fn is not None and not callable(config.policy_mapping_fn):
        wrong.append(f"policy_mapping_fn: {config.policy_mapping_fn!r} is no function")
    if specs and all(spec.policy_class is not None for spec in specs.values()):
        wrong.append("policies: each has a class of its own and none learns, expected one None")
    for name, spec in specs.items():
        wrong += _own_lines(config, name, spec)
    return wrong + _not_to_train(config.policies_to_train, list(specs) or [DEFAULT_POLICY])


def _not_to_train(to_train: Any, names: list[str]) -> list[str]:
    if to_train is None:
        return []
    if callable(to_train):
        try:
            for name in names:
                _learns(to_train, name)
        except Exception as error:
            return [
                f"policies_to_train: raised {error!r}, expected a function of a policy's id that"
                " says whether it learns (beside the id it gets at most None for a batch)"
            ]
        return []
    if isinstance(to_train, str) or not isinstance(to_train, Collection):
        return [f"policies_to_train: {to_train!r} is not accepted, expected a list of ids"]
    unknown = [name for name in to_train if name not in names]
    return [
        f"policies_to_train: no policy {name!r}, expected of {', '.join(names)}"
        for name in unknown[:1]
    ]


def refusal(config: AlgorithmConfig) -> str:
    """Of several policies, where an algorithm learns one."""
    algo, able = config.algorithm.__name__, those_with("several_policies")
    return f"policies: {algo} learns one policy of one agent; {able} learn several"
