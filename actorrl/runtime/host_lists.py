"""Host lists of other tools: DeepSpeed's and MPI's hostfile, and `a:4,b:4`.

    gpu1 slots=8      # a host, and how many processes it carries
    gpu2 slots=8

A slot is a process, so slots are taken for the host's cores: they steer spreading and the default
number of workers.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from actorrl.config import did_you_mean
from actorrl.errors import ConfigError
from actorrl.runtime.host_ranges import expand

MAX_SLOTS = 1024  # of one host; more is rather a port

_KEYS = ("slots", "max_slots", "max-slots")


class Listed(NamedTuple):
    """A host as such a list has it."""

    address: str  # one host, ranges expanded
    slots: int | None
    line: int | None  # from 1; None in `a:4,b:4`


def read_inline(text: str) -> list[Listed]:
    """`a:4,b:4`, ranges allowed. Raises ConfigError with a line for each mistake."""
    entries = [entry.strip() for entry in re.split(r",(?![^\[]*\])", text)]
    hosts: list[Listed] = []
    errors: list[str] = []
    for entry in entries:
        address, colon, slots = entry.rpartition(":")
        if not colon:
            address, slots = entry, ""
        try:
            number = _slots(slots, entry) if colon else None
            hosts += [Listed(name, number, None) for name in _expand(address, entry)]
        except ConfigError as error:
            errors += [f"{text!r}: {message}" for message in error.messages]
    if errors:
        raise ConfigError(errors)
    return hosts


def read_hostfile(content: str, path: str) -> list[Listed]:
    """Lines of `host slots=N`; `#` begins a comment. Raises ConfigError with all mistakes."""
    hosts: list[Listed] = []
    errors: list[str] = []
    for number, text in enumerate(content.splitlines(), start=1):
        words = text.partition("#")[0].split()
        if not words:
            continue
        try:
            slots = _slots_of(words[1:])
            address, colon, beside = words[0].rpartition(":")
            if colon and slots is None:  # MPICH writes host:4
                slots = _slots(beside, words[0])
            names = _expand(address if colon else words[0], words[0])
            hosts += [Listed(name, slots, number) for name in names]
        except ConfigError as error:
            errors += [f"{path} line {number}: {message}" for message in error.messages]
    if errors:
        raise ConfigError(errors)
    return hosts


def _slots_of(words: list[str]) -> int | None:
    found: int | None = None
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in _KEYS:
            hint = did_you_mean(key, ["slots"])
            raise ConfigError(f"{word!r} is not accepted{hint or ','} expected `host slots=8`")
        if key == "slots":
            found = _slots(value, word)
    return found


def _slots(text: str, entry: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(
            f"{entry!r}: {text!r} slots are not accepted, expected a whole number >= 1"
        )
    if int(text) > MAX_SLOTS:
        raise ConfigError(
            f"{entry!r}: {text} slots are not accepted, expected at most {MAX_SLOTS} (a port is "
            "written in cluster.yml or in ~/.ssh/config)"
        )
    return int(text)


def _expand(address: str, entry: str) -> list[str]:
    if not address:
        raise ConfigError(f"{entry!r} names no host, expected a list such as gpu1:4,gpu2:4")
    return expand(address)
