"""What a sandbox consists of, as a value that is written down before anything is made.

    driver --- segment 0 --- h1, h2, ...                     up N
    driver --- segment 0 --- j1 --- segment 1 --- h1, ...     up N --jump
    driver --- 0 --- j1 --- 1 --- j2 --- 2 --- h1, ...        up N --jump --jump

A segment is a bridge with a /24 network; only segment 0 has an address in the driver's namespace.
Hosts behind a jump host are attached to segment 0 as well, so that they can dial the driver, but
their SSH server listens on the inner network alone; with `routed` false they are on the inner one
only, and nothing but SSH gets through.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
from pathlib import Path

STATE = "sandbox.json"
PORTS = (22, 2222)
FIRST_HOST = 11  # last byte of h1's address; jump hosts count from FIRST_JUMP
FIRST_JUMP = 2
_FIRST_GROUP = 0x61000000


@dataclasses.dataclass(frozen=True)
class User:
    name: str
    uid: int
    home: str


# They exist on the sandbox's hosts alone. The first one is in cluster.yml.
USERS = (
    User("rl", 61001, "/home/rl"),
    User("alice", 61002, "/home/alice"),
    User("spaced", 61003, "/home/a home with spaces"),
)


@dataclasses.dataclass(frozen=True)
class Interface:
    """`outside` is the end of the veth pair that is plugged into the bridge."""

    outside: str
    inside: str
    bridge: str
    address: str


@dataclasses.dataclass(frozen=True)
class Machine:
    """A host. `address` is where its SSH server listens; `process` runs it (loopback only)."""

    name: str
    address: str
    ports: tuple[int, ...]
    namespace: str = ""
    interfaces: tuple[Interface, ...] = ()
    process: int = 0


@dataclasses.dataclass
class Sandbox:
    """`python` runs the hosts' agents, and `shared` are the paths that it needs there."""

    directory: str
    name: str
    python: str
    shared: list[str]
    user: str
    driver_address: str
    group: str  # number of the group that all its interfaces outside the hosts are in
    bridges: dict[str, str]  # name -> address with prefix length, "" for none
    jumps: list[Machine]
    hosts: list[Machine]
    made_directory: bool
    owner: str = ""  # process whose end makes it an orphan (see `register`)

    @property
    def machines(self) -> list[Machine]:
        return [*self.jumps, *self.hosts]

    def of(self, machine: Machine) -> Path:
        """The directory of a machine's files."""
        return Path(self.directory) / "hosts" / machine.name

    def write(self) -> None:
        self.write_to(Path(self.directory) / STATE)

    def write_to(self, path: Path) -> None:
        """All of it or nothing, whoever is killed meanwhile."""
        part = path.with_name(f"{path.name}.{os.getpid()}")
        part.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")
        part.replace(path)


def read(directory: Path) -> Sandbox | None:
    """The sandbox in a directory, None where there is none."""
    return read_file(directory / STATE)


def read_file(path: Path) -> Sandbox | None:
    """A plan that `write_to` has written, None where there is none."""
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    for key in ("jumps", "hosts"):
        values[key] = [_machine(value) for value in values[key]]
    return Sandbox(**values)


def _machine(value: dict) -> Machine:
    interfaces = tuple(Interface(**interface) for interface in value.pop("interfaces"))
    return Machine(**{**value, "ports": tuple(value["ports"]), "interfaces": interfaces})


def new_mark() -> str:
    """The beginning of every name that a sandbox gives on this machine."""
    return f"arl{secrets.token_hex(2)}"


def plan(
    directory: Path, python: str, shared: list[str], networks: list[str],
    count: int, num_jumps: int, routed: bool,
) -> Sandbox:  # fmt: skip
    """`networks` are the first three bytes of one free network per segment, as "10.1.2"."""
    mark = new_mark()
    bridges = [f"{mark}b{segment}" for segment in range(num_jumps + 1)]

    def attach(name: str, segment: int, last_byte: int) -> Interface:
        address = f"{networks[segment]}.{last_byte}"
        return Interface(f"{mark}{name}s{segment}", f"eth{segment}", bridges[segment], address)

    def machine(name: str, *interfaces: Interface, listen: Interface) -> Machine:
        return Machine(name, listen.address, PORTS, f"{mark}-{name}", interfaces)

    jumps = []
    for index in range(num_jumps):
        name = f"j{index + 1}"
        front = attach(name, index, FIRST_JUMP)
        back = attach(name, index + 1, FIRST_JUMP + 1)
        jumps.append(machine(name, front, back, listen=front))
    hosts = []
    for index in range(count):
        name, last_byte = f"h{index + 1}", FIRST_HOST + index
        front = attach(name, 0, last_byte)
        back = attach(name, num_jumps, last_byte)
        both = (front, back) if routed and num_jumps else (back,)
        hosts.append(machine(name, *both, listen=back))
    return Sandbox(
        directory=str(directory),
        name=mark,
        python=python,
        shared=shared,
        user=USERS[0].name,
        driver_address=f"{networks[0]}.1",
        group=str(_FIRST_GROUP + secrets.randbelow(1 << 24)),
        bridges={name: f"{networks[0]}.1/24" if i == 0 else "" for i, name in enumerate(bridges)},
        jumps=jumps,
        hosts=hosts,
        made_directory=not directory.exists(),
    )
