"""RLlib's tuned-example form: one named experiment with run, env, stop and config.

    cartpole-apex:
        run: APEX
        env: CartPole-v1
        stop: {episode_reward_mean: 475}
        config: {num_workers: 2}
        pass: {measure: training, at_least: 475}

`pass` says when the experiment has shown what it is there for: the last `episode_reward_mean` of
`training`, or the mean of `episodes` that are then played, `greedy` or `sampled`. Training itself
does not look at it. `-f` takes such a file, or the name of one that is packaged in
actorrl/examples/.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from actorrl.cli.settings_text import load_mapping
from actorrl.config import did_you_mean
from actorrl.errors import ConfigError
from actorrl.paths import expanded

KEYS = (
    "run", "env", "stop", "config", "checkpoint_freq", "checkpoint_at_end", "num_samples",
    "local_dir", "pass",
)  # fmt: skip
MEASURES = ("training", "greedy", "sampled")


class TunedFile(NamedTuple):
    """One experiment as the file has it; nothing is checked yet but the shape."""

    title: str
    algo: str | None = None
    env: Any = None
    stop: dict[str, Any] = {}
    config: dict[str, Any] = {}
    results: str | None = None
    checkpoint_freq: int | None = None
    criterion: dict[str, Any] = {}  # `pass`


def example_names() -> list[str]:
    """Names of the packaged examples."""
    folder = files("actorrl") / "examples"
    if not folder.is_dir():
        return []
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    )


def read_tuned_file(file_or_example: str) -> TunedFile:
    """The experiment of a file or a packaged example; ConfigError with a line for each mistake."""
    experiments = load_mapping(str(_locate(file_or_example)), key="-f")
    if len(experiments) != 1:
        names = ", ".join(map(str, experiments)) or "none"
        raise ConfigError(f"-f: {file_or_example} holds {names}, expected one experiment in a file")
    title, body = next(iter(experiments.items()))
    if not isinstance(body, dict):
        raise ConfigError(f"{title}: {body!r} is not accepted, expected run, env, stop and config")
    errors = _mistakes(body)
    if errors:
        raise ConfigError(errors)
    return TunedFile(
        title=str(title),
        algo=body.get("run"),
        env=body.get("env"),
        stop=body.get("stop") or {},
        config=body.get("config") or {},
        results=body.get("local_dir"),
        checkpoint_freq=body.get("checkpoint_freq"),
        criterion=body.get("pass") or {},
    )


def _locate(file_or_example: str) -> Path:
    path = expanded(file_or_example)
    if path.exists():
        return path
    names = example_names()
    if file_or_example in names:
        return Path(str(files("actorrl") / "examples" / f"{file_or_example}.yaml"))
    hint = did_you_mean(file_or_example, names) or ", `actorrl list examples` shows the examples"
    raise ConfigError(f"-f: no file and no example called {file_or_example!r}{hint}")


def _mistakes(body: dict[str, Any]) -> list[str]:
    errors = [
        f"{key}: unknown entry of an experiment"
        f"{did_you_mean(str(key), KEYS) or ','} accepted are {', '.join(KEYS)}"
        for key in body
        if key not in KEYS
    ]
    for key in ("stop", "config"):
        if not isinstance(body.get(key) or {}, dict):
            errors.append(f"{key}: {body[key]!r} is not accepted, expected a mapping")
    expected = {"run": str, "local_dir": str, "checkpoint_freq": int, "checkpoint_at_end": bool}
    for key, kind in expected.items():
        if body.get(key) is not None and type(body[key]) is not kind:
            errors.append(f"{key}: {body[key]!r} is not accepted, expected {kind.__name__}")
    if type(body.get("checkpoint_freq")) is int and body["checkpoint_freq"] < 0:
        errors.append(f"checkpoint_freq: {body['checkpoint_freq']} is not accepted, expected >= 0")
    config = body.get("config")
    for key, value in (config if isinstance(config, dict) else {}).items():
        if isinstance(value, dict) and "grid_search" in value:
            errors.append(
                f"{key}: grid_search tries several values, which `actorrl tune` will do and does"
                f" not yet, expected one of them, or none and a run for each with --set {key}=VALUE"
            )
    if body.get("num_samples", 1) != 1:
        errors.append("num_samples: one run per command so far, only 1 is accepted")
    return errors + _mistakes_of_criterion(body.get("pass"))


def _mistakes_of_criterion(criterion: Any) -> list[str]:
    if criterion is None:
        return []
    expected = f"measure ({', '.join(MEASURES)}), at_least and, to play, episodes"
    if not isinstance(criterion, dict) or criterion.get("measure") not in MEASURES:
        return [f"pass: {criterion!r} is not accepted, expected {expected}"]
    unknown = sorted(set(criterion) - {"measure", "at_least", "episodes"})
    if unknown or not isinstance(criterion.get("at_least"), (int, float)):
        return [f"pass: {criterion!r} is not accepted, expected {expected}"]
    return []
