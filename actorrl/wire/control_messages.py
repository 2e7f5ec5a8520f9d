"""What driver, agents and actors say of processes. Tagged structs; who sends them to whom is said
above them, and they carry the incarnation of whom they speak."""

from __future__ import annotations

import math

import msgspec

from actorrl.errors import WireError
from actorrl.wire.keys import KeyPair
from actorrl.wire.messages import Peer
from actorrl.wire.sockets import TcpDoor


class AgentConfig(msgspec.Struct, kw_only=True):
    """driver -> agent, once, over the agent's standard input, after its length in 8 bytes.

    An agent of the driver's own host has the driver's pid to watch and the run's directory; of
    another host it has keys, makes a directory of its own, and standard input stays open: where it
    ends, the line to the driver is broken.
    """

    run_id: str
    host: str
    incarnation: int
    driver_address: str
    beat_address: str
    log_dir: str
    preload: list[str]
    slots: list[str]  # all names that it may come to carry
    expects_actors: bool = False  # there is no other host for them: what they need is imported now
    driver_pid: int = 0  # 0: not on this machine
    socket_dir: str = ""  # empty: it makes one
    driver_key: str = ""  # public
    tcp: TcpDoor | None = None  # its own door to other hosts; None: there are none
    lease_s: float = 30.0
    memory_limit: int = 0  # bytes of its own; 0: the part of its host's that a run may use


class ActorSpec(msgspec.Struct, kw_only=True):
    """What a child needs to become an actor. `blob` is cloudpickled by the driver; only the actor
    itself opens it."""

    name: str
    incarnation: int
    host: str
    address: str
    agent_address: str
    agent_pid: int
    memory_address: str
    log_file: str
    blob: bytes
    gpus: list[str] = []
    tcp: TcpDoor | None = None  # its door to other hosts
    callers: list[str] = []  # of other hosts: who may call it
    beat_index: int = -1  # of its word in the agent's table of beats; -1: nobody watches
    progress_limit_s: float = math.inf  # without a beat for so long it is killed
    seen: dict[str, tuple[int, int]] = {}  # see StartActor


# ---- driver -> agent ------------------------------------------------------------------------


class StartActor(msgspec.Struct, tag=True):
    name: str
    incarnation: int
    blob: bytes
    fresh_interpreter: bool
    gpus: list[str]
    progress_limit_s: float  # without a beat for so long it is killed
    keys: KeyPair | None = None  # of this incarnation, where there are other hosts
    listens: bool = True  # to other hosts; else it visits them
    callers: list[str] = []
    seen: dict[str, tuple[int, int]] = {}  # of states that it writes: version and epoch that
    # readers have had of its predecessor, perhaps on other hosts
    memory_limit: int = 0  # bytes of its own; who holds more is ended. 0: nobody looks


class KillActor(msgspec.Struct, tag=True):
    name: str
    incarnation: int


class Peers(msgspec.Struct, tag=True):
    """The whole table of live actors; also agent -> actor."""

    table: dict[str, Peer]


class RelayPlan(msgspec.Struct, tag=True):
    """Which agents pass versioned state on: `pulls` is link -> agent of its writer's host."""

    agents: dict[str, Peer]
    pulls: dict[str, str]


class Beat(msgspec.Struct, tag=True):
    """Once a second, on a socket of its own, and sent back as it came. `cpu` is a part of all
    cores, `memory` of the host's memory."""

    host: str
    incarnation: int
    cpu: float = 0.0
    memory: float = 0.0


class StopAll(msgspec.Struct, tag=True):
    """Stop every actor within `grace_s` seconds, then leave; also agent -> actor."""

    grace_s: float


class Lifeline(msgspec.Struct, tag=True):
    """The agent's lifeline broke: from now on it is this process of its host."""

    pid: int


class DumpStack(msgspec.Struct, tag=True):
    """Have the stacks of all threads written into the actor's log."""

    name: str


# ---- agent -> driver ------------------------------------------------------------------------


class AgentHello(msgspec.Struct, tag=True):
    """Also after its connection was broken: `running` are those that it has, name and incarnation.
    `tcp` is where other agents reach it."""

    host: str
    incarnation: int
    pid: int
    protocol: int
    num_cpus: int
    memory_bytes: int
    gpus: list[str] = []
    running: list[tuple[str, int]] = []
    tcp: str = ""
    log_dir: str = ""


class ActorExited(msgspec.Struct, tag=True):
    """`code` is the exit code, negative for a signal; `log_tail` the end of its log; `rss_bytes`
    what it held when last looked at, 0 if nobody did. `over_limit`: bytes of its own and the limit
    of them for which its agent has ended it."""

    name: str
    incarnation: int
    code: int
    log_tail: str
    rss_bytes: int = 0
    out_of_memory: bool = False  # the kernel has killed for want of memory
    over_limit: tuple[int, int] | None = None


class ActorSilent(msgspec.Struct, tag=True):
    """It has made no progress for so long. Its stack is in its log; at the limit it is killed."""

    name: str
    incarnation: int
    seconds: float
    at_limit: bool


class AgentStopped(msgspec.Struct, tag=True):
    """All actors are gone; `killed` had to be killed, `unkillable` are still there."""

    killed: list[str]
    unkillable: list[int]


class Stack(msgspec.Struct, tag=True):
    """What DumpStack has brought."""

    name: str
    text: str


class Health(msgspec.Struct, tag=True):
    """Every other second: actor -> cores that it used since, and bytes that it holds; `malformed`
    control messages have come to the agent since its start."""

    actors: dict[str, tuple[float, int]]
    malformed: int = 0


class LogLines(msgspec.Struct, tag=True):
    """What an actor of another host has written, as far as it may; `left_out` lines were more."""

    name: str
    text: str
    left_out: int


# ---- actor -> agent -> driver ---------------------------------------------------------------


class ActorHello(msgspec.Struct, tag=True):
    name: str
    incarnation: int
    pid: int
    address: str
    tcp: str = ""


class ActorReady(msgspec.Struct, tag=True):
    name: str
    incarnation: int


class ActorFailed(msgspec.Struct, tag=True):
    """Why the actor is about to end. `fatal`: starting it again would not help."""

    name: str
    incarnation: int
    type_name: str
    message: str
    traceback: str
    user_traceback: str
    fatal: bool


Detail = str | int | float | bool | list[str] | None


class ActorEvent(msgspec.Struct, tag=True):
    """Something that the run's events.jsonl is to keep, such as what a fault has lost."""

    name: str
    incarnation: int
    event: str
    details: dict[str, Detail]


class Traffic(msgspec.Struct, tag=True):
    """Every few seconds, where something has changed: `Endpoint.metrics`, and what was dropped for
    which reason, both since the start of that incarnation. An agent tells its own as
    `agent/HOST`."""

    name: str
    incarnation: int
    counts: dict[str, int]
    drops: dict[str, int] = {}


Control = (
    StartActor
    | KillActor
    | Peers
    | StopAll
    | DumpStack
    | Lifeline
    | AgentHello
    | ActorExited
    | ActorSilent
    | AgentStopped
    | ActorHello
    | ActorReady
    | ActorFailed
    | ActorEvent
    | Beat
    | RelayPlan
    | LogLines
    | Stack
    | Health
    | Traffic
)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Control)


def encode_config(config: AgentConfig) -> bytes:
    """With its length in front, since standard input may go on."""
    payload = msgspec.msgpack.encode(config)
    return len(payload).to_bytes(8, "big") + payload


def encode_control(message: Control) -> bytes:
    return _encoder.encode(message)


def decode_control(frame: bytes | memoryview) -> Control:
    """Raises WireError for bytes that are no control message."""
    try:
        return _decoder.decode(frame)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise WireError(f"not a control message: {error}") from None
