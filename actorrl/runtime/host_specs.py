"""What a cluster is, as values: hosts, how they are reached, what they carry.

These types are also the schema of cluster.yml: a key of the file is a field here, and the words
beside it are its reference (cluster/README.md). Parts of the file that read differently from what
they become are in `host_keys`.

Sizes are bytes, times are seconds. Nothing here imports more than msgspec.
"""

from __future__ import annotations

import os
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

LOCAL = "local"  # the driver's own machine, as an entry of the host list
AUTO: Literal["auto"] = "auto"
# Roles that actorrl's own topologies have; a Program of one's own may have others.
ROLES = ("rollout", "replay", "learner", "evaluator")


# ---- parts that the file and the value share -----------------------------------------------------


class SyncSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How the code gets to a host."""

    mode: Annotated[
        Literal["copy", "shared", "none"],
        Meta(
            description="`copy`: the files of `source` are sent over SSH when their content "
            "differs. `shared`: the same path shows the same files on all hosts. `none`: actorrl "
            "is installed there already."
        ),
    ] = "copy"
    source: Annotated[
        str, Meta(description="Folder that is copied, from where the command is given.")
    ] = "."
    exclude: Annotated[
        list[str],
        Meta(description="Names and patterns that are not copied, such as `*.ckpt`."),
    ] = msgspec.field(default_factory=lambda: [".git", ".venv", "__pycache__", "runs"])


class ResourceSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a host offers. `auto`: what its agent finds."""

    cpu: Annotated[
        Annotated[int, Meta(ge=1)] | Literal["auto"],
        Meta(
            description="Cores. They steer spreading and the default number of workers; more "
            "actors than cores run, with a notice."
        ),
    ] = AUTO
    gpu: Annotated[
        Annotated[int, Meta(ge=0)] | Literal["auto"],
        Meta(description="GPUs that may be used: the first ones that the host shows."),
    ] = AUTO
    mem: Annotated[
        Annotated[int, Meta(ge=1)] | Literal["auto"],
        Meta(
            description="Memory that actors may ask for, such as `64GB` or `512MiB`. `auto`: 80 % "
            "of what there is.",
            extra={"as": "size"},
        ),
    ] = AUTO


class RoleSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What each actor of a role asks of its host. None: what the algorithm says."""

    count: (
        Annotated[
            int,
            Meta(
                ge=1,
                description="Number of actors. `--workers` and the settings of the algorithm go "
                "before it.",
            ),
        ]
        | None
    ) = None
    cpu: Annotated[float, Meta(ge=0, description="Cores of each; steers spreading.")] | None = None
    gpu: (
        Annotated[
            float,
            Meta(ge=0, description="GPUs of each: whole ones, or a part of one such as 0.2."),
        ]
        | None
    ) = None
    mem: (
        Annotated[
            int,
            Meta(
                ge=0,
                description="Memory of each, such as `8GB`; a host without it is not chosen, and "
                "an actor that takes more (and 512 MiB for Python itself) is ended.",
                extra={"as": "size"},
            ),
        ]
        | None
    ) = None
    place: (
        Annotated[
            Literal["spread", "pack"],
            Meta(
                description="`spread`: over all hosts, by their cores. `pack`: on as few hosts as "
                "have the GPUs and the memory. `rollout` is spread, others are packed."
            ),
        ]
        | None
    ) = None


class NetworkSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How the hosts talk to each other."""

    advertise: Annotated[
        str,
        Meta(
            description="Address under which a host is reached by the others: `auto`, an address, "
            "`interface:eth1`, or a network such as `10.0.0.0/8`."
        ),
    ] = AUTO
    ports: Annotated[
        tuple[int, int],
        Meta(
            description="Ports that may be listened on, both ends included. Hosts with shards or "
            "learners need them open to the others.",
            extra={"as": "ports"},
        ),
    ] = (43000, 43099)
    security: Annotated[
        Literal["curve", "none"],
        Meta(
            description="`curve`: every TCP connection is encrypted and both ends prove who they "
            "are. `none`: for this machine alone, only the loopback interface is listened on."
        ),
    ] = "curve"

    @property
    def num_ports(self) -> int:
        return self.ports[1] - self.ports[0] + 1


class FailureSpec(msgspec.Struct, frozen=True, kw_only=True):
    """When something counts as lost."""

    node_timeout_s: Annotated[
        float, Meta(gt=0, description="A host not heard of for so long is lost.")
    ] = 10.0
    lease_s: Annotated[
        float,
        Meta(gt=0, description="A host that has lost its driver for so long stops its actors."),
    ] = 30.0
    grace_s: Annotated[
        float, Meta(ge=0, description="Actors have so long to stop before they are killed.")
    ] = 10.0
    min_hosts: Annotated[
        int, Meta(ge=1, description="With fewer hosts than these, the run ends.")
    ] = 1


# ---- what a file becomes -------------------------------------------------------------------------


class SshSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One SSH connection with nothing left open: the file's words, else those of ssh_config."""

    host: str  # what is dialled: ssh_config's HostName where it has one
    user: str
    port: int = 22
    identity_file: str | None = None  # absolute; None: the agent's keys, and those of ~/.ssh
    identities_only: bool = False  # no other key than identity_file is offered
    proxy_jump: tuple[SshSpec, ...] = ()  # hops on the way, the first one dialled first
    connect_timeout_s: float = 10.0  # for the whole way, hops included
    host_key_alias: str | None = None  # the name to look up in known_hosts in place of host
    known_hosts: tuple[str, ...] = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")

    def __str__(self) -> str:
        port = "" if self.port == 22 else f":{self.port}"
        return f"{self.user}@{self.host}{port}"


class HostSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One host of the list, ranges expanded and defaults filled in.

    The local one has no `ssh`; `python`, `workdir`, `sync` and `setup` say nothing there, since the
    driver's own interpreter and folder are used.
    """

    name: str  # the address as written, or "local"
    ssh: SshSpec | None = None
    python: str = ".venv/bin/python"
    workdir: str = "~/actorrl/cluster"
    sync: SyncSpec = SyncSpec()
    env: dict[str, str] = {}
    pass_env: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    resources: ResourceSpec = ResourceSpec()
    roles: tuple[str, ...] = ()  # empty: any role, after the hosts that name it
    required: bool = True

    @property
    def is_local(self) -> bool:
        return self.name == LOCAL


class ClusterSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A host list, read and checked."""

    name: str = "cluster"
    network: NetworkSpec = NetworkSpec()
    hosts: tuple[HostSpec, ...] = (HostSpec(name=LOCAL),)
    roles: dict[str, RoleSpec] = {}
    failure: FailureSpec = FailureSpec()
    source: str = LOCAL  # what the user gave: a path, or the list itself

    @property
    def remote_hosts(self) -> tuple[HostSpec, ...]:
        return tuple(host for host in self.hosts if not host.is_local)

    def path_or_text(self) -> str:
        """What reads this list again, from any folder."""
        path = os.path.expanduser(self.source)
        return os.path.abspath(path) if os.path.isfile(path) else self.source

    def role(self, name: str) -> RoleSpec:
        return self.roles.get(name, RoleSpec())
