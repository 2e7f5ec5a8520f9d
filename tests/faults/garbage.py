"""Bytes that mean nothing, into every socket of a run: by ZeroMQ's own protocol, and raw."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import stat
import tempfile
from pathlib import Path

import zmq

MESSAGES = 20


def sockets_of(run_id: str) -> list[Path]:
    folder = Path(tempfile.gettempdir()) / f"actorrl-{os.getuid()}" / run_id
    return [path for path in sorted(folder.iterdir()) if stat.S_ISSOCK(path.stat().st_mode)]


def send(run_id: str, seed: int) -> int:
    """How many sockets got some."""
    draw = random.Random(seed)
    addresses = sockets_of(run_id)
    context = zmq.Context()
    for address in addresses:
        _as_peer(context, address, draw)
        _raw(address, draw)
    context.term()
    return len(addresses)


def _as_peer(context: zmq.Context, address: Path, draw: random.Random) -> None:
    dealer = context.socket(zmq.DEALER)
    dealer.linger = 200
    dealer.connect(f"ipc://{address}")
    for _ in range(MESSAGES):
        frames = [
            draw.randbytes(draw.choice([0, 1, 8, 200, 5000]))
            for _ in range(draw.choice([1, 2, 3, 9]))
        ]
        with contextlib.suppress(zmq.Again):
            dealer.send_multipart(frames, zmq.NOBLOCK)
    dealer.close()


def _raw(address: Path, draw: random.Random) -> None:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as line:
        line.settimeout(0.2)
        line.connect(str(address))
        line.sendall(draw.randbytes(draw.choice([1, 7, 64, 4096])))
