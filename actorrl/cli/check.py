"""`actorrl check --hosts FILE`: the preflight alone, a row per host."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import click

if TYPE_CHECKING:
    from actorrl.runtime.host_specs import ClusterSpec
    from actorrl.runtime.launchers.reachability import Reach
    from actorrl.runtime.launchers.ssh import HostCheck

_NAME_WIDTH = 26
_MAX_NAMED = 4  # hosts in one warning


class _Row(NamedTuple):
    name: str
    result: str
    python: str = ""
    cores: str = ""
    memory: str = ""
    gpus: str = ""
    disk: str = ""

    def __str__(self) -> str:
        name = self.name if len(self.name) <= _NAME_WIDTH else f"{self.name[: _NAME_WIDTH - 1]}~"
        return (
            f"{name:<{_NAME_WIDTH}} {self.result:<9} {self.python:<8} {self.cores:>5} "
            f"{self.memory:>8} {self.gpus:>5} {self.disk:>8}"
        ).rstrip()


@click.command("check")
@click.option(
    "--hosts", "hosts", required=True, metavar="FILE", help="cluster.yml, a hostfile, or a:4,b:4."
)
def command(hosts: str) -> None:
    """Connect to every host and look whether a run could use it.

    Nothing is written or started anywhere. Exits with 3 when a required host fails.
    """
    from actorrl.runtime.hosts import load_cluster
    from actorrl.runtime.launchers.reachability import reach
    from actorrl.runtime.launchers.ssh import failure, preflight

    cluster = load_cluster(hosts, key="--hosts")
    checks = preflight(cluster)
    try:
        good = [check for check in checks if check.error is None]
        pairs = _pairs(good)
        found = reach([check.prober() for check in good], cluster.network, pairs) if good else None
    finally:
        for check in checks:
            check.close()
    click.echo("\n".join(_table(cluster, checks, found)))
    for check in checks:
        for note in check.notes:
            click.echo(f"notice: {check.name}: {note}")
    for warning in _warnings(cluster, pairs, found):
        click.echo(f"warning: {warning}")
    for check in checks:
        if check.error is not None and not check.spec.required:
            click.echo(f"notice: not required, a run starts without it: {check.error}")
    failed = [check for check in checks if check.error is not None and check.spec.required]
    if failed:
        raise failure(failed)


def _table(cluster: ClusterSpec, checks: list[HostCheck], found: Reach | None) -> list[str]:
    head = _Row("host", "result", "python", "cores", "memory", "gpus", "disk")
    by_name = {check.name: check for check in checks}
    rows = [
        _local_row() if host.is_local else _remote_row(by_name[host.name], found)
        for host in cluster.hosts
    ]
    return [str(row) for row in (head, *rows)]


def _local_row() -> _Row:
    import platform
    import shutil

    from actorrl.runtime.inventory import this_host

    here = this_host()
    return _Row(
        here.name,
        "ok",
        platform.python_version(),
        str(here.num_cpus),
        _size(here.memory_bytes or 0),
        str(len(here.gpus)),
        _size(shutil.disk_usage(".").free),
    )


def _remote_row(check: HostCheck, found: Reach | None) -> _Row:
    facts = check.facts
    if facts is None:
        return _Row(check.name, _result(check, found))
    return _Row(
        check.name,
        _result(check, found),
        facts.python_version,
        str(facts.num_cpus),
        _size(facts.memory_bytes),
        str(len(facts.gpus)),
        _size(facts.free_bytes),
    )


def _result(check: HostCheck, found: Reach | None) -> str:
    """`by tunnel`: it cannot connect to the driver, so an SSH forward would carry what it says."""
    if check.error is not None:
        return "FAILED" if check.spec.required else "left out"
    is_cut_off = found is not None and found.without_way([(check.name, "local")])
    return "by tunnel" if is_cut_off else "ok"


def _pairs(good: list[HostCheck]) -> list[tuple[str, str]]:
    """Who may have something to say to whom: everybody to the driver, to shards and learners."""
    names = ["local", *(check.name for check in good)]
    listening = ["local", *(check.name for check in good if _may_listen(check.spec.roles))]
    return [(a, b) for b in listening for a in names if a != b]


def _warnings(cluster: ClusterSpec, pairs: list[tuple[str, str]], found: Reach | None) -> list[str]:
    """One for each host that some cannot connect to."""
    from actorrl.runtime.launchers.reachability import tunnel_warning

    cut_off: dict[str, list[str]] = {}
    for origin, target in found.without_way(pairs) if found is not None else []:
        cut_off.setdefault(target, []).append(origin)
    return [tunnel_warning(_named(from_), to, cluster.network) for to, from_ in cut_off.items()]


def _named(hosts: list[str]) -> str:
    others = len(hosts) - _MAX_NAMED
    return ", ".join(hosts[:_MAX_NAMED]) + (f" and {others} others" if others > 0 else "")


def _may_listen(roles: tuple[str, ...]) -> bool:
    """Shards and learners are connected to by the others."""
    return not roles or bool({"replay", "learner"} & set(roles))


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.0f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.0f} MB"
