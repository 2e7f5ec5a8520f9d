"""The parts of cluster.yml that read differently from what they become (`host_specs`): what may be
left out, and where it then comes from. The words beside a key are its reference
(cluster/README.md).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from actorrl.runtime.host_specs import (
    FailureSpec,
    NetworkSpec,
    ResourceSpec,
    RoleSpec,
    SyncSpec,
)


class SshKeys(msgspec.Struct, frozen=True, kw_only=True):
    """`ssh:` of a host or of the defaults. What is left out comes from ~/.ssh/config."""

    user: Annotated[str, Meta(description="Name to log in with. Else your own.")] | None = None
    port: (
        Annotated[int, Meta(ge=1, le=65535, description="Port of the SSH server. Else 22.")] | None
    ) = None
    identity_file: (
        Annotated[
            str,
            Meta(description="Private key. Else those that your SSH agent and ~/.ssh have."),
        ]
        | None
    ) = None
    proxy_jump: (
        Annotated[
            list[str],
            Meta(
                description="Hosts on the way, the first one dialled first, each "
                "`[user@]host[:port]` or a name of ~/.ssh/config. `[]`: none, whatever that says.",
                extra={"as": "names"},
            ),
        ]
        | None
    ) = None
    known_hosts: (
        Annotated[
            str,
            Meta(description="File of the host keys that you trust. Else `~/.ssh/known_hosts`."),
        ]
        | None
    ) = None
    connect_timeout_s: (
        Annotated[float, Meta(gt=0, description="To reach and log in, all hops together. Else 10.")]
        | None
    ) = None


class DefaultKeys(msgspec.Struct, frozen=True, kw_only=True):
    """What `defaults` may say, and each host again."""

    ssh: Annotated[SshKeys, Meta(description="How the host is reached.")] = SshKeys()
    python: Annotated[str, Meta(description="Interpreter: absolute, or relative to `workdir`.")] = (
        ".venv/bin/python"
    )
    workdir: (
        Annotated[
            str,
            Meta(
                description="Folder of the run's code on the host. Else `~/actorrl/NAME`; with "
                "`sync: {mode: shared}` the folder of `sync.source`."
            ),
        ]
        | None
    ) = None
    sync: Annotated[SyncSpec, Meta(description="How the code gets there.")] = SyncSpec()
    env: Annotated[dict[str, str], Meta(description="Environment variables of the actors.")] = {}
    pass_env: Annotated[
        list[str],
        Meta(description="Names of variables that the actors get from the driver's environment."),
    ] = []
    setup: Annotated[
        list[str],
        Meta(description="Commands run once per host before the start; what they print is logged."),
    ] = []
    resources: Annotated[ResourceSpec, Meta(description="What the host offers.")] = ResourceSpec()


class HostKeys(DefaultKeys, frozen=True, kw_only=True):
    """An entry of `hosts`: a mapping, or only the text of `host`."""

    SHORT_FORM: ClassVar[str] = "host"

    host: (
        Annotated[
            str,
            Meta(
                description="`local`, or `[user@]host[:port]` with ranges: `cpu[01-08].lab`, "
                "`gpu[1,3-5]`."
            ),
        ]
        | None
    ) = None
    roles: Annotated[
        list[str],
        Meta(
            description="The only roles it carries. A role goes to the hosts that name it, then "
            "to hosts that name none."
        ),
    ] = []
    required: Annotated[
        bool,
        Meta(description="Nothing starts without it. `false`: the run starts, and says so."),
    ] = True


class FileKeys(msgspec.Struct, frozen=True, kw_only=True):
    """cluster.yml."""

    version: Annotated[Literal[1], Meta(description="Version of this format.")] = 1
    name: Annotated[str, Meta(description="Name of the cluster; part of `workdir`.")] = "cluster"
    defaults: Annotated[DefaultKeys, Meta(description="For all hosts.")] = DefaultKeys()
    network: Annotated[NetworkSpec, Meta(description="Between the hosts.")] = NetworkSpec()
    hosts: Annotated[list[HostKeys], Meta(description="The hosts, one or more.")] = []
    roles: Annotated[
        dict[str, RoleSpec],
        Meta(description="Number and needs of actors, by role: `rollout`, `replay`, `learner`."),
    ] = {}
    failure: Annotated[FailureSpec, Meta(description="When something is lost.")] = FailureSpec()
