"""Classes and functions of the user in files: as import paths, never as bytes.

A checkpoint names an environment class by its import path. One that has none (defined in a script,
a lambda) is recorded as needed, and whoever loads the checkpoint is asked for it by name.
"""

from __future__ import annotations

from typing import Any

from actorrl import import_paths
from actorrl.errors import CheckpointError

_WHAT = {"env": "the environment", "policy_mapping_fn": "the function"}


def to_name(thing: Any) -> str:
    """A text for files: the environment's own name, or `module:qualname`. What is not found under
    that (a bound method, a partial, an object that is called) has a name that nothing is found
    under."""
    if isinstance(thing, str):
        return thing
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    module, qualname = getattr(named, "__module__", None), named.__qualname__
    found = import_paths.found(str(module), qualname)
    return f"{module}:{qualname}{'' if found is None or found is thing else ' (an object)'}"


def from_name(name: str, given: Any = None, key: str = "env") -> Any:
    """The inverse. `given`, what the caller passes as `key`, wins. Raises CheckpointError."""
    if given is not None:
        return given
    module_name, colon, qualname = name.partition(":")
    if not colon or import_paths.is_versioned(name):
        return name
    found = import_paths.found(module_name, qualname)
    if found is None:
        name = qualname.rpartition(".")[2]
        typed = f" (on the command line: --env module:{name})" if key == "env" else ""
        raise CheckpointError(
            f"this checkpoint needs {_WHAT.get(key, key)} {qualname} (of {module_name}), which"
            f" cannot be imported here: pass it as {key}={name}{typed}"
        )
    return found
