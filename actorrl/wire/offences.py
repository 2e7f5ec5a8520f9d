"""Malformed and false messages, by who has sent them: a slip is forgiven, and whoever goes on is
cut off."""

from __future__ import annotations

import collections
import sys

MAX_OFFENCES = 8  # of one sender, until it is cut off
MAX_SENDERS = 1024  # with a count of their own
_SHOWN = 200  # characters: some of them are the sender's


class Offences:
    """Of all senders to one process, or one of its sockets. `drops` counts them by reason. `where`
    they come from, if it is given, is said on standard error, with the details: at the 1st, 2nd,
    4th, 8th ..., so that nobody can fill a disk with it."""

    def __init__(self, drops: collections.Counter[str], where: str = "") -> None:
        self._drops = drops
        self._where = where
        self._counts: collections.Counter[str] = collections.Counter()
        self._total = 0

    def note(self, sender: str, details: str = "", reason: str = "malformed") -> None:
        """A sender is known by its key, or its connection."""
        self._drops[reason] += 1
        if sender in self._counts or len(self._counts) < MAX_SENDERS:
            self._counts[sender] += 1
        self._total += 1
        if self._where and self._total & (self._total - 1) == 0:
            why = f"{details[:_SHOWN]!a}, {self._total} of the kind so far"
            print(f"warning: {self._where}: {why}", file=sys.stderr, flush=True)

    def is_cut_off(self, sender: str = "") -> bool:
        return self._counts[sender] >= MAX_OFFENCES
