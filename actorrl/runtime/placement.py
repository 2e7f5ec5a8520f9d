"""Who goes to which host. Pure: a Program and the hosts in, an assignment out.

A role goes to the hosts that name it, and to hosts that name none only when those have no room.
There it is spread (by cores) or packed (on as few hosts as have room). GPUs, memory, ports and the
roles of a host are hard: what does not fit is a PlacementError with a reason for each host. Cores
only steer: more actors than cores run, with a notice.

The same function finds new places for what a lost host carried: `placed` holds the slots that stay
where they are.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Collection, Mapping, Sequence

from actorrl.errors import PlacementError
from actorrl.runtime.host_specs import RoleSpec
from actorrl.runtime.program import Node, Program

SPREAD_ROLE = "rollout"  # the others are packed, unless a RoleSpec says something else
_SHARES = 10_000  # a GPU is given out in so many parts; whole numbers add up without error


@dataclasses.dataclass(frozen=True)
class Host:
    """What a host offers, as its agent describes it or cluster.yml limits it."""

    name: str
    num_cpus: int
    memory_bytes: int | None = None  # None: not known, whatever is asked fits
    gpus: tuple[str, ...] = ()  # UUIDs
    roles: tuple[str, ...] = ()  # the only ones it carries; empty: any
    num_ports: int | None = None  # that actors may listen on; None: no limit
    assumed: tuple[str, ...] = ()  # of "cores", "GPUs", "memory": those that nobody has counted


@dataclasses.dataclass(frozen=True)
class Place:
    host: str
    gpus: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Need:
    """What one actor asks of its host."""

    role: str
    cpu: float
    shares: int  # of GPUs: below _SHARES a part of one, else a multiple of it
    memory_bytes: int
    port: bool
    spread: bool
    because: str = ""  # of the memory
    together: bool = False  # all actors of the role go to one host

    @property
    def devices(self) -> int:
        """Whole GPUs."""
        return self.shares // _SHARES

    def __str__(self) -> str:
        parts = []
        if self.shares:
            parts.append(f"{self.shares / _SHARES:g} GPU")
        if self.memory_bytes:
            parts.append(f"{size_text(self.memory_bytes)} of memory")
        if self.port:
            parts.append("a port")
        return ", ".join(parts) or "a place"


def place(
    program: Program,
    hosts: Sequence[Host],
    roles: Mapping[str, RoleSpec] | None = None,
    placed: Mapping[str, Place] | None = None,
    listeners: Collection[str] = (),
) -> tuple[dict[str, Place], list[str]]:
    """Slot -> place, and notices. `roles` goes before what the Program asks for its actors.
    `placed`: slots that keep their place, if its host is among `hosts`; others are placed anew.
    `listeners`: slots that take a port of their host (`offers.listening`). The same arguments give
    the same places. Raises PlacementError."""
    needs = needs_of(program, roles or {}, listeners)
    rooms = {host.name: _Room(host, index) for index, host in enumerate(hosts)}
    places: dict[str, Place] = {}
    for slot, at in (placed or {}).items():
        if at.host in rooms and slot in needs:
            rooms[at.host].put(needs[slot], at.gpus)
            places[slot] = at
    waiting = collections.Counter(needs[slot].role for slot in needs if slot not in places)
    for slot in sorted(needs, key=lambda slot: _hardest_first(needs[slot])):
        need = needs[slot]
        if slot not in places:
            room = _choose(slot, need, list(rooms.values()), waiting[need.role])
            places[slot] = Place(room.host.name, room.put(need))
            waiting[need.role] -= 1
    ordered = {slot: places[slot] for slot in needs}
    notices = [notice for room in rooms.values() for notice in room.notices(ordered)]
    return ordered, _other_counts(program, roles or {}) + notices


def _other_counts(program: Program, roles: Mapping[str, RoleSpec]) -> list[str]:
    """The host list's counts that the Program does not follow."""
    have = collections.Counter(node.role for node in program.nodes.values())
    return [
        f"{role}: the host list says {spec.count}, the run has {have[role]}"
        for role, spec in roles.items()
        if role in have and spec.count not in (None, have[role])
    ]


def needs_of(
    program: Program, roles: Mapping[str, RoleSpec], listeners: Collection[str]
) -> dict[str, Need]:
    """Slot -> need, in the Program's order. Only `listeners` cost a port: the others visit them."""
    return {
        node.name: _need(
            node,
            roles.get(node.role, RoleSpec()),
            node.name in listeners,
            node.role in program.together,
        )
        for node in program.nodes.values()
    }


def _need(node: Node, spec: RoleSpec, port: bool, together: bool) -> Need:
    gpu = node.gpu if spec.gpu is None else spec.gpu
    shares = round(gpu * _SHARES)
    if shares > _SHARES and shares % _SHARES:
        wrong = f"{node.name} asks for {gpu:g} GPUs"
        raise PlacementError(f"{wrong}: whole ones are given out, or a part of one")
    return Need(
        role=node.role,
        cpu=node.cpu if spec.cpu is None else spec.cpu,
        shares=shares,
        memory_bytes=node.mem if spec.mem is None else spec.mem,
        port=port,
        spread=(spec.place or ("spread" if node.role == SPREAD_ROLE else "pack")) == "spread",
        because=node.because if spec.mem is None else "",
        together=together,
    )


def _hardest_first(need: Need) -> tuple[int, int, bool]:
    """What is hard to place goes first, and what is spread last, when all other load is known."""
    return -need.shares, -need.memory_bytes, need.spread


# ---- one host --------------------------------------------------------------------------------


class _Room:
    """What is left on a host while places are given out."""

    def __init__(self, host: Host, index: int) -> None:
        self.host = host
        self.index = index
        self.load = 0.0  # cores asked for
        self.count: collections.Counter[str] = collections.Counter()  # actors by role
        self._shares = dict.fromkeys(host.gpus, _SHARES)
        self._memory = host.memory_bytes
        self._ports = host.num_ports

    def put(self, need: Need, gpus: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Take the room for one more; its GPUs, chosen here unless they are given."""
        gpus = self._gpus_for(need) if gpus is None else gpus
        for gpu in gpus:
            taken = min(need.shares, _SHARES)
            self._shares[gpu] = max(0, self._shares.get(gpu, 0) - taken)
        if self._memory is not None:
            self._memory = max(0, self._memory - need.memory_bytes)
        if self._ports is not None and need.port:
            self._ports = max(0, self._ports - 1)
        self.load += need.cpu
        self.count[need.role] += 1
        return gpus

    def _gpus_for(self, need: Need) -> tuple[str, ...]:
        """Whole devices, or the fullest one that has the part left."""
        if need.devices:
            return tuple(gpu for gpu, left in self._shares.items() if left == _SHARES)[
                : need.devices
            ]
        fitting = [gpu for gpu, left in self._shares.items() if left >= need.shares > 0]
        return (min(fitting, key=lambda gpu: self._shares[gpu]),) if fitting else ()

    def names(self, role: str) -> bool:
        return role in self.host.roles

    def capacity(self, need: Need) -> int | None:
        """How many such actors fit beside those that are here; None: no limit."""
        if self.host.roles and not self.names(need.role):
            return 0
        limits = []
        if need.devices:
            limits.append(self._whole() // need.devices)
        elif need.shares:
            limits.append(sum(left // need.shares for left in self._shares.values()))
        if need.memory_bytes and self._memory is not None:
            limits.append(self._memory // need.memory_bytes)
        if need.port and self._ports is not None:
            limits.append(self._ports)
        return min(limits, default=None)

    def _whole(self) -> int:
        return sum(left == _SHARES for left in self._shares.values())

    def reason(self, need: Need, at_once: int = 1) -> str:
        """Why so many more do not fit."""
        if self.host.roles and not self.names(need.role):
            return f"carries only {', '.join(self.host.roles)}"
        if at_once > 1 and self.capacity(need):
            return f"room for {self.capacity(need)} of {at_once}"
        reasons = []
        if need.devices > self._whole():
            reasons.append(f"{len(self.host.gpus)} GPUs, {self._whole()} of them free")
        elif not need.devices and need.shares > max(self._shares.values(), default=0):
            most = max(self._shares.values(), default=0) / _SHARES
            reasons.append(f"{len(self.host.gpus)} GPUs, at most {most:g} of one free")
        if self._memory is not None and self._memory < need.memory_bytes:
            total = size_text(self.host.memory_bytes or 0)
            reasons.append(f"{size_text(self._memory)} of {total} of memory free")
        if need.port and self._ports == 0:
            reasons.append(f"all {self.host.num_ports} ports for actors given out (network.ports)")
        return ", ".join(reasons)

    def notices(self, places: Mapping[str, Place]) -> list[str]:
        """What runs, but not as it might."""
        host, found = self.host, []
        if self.load > host.num_cpus and "cores" not in host.assumed:
            actors = f"{self.count.total()} actors ask for {self.load:g} cores"
            found.append(f"{host.name}: {actors} and there are {host.num_cpus}; they take turns")
        for gpu in host.gpus:
            sharing = [slot for slot, at in places.items() if at == Place(host.name, (gpu,))]
            if len(sharing) > 1:
                found.append(f"{host.name}: {len(sharing)} actors share GPU {gpu} and its memory")
        return found


# ---- choosing --------------------------------------------------------------------------------


def _choose(slot: str, need: Need, rooms: list[_Room], waiting: int) -> _Room:
    """`waiting`: actors of the role that have no place yet, this one included."""
    capacity = {room.index: room.capacity(need) for room in rooms}
    at_once = 1
    if need.together:
        at_once = waiting
        rooms = [room for room in rooms if room.count[need.role]] or rooms
    fitting = [room for room in rooms if _has_room(capacity[room.index], at_once)]
    if not fitting:
        raise PlacementError(_table(slot, need, rooms, at_once))
    if any(room.names(need.role) for room in fitting):
        fitting = [room for room in fitting if room.names(need.role)]
    if need.spread:
        return min(fitting, key=lambda room: _load_with(room, need))

    def emptiest(room: _Room) -> tuple[bool, int, int]:
        limit = capacity[room.index]
        taken = waiting if limit is None else min(limit, waiting)
        return room.count[need.role] == 0, -taken, room.index

    return min(fitting, key=emptiest)


def _has_room(capacity: int | None, count: int) -> bool:
    return capacity is None or capacity >= count


def _load_with(room: _Room, need: Need) -> tuple[float, int, int]:
    """How full the host would be; rounded, so that sums of 0.1 do not decide between equals."""
    load = (room.load + need.cpu) / max(1, room.host.num_cpus)
    return round(load, 9), room.count[need.role], room.index


def _table(slot: str, need: Need, rooms: list[_Room], at_once: int) -> str:
    lines = [f"{slot} needs {need}, and no host has room for it:"]
    if at_once > 1:
        each = f"{at_once} actors of role {need.role} share a host, each needs {need}"
        lines = [f"{each}, and no host has room for all:"]
    if need.because:
        lines.append(f"  ({need.because})")
    width = max((len(room.host.name) for room in rooms), default=0)
    lines += [f"  {room.host.name:<{width}}  {room.reason(need, at_once)}" for room in rooms]
    if need.role == "learner" and need.shares:
        lines.append("num_gpus=0 learns on the CPU")
    return "\n".join(lines)


def size_text(num_bytes: int) -> str:
    """8_000_000_000 -> "8 GB"."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if num_bytes >= size:
            return f"{round(num_bytes / size, 1):g} {unit}"
    return f"{num_bytes} B"
