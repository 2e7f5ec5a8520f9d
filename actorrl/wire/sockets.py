"""The only file with ZeroMQ options.

One thread owns each socket. High-water marks are fuses: flow is controlled by credit.
"""

from __future__ import annotations

import zmq

HIGH_WATER_MARK = 4096  # messages per peer; reached only if credit fails
MAX_FRAME_BYTES = 1 << 30  # per frame: libzmq does not limit the number of frames
LINGER_MS = 1000  # what was sent before a clean end still leaves
MAX_SOCKETS = 8192  # per context; ZeroMQ's own 1023 is fewer than one learner may have peers


def new_context() -> zmq.Context:
    """Made after a process has started, never before a fork."""
    context = zmq.Context()
    context.set(zmq.MAX_SOCKETS, MAX_SOCKETS)
    return context


def router(context: zmq.Context, address: str) -> zmq.Socket:
    """An inbox: bound, one per process, answers by routing id."""
    socket = context.socket(zmq.ROUTER)
    _common(socket)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # an answer to a peer that has gone is an error
    try:
        socket.bind(address)
    except zmq.ZMQError:
        socket.close(linger=0)  # a context with an open socket cannot be ended
        raise
    return socket


def dealer(context: zmq.Context, address: str) -> zmq.Socket:
    """A line to one peer's inbox."""
    socket = context.socket(zmq.DEALER)
    _common(socket)
    socket.connect(address)
    return socket


def _common(socket: zmq.Socket) -> None:
    socket.setsockopt(zmq.LINGER, LINGER_MS)
    socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
    socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
