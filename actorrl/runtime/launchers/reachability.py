"""Which hosts can open TCP connections to which, tried before anything is started.

Every host listens for a moment on a port of the range that the host file gives, and dials all
others; the driver's machine takes part like a host. Where a connection is possible, the address by
which it was is known; where not, only an SSH forward is left. IPv4.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple, Protocol

from actorrl.errors import ConfigError, HostError
from actorrl.runtime.host_specs import AUTO, LOCAL, NetworkSpec
from actorrl.runtime.launchers.connection import Connection
from actorrl.runtime.launchers.remote import reach as script
from actorrl.runtime.launchers.remote_command import Conversation

_DIAL_S = 3.0
_ANSWER_S = 60.0

Interfaces = dict[str, str]  # name -> IPv4 address
Pair = tuple[str, str]  # who dials, who listens


class Prober(NamedTuple):
    """A host that takes part: `python` is an interpreter there, `addresses` are those that are
    known to be its own, best first."""

    name: str
    connection: Connection
    python: str
    addresses: list[str]


class Reach(NamedTuple):
    """`address[a, b]` is the one by which a reaches b; pairs without a way are left out.
    `listening` are the hosts that had a port free to listen on."""

    address: dict[Pair, str]
    listening: frozenset[str]

    def without_way(self, pairs: Iterable[Pair]) -> list[Pair]:
        return [pair for pair in pairs if pair not in self.address]


def reach(
    probers: Sequence[Prober], network: NetworkSpec, pairs: Iterable[Pair] | None = None
) -> Reach:
    """Between the hosts and the driver's machine, named `local`: all of `pairs`, or of all there
    are. A host that fails meanwhile reaches nobody and is reached by nobody. Raises ConfigError for
    an `advertise` that names no address of this machine."""
    driver_addresses(network.advertise, script.interfaces())
    known = {each.name: each.addresses for each in probers}
    words = {name: secrets.token_hex(8) for name in [LOCAL, *known]}
    with contextlib.ExitStack() as stack:
        sides: dict[str, _Side] = {LOCAL: stack.enter_context(_Here(_told(words[LOCAL], network)))}
        for each in probers:
            with contextlib.suppress(HostError):
                told = _told(words[each.name], network)
                conversation = Conversation(each.connection, each.python, "reach", told)
                sides[each.name] = stack.enter_context(contextlib.closing(conversation))
        targets = _listen(sides, words, known, network.advertise)
        every = ((a, b) for a in sides for b in targets if a != b)
        return _dial(sides, targets, every if pairs is None else pairs)


def tunnel_warning(origin: str, target: str, network: NetworkSpec) -> str:
    """For a host without a way to another; `origin` may be a list of them in words."""
    first, last = network.ports
    to, whose = ("the driver", "this machine's") if target == LOCAL else (target, "its")
    return (
        f"{origin} cannot connect to {to}: an SSH forward carries what they say, at tens of MB/s\n"
        f"  for full speed open TCP ports {first}-{last} in {whose} firewall, or set "
        "network: {advertise: ADDRESS}"
    )


def driver_addresses(advertise: str, own: Interfaces) -> list[str]:
    """This machine's addresses that others may dial, as `network.advertise` says. Raises
    ConfigError where it names none."""
    has = ", ".join(f"{address} ({name})" for name, address in sorted(own.items())) or "none"
    if advertise.startswith("interface:") and advertise.partition(":")[2] not in own:
        raise ConfigError(
            f"network.advertise: {advertise!r} names no interface of this machine, it has {has}"
        )
    if advertise == AUTO or advertise.startswith("interface:") or "/" in advertise:
        inside = _filtered(own, advertise)
        if not inside and "/" in advertise:
            raise ConfigError(
                f"network.advertise: this machine has no address in {advertise}, it has {has}"
            )
        return inside
    return [advertise]


def _filtered(own: Interfaces, advertise: str) -> list[str]:
    """A host's addresses, of which an interface or a network may choose."""
    if advertise.startswith("interface:"):
        name = advertise.partition(":")[2]
        return [own[name]] if name in own else []
    if "/" in advertise:
        try:
            network = ip_network(advertise, strict=False)
        except ValueError as error:
            raise ConfigError(
                f"network.advertise: {error}, expected a network such as 10.0.0.0/8"
            ) from None
        return [address for address in own.values() if ip_address(address) in network]
    return list(own.values())


def _host_addresses(known: list[str], own: Interfaces, advertise: str) -> list[str]:
    """Without a choice, the addresses that are known to be a host's come first."""
    chosen = _filtered(own, advertise)
    if advertise.startswith("interface:") or "/" in advertise:
        return chosen
    return list(dict.fromkeys([*filter(_is_ipv4, known), *chosen]))


def _is_ipv4(address: str) -> bool:
    with contextlib.suppress(ValueError):
        return ip_address(address).version == 4
    return False


# ---- the rounds -----------------------------------------------------------------------------


class _Side(Protocol):
    """A host in the conversation, or the driver's machine."""

    def hear(self, timeout_s: float) -> dict[str, Any]: ...
    def say(self, words: dict[str, Any]) -> None: ...


def _told(word: str, network: NetworkSpec) -> dict[str, Any]:
    return {"first": network.ports[0], "last": network.ports[1], "word": word}


def _listen(
    sides: Mapping[str, _Side],
    words: Mapping[str, str],
    known: Mapping[str, list[str]],
    advertise: str,
) -> dict[str, dict[str, Any]]:
    """Where each host that has a free port can be dialled, and the word that it answers with."""
    targets = {}
    for name, side in sides.items():
        with contextlib.suppress(HostError):
            said = side.hear(_ANSWER_S)
            own = said["interfaces"]
            addresses = (
                driver_addresses(advertise, own)
                if name == LOCAL
                else _host_addresses(known[name], own, advertise)
            )
            if said["port"] is not None:
                where = {"port": said["port"], "word": words[name]}
                targets[name] = {"name": name, "addresses": addresses, **where}
    return targets


def _dial(
    sides: Mapping[str, _Side], targets: Mapping[str, dict[str, Any]], pairs: Iterable[Pair]
) -> Reach:
    wanted: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for origin, target in pairs:
        if origin in wanted and target in targets:
            wanted[origin].append(targets[target])
    for name, side in sides.items():
        with contextlib.suppress(HostError):
            side.say({"targets": wanted[name], "timeout_s": _DIAL_S})
    found = {}
    for name, side in sides.items():
        with contextlib.suppress(HostError):
            for target, address in side.hear(_ANSWER_S)["reached"].items():
                found[name, target] = address
    return Reach(found, frozenset(targets))


class _Here:
    """The driver's machine."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._told = told
        self._listener: socket.socket | None = None
        self._wanted: dict[str, Any] | None = None

    def __enter__(self) -> _Here:
        self._listener = script.listen(self._told["first"], self._told["last"])
        if self._listener is not None:
            word = self._told["word"].encode()
            threading.Thread(
                target=script.greet, args=(self._listener, word), name="greet", daemon=True
            ).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
            self._listener.close()

    def hear(self, timeout_s: float) -> dict[str, Any]:
        if self._wanted is not None:
            return {"reached": script.dial(self._wanted["targets"], self._wanted["timeout_s"])}
        port = None if self._listener is None else self._listener.getsockname()[1]
        return {"port": port, "interfaces": script.interfaces()}

    def say(self, words: dict[str, Any]) -> None:
        self._wanted = words
