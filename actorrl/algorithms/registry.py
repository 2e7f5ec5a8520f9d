"""Names of algorithms, and nothing else. Importing this file imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorrl import import_paths
from actorrl.algorithms.naming import to_name
from actorrl.config import did_you_mean
from actorrl.errors import ConfigError

if TYPE_CHECKING:
    from actorrl.algorithms.base import Algorithm
    from actorrl.algorithms.config import AlgorithmConfig

_ALGORITHMS = {
    "A2C": "a2c:A2C",
    "A3C": "a3c:A3C",
    "APEX": "apex_dqn:APEX",
    "APPO": "appo:APPO",
    "BC": "bc:BC",
    "DQN": "dqn:DQN",
    "DDPG": "ddpg:DDPG",
    "TD3": "td3:TD3",
    "APEX_DDPG": "apex_ddpg:APEX_DDPG",
    "SAC": "sac:SAC",
    "ES": "es:ES",
    "ARS": "ars:ARS",
    "IMPALA": "impala:IMPALA",
    "PG": "pg:PG",
    "PPO": "ppo:PPO",
}


def names() -> list[str]:
    """The names that `--algo` takes; case does not matter."""
    return list(_ALGORITHMS)


def algorithm_class(name: str) -> type[Algorithm]:
    """A user's own goes by its import path. Raises ConfigError for an unknown name."""
    if ":" in name:
        return _own(name)
    if name.upper() not in _ALGORITHMS:
        raise ConfigError(
            f"algo: unknown algorithm {name!r}{did_you_mean(name.upper(), names())},"
            f" accepted are {', '.join(names())}"
        )
    found: type[Algorithm] = import_paths.imported(
        f"actorrl.algorithms.{_ALGORITHMS[name.upper()]}"
    )
    return found


def _own(path: str) -> type[Algorithm]:
    from actorrl.algorithms.base import Algorithm

    try:
        found = import_paths.imported(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"algo: {path!r} cannot be imported ({error}), expected package.module:Class"
        ) from None
    if isinstance(found, type) and issubclass(found, Algorithm):
        return found
    raise ConfigError(f"algo: {path!r} is not accepted, expected a class derived from Algorithm")


def name_of(algorithm: type[Algorithm]) -> str:
    """The inverse of `algorithm_class`."""
    name = algorithm.__name__
    known = name in _ALGORITHMS and algorithm_class(name) is algorithm
    return name if known else to_name(algorithm)


def config_class(name: str) -> type[AlgorithmConfig]:
    return algorithm_class(name).config_class


def those_with(ability: str) -> str:
    """The algorithms whose config class has it (`several_learners`), for refusals: imports all."""
    return ", ".join(name for name in sorted(names()) if getattr(config_class(name), ability))
