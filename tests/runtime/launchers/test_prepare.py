"""What is done once on a host, by the script that does it there."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import pytest

from actorrl.runtime.launchers import remote_command

SCRIPT = Path(remote_command.__file__).parent / "remote" / "prepare.py"


@pytest.fixture
def told(tmp_path: Path) -> dict:
    make_venv(tmp_path)
    return {
        "workdir": str(tmp_path),
        "directory": str(tmp_path),
        "venv": True,
        "packages": [],
        "setup": ["echo more >> made", "echo again >> made"],
        "environment": {},
        "python": "python3",
    }


def make_venv(workdir: Path) -> None:
    """As its user makes it: it is used as it is."""
    (workdir / ".venv" / "bin").mkdir(parents=True)
    (workdir / ".venv" / "bin" / "python").touch()
    (workdir / ".venv" / "pyvenv.cfg").touch()


def prepare(told: dict) -> list[str]:
    """What was done."""
    answer = runpy.run_path(str(SCRIPT))["main"](dict(told), None)
    assert answer["failed"] == "", answer["tail"]
    return answer["did"]


def test_setup_commands_run_once_and_again_when_they_change(told: dict, tmp_path: Path) -> None:
    assert prepare(told) == ["ran echo more >> made", "ran echo again >> made"]
    assert prepare(told) == []
    assert (tmp_path / "made").read_text() == "more\nagain\n"
    assert prepare({**told, "setup": ["echo other >> made"]}) == ["ran echo other >> made"]


def test_a_virtual_environment_that_was_made_anew_gets_what_setup_installs(
    told: dict, tmp_path: Path
) -> None:
    prepare(told)
    shutil.rmtree(tmp_path / ".venv")  # what actorrl itself advises where it does not work
    make_venv(tmp_path)
    assert len(prepare(told)) == 2
    assert prepare(told) == []


def test_without_a_virtual_environment_setup_runs_once(told: dict) -> None:
    shutil.rmtree(Path(told["workdir"]) / ".venv")
    plain = {**told, "venv": False}
    assert len(prepare(plain)) == 2 and prepare(plain) == []


def test_a_virtual_environment_that_came_to_nothing_is_made_another_time(
    told: dict, tmp_path: Path
) -> None:
    """As where the system's Python lacks ensurepip: what it leaves has a python, and no pip."""
    shutil.rmtree(tmp_path / ".venv")
    python = tmp_path / "python"
    half = f"#!/bin/sh\nmkdir -p {tmp_path}/.venv/bin && touch {tmp_path}/.venv/bin/python\n"
    python.write_text(f"{half}exit 1\n")
    python.chmod(0o755)
    told = {**told, "python": str(python), "setup": []}
    assert runpy.run_path(str(SCRIPT))["main"](dict(told), None)["failed"]
    python.write_text(half)
    assert prepare(told) == [f"made {tmp_path}/.venv"]
