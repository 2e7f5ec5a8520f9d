"""The hosts of a run in words: for the live table, and for the lines at its start and end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

MAX_ROWS = 8  # in the table; beyond, only those that are not up have a row of their own
_UP = "up"

Health = Mapping[str, Any]  # host, state, cpu and memory (parts of 1), losses, last_error


def host_table(hosts: Sequence[Health]) -> Table | None:
    """A row per host, as far as there is room; None for this machine alone."""
    if len(hosts) < 2:
        return None
    grid = Table.grid(expand=True, padding=(0, 1))
    for ratio in (3, 2, 1, 1):
        grid.add_column(ratio=ratio, overflow="fold")
    shown = list(hosts) if len(hosts) <= MAX_ROWS else [h for h in hosts if h["state"] != _UP]
    for host in shown[:MAX_ROWS]:
        style = "" if host["state"] == _UP else "yellow"
        cpu, memory = f"cpu {host['cpu']:.0%}", f"mem {host['memory']:.0%}"
        grid.add_row(f"host {host['host']}", _state(host), cpu, memory, style=style)
    if len(shown) < len(hosts) or len(shown) > MAX_ROWS:
        grid.add_row(summary(hosts), "", "", "")
    return grid


def summary(hosts: Sequence[Health]) -> str:
    """`hosts 2/3 up`; empty for this machine alone."""
    if len(hosts) < 2:
        return ""
    return f"hosts {sum(host['state'] == _UP for host in hosts)}/{len(hosts)} up"


def not_there(hosts: Sequence[Health]) -> list[str]:
    """A line for each host that the run has to do without."""
    return [
        f"without host {host['host']}: {_state(host)}{_reason(host)}"
        for host in hosts
        if host["state"] != _UP
    ]


def were_lost(hosts: Sequence[Health]) -> list[str]:
    """A line for each host that is there, and was lost meanwhile."""
    return [
        f"host {host['host']} was lost {_times(host['losses'])}, and came back"
        for host in hosts
        if host["state"] == _UP and host["losses"]
    ]


def _state(host: Health) -> str:
    lost = f" (lost {_times(host['losses'])})" if host["losses"] else ""
    return f"{host['state']}{lost}"


def _reason(host: Health) -> str:
    error = (host["last_error"] or "").strip().splitlines()
    return f", {error[0]}" if error else ""


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
