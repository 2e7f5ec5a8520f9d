from __future__ import annotations

import importlib.util
import shlex
import sys
import tomllib
from pathlib import Path

import pytest

from actorrl.cli.doctor import EXTRAS
from actorrl.cli.main import run


def test_each_extra_is_said_to_be_there_or_how_it_is_installed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: found("json") if name == "mujoco" else None,
    )
    assert run(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    pip = f"{shlex.quote(sys.executable)} -m pip"  # not that of another environment
    assert [line.split()[0] for line in lines] == list(EXTRAS)
    assert all(
        line.endswith("installed" if "mujoco" in line else f'{pip} install "actorrl[{extra}]"')
        for line, extra in zip(lines, EXTRAS, strict=True)
    )


def test_the_extras_are_the_projects() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert set(EXTRAS) <= set(project["project"]["optional-dependencies"])
