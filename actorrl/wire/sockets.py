"""The only file with ZeroMQ options.

One thread owns each socket. High-water marks are fuses: flow is controlled by credit. Sockets in
the file system are protected by their directory; those on TCP by CURVE, or they bind loopback only.
"""

from __future__ import annotations

import errno
import ipaddress
import itertools
import platform
from typing import Literal

import msgspec
import zmq

from actorrl.errors import WireError
from actorrl.wire.chunks import CHUNK_BYTES, MAX_FRAME_BYTES
from actorrl.wire.keys import KeyPair

HIGH_WATER_MARK = 4096  # messages per peer; reached only if credit fails
LINGER_MS = 1000  # what was sent before a clean end still leaves
MAX_SOCKETS = 8192  # per context; ZeroMQ's own 1023 is fewer than one learner may have peers

# TCP. Both ends give up a handshake after the same time: long enough for a machine that is busy
# with its start, short enough for the one who dials to say within 5 s what is wrong.
MAX_TCP_FRAME_BYTES = CHUNK_BYTES + 256  # with what CURVE adds
HANDSHAKE_MS = 4000
CONNECT_TIMEOUT_MS = 2500
RECONNECT_MS = 100
MAX_RECONNECT_MS = 2000
HEARTBEAT_MS = 2000
HEARTBEAT_TIMEOUT_MS = 6000
_KEEPALIVE_IDLE_S = 30
_KEEPALIVE_INTERVAL_S = 10
_KEEPALIVE_COUNT = 3
# what the system may hold of a connection: on a slow link a heartbeat, or a call, waits behind it
_SEND_BUFFER_BYTES = 1 << 20
_BACKLOG = 512
_MONITOR_EVENTS = 20_000  # that may wait for who reads them: beyond, ZeroMQ's own thread would

_monitor_numbers = itertools.count()
_DIALLED_EVENTS = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_CONNECT_DELAYED
    | zmq.EVENT_CONNECT_RETRIED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)
# a refused key (FAILED_AUTH) is counted by who has refused it
_LISTENER_EVENTS = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL


class TcpDoor(msgspec.Struct, frozen=True, kw_only=True):
    """Where and as whom a process listens on TCP, and as whom it dials."""

    keys: KeyPair
    bind: str = "127.0.0.1"  # an address of this host, or 0.0.0.0
    ports: tuple[int, int] = (43000, 43099)  # the first free one is taken, both ends included
    advertise: str = ""  # the address that others dial; empty: the same as `bind`
    security: Literal["curve", "none"] = "curve"
    listens: bool = True  # False: it dials only, and whoever wants to reach it waits for that


def new_context() -> zmq.Context:
    """Made after a process has started, never before a fork."""
    context = zmq.Context()
    context.set(zmq.MAX_SOCKETS, MAX_SOCKETS)
    return context


def router(context: zmq.Context, address: str) -> zmq.Socket:
    """An inbox within the host: bound, one per process, answers by routing id."""
    _check_local(address)
    socket = _inbox(context)
    _bind(socket, address)
    return socket


def dealer(context: zmq.Context, address: str) -> zmq.Socket:
    """A line to an inbox within the host."""
    _check_local(address)
    socket = context.socket(zmq.DEALER)
    _common(socket, MAX_FRAME_BYTES)
    socket.connect(address)
    return socket


def _check_local(address: str) -> None:
    if not address.startswith(("ipc://", "inproc://")):
        raise WireError(f"{address} is open to others: TCP sockets take keys")


def tcp_router(context: zmq.Context, door: TcpDoor, domain: str) -> tuple[zmq.Socket, str]:
    """An inbox for other hosts, and the address that they dial. Its context's doorkeeper says whose
    key is in `domain`. Raises WireError if no port of the range is free, or if anybody could reach
    it without a key."""
    if door.security == "none" and not is_loopback(door.bind):
        raise WireError(
            f"network.security is 'none', so only loopback may be bound, not {door.bind}:"
            " everybody there could feed and read this run; use security: curve"
        )
    socket = _inbox(context, MAX_TCP_FRAME_BYTES)
    _tcp(socket, door.bind)
    socket.setsockopt(zmq.BACKLOG, _BACKLOG)
    if door.security == "curve":
        socket.curve_server = True
        socket.curve_secretkey = door.keys.secret.encode()
        socket.setsockopt(zmq.ZAP_DOMAIN, domain.encode())
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # no doorkeeper: nobody comes in
    port = _bind_first_free(socket, door)
    return socket, tcp_address(door.advertise or door.bind, port)


def tcp_dealer(
    context: zmq.Context, address: str, server_key: str, door: TcpDoor
) -> tuple[zmq.Socket, zmq.Socket]:
    """A line to an inbox of another host, whose public key is `server_key`; and its monitor."""
    socket = context.socket(zmq.DEALER)
    watched: zmq.Socket | None = None
    _common(socket, MAX_TCP_FRAME_BYTES)
    _tcp(socket, address)
    socket.setsockopt(zmq.CONNECT_TIMEOUT, CONNECT_TIMEOUT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, MAX_RECONNECT_MS)
    try:
        if door.security == "curve":
            socket.curve_serverkey = server_key.encode()
            socket.curve_publickey = door.keys.public.encode()
            socket.curve_secretkey = door.keys.secret.encode()
        elif not is_loopback(address):
            raise WireError(f"network.security is 'none': {address} is not on this machine")
        watched = monitor(context, socket, _DIALLED_EVENTS)
        socket.connect(address)
    except zmq.ZMQError as error:
        socket.close(linger=0)
        if watched is not None:  # a context with an open socket cannot be ended
            watched.close()
        raise WireError(f"cannot dial {address}: {error}") from None
    except WireError:
        socket.close(linger=0)
        raise
    return socket, watched


def monitor(context: zmq.Context, socket: zmq.Socket, events: int = _LISTENER_EVENTS) -> zmq.Socket:
    """Where a socket says what happens on its connections; for another thread to read."""
    address = f"inproc://monitor-{next(_monitor_numbers)}"
    socket.monitor(address, int(events))
    watched = context.socket(zmq.PAIR)
    watched.setsockopt(zmq.RCVHWM, _MONITOR_EVENTS)
    watched.setsockopt(zmq.LINGER, 0)
    watched.connect(address)
    return watched


def end_monitor(socket: zmq.Socket) -> None:
    """Before the reader of its monitor goes, and before the socket does: ZeroMQ's own thread would
    wait for that reader, for ever and with all connections of the context."""
    socket.disable_monitor()


def zap_handler(context: zmq.Context) -> zmq.Socket:
    """Where ZeroMQ asks whether a key may come in. One per context."""
    socket = context.socket(zmq.ROUTER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.bind("inproc://zeromq.zap.01")
    return socket


def tcp_address(host: str, port: int) -> str:
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def port_of(listener: zmq.Socket) -> int:
    """The port that a TCP inbox has got."""
    endpoint = str(listener.getsockopt_string(zmq.LAST_ENDPOINT))
    return int(endpoint.rpartition(":")[2])


def is_loopback(address: str) -> bool:
    """Whether a host, or a tcp:// address, can be reached from this machine only."""
    host = address.removeprefix("tcp://")
    if address.startswith("tcp://"):
        host = host.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _inbox(context: zmq.Context, max_frame_bytes: int = MAX_FRAME_BYTES) -> zmq.Socket:
    socket = context.socket(zmq.ROUTER)
    _common(socket, max_frame_bytes)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # an answer to a peer that has gone is an error
    return socket


def _common(socket: zmq.Socket, max_frame_bytes: int) -> None:
    socket.setsockopt(zmq.LINGER, LINGER_MS)
    socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
    socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
    socket.setsockopt(zmq.MAXMSGSIZE, max_frame_bytes)


def _tcp(socket: zmq.Socket, address: str) -> None:
    """What both ends of a TCP connection have: a peer that is gone without a word is noticed."""
    socket.setsockopt(zmq.IPV6, int("[" in address or address.count(":") > 2))
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TTL, HEARTBEAT_TIMEOUT_MS)
    socket.setsockopt(zmq.SNDBUF, _SEND_BUFFER_BYTES)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, _KEEPALIVE_IDLE_S)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, _KEEPALIVE_INTERVAL_S)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, _KEEPALIVE_COUNT)


def _bind(socket: zmq.Socket, address: str) -> None:
    try:
        socket.bind(address)
    except zmq.ZMQError:
        socket.close(linger=0)  # a context with an open socket cannot be ended
        raise


def _bind_first_free(socket: zmq.Socket, door: TcpDoor) -> int:
    first, last = door.ports
    for port in range(first, last + 1):
        try:
            socket.bind(tcp_address(door.bind, port))
            return port
        except zmq.ZMQError as error:
            if error.errno != errno.EADDRINUSE:
                socket.close(linger=0)
                raise WireError(f"cannot listen on {door.bind}:{port}: {error}") from None
    socket.close(linger=0)
    raise WireError(
        f"no port of {first}-{last} (network.ports) is free on {platform.node()},"
        f" {door.bind}: another run or program has them; end it (ss -ltnp), or set network:"
        " {ports: FIRST-LAST}"
    )
