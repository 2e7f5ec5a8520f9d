"""`actorrl config ALGO`: every setting, with default, unit, meaning, and RLlib's default."""

from __future__ import annotations

import json
import shutil
import textwrap
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

import click
import msgspec
from msgspec import Meta

from actorrl.cli import rllib_defaults
from actorrl.cli.request import algorithm_name
from actorrl.config import Config, accepted

MIN_WIDTH = 60
MAX_WIDTH = 120


@click.command("config")
@click.argument("algo")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, one object a setting.")
def command(algo: str, as_json: bool) -> None:
    """Every setting of ALGO: key, default, unit, description, and RLlib's default where it differs.

    Set them with --set KEY=VALUE, or together with --config.
    """
    from actorrl.algorithms.registry import algorithm_class

    algorithm = algorithm_class(algorithm_name(algo, key="ALGO"))
    rows = describe(algorithm.config_class, rllib_defaults.of(algorithm))
    if as_json:
        click.echo(json.dumps([_as_object(row) for row in rows], default=str))
        return
    width = min(max(shutil.get_terminal_size().columns, MIN_WIDTH), MAX_WIDTH)
    for row in rows:
        click.echo(as_text(row, width))


class FieldRow(NamedTuple):
    """One line of `actorrl config ALGO`."""

    key: str  # dotted for nested settings
    type: str  # what is accepted, in words
    default: Any
    unit: str
    description: str
    rllib: Any  # RLlib 2.6.3's default; means something only if differs_from_rllib
    differs_from_rllib: bool


def describe(cls: type[Config], rllib: Mapping[str, Any]) -> list[FieldRow]:
    """Every setting of `cls`, nested ones included, in the order in which they are written.
    `rllib` has RLlib's defaults by key."""
    return list(_rows(cls(), "", rllib))


def _rows(config: Config, prefix: str, rllib: Mapping[str, Any]) -> Iterator[FieldRow]:
    for field in msgspec.structs.fields(config):
        default = getattr(config, field.name)
        if isinstance(default, Config):
            yield from _rows(default, f"{prefix}{field.name}.", rllib)
            continue
        metas = list(_metas(field.type))
        extra = {key: value for meta in metas for key, value in (meta.extra or {}).items()}
        # Of Annotated[Annotated[...]] the outer, later one: said by the class nearest to the user.
        description = next((m.description for m in reversed(metas) if m.description), "")
        key = f"{prefix}{field.name}"
        yield FieldRow(
            key=key,
            type=accepted(field.type),
            default=default,
            unit=extra.get("unit", ""),
            description=description,
            rllib=rllib.get(key),
            differs_from_rllib=key in rllib and rllib[key] != default,
        )


def _metas(annotation: Any) -> Iterator[Meta]:
    if get_origin(annotation) is Annotated:
        yield from (meta for meta in annotation.__metadata__ if isinstance(meta, Meta))
        yield from _metas(annotation.__origin__)
    elif get_origin(annotation) in (Union, types.UnionType):
        for argument in get_args(annotation):
            yield from _metas(argument)


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
