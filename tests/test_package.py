"""What `import actorrl` gives, and what it does not load."""

from __future__ import annotations

import subprocess
import sys

import actorrl


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
