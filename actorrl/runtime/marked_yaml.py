"""YAML read against msgspec types, so that every mistake is found at once and names its line.

What comes out is plain: a dict of the keys that the text gives, values converted, nested types as
nested dicts. Defaults are left to the caller, who may have more than one layer of them.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable
from typing import Any, get_args, get_origin

import msgspec
import yaml
from msgspec import Meta

from actorrl.config import accepted, did_you_mean
from actorrl.errors import ConfigError

_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SIZE = re.compile(r"([0-9]*\.?[0-9]+)\s*([kmgt]?)(i?)b?", re.IGNORECASE)


class MarkedYaml:
    """One text being read: the mistakes so far, and the line of every key."""

    def __init__(self, content: str, name: str) -> None:
        self.name = name
        self.mistakes: list[tuple[int, str]] = []  # (line, what), in the order found
        self._lines: dict[str, int] = {}
        self._own_keys: dict[int, set[int]] = {}  # of a mapping, before others are merged into it
        self._loader = yaml.SafeLoader(content)

    def read(self, schema: type[msgspec.Struct]) -> dict[str, Any]:
        """The whole text, which has to be one mapping."""
        try:
            node = self._loader.get_single_node()
            if node is None:
                self.wrong(1, "it is empty, expected a mapping")
                return {}
            return self._mapping(node, schema, "")
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            mark = getattr(error, "problem_mark", None)
            problem = getattr(error, "problem", None) or str(error) or "it goes in a circle"
            self.wrong(mark.line + 1 if mark else 1, f"{problem}, expected YAML")
            return {}
        finally:
            self._loader.dispose()

    def wrong(self, line: int, what: str) -> None:
        self.mistakes.append((line, what))

    def line_of(self, path: str) -> int:
        """The line of a key by its path, or of the nearest one above it that is written."""
        while path and path not in self._lines:
            path = path.rpartition(".")[0] or path.partition("[")[0] * ("[" in path)
        return self._lines.get(path, 1)

    def raise_if_any(self) -> None:
        """ConfigError with a line for each mistake, in the order of the text."""
        if self.mistakes:
            lines = [f"{self.name} line {line}: {what}" for line, what in sorted(self.mistakes)]
            raise ConfigError(list(dict.fromkeys(lines)))

    # ---- nodes ---------------------------------------------------------------------------

    def _mapping(self, node: yaml.Node, schema: Any, path: str) -> dict[str, Any]:
        pairs = self._pairs(node, path, "a mapping of keys")
        fields = {field.name: field for field in msgspec.structs.fields(schema)}
        values: dict[str, Any] = {}
        for key, value in pairs:
            inner = f"{path}.{key}" if path else key
            if key not in fields:
                known = did_you_mean(key, fields) or f", accepted are {', '.join(fields)}"
                self.wrong(self._lines[inner], f"{inner}: unknown key{known}")
            elif not _is_null(value):
                self._put(values, key, self._value(value, fields[key].type, inner))
        return values

    def _put(self, values: dict[str, Any], key: str, found: Any) -> None:
        if found is not msgspec.UNSET:
            values[key] = found

    def _pairs(self, node: yaml.Node, path: str, expected: str) -> list[tuple[str, yaml.Node]]:
        """Keys and values of a mapping; a key that is given twice is a mistake."""
        if not isinstance(node, yaml.MappingNode):
            self._refuse(node, path, expected)
            return []
        own = self._own_keys.setdefault(id(node), {id(key) for key, _ in node.value})
        self._loader.flatten_mapping(node)  # `<<: *defaults`; merged keys come first
        pairs: dict[str, yaml.Node] = {}
        seen: set[str] = set()
        for key_node, value in node.value:
            key = str(key_node.value)
            inner = f"{path}.{key}" if path else key
            self._lines[inner] = key_node.start_mark.line + 1
            if id(key_node) in own:
                if key in seen:
                    self.wrong(self._lines[inner], f"{inner}: given twice, expected once")
                seen.add(key)
            pairs[key] = value
        return list(pairs.items())

    def _value(self, node: yaml.Node, annotation: Any, path: str) -> Any:
        """The converted value; UNSET after a mistake."""
        plain = _without_meta(annotation)
        origin, arguments = get_origin(plain), get_args(plain)
        if isinstance(plain, type) and issubclass(plain, msgspec.Struct):
            return self._mapping(node, plain, path)
        if origin is dict:
            pairs = self._pairs(node, path, "a mapping")
            found: dict[str, Any] = {}
            for key, each in pairs:
                self._put(found, key, self._value(each, arguments[1], f"{path}.{key}"))
            return found
        if origin is list and special_of(annotation) is None:
            return self._list(node, arguments[0], path)
        return self._leaf(node, annotation, path)

    def _list(self, node: yaml.Node, of: Any, path: str) -> Any:
        if not isinstance(node, yaml.SequenceNode):
            return self._refuse(node, path, "a list")
        items: list[Any] = []
        for index, item in enumerate(node.value):
            inner = f"{path}[{index}]"
            self._lines[inner] = item.start_mark.line + 1
            short = _short_form(of) if isinstance(item, yaml.ScalarNode) else None
            if short is not None:  # `- cpu1` for `- host: cpu1`
                self._lines[f"{inner}.{short}"] = self._lines[inner]
                items.append({short: item.value})
            else:
                items.append(self._value(item, of, inner))
        return [value for value in items if value is not msgspec.UNSET]

    def _leaf(self, node: yaml.Node, annotation: Any, path: str) -> Any:
        special = special_of(annotation)
        value: Any
        if isinstance(node, yaml.ScalarNode) and (special or _wants_text(annotation)):
            value = node.value  # as written: `name: no`, `env: {X: 1}` are text
        else:
            value = self._loader.construct_object(node, deep=True)
        try:
            if special is not None:
                value = special.read(value)
            return msgspec.convert(value, annotation, strict=False)
        except (msgspec.ValidationError, ValueError):
            expected = special.expected if special is not None else accepted(annotation)
            expected = expected.removesuffix(" or null")
            hint = did_you_mean(str(value), _words(annotation))
            shown = node.value if isinstance(node, yaml.ScalarNode) else value
            line = node.start_mark.line + 1
            self.wrong(line, f"{path}: {shown!r} is not accepted, expected {expected}{hint}")
            return msgspec.UNSET

    def _refuse(self, node: yaml.Node, path: str, expected: str) -> Any:
        found = "a list" if isinstance(node, yaml.SequenceNode) else repr(node.value)
        if isinstance(node, yaml.MappingNode):
            found = "a mapping"
        where = f"{path}: " if path else ""
        line = node.start_mark.line + 1
        self.wrong(line, f"{where}{found} is not accepted, expected {expected}")
        return msgspec.UNSET


# ---- what a type says of its text ----------------------------------------------------------------


class _Special(typing.NamedTuple):
    """A leaf whose text is not its value: named by `extra={"as": ...}` of the field."""

    read: Callable[[Any], Any]
    expected: str


def parse_size(text: Any) -> int | str:
    """`8GB` -> 8_000_000_000, `8GiB` -> 8 * 2**30; a bare number is bytes. `auto` stays."""
    text = str(text).strip()
    if text.lower() == "auto":
        return "auto"
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    base = 1024 if match[3] else 1000
    return round(float(match[1]) * base ** _UNITS[match[2].lower()])


def _parse_ports(text: Any) -> tuple[int, int]:
    first, _, last = str(text).partition("-")
    ports = int(first), int(last or first)
    if not 1024 <= ports[0] <= ports[1] <= 65535:
        raise ValueError(text)
    return ports


def _parse_names(value: Any) -> Any:
    """A list, or names with commas between them; `none` is none."""
    if not isinstance(value, str):
        return value
    names = [name.strip() for name in value.split(",") if name.strip()]
    return [] if names == ["none"] else names


_SPECIAL = {
    "size": _Special(parse_size, "a size such as 8GB or 512MiB"),
    "ports": _Special(_parse_ports, "a range such as 43000-43099, from 1024 to 65535"),
    "names": _Special(_parse_names, "a list of names such as [bastion]"),
}


def metas_of(annotation: Any) -> list[Meta]:
    found = [meta for meta in getattr(annotation, "__metadata__", ()) if isinstance(meta, Meta)]
    if get_origin(annotation) is typing.Annotated:
        return found + metas_of(annotation.__origin__)
    return found + [meta for part in get_args(annotation) for meta in metas_of(part)]


def special_of(annotation: Any) -> _Special | None:
    names = [(meta.extra or {}).get("as") for meta in metas_of(annotation)]
    return next((_SPECIAL[name] for name in names if name is not None), None)


def _without_meta(annotation: Any) -> Any:
    while get_origin(annotation) is typing.Annotated:
        annotation = annotation.__origin__
    return annotation


def _leaves(annotation: Any) -> list[Any]:
    plain = _without_meta(annotation)
    if get_origin(plain) in (typing.Union, types.UnionType):
        return [leaf for part in get_args(plain) for leaf in _leaves(part)]
    return [plain]


def _wants_text(annotation: Any) -> bool:
    return str in _leaves(annotation)


def _words(annotation: Any) -> list[str]:
    literals = [leaf for leaf in _leaves(annotation) if get_origin(leaf) is typing.Literal]
    return [str(word) for literal in literals for word in get_args(literal)]


def _short_form(annotation: Any) -> str | None:
    """The key that a bare text stands for, where the type names one."""
    return getattr(_without_meta(annotation), "SHORT_FORM", None)


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"
