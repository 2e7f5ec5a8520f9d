"""Settings: typed structs, and the way from values to them with every mistake named at once.

A settings class lives beside its consumer and derives from `Config`:

    class ReplayConfig(Config):
        ALIASES: ClassVar[dict[str, str]] = {"buffer_size": "capacity"}
        capacity: Annotated[
            int, Meta(ge=1, description="rows kept", extra={"unit": "rows"})] = 100_000
        seed: Annotated[int, Meta(ge=0, description="random seed")] | None = None
        hiddens: Annotated[list[int], Meta(description="layer sizes")] = msgspec.field(
            default_factory=lambda: [64, 64])

`extra` may hold "unit". Numeric bounds go on the number inside a union, as at `seed`: msgspec
refuses them on the union. Fields that hold classes or functions are typed `Any`.

`apply` raises nothing on a user's mistake: it returns lines, so that a caller can gather all of
them. A line is `<key as the user wrote it>: <what is wrong>, <what is accepted>`. How settings are
written down is read by `cli/settings_text.py`.
"""

from __future__ import annotations

import copy
import difflib
import numbers
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from actorrl.errors import ConfigError


class Config(msgspec.Struct, kw_only=True, dict=True):
    """Base of all settings. Every field needs a default, a description and, if any, a unit."""

    ALIASES: ClassVar[dict[str, str]] = {}  # other spelling -> field, e.g. RLlib's older names
    # Keys of RLlib without a field here -> the only value accepted: what holds anyway.
    NEUTRAL: ClassVar[dict[str, Any]] = {}

    def validate(self) -> list[str]:
        """Lines about settings that contradict each other; single values are checked by `apply`."""
        return []

    def freeze(self) -> None:
        """From now on setting anything raises, within nested settings too. Copies are not frozen:
        `unshared`, `copy.deepcopy`, pickle."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, Config):
                value.freeze()
        self.__dict__["frozen"] = True

    @property
    def is_frozen(self) -> bool:
        return bool(self.__dict__.get("frozen"))

    def __setattr__(self, name: str, value: Any) -> None:
        """As `config[name] = value`: checked, and by any spelling. Raises ConfigError."""
        self._refuse_if_frozen(name)
        self._set({name: value})

    def put(self, name: str, value: Any) -> None:
        """Set a field to a value that is right, as it is."""
        self._refuse_if_frozen(name)
        msgspec.structs.force_setattr(self, name, value)

    def _refuse_if_frozen(self, name: str) -> None:
        if self.is_frozen:
            raise AttributeError(
                f"{name}: a run was built from this config, and changing it would change nothing;"
                " `config.copy()` can be changed and built"
            )

    def _set(self, settings: Mapping[str, Any]) -> Self:
        """Raises ConfigError."""
        errors = apply(self, settings)
        if errors:
            raise ConfigError(errors)
        return self

    # ---- as RLlib's dicts are used ----------------------------------------------------------

    def __getitem__(self, key: str) -> Any:
        name = self.ALIASES.get(key, key)
        if name not in self.__struct_fields__:
            raise KeyError(key)
        return getattr(self, name)

    def __setitem__(self, key: str, value: Any) -> None:
        self._set({key: value})

    def __contains__(self, key: str) -> bool:
        return self.ALIASES.get(key, key) in self.__struct_fields__

    def get(self, key: str, default: Any = None) -> Any:
        name = self.ALIASES.get(key, key)
        return getattr(self, name) if name in self.__struct_fields__ else default

    def keys(self) -> Iterator[str]:
        return iter(self.__struct_fields__)

    def items(self) -> Iterator[tuple[str, Any]]:
        return ((key, getattr(self, key)) for key in self.__struct_fields__)

    def update(self, settings: Mapping[str, Any]) -> None:
        self._set(settings)


def unshared(value: Any) -> Any:
    """A copy, one level deep, of what can be changed in place: settings (not frozen), dicts, lists.
    Other values as they are."""
    if not isinstance(value, Config | dict | list):
        return value
    copied = copy.copy(value)
    if isinstance(copied, Config):
        copied.__dict__.pop("frozen", None)
    return copied


# ---- from values to a Config --------------------------------------------------------------------


def apply(config: Config, values: Mapping[str, Any], origin: str = "") -> list[str]:
    """Set every good value on `config` and return one line for every bad one.

    Keys are field names, aliases, or dotted paths into nested Configs and dicts. A mapping given
    for a nested Config changes the keys that it names and leaves the others. `origin` is the path
    written before each key in the lines ("model."), for callers that hold a part of the whole.
    """
    errors: list[str] = []
    for key, value in values.items():
        errors.extend(_apply_one(config, str(key), value, f"{origin}{key}"))
    return errors


def _apply_one(config: Config, key: str, value: Any, written: str) -> list[str]:
    head, _, rest = key.partition(".")
    field = _fields(config).get(config.ALIASES.get(head, head))
    if field is None and not rest and head in config.NEUTRAL:
        return _neutral(value, config.NEUTRAL[head], written)
    if field is None:
        return [f"{written}: {_unknown(config, head)}"]
    current = _present(config, field)
    prefix = written[: len(written) - len(rest)] if rest else f"{written}."
    if isinstance(current, Config):
        if rest:
            return apply(current, {rest: value}, prefix)
        if isinstance(value, Mapping):
            return apply(current, value, prefix)
        if type(value) is type(current):
            config.put(field.name, unshared(value))
            return []
        return [f"{written}: {shown(value)} is not accepted, expected a mapping of settings"]
    if rest:
        if not isinstance(current, dict):
            return [f"{written}: {head!r} has no settings inside, expected {accepted(field.type)}"]
        value = _merged(current, rest, value)
    return _convert_and_set(config, field, value, written)


def _neutral(value: Any, wanted: Any, written: str) -> list[str]:
    if value == wanted:
        return []
    return [f"{written}: {shown(value)} is not supported, expected {shown(wanted)}"]


def _convert_and_set(
    config: Config, field: msgspec.structs.FieldInfo, value: Any, written: str
) -> list[str]:
    if isinstance(value, numbers.Number) and hasattr(value, "item"):
        value = value.item()  # one of NumPy's
    try:
        # strict=False: YAML and the shell give '1e-4' and '5' as text.
        converted = msgspec.convert(value, field.type, strict=False)
    except msgspec.ValidationError:
        wanted = accepted(field.type) + did_you_mean(str(value), _choices(field.type))
        return [f"{written}: {shown(value)} is not accepted, expected {wanted}"]
    config.put(field.name, converted)
    return []


def _present(config: Config, field: msgspec.structs.FieldInfo) -> Any:
    """What a field holds; where that should be settings and is not (the constructor takes what it
    is given), its default's."""
    current = getattr(config, field.name)
    if isinstance(current, Config) or field.default_factory is msgspec.NODEFAULT:
        return current
    fresh = field.default_factory()
    if isinstance(fresh, Config):
        config.put(field.name, fresh)
        return fresh
    return current


def _merged(current: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of `current` with `value` at the dotted `path`; mappings on the way are made."""
    head, _, rest = path.partition(".")
    merged = dict(current)
    inner = merged.get(head)
    merged[head] = _merged(inner if isinstance(inner, dict) else {}, rest, value) if rest else value
    return merged


def _unknown(config: Config, word: str) -> str:
    fields = _fields(config)
    spellings = [alias for alias, name in config.ALIASES.items() if name in fields]
    hint = did_you_mean(word, [*fields, *spellings])
    return f"unknown setting{hint or ', `actorrl config ALGO` lists the accepted ones'}"


def _fields(config: Config | type[Config]) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.name: field for field in msgspec.structs.fields(config)}


# ---- words for people ---------------------------------------------------------------------------

_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    dict: "a mapping",
    list: "a list",
    tuple: "a list",
    type(None): "null",
    Any: "any value",
}
_BOUNDS = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))


def accepted(annotation: Any) -> str:
    """What a field of this type takes, in words: "a whole number >= 1 or null"."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return accepted(arguments[0]) + _bounds(annotation.__metadata__)
    if origin in (Union, types.UnionType):
        return " or ".join(accepted(argument) for argument in arguments)
    if origin is Literal:
        return " or ".join(repr(argument) for argument in arguments)
    if origin in (list, tuple) and arguments:
        inner = [accepted(argument) for argument in arguments if argument is not Ellipsis]
        return f"a list of [{', '.join(inner)}{', ...' if Ellipsis in arguments else ''}]"
    return _NAMES.get(origin or annotation, getattr(annotation, "__name__", str(annotation)))


def _bounds(metadata: tuple[Any, ...]) -> str:
    metas = [meta for meta in metadata if isinstance(meta, Meta)]
    bounds = [
        f" {sign} {getattr(meta, name)}"
        for meta in metas
        for name, sign in _BOUNDS
        if getattr(meta, name) is not None
    ]
    return " and".join(bounds)


def _choices(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(argument) for argument in get_args(annotation)]
    return [choice for argument in get_args(annotation) for choice in _choices(argument)]


def shown(value: Any) -> str:
    """The value as the user may recognise it, on one line of bearable length."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The word meant, if one of `words` is close to `word`; letter case does not count."""
    by_lower = {candidate.lower(): candidate for candidate in words}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """The words `, did you mean 'X'?`, or nothing when nothing is close."""
    meant = nearest(word, words)
    return f", did you mean {meant!r}?" if meant is not None else ""


# ---- from a Config to text ----------------------------------------------------------------------


def to_plain(config: Config | Mapping[str, Any]) -> dict[str, Any]:
    """Numbers, text, lists and dicts only, for params.json; classes become "module:Name"."""
    plain: dict[str, Any] = msgspec.to_builtins(config, enc_hook=_plain_value)
    return plain


def _plain_value(value: Any) -> Any:
    if hasattr(value, "tolist"):  # numpy arrays and scalars
        return value.tolist()
    if hasattr(value, "__qualname__"):
        return f"{getattr(value, '__module__', None)}:{value.__qualname__}"  # builtins have none
    return repr(value)
