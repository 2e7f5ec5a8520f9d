"""What the user asked for, out of flags and files: settings, stop criteria, and names.

All mistakes are gathered before one ConfigError is raised, and nothing is created before that.
Later sources win: the tuned file, --config, --set, then flags of their own (--workers).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from actorrl.cli.options import written
from actorrl.cli.settings_text import load_mapping, parse_assignment
from actorrl.cli.tuned_file import TunedFile, read_tuned_file
from actorrl.config import did_you_mean
from actorrl.errors import ConfigError

if TYPE_CHECKING:
    from actorrl.algorithms.config import AlgorithmConfig
    from actorrl.runtime.host_specs import ClusterSpec

# Algorithms of the contract; those that the registry does not name are not built yet.
CONTRACT_NAMES = (
    "A3C", "A2C", "PG", "PPO", "APPO", "IMPALA", "DQN", "APEX", "DDPG", "TD3", "APEX_DDPG", "SAC",
    "ES", "ARS", "BC", "MARWIL", "CQL", "R2D2",
)  # fmt: skip

# Options that are settings under a shorter name.
_SETTINGS = {"env": "env", "workers": "num_workers", "hosts": "hosts", "seed": "seed"}


class Request(NamedTuple):
    """A run as it was asked for, checked as far as that goes without making an environment."""

    algo: str
    config: AlgorithmConfig
    stop: dict[str, Any]
    results: str | None
    checkpoint_freq: int | None  # training iterations


class Mistakes:
    """Gathers error lines from sources that raise them and sources that return them."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def of(self, read: Any, *arguments: Any, otherwise: Any = None, **keywords: Any) -> Any:
        """`read(...)`, or `otherwise` when it raised a ConfigError, whose lines are kept."""
        try:
            return read(*arguments, **keywords)
        except ConfigError as error:
            self.lines.extend(error.messages)
            return otherwise

    def raise_if_any(self) -> None:
        if self.lines:
            # The same mistake may show in two checks (an unknown environment).
            raise ConfigError(list(dict.fromkeys(self.lines)))


def read_request(arguments: Sequence[str], flags: Mapping[str, Any]) -> Request:
    """`flags` are the values of click's options by their names in options.py."""
    mistakes = Mistakes()
    read: TunedFile | None = TunedFile("")
    if flags["file"] is not None:
        read = mistakes.of(read_tuned_file, flags["file"])
    tuned = read or TunedFile("")
    algo_key = written("algo", arguments) if flags["algo"] else "run" if tuned.algo else "--algo"
    algo = None
    if flags["algo"] or read is not None:  # what an unread file names is not missing
        algo = mistakes.of(algorithm_name, flags["algo"] or tuned.algo, algo_key)
    stop = {**tuned.stop, **mistakes.of(read_stop, flags.get("stop", ()), otherwise={})}
    mistakes.lines.extend(_check_stop(stop))
    settings = _settings(arguments, flags, tuned, mistakes)
    config = _configure(algo, settings, mistakes) if algo is not None else None
    if config is not None and flags.get("redis_address"):
        key = written("redis_address", arguments)
        config.note(
            f"{key}: there is no cluster to join, a run starts its own actors: here, or on"
            " the machines of --hosts FILE"
        )
    if read is not None or any(key == "env" for _, key, _ in settings):
        _check_env(settings, mistakes)
    mistakes.raise_if_any()
    assert algo is not None and config is not None
    freq = flags.get("checkpoint_freq")
    return Request(
        algo=algo,
        config=config,
        stop=stop,
        results=flags.get("results") or tuned.results,
        checkpoint_freq=tuned.checkpoint_freq if freq is None else freq,
    )


def algorithm_name(word: str | None, key: str = "--algo") -> str:
    """The registry's spelling of an algorithm, whose letter case does not count; or the import path
    of one's own."""
    from actorrl.algorithms.registry import algorithm_class, names

    built = {name.upper(): name for name in names()}
    if word is None:
        raise ConfigError(f"{key}: missing, one of {', '.join(built.values())} is accepted")
    if ":" in word:
        try:
            algorithm_class(word)
        except ConfigError as error:
            raise ConfigError(_renamed(error.messages, "algo", key)) from None
        return word
    if word.upper() in built:
        return built[word.upper()]
    if word.upper() in CONTRACT_NAMES:
        raise ConfigError(f"{key}: {word} is not built yet, built are {', '.join(built.values())}")
    hint = did_you_mean(word, [*built.values(), *CONTRACT_NAMES])
    raise ConfigError(
        f"{key}: unknown algorithm {word!r}{hint or ','} built are {', '.join(built.values())}"
    )


def read_stop(texts: Sequence[str]) -> dict[str, Any]:
    """--stop: `key=value` each, or RLlib's JSON, `{"episode_reward_mean": 450}`."""
    stop: dict[str, Any] = {}
    mistakes = Mistakes()
    for text in texts:
        if text.lstrip().startswith("{"):
            stop.update(mistakes.of(load_mapping, text, key="--stop", otherwise={}))
        else:
            key, value = mistakes.of(parse_assignment, text, otherwise=("", None))
            stop.update({key: value} if key else {})
    mistakes.raise_if_any()
    return stop


def _check_stop(stop: Mapping[str, Any]) -> list[str]:
    from actorrl.experiment.stop import check_stop

    return check_stop({str(key): value for key, value in stop.items()})


def _settings(
    arguments: Sequence[str], flags: Mapping[str, Any], tuned: TunedFile, mistakes: Mistakes
) -> list[tuple[str, str, Any]]:
    """(key as the user wrote it, key of the config, value), in the order of application."""
    settings = [(str(key), str(key), value) for key, value in tuned.config.items()]
    if tuned.env is not None:
        settings.append(("env", "env", tuned.env))
    if flags["config"] is not None:
        loaded = mistakes.of(load_mapping, flags["config"], key="--config", otherwise={})
        settings.extend((str(key), str(key), value) for key, value in loaded.items())
    for text in flags["assignments"]:
        key, value = mistakes.of(parse_assignment, text, otherwise=("", None))
        settings.extend([(key, key, value)] if key else [])
    for option, key in _SETTINGS.items():
        if flags.get(option) is not None:
            settings.append((written(option, arguments), key, flags[option]))
    framework = flags["framework"] or ("torch" if flags["torch"] else None)
    if framework is not None:
        settings.append((written("framework", arguments), "framework", framework))
    return settings


def _configure(
    algo: str, settings: list[tuple[str, str, Any]], mistakes: Mistakes
) -> AlgorithmConfig:
    from actorrl.algorithms.registry import config_class
    from actorrl.runtime.hosts import load_cluster

    config = config_class(algo)()
    for key_written, key, value in settings:
        if key == "hosts" and value is not None:
            value = mistakes.of(load_cluster, value, key=key_written)
        mistakes.lines.extend(_renamed(config.change({key: value}), key, key_written))
    mistakes.lines.extend(config.validate())
    return config


def _check_env(settings: list[tuple[str, str, Any]], mistakes: Mistakes) -> None:
    """That the environment exists; what it does is tried by `build`."""
    named = [(key_written, value) for key_written, key, value in settings if key == "env"]
    if not named:
        mistakes.lines.append("--env: missing, expected an environment (`actorrl list envs`)")
        return
    from actorrl.envs.registry import resolve

    key_written, env = named[-1]
    found = Mistakes()
    found.of(resolve, env)
    mistakes.lines.extend(_renamed(found.lines, "env", key_written))


def _renamed(lines: list[str], key: str, key_written: str) -> list[str]:
    return [f"{key_written}{line.removeprefix(key)}" for line in lines]


class ResumeRequest(NamedTuple):
    """What a resumed run is to do otherwise; None: as before."""

    stop: dict[str, Any] | None
    hosts: ClusterSpec | None


def read_resume(flags: Mapping[str, Any]) -> ResumeRequest:
    """Raises ConfigError with all mistakes of the flags."""
    from actorrl.runtime.hosts import load_cluster

    mistakes = Mistakes()
    stop: dict[str, Any] = mistakes.of(read_stop, flags["stop"], otherwise={})
    mistakes.lines.extend(_check_stop(stop))
    hosts = None
    if flags["hosts"] is not None:
        hosts = mistakes.of(load_cluster, flags["hosts"], key="--hosts")
    if flags["workers"] is not None and flags["workers"] < 0:
        wrong = f"{flags['workers']} is not accepted, expected a whole number >= 0"
        mistakes.lines.append(f"--workers: {wrong}")
    mistakes.raise_if_any()
    return ResumeRequest(stop or None, hosts)
