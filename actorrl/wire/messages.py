"""What is said between actors: calls, elements of links and their answers. What is said of them,
between driver, agents and actors, is in `control_messages`.

Messages carry their sender's incarnation, so that nothing from a dead process is taken for the
words of its successor.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec
import numpy as np

PROTOCOL_VERSION = 4


class Kind(enum.IntEnum):
    """What a data message is; the reader of a link or a call decides by it."""

    CALL = 1  # a method is to be run and answered
    TELL = 2  # a method is to be run, no answer
    REPLY = 3  # the value that a call returned
    FAILURE = 4  # the error that a call raised, or why it was not run
    ITEM = 5  # one element of a stream
    CREDIT = 6  # the consumer is done with an element: one more may be sent
    REQUEST = 7  # one request of a request link
    RESPONSE = 8  # its answer
    REPORT = 9  # metrics; may be lost, is counted
    VISIT = 10  # who does not listen is here: what is meant for it goes back on this connection


ANSWERS = (Kind.REPLY, Kind.FAILURE, Kind.CREDIT, Kind.RESPONSE)  # to what the receiver started


class Message(msgspec.Struct):
    """One data message in memory.

    `name` is the method or the link; `number` the call's id or the element's sequence number;
    `arrays` are raw columns (views into a received frame or slab: whoever stores must copy).
    `slot` is the slab slot that holds the arrays, -1 when they travel as frames. `deadline` is on
    this process's monotonic clock. `route` is how an answer finds its way back; only the endpoint
    that received the message reads it.
    """

    kind: Kind
    name: str
    body: Any = None
    arrays: dict[str, np.ndarray] = {}
    number: int = 0
    source: str = ""
    incarnation: int = 0
    deadline: float | None = None
    slot: int = -1
    route: Any = None


class Peer(msgspec.Struct, array_like=True, frozen=True):
    """Where an actor can be reached: its incarnation, its inbox, and its host's agent. From other
    hosts: its TCP inbox, and that of its control lane (empty: the same), by its public key."""

    incarnation: int
    address: str
    host: str
    tcp: str = ""
    key: str = ""
    tcp_control: str = ""
