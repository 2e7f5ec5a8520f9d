"""What `actorrl config ALGO` tells of settings."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from actorrl.cli.config_table import describe
from actorrl.config import Config


class Inner(Config):
    hiddens: Annotated[list[int], Meta(description="layer sizes")] = msgspec.field(
        default_factory=lambda: [64, 64]
    )


class Settings(Config):
    num_workers: Annotated[int, Meta(ge=0, description="processes", extra={"rllib": 2})] = 1
    lr: Annotated[
        float, Meta(gt=0, le=1, description="step", extra={"unit": "1/update", "rllib": 1e-3})
    ] = 1e-3
    seed: Annotated[int, Meta(ge=0, description="random seed")] | None = None
    model: Inner = msgspec.field(default_factory=Inner)


def test_every_setting_is_there_with_unit_and_rllibs_default() -> None:
    rows = {row.key: row for row in describe(Settings)}
    assert list(rows) == ["num_workers", "lr", "seed", "model.hiddens"]
    assert rows["num_workers"].rllib == 2 and rows["num_workers"].differs_from_rllib
    assert rows["lr"].unit == "1/update" and not rows["lr"].differs_from_rllib
    assert rows["seed"].description == "random seed"
    assert rows["model.hiddens"].default == [64, 64]
