"""RLlib's tuned-example form: one named experiment with run, env, stop and config.

    cartpole-apex:
        run: APEX
        env: CartPole-v1
        stop: {episode_reward_mean: 475}
        config: {num_workers: 2}

`-f` takes such a file, or the name of one that is packaged in actorrl/examples/.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from actorrl.config import did_you_mean, load_mapping
from actorrl.errors import ConfigError

KEYS = (
    "run", "env", "stop", "config", "checkpoint_freq", "checkpoint_at_end", "num_samples",
    "local_dir",
)  # fmt: skip


class TunedFile(NamedTuple):
    """One experiment as the file has it; nothing is checked yet but the shape."""

    title: str
    algo: str | None = None
    env: Any = None
    stop: dict[str, Any] = {}
    config: dict[str, Any] = {}
    results: str | None = None
    checkpoint_freq: int | None = None
    checkpoint_at_end: bool = False


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
        checkpoint_at_end=body.get("checkpoint_at_end", False),
    )


def _locate(file_or_example: str) -> Path:
    path = Path(file_or_example).expanduser()
    if path.exists():
        return path
    names = example_names()
    if file_or_example in names:
        return Path(str(files("actorrl") / "examples" / f"{file_or_example}.yaml"))
    hint = did_you_mean(file_or_example, names) or ", `actorrl list examples` shows the examples"
    raise ConfigError(f"-f: no file and no example called {file_or_example!r}{hint}")


def _mistakes(body: dict[str, Any]) -> list[str]:
    errors = [
        f"{key}: unknown entry of an experiment{did_you_mean(str(key), KEYS)}, "
        f"accepted are {', '.join(KEYS)}"
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
    if body.get("num_samples", 1) != 1:
        errors.append("num_samples: one run per command so far, only 1 is accepted")
    return errors
