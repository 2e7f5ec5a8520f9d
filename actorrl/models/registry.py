"""Users' own models, action distributions and preprocessors by name. Only this process knows the
names: the driver turns them into classes (`resolve`), which travel to the workers by value."""

from __future__ import annotations

from actorrl import import_paths
from actorrl.config import did_you_mean, shown
from actorrl.models.model_config import ModelConfig

_CALLS = {
    "custom_model": "ModelCatalog.register_custom_model",
    "custom_action_dist": "ModelCatalog.register_custom_action_dist",
    "custom_preprocessor": "ModelCatalog.register_custom_preprocessor",
}
_registered: dict[str, dict[str, type]] = {setting: {} for setting in _CALLS}


def register(setting: str, name: str, cls: type) -> None:
    """Make `name` usable as `model[setting]`; a later class of the same name takes its place."""
    if not isinstance(name, str) or not isinstance(cls, type):
        raise TypeError(f"{_CALLS[setting]} takes a name and a class, not {name!r} and {cls!r}")
    _registered[setting][name] = cls


def resolve(config: ModelConfig) -> list[str]:
    """Put classes in the place of names, in `config` itself; a line for each that is not found.

    Accepted are classes, registered names, "module:Class" and "module.Class". A path that a
    checkpoint names also finds a registered class of that path, or else of that class name.
    """
    lines = []
    for setting in _registered:
        value = getattr(config, setting)
        if value is None or isinstance(value, type):
            continue
        if not isinstance(value, str):
            lines.append(f"{setting}: {shown(value)} is not accepted, expected a class or its name")
            continue
        found = _find(setting, value)
        if found is None:
            lines.append(f"{setting}: {_unknown(setting, value)}")
        else:
            config.put(setting, found)
    return lines


def _find(setting: str, value: str) -> type | None:
    known = _registered[setting]
    if value in known:
        return known[value]
    module_name, _, qualname = value.partition(":") if ":" in value else value.rpartition(".")
    for cls in known.values():
        if (cls.__module__, cls.__qualname__) == (module_name, qualname):
            return cls
    found = import_paths.found(module_name, qualname)
    if isinstance(found, type):
        return found
    alike = [cls for cls in known.values() if cls.__qualname__ == qualname]
    return alike[0] if len(alike) == 1 else None


def _unknown(setting: str, value: str) -> str:
    if ":" in value:
        module_name, _, qualname = value.partition(":")
        name = qualname.rpartition(".")[2]
        return (
            f"the class {qualname} (of {module_name}) cannot be imported here{_why(value)},"
            f" expected it to be registered: {_CALLS[setting]}({name!r}, {name})"
        )
    hint = did_you_mean(value, _registered[setting])
    return (
        f"{value!r} is not registered{hint or ','} expected a class, 'module:Class', or a name "
        f"given to {_CALLS[setting]}"
    )


def _why(path: str) -> str:
    try:
        found = import_paths.imported(path)
    except (ImportError, AttributeError, ValueError) as error:
        return f" ({error})"
    return f" ({type(found).__name__}, no class)"
