"""What `import actorrl` gives, and what it does not load."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import actorrl

HOUSE = Path(actorrl.__file__).parent
ROOMS = sorted(p.parent for p in HOUSE.glob("*/__init__.py") if p.parent.name != "examples")


def test_every_public_name_can_be_imported() -> None:
    for name in actorrl.__all__:
        assert getattr(actorrl, name).__module__.startswith("actorrl.")


def test_importing_the_package_loads_no_heavy_library() -> None:
    code = (
        "import sys, actorrl, actorrl.algorithms.registry;"
        "print([name for name in ('torch', 'gymnasium', 'zmq') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_rooms_docstring_leads_to_each_of_its_files_and_to_none_that_has_gone(room: Path) -> None:
    told = ast.get_docstring(ast.parse((room / "__init__.py").read_text())) or ""
    files = {path.stem for path in room.glob("*.py")} - {"__init__"}
    assert files - set(re.findall(r"\w+", told)) == set()
    assert set(re.findall(r"(\w+)\.py\b", told)) - files == set()
