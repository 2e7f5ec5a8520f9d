"""What an import path names: a module, and a name within it, as files and messages have them."""

from __future__ import annotations

import importlib
import sys
from typing import Any


def found(module_name: str, qualname: str) -> Any:
    """`qualname` of a module, imported where it must be; None where there is no such thing.

    `__main__` is the running script: it is looked into, never imported a second time.
    """
    module = sys.modules.get(module_name)
    if module is None and module_name not in ("", "__main__"):
        try:
            module = importlib.import_module(module_name)
        except ImportError:
            return None
    thing: Any = module
    for part in qualname.split("."):
        thing = getattr(thing, part, None)
    return thing


def imported(path: str) -> Any:
    """What `module:Name` names. Raises ImportError, AttributeError, ValueError."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
