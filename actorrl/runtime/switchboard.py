"""The driver's sockets to the agents of all hosts: control, and beats on sockets of their own.

The own host's agent comes over the file system, the others over TCP, where an agent is who its key
says. An agent that is not `admitted` any more is not heard: so a lost host is fenced.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator
from pathlib import Path

import zmq

from actorrl.errors import WireError
from actorrl.runtime.control_socket import decoded, encoded, waiting
from actorrl.wire import sockets
from actorrl.wire.control_messages import AgentHello, Beat, Control
from actorrl.wire.doorkeeper import Doorkeeper, key_of
from actorrl.wire.keys import Owner
from actorrl.wire.offences import Offences
from actorrl.wire.sockets import TcpDoor

_CONTROL, _BEATS = "control", "beats"


class Switchboard:
    """Made by the user's thread; then one thread's."""

    def __init__(self, directory: Path, tcp: TcpDoor | None) -> None:
        self._has_keys = tcp is not None and tcp.security == "curve"
        self.address = f"ipc://{directory}/driver.ctl"
        self.beat_address = f"ipc://{directory}/driver.beat"
        self.drops: collections.Counter[str] = collections.Counter()
        # told which host's agent is not listened to any more
        self.on_cut_off: Callable[[str], None] = lambda host: None
        self._offences = Offences(self.drops)
        self._admitted: dict[str, int] = {}  # host -> incarnation
        self._routes: dict[str, tuple[zmq.Socket, bytes]] = {}
        self._keeper: Doorkeeper | None = None
        self.tcp_port = self.tcp_beat_port = 0
        self._context = sockets.new_context()
        try:
            self._control = [sockets.router(self._context, self.address)]
            self._beats = [sockets.router(self._context, self.beat_address)]
            if tcp is not None:
                self._open_tcp(tcp)
        except BaseException:
            self.close()
            raise

    def _open_tcp(self, tcp: TcpDoor) -> None:
        self._keeper = Doorkeeper(self._context)
        for name, group in ((_CONTROL, self._control), (_BEATS, self._beats)):
            socket, _ = sockets.tcp_router(self._context, tcp, name)
            self._keeper.watch_listener(socket)
            group.append(socket)
        self.tcp_port = sockets.port_of(self._control[1])
        self.tcp_beat_port = sockets.port_of(self._beats[1])

    @property
    def num_refused(self) -> int:
        """Handshakes of others that came to nothing."""
        return 0 if self._keeper is None else self._keeper.num_refused

    def sources(self) -> list[zmq.Socket]:
        """What its owner polls."""
        return [*self._control, *self._beats]

    def admit(self, agents: dict[str, tuple[int, str]]) -> None:
        """Host -> incarnation and public key of its agent; nobody else is heard from now on."""
        self._admitted = {host: incarnation for host, (incarnation, _) in agents.items()}
        for host in self._routes.keys() - agents.keys():
            del self._routes[host]
        if self._keeper is not None:
            owners = {key: Owner(host, number) for host, (number, key) in agents.items() if key}
            for domain in (_CONTROL, _BEATS):
                self._keeper.admit(domain, owners)

    def say(self, host: str, message: Control) -> bool:
        """False if its agent is not up, or cannot be reached now."""
        line = self._routes.get(host)
        if line is None:
            return False
        socket, route = line
        try:
            socket.send_multipart([route, *encoded(message)], zmq.NOBLOCK)
        except zmq.ZMQError:
            self.drops["to an agent that has gone"] += 1
            return False
        return True

    def wait(self, timeout_ms: int) -> bool:
        """Whether an agent has said something that `heard` has not yielded, or does meanwhile."""
        return bool(zmq.select(self._control, [], [], timeout_ms / 1000)[0])

    def heard(self) -> Iterator[tuple[str, Control]]:
        """Host and word, of what waits; the rest next time."""
        for socket in self._control:
            for route, owner, message in self._received(socket, _CONTROL):
                host = owner.name if owner is not None else self._host_of(route)
                if isinstance(message, AgentHello):
                    host = self._introduced(socket, route, owner, message)
                if host is None:
                    self.drops["from an unknown agent"] += 1
                else:
                    yield host, message

    def _introduced(
        self, socket: zmq.Socket, route: bytes, owner: Owner | None, hello: AgentHello
    ) -> str | None:
        if not self._is_admitted(owner, hello.host, hello.incarnation):
            return None
        self._routes[hello.host] = (socket, route)
        return hello.host

    def _is_admitted(self, owner: Owner | None, host: str, incarnation: int) -> bool:
        """Without keys (the own host, or `security: none` on loopback) a word is taken for it."""
        claim = Owner(host, incarnation)
        return self._admitted.get(host) == incarnation and owner in (None, claim)

    def _host_of(self, route: bytes) -> str | None:
        return next((host for host, line in self._routes.items() if line[1] == route), None)

    def take_beats(self) -> Iterator[Beat]:
        """Those that wait, and the rest next time; each is sent back."""
        for socket in self._beats:
            for route, owner, message in self._received(socket, _BEATS):
                if not isinstance(message, Beat) or not self._is_admitted(
                    owner, message.host, message.incarnation
                ):
                    self.drops["no beat"] += 1
                    continue
                try:
                    socket.send_multipart([route, *encoded(message)], zmq.NOBLOCK)
                except zmq.ZMQError:
                    self.drops["beat to an agent that has gone"] += 1
                yield message

    def _received(
        self, socket: zmq.Socket, domain: str
    ) -> Iterator[tuple[bytes, Owner | None, Control]]:
        shows_keys = socket not in (self._control[0], self._beats[0]) and self._has_keys
        for parts in waiting(socket, copy=False):
            owner, key = None, ""
            if shows_keys and self._keeper is not None:
                key = key_of(parts[-1])
                owner = self._keeper.owner(domain, key)
                if owner is None:
                    self.drops["from a key that is not listed"] += 1
                    continue
            try:
                message = decoded([part.buffer for part in parts[1:]])
            except WireError as error:
                self._offences.note(key, str(error))
                if owner is not None and self._offences.is_cut_off(key):
                    self._cut_off(owner, key)
                continue
            yield parts[0].bytes, owner, message

    def _cut_off(self, owner: Owner, key: str) -> None:
        """It goes on sending nonsense: it is heard no more, and its host is lost."""
        assert self._keeper is not None
        self._keeper.ban(key)
        self.drops["agent cut off"] += 1
        self.on_cut_off(owner.name)

    def close(self) -> None:
        if self._keeper is not None:
            self._keeper.close()
        self._context.destroy(linger=0)
