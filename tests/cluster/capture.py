"""What somebody sees who listens on the hosts' cables."""

from __future__ import annotations

import collections
import socket
import struct
import threading

_ALL_PROTOCOLS = 0x0003  # ETH_P_ALL
_RECEIVE_BUFFER_FORCE = 33  # SO_RCVBUFFORCE
_SOL_PACKET, _STATISTICS = 263, 6
_BUFFER_BYTES = 64 << 20
_LARGEST = 1 << 17  # a packet, with segmentation left to a card that is not there
_KEPT_BYTES = 16 << 20


class Capture:
    """Looks for patterns in all packets on some interfaces, from `start` to `stop`; the first ones
    are kept as they are. Patterns are short against a packet, and come many times."""

    def __init__(self, interfaces: list[str], patterns: dict[str, bytes]) -> None:
        self.found: collections.Counter[str] = collections.Counter()
        self.num_packets = 0
        self.num_bytes = 0
        self.num_missed = 0
        self.kept = bytearray()
        self._patterns = patterns
        self._ended = False
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._listen, args=(self._open(name),), daemon=True)
            for name in interfaces
        ]

    @staticmethod
    def _open(interface: str) -> socket.socket:
        listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PROTOCOLS))
        listener.setsockopt(socket.SOL_SOCKET, _RECEIVE_BUFFER_FORCE, _BUFFER_BYTES)
        listener.bind((interface, 0))
        listener.settimeout(0.1)
        return listener

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Idempotent."""
        self._ended = True
        for thread in self._threads:
            thread.join()

    def _listen(self, listener: socket.socket) -> None:
        space = bytearray(_LARGEST)
        with listener:
            while True:
                try:
                    size = listener.recv_into(space)
                except TimeoutError:
                    if self._ended:
                        break
                    continue
                self._look(bytes(space[:size]))
            statistics = listener.getsockopt(_SOL_PACKET, _STATISTICS, 8)
            self.num_missed += struct.unpack("II", statistics)[1]

    def _look(self, packet: bytes) -> None:
        with self._lock:
            self.num_packets += 1
            self.num_bytes += len(packet)
            if len(self.kept) < _KEPT_BYTES:
                self.kept += packet
            for name, pattern in self._patterns.items():
                self.found[name] += pattern in packet
