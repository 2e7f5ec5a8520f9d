"""Keys of CURVE: who somebody is, on a TCP connection.

A pair belongs to one process's one incarnation. It is made by the driver and reaches its owner over
standard input or an encrypted connection; it is never written into a file, an argument, the
environment or a log.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import zmq

KEY_LENGTH = 40  # characters of Z85


class KeyPair(msgspec.Struct, frozen=True, array_like=True):
    """Both halves as Z85 text. Printing one shows the public half only."""

    public: str
    secret: str

    @classmethod
    def new(cls) -> KeyPair:
        public, secret = zmq.curve_keypair()
        return cls(public.decode("ascii"), secret.decode("ascii"))

    def __repr__(self) -> str:
        return f"KeyPair({self.public!r})"

    __str__ = __repr__


class Owner(NamedTuple):
    """Whose key it is."""

    name: str
    incarnation: int
