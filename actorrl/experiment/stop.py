"""When a run ends: result keys with the numbers at which they are reached."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from actorrl.config import did_you_mean
from actorrl.errors import ConfigError
from actorrl.experiment.result_keys import FREE_PREFIXES, NESTED_KEYS, RESULT_KEYS


class StopCriteria:
    """Result keys (nested ones with '/') and the values at which a run ends; the first one wins.

    `criteria` are as the user wrote them: numbers, or text that is a number. ConfigError with one
    line for each mistake.
    """

    def __init__(self, criteria: Mapping[str, Any] | None = None) -> None:
        errors = check_stop(criteria or {})
        if errors:
            raise ConfigError(errors)
        self.targets: dict[str, float] = {key: float(v) for key, v in (criteria or {}).items()}

    def __bool__(self) -> bool:
        return bool(self.targets)

    def reached(self, result: Mapping[str, Any]) -> str | None:
        """The first key whose value in `result` is >= its target. NaN and absent keys are not."""
        for key, target in self.targets.items():
            value = lookup(result, key)
            if value is not None and value >= target:
                return key
        return None

    def describe(self) -> str:
        """The criteria as one text, `episode_reward_mean >= 475 or timesteps_total >= 1000000`."""
        return " or ".join(f"{key} >= {target:g}" for key, target in self.targets.items())


def check_stop(criteria: Mapping[str, Any]) -> list[str]:
    """One line for each mistake in `criteria`, `<key>: <what is wrong>, <what is accepted>`."""
    return [line for key, value in criteria.items() if (line := _check_one(key, value))]


def lookup(result: Mapping[str, Any], key: str) -> float | None:
    """The number at `key` ('/' between levels, or literally in a name), None where there is none.

    None for NaN, too: no criterion is reached by it and no bar can be drawn to it.
    """
    value: Any = result.get(key)
    if value is None:
        value = _descend(result, key)
    if not _holds_number(value):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return None if math.isnan(number) else number


def _descend(result: Mapping[str, Any], key: str) -> Any:
    value: Any = result
    for part in key.split("/"):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


def _check_one(key: str, value: Any) -> str | None:
    if key in NESTED_KEYS:
        return f"{key}: holds several values, a key inside it as in '{key}/NAME' is accepted"
    if key not in RESULT_KEYS and not key.startswith(FREE_PREFIXES):
        known = [name for name in RESULT_KEYS if name not in NESTED_KEYS]
        # Of the mean, the smallest and the largest, all equally near, the mean is usually meant.
        word = f"{key}_mean" if f"{key}_mean" in known else key
        meant = did_you_mean(word, known) or f", one of {', '.join(known)} is accepted"
        return f"{key}: unknown result key{meant}"
    if not _is_number(value):
        return f"{key}: {value!r} is not a number, a number such as 475 or 1e6 is accepted"
    return None


def _holds_number(value: Any) -> bool:
    """A number, or another library's scalar; text is none, though float() would read it."""
    return not isinstance(value, bool) and (
        isinstance(value, int | float) or hasattr(value, "item")
    )


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    try:
        return not math.isnan(float(value))
    except (TypeError, ValueError):
        return False
