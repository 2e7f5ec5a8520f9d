"""`actorrl top [RUN]`: what the hosts and actors of a live run use, again and again."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click

from actorrl.cli.live_run import live_run
from actorrl.cli.options import where_results_are

PERIOD_S = 2.0
_CLEAR = "\033[H\033[2J"


@click.command("top")
@click.argument("run", required=False)
@click.option("--once", is_flag=True, help="Print once; so it is also without a terminal.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@where_results_are
def command(run: str | None, once: bool, as_json: bool, results: str | None) -> None:
    """What the hosts and actors of RUN use, busiest actors first. Ctrl-C ends it.

    RUN is a name or a run folder; it may be left out when one run is alive.
    """
    from actorrl.runtime.desk import ask

    run_id = live_run(run, results)
    while True:
        seen = ask(run_id, {"ask": "top"})
        if as_json:
            click.echo(json.dumps(seen))
        else:
            is_live = sys.stdout.isatty() and not once
            click.echo((_CLEAR if is_live else "") + as_text(seen))
        if as_json or once or not sys.stdout.isatty():
            return
        time.sleep(PERIOD_S)


def as_text(seen: dict[str, Any]) -> str:
    """Hosts, then actors, in 80 columns unless a name is long."""
    lines = [f"{'host':<28} {'state':<10} {'cpu':>6} {'memory':>7}"]
    for host in seen["hosts"]:
        lines.append(
            f"{host['host']:<28} {host['state']:<10} {host['cpu']:>6.0%} {host['memory']:>7.0%}"
        )
    lines += ["", f"{'actor':<16} {'host':<24} {'pid':>8} {'state':<9} {'cpu':>6} {'memory':>9}"]
    for actor in sorted(seen["actors"], key=lambda actor: -actor["cores"]):
        pid = "-" if actor["pid"] is None else str(actor["pid"])
        lines.append(
            f"{actor['name']:<16} {actor['host']:<24} {pid:>8} {actor['state']:<9}"
            f" {actor['cores']:>6.0%} {actor['rss_bytes'] / 2**20:>5.0f} MiB"
        )
    return "\n".join(lines)
