"""Settings as users write them: YAML or JSON in files and braces, and KEY=VALUE."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from actorrl.config import accepted, shown
from actorrl.errors import ConfigError
from actorrl.paths import expanded


class _Loader(yaml.SafeLoader):
    """YAML with `1e-4` as a number (YAML 1.1 takes it for text) and no key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.value in seen:
                problem = f"the key {key_node.value!r} is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if isinstance(key_node, yaml.ScalarNode) and key_node.value != "<<":
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*)(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def parse_assignment(text: str) -> tuple[str, Any]:
    """`a.b=1` -> ("a.b", 1); the value is read as YAML, `1e-4` as a number."""
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ConfigError(f"{text}: no key and value found, expected key=value")
    try:
        return key, yaml.load(value, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{key}: {shown(value)} cannot be read ({_yaml_problem(error)}), expected a YAML value"
        ) from None


def load_mapping(text_or_path: str, key: str = "config") -> dict[str, Any]:
    """Settings from inline JSON or YAML (`{...}`), or from a .json, .yaml or .yml file.

    `key` is how the user named the source ("--config"). Raises ConfigError with file and line.
    """
    text = text_or_path.strip()
    if text.startswith("{"):
        return _parse_mapping(text, key, "", json_only=False)
    path = expanded(text_or_path)
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(
            f"{key}: cannot read {text_or_path!r} ({reason}), "
            "expected a .json or .yaml file, or settings in braces such as '{lr: 0.001}'"
        ) from None
    return _parse_mapping(content, key, f"{path} ", json_only=path.suffix.lower() == ".json")


def _parse_mapping(content: str, key: str, where: str, json_only: bool) -> dict[str, Any]:
    try:
        # Nearly all JSON is YAML, and YAML's messages carry the line; tabs are what it refuses.
        loaded = json.loads(content) if json_only else yaml.load(content, Loader=_Loader)
    except json.JSONDecodeError as error:
        problem = f"line {error.lineno}: {error.msg}"
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problem = _yaml_problem(error)
    else:
        if isinstance(loaded, dict):
            return loaded
        problem = f"holds {accepted(type(loaded))}"
    expected = "JSON" if json_only else "YAML or JSON"
    raise ConfigError(f"{key}: {where}{problem}, expected a mapping of settings in {expected}")


def _yaml_problem(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"line {mark.line + 1}: {problem}" if mark is not None else problem
