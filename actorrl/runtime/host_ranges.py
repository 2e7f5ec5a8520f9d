"""`cpu[01-08].lab` -> cpu01.lab ... cpu08.lab, as Slurm writes it; and the parts of an address."""

from __future__ import annotations

import itertools
import re
from typing import NamedTuple

from actorrl.errors import ConfigError

MAX_HOSTS = 1024  # of one range: more is a slip of the pen

_BRACKETS = re.compile(r"\[([^\[\]:]*)\]")  # a colon inside: an IPv6 address
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.%\w]*")


def expand(text: str) -> list[str]:
    """All names that `text` stands for, in order. Raises ConfigError saying what is wrong."""
    pieces = _BRACKETS.split(text)  # text, inside, text, inside, ..., text
    if any(_is_open(piece) for piece in pieces[::2]):
        raise ConfigError(f"{text!r}: a bracket is not closed, expected a range such as [01-08]")
    choices = [
        _numbers(piece, text) if index % 2 else [piece] for index, piece in enumerate(pieces)
    ]
    count = 1
    for choice in choices:
        count *= len(choice)
    if count > MAX_HOSTS:
        raise ConfigError(f"{text!r} stands for {count} hosts, at most {MAX_HOSTS} are accepted")
    return ["".join(parts) for parts in itertools.product(*choices)]


def _is_open(piece: str) -> bool:
    return re.search(r"[\[\]]", re.sub(r"\[[^\[\]]*:[^\[\]]*\]", "", piece)) is not None


def _numbers(inside: str, text: str) -> list[str]:
    numbers: list[str] = []
    for part in inside.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:\s*-\s*(\d{1,9}))?\s*", part)
        if match is None:
            raise ConfigError(
                f"{text!r}: {part!r} is no range, expected one such as [01-08] or [1,3-5]"
            )
        first, last = match[1], match[2] or match[1]
        if int(first) > int(last):
            raise ConfigError(
                f"{text!r}: the range {part.strip()} runs backwards, expected {last}-{first}"
            )
        if int(last) - int(first) >= MAX_HOSTS:
            wrong = f"{int(last) - int(first) + 1} hosts, at most {MAX_HOSTS} are accepted"
            raise ConfigError(f"{text!r}: the range {part.strip()} stands for {wrong}")
        if len(first) > len(last):
            meant = f"{first}-{last.zfill(len(first))}"
            raise ConfigError(f"{text!r}: {part.strip()} ends with fewer digits, expected {meant}")
        width = len(first) if first.startswith("0") else 0
        numbers += [str(number).zfill(width) for number in range(int(first), int(last) + 1)]
    return numbers


class Address(NamedTuple):
    """The parts of `[user@]host[:port]`; None where it says nothing."""

    host: str
    port: int | None = None
    user: str | None = None


def parse_address(text: str) -> Address:
    """Raises ConfigError saying what is wrong."""
    user, at, rest = text.rpartition("@")
    if at and not user:
        raise ConfigError(f"{text!r} names no user before '@', expected [user@]host[:port]")
    host, port = _split_port(rest)
    if not (_NAME.fullmatch(host) or _IPV6.fullmatch(host)):
        raise ConfigError(f"{text!r} is no address, expected [user@]host[:port]")
    return Address(host, _port(port, text), user or None)


def _split_port(text: str) -> tuple[str, str | None]:
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::(.*))?", text)
    if bracketed:
        return bracketed[1], bracketed[2]
    if text.count(":") > 1:  # a bare IPv6 address
        return text, None
    host, colon, port = text.partition(":")
    return host, port if colon else None


def _port(text: str | None, address: str) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise ConfigError(
            f"{address!r}: the port {text!r} is not accepted, expected a number from 1 to 65535"
        )
    return int(text)
