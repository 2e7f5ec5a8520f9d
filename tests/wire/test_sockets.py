"""Sockets: TCP only with keys, on the ports that were named, with every option in its place."""

from __future__ import annotations

import contextlib
import platform
import socket as posix

import pytest
import zmq

from actorrl.errors import WireError
from actorrl.wire import sockets
from actorrl.wire.keys import KeyPair
from actorrl.wire.sockets import TcpDoor


@pytest.fixture
def context():
    context = sockets.new_context()
    yield context
    context.destroy(linger=0)


def free_ports(count: int) -> tuple[int, int]:
    """A range of which every port was free a moment ago."""
    for first in range(20_000, 30_000, count):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + count):
                taken = stack.enter_context(posix.socket())
                taken.bind(("127.0.0.1", port))
            return first, first + count - 1
    raise AssertionError("no free ports")


def test_the_first_free_port_of_the_range_is_taken(context):
    first, last = ports = free_ports(3)
    doors = [sockets.tcp_router(context, TcpDoor(keys=KeyPair.new(), ports=ports), f"{i}")
             for i in range(3)]  # fmt: skip
    assert [address for _, address in doors] == [
        f"tcp://127.0.0.1:{port}" for port in range(first, last + 1)
    ]
    with pytest.raises(WireError) as full:
        sockets.tcp_router(context, TcpDoor(keys=KeyPair.new(), ports=ports), "more")
    said = str(full.value)
    assert f"no port of {first}-{last} (network.ports) is free on {platform.node()}, 127." in said
    assert said.endswith("or set network: {ports: FIRST-LAST}")


def test_another_address_than_the_one_bound_can_be_advertised(context):
    door = TcpDoor(keys=KeyPair.new(), bind="0.0.0.0", advertise="gpu1.lab")
    listener, address = sockets.tcp_router(context, door, "d")
    assert address == f"tcp://gpu1.lab:{sockets.port_of(listener)}"
    ipv6 = TcpDoor(keys=KeyPair.new(), advertise="fe80::1")
    assert sockets.tcp_router(context, ipv6, "e")[1].startswith("tcp://[fe80::1]:")


def test_an_address_of_another_machine_cannot_be_bound(context):
    with pytest.raises(WireError, match=r"cannot listen on 192\.0\.2\.1"):
        sockets.tcp_router(context, TcpDoor(keys=KeyPair.new(), bind="192.0.2.1"), "d")


@pytest.mark.parametrize("bind", ["0.0.0.0", "192.0.2.1", "eth0", "::", "*"])
def test_without_keys_nothing_but_loopback_is_bound(context, bind):
    with pytest.raises(WireError, match="only loopback"):
        sockets.tcp_router(context, TcpDoor(keys=KeyPair.new(), bind=bind, security="none"), "d")


def test_without_keys_nothing_but_loopback_is_dialled(context):
    door = TcpDoor(keys=KeyPair.new(), security="none")
    with pytest.raises(WireError, match="not on this machine"):
        sockets.tcp_dealer(context, "tcp://192.0.2.1:43000", "", door)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:5555", "tcp://*:5555", "udp://x:1"])
def test_a_socket_without_keys_cannot_be_had_for_tcp(context, address):
    with pytest.raises(WireError):
        sockets.router(context, address)
    with pytest.raises(WireError):
        sockets.dealer(context, address)


def test_nobody_is_dialled_without_knowing_its_key(context):
    with pytest.raises(WireError, match="cannot dial"):
        sockets.tcp_dealer(context, "tcp://127.0.0.1:43000", "", TcpDoor(keys=KeyPair.new()))


def test_every_option_of_a_tcp_socket_is_set(context):
    door = TcpDoor(keys=KeyPair.new())
    listener, address = sockets.tcp_router(context, door, "inbox")
    line, monitor = sockets.tcp_dealer(context, address, door.keys.public, door)
    monitor.close()
    for socket in (listener, line):
        assert socket.getsockopt(zmq.MECHANISM) == zmq.CURVE
        assert 0 < socket.getsockopt(zmq.MAXMSGSIZE) <= sockets.CHUNK_BYTES + 1024
        assert 0 < socket.getsockopt(zmq.HANDSHAKE_IVL) < 5000
        assert 0 < socket.getsockopt(zmq.HEARTBEAT_IVL) < socket.getsockopt(zmq.HEARTBEAT_TIMEOUT)
        assert socket.getsockopt(zmq.TCP_KEEPALIVE) == 1
        assert 0 < socket.getsockopt(zmq.SNDBUF) <= 4 << 20
        assert socket.getsockopt(zmq.SNDHWM) > 0 and socket.getsockopt(zmq.RCVHWM) > 0
        assert 0 <= socket.getsockopt(zmq.LINGER) <= 1000
    assert listener.getsockopt(zmq.CURVE_SERVER) == 1
    assert listener.getsockopt(zmq.ZAP_DOMAIN) == b"inbox"
    assert listener.getsockopt(zmq.ZAP_ENFORCE_DOMAIN) == 1
    assert 0 < line.getsockopt(zmq.CONNECT_TIMEOUT) < 5000
    assert line.getsockopt(zmq.RECONNECT_IVL) < line.getsockopt(zmq.RECONNECT_IVL_MAX) <= 5000


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("tcp://127.0.0.1:1", True),
        ("tcp://[::1]:1", True),
        ("0.0.0.0", False),
        ("127.0.0.1.lab", False),
        ("10.0.0.1", False),
        ("tcp://localhost.lab:1", False),
    ],
)
def test_what_is_loopback(address, expected):
    assert sockets.is_loopback(address) is expected


def test_a_printed_key_pair_shows_no_secret():
    keys = KeyPair.new()
    assert keys != KeyPair.new()
    for text in (repr(keys), str(keys), f"{TcpDoor(keys=keys)}"):
        assert keys.secret not in text and keys.public in text
