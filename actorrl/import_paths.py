"""What an import path names: a module, and a name within it, as files and messages have them."""

from __future__ import annotations

import importlib
import re
import sys
import traceback
from typing import Any

VERSION = re.compile(r"-v\d+$")  # what ends one of Gymnasium's ids


def found(module_name: str, qualname: str) -> Any:
    """`qualname` of a module, imported where it must be; None where there is no such thing.

    `__main__` is the running script: it is looked into, never imported a second time.
    """
    module = sys.modules.get(module_name)
    if module is None and module_name not in ("", "__main__"):
        try:
            module = module_of(module_name)
        except ImportError:
            return None
    thing: Any = module
    for part in qualname.split("."):
        thing = getattr(thing, part, None)
    return thing


def is_versioned(name: str) -> bool:
    """Has a text the form of Gymnasium's ids, `Name-v0` or `module:Name-v0`, which is no path?"""
    return VERSION.search(name) is not None


def imported(path: str) -> Any:
    """What `module:Name` names. Raises ImportError, AttributeError, ValueError."""
    module, _, name = path.partition(":")
    return getattr(module_of(module), name)


def module_of(name: str) -> Any:
    """Imported. Raises ImportError, whatever the module itself raises; its text says what and
    where."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise
    except (Exception, SystemExit) as error:  # a script that ends itself
        at = traceback.extract_tb(error.__traceback__)[-1]
        where = "" if isinstance(error, SyntaxError) else f" ({at.filename}, line {at.lineno})"
        raise ImportError(f"{name} raises {type(error).__name__}: {error}{where}") from error


def read(key: str, given: Any, expected: str) -> tuple[Any, list[str]]:
    """What a setting holds, imported where it is a path, and what is wrong with that."""
    if not isinstance(given, str):
        return given, []
    try:
        return imported(given), []
    except (ImportError, AttributeError, ValueError) as error:
        return None, [f"{key}: {given!r} cannot be imported ({error}), expected {expected}"]
