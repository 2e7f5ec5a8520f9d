"""`actorrl plan`: the Program of a run and where its actors would be placed. Starts no process and
opens no connection."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from actorrl.cli.options import how_to_end, what_to_train

if TYPE_CHECKING:
    from actorrl.runtime.host_specs import ClusterSpec
    from actorrl.runtime.placement import Host, Place
    from actorrl.runtime.program import Program

WIDTH = 80
_MAX_NAME = 24
ASSUMED = "assumed-"  # begins the names of GPUs that nobody has counted


@click.command("plan")
@what_to_train
@how_to_end
@click.pass_context
def command(ctx: click.Context, **flags: Any) -> None:
    """Print actors, links and placement of a run; takes the options of launch.

    The environment is made once, for its spaces. No process is started, no host is reached and no
    folder made.
    """
    from actorrl.cli.request import read_request

    request = read_request(ctx.obj or [], flags)
    program = request.config.program()
    click.echo(str(program))
    click.echo("\n".join(placement_lines(program, request.config.cluster_spec())))


def placement_lines(program: Program, spec: ClusterSpec) -> list[str]:
    """A row per host with what it has and the actors that it gets, and the notices."""
    from actorrl.runtime.inventory import this_host
    from actorrl.runtime.offers import assumed_offers, listening
    from actorrl.runtime.placement import place

    hosts = assumed_offers(spec, this_host(), program)
    places, notices = place(program, hosts, spec.roles, listeners=listening(program, spec))
    width = min(_MAX_NAME, max(len("host"), *(len(host.name) for host in hosts)))
    lines = ["Placement", f"  {'host':<{width}}  cores   GPUs     memory  actors"]
    for host in hosts:
        lines += _row(host, width, places)
    if any(host.assumed for host in hosts):
        lines.append(
            "? is not known before the host is reached: one core is assumed, and what is\n"
            "  asked for of GPUs and memory; `resources` in the host list may say it"
        )
    return lines + [
        line
        for notice in notices
        for line in textwrap.wrap(f"notice: {notice}", WIDTH, subsequent_indent="  ")
    ]


def _row(host: Host, width: int, places: Mapping[str, Place]) -> list[str]:
    cells = (
        f"{host.num_cpus}{_mark(host, 'cores'):<2}",
        f"{_known_gpus(host)}{_mark(host, 'GPUs'):<2}",
        _memory(host),
    )
    fits = len(host.name) <= width
    above = [] if fits else [f"  {host.name}"]
    head = f"  {host.name if fits else '':<{width}}  {cells[0]:>5}  {cells[1]:>5}  {cells[2]:>9}  "
    actors = ", ".join(_actors(host.name, places)) or "none"
    indent = " " * len(head)
    return [
        *above,
        *textwrap.wrap(head + actors, WIDTH, subsequent_indent=indent, break_on_hyphens=False),
    ]


def _mark(host: Host, what: str) -> str:
    return "?" if what in host.assumed else ""


def _known_gpus(host: Host) -> str:
    return "" if "GPUs" in host.assumed else str(len(host.gpus))


def _memory(host: Host) -> str:
    from actorrl.runtime.placement import size_text

    return size_text(host.memory_bytes) if host.memory_bytes is not None else "?"


def _actors(host: str, places: Mapping[str, Place]) -> list[str]:
    """`rollout/0..3 8`, `learner/0 on GPU-1234`: those of a role with the same devices as one."""
    alike: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for slot, at in places.items():
        if at.host == host:
            role, _, index = slot.rpartition("/")
            alike.setdefault((role, at.gpus), []).append(int(index))
    return [f"{role}/{_ranges(found)}{_on(gpus)}" for (role, gpus), found in alike.items()]


def _ranges(indices: list[int]) -> str:
    """[0, 1, 2, 7] -> "0..2 7"."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return " ".join(f"{run[0]}..{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def _on(gpus: tuple[str, ...]) -> str:
    if not gpus:
        return ""
    known = [gpu for gpu in gpus if not gpu.startswith(ASSUMED)]
    return f" on {', '.join(known) or f'{len(gpus)} GPU'}"
