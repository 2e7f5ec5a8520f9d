"""`actorrl config ALGO`: every setting, with default, unit, meaning, and RLlib's default."""

from __future__ import annotations

import json
import shutil
import textwrap
from typing import Any

import click

from actorrl.cli.request import algorithm_name
from actorrl.config import FieldRow, describe

MIN_WIDTH = 60
MAX_WIDTH = 120


@click.command("config")
@click.argument("algo")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, one object a setting.")
def command(algo: str, as_json: bool) -> None:
    """Every setting of ALGO: key, default, unit, description, and RLlib's default where it differs.

    Set them with --set KEY=VALUE, or together with --config.
    """
    from actorrl.algorithms.registry import config_class

    rows = describe(config_class(algorithm_name(algo, key="ALGO")))
    if as_json:
        click.echo(json.dumps([_as_object(row) for row in rows], default=str))
        return
    width = min(max(shutil.get_terminal_size().columns, MIN_WIDTH), MAX_WIDTH)
    for row in rows:
        click.echo(as_text(row, width))


def as_text(row: FieldRow, width: int) -> str:
    """`key = default [unit]` and below it, indented, what it means and takes."""
    unit = f" [{row.unit}]" if row.unit else ""
    meaning = f"{row.description or 'no description'}; takes {row.type}"
    if row.differs_from_rllib:
        meaning += f" (RLlib: {_value(row.rllib)})"
    wrapped = textwrap.fill(
        meaning, width, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False
    )
    return f"{row.key} = {_value(row.default)}{unit}\n{wrapped}"


def _value(value: Any) -> str:
    """As it would be written in YAML or JSON."""
    try:
        return json.dumps(value)
    except TypeError:
        return str(value)


def _as_object(row: FieldRow) -> dict[str, Any]:
    plain = {"key": row.key, "default": row.default, "unit": row.unit, "type": row.type}
    plain["description"] = row.description
    return plain | ({"rllib": row.rllib} if row.differs_from_rllib else {})
