"""`actorrl hosts list` and `actorrl hosts trust HOST`: who is in a host list, and whose host keys
are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from actorrl.config import did_you_mean
from actorrl.errors import ConfigError, HostError

if TYPE_CHECKING:
    from actorrl.runtime.host_specs import ClusterSpec, SshSpec

_hosts = click.option("--hosts", "hosts", metavar="FILE", help="cluster.yml, hostfile, or a:4,b:4.")


@click.group("hosts")
def command() -> None:
    """List hosts, and trust their host keys."""


@command.command("list")
@click.option("--hosts", "hosts", required=True, metavar="FILE", help="cluster.yml or hostfile.")
def list_hosts(hosts: str) -> None:
    """One line per host: how it is reached, whether its host key is known. Connects to nobody."""
    from actorrl.runtime.hosts import load_cluster

    cluster = load_cluster(hosts, key="--hosts")
    click.echo(f"{'host':<26} {'ssh':<30} {'key':<8} roles")
    for host in cluster.hosts:
        roles = ", ".join(host.roles) or "any"
        if host.ssh is None:
            click.echo(f"{host.name:<26} {'-':<30} {'-':<8} {roles}")
            continue
        known = "known" if _is_known(host.ssh) else "unknown"
        optional = "" if host.required else " (not required)"
        click.echo(f"{host.name:<26} {host.ssh!s:<30} {known:<8} {roles}{optional}")
        for hop in host.ssh.proxy_jump:
            known = "known" if _is_known(hop) else "unknown"
            click.echo(f"{'  through':<26} {hop!s:<30} {known:<8}")


def _is_known(spec: SshSpec) -> bool:
    from actorrl.runtime.launchers.known_hosts import KnownHosts, known_as

    name = known_as(spec.host, spec.port, spec.host_key_alias)
    return bool(KnownHosts(spec.known_hosts).key_types(name))


@command.command("trust")
@click.argument("names", metavar="HOST...", nargs=-1, required=True)
@_hosts
@click.option("--fingerprint", metavar="SHA256:...", help="Trust this key only; for one HOST.")
def trust(names: tuple[str, ...], hosts: str | None, fingerprint: str | None) -> None:
    """Add the host key that HOST shows now to known_hosts.

    HOST is an entry of --hosts or a jump host of it (ranges such as cpu[01-08] as well), else an
    address or a name of ~/.ssh/config. A key that differs from a known one is never replaced.
    """
    from actorrl.runtime.host_ranges import expand
    from actorrl.runtime.hosts import load_cluster

    cluster = load_cluster(hosts) if hosts is not None else None
    wanted = [name for text in names for name in expand(text)]
    if fingerprint is not None and len(wanted) > 1:
        raise ConfigError(f"--fingerprint: goes with one host, there are {len(wanted)}")
    for name in wanted:
        click.echo(_trust_one(name, _find(name, cluster), fingerprint, hosts))


def _find(name: str, cluster: ClusterSpec | None) -> SshSpec:
    from actorrl.runtime.host_ranges import parse_address
    from actorrl.runtime.ssh_config import SshConfig

    if cluster is None:
        return SshConfig().resolve(parse_address(name), {})
    found = _specs(cluster)
    if name not in found:
        hint = did_you_mean(name, found) or f", it has {', '.join(found)}"
        raise ConfigError(f"HOST: {name!r} is not in {cluster.source}{hint}")
    return found[name]


def _specs(cluster: ClusterSpec) -> dict[str, SshSpec]:
    """Hosts by name, hops as messages write them, each reached through the hops before it."""
    import msgspec

    found: dict[str, SshSpec] = {}
    for host in cluster.remote_hosts:
        assert host.ssh is not None
        found[host.name] = host.ssh
        way = host.ssh.proxy_jump
        for index, hop in enumerate(way):
            found.setdefault(str(hop), msgspec.structs.replace(hop, proxy_jump=way[:index]))
    return found


def _trust_one(name: str, spec: SshSpec, wanted: str | None, hosts: str | None) -> str:
    """The line to print. Raises HostError."""
    from actorrl.runtime.launchers import known_hosts
    from actorrl.runtime.launchers.dialling import ask_host_key
    from actorrl.runtime.launchers.known_hosts import KnownHosts, Verdict

    key = ask_host_key(spec, name, f" --hosts {hosts}" if hosts else "")
    shown = known_hosts.fingerprint(key.blob)
    verdict, at = KnownHosts(spec.known_hosts).judge(key.name, key.blob)
    if verdict is Verdict.TRUSTED:
        return f"{name}: {shown} is trusted already ({at})"
    if verdict is not Verdict.UNKNOWN:
        raise HostError(
            f"{name}: it shows {shown}, but {at} says otherwise: its key is {verdict.value}\n"
            f"  nothing was changed. Ask who runs the host; if it was set up anew, forget the old "
            f"key:\n  ssh-keygen -f {at.rpartition(':')[0]} -R '{key.name}'"
        )
    if wanted is not None and wanted != shown:
        raise HostError(f"{name}: it shows {shown}, not {wanted}: nothing was changed")
    path = known_hosts.trust(spec.known_hosts[0], key.name, key.key_type, key.blob)
    return f"{name}: {key.key_type} {shown} is trusted from now on ({path})"
