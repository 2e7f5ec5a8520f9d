"""The runtime's documented examples run as they are printed, and without torch and gymnasium."""

from __future__ import annotations

import subprocess
import sys

import pytest

MODULES = [
    "actorrl.runtime.cluster",
    "actorrl.runtime.program",
    "actorrl.runtime.examples.counter",
    "actorrl.runtime.examples.pool",
    "actorrl.runtime.examples.stream",
    "actorrl.runtime.examples.restart",
]
RUN = """
import doctest, importlib, sys
result = doctest.testmod(importlib.import_module(sys.argv[1]))
assert result.attempted > 0, "no examples"
heavy = {"torch", "gymnasium"} & sys.modules.keys()
assert not heavy, f"imported: {heavy}"
sys.exit(result.failed)
"""
IN_AN_ACTOR = """
import sys
from actorrl.runtime.actor import Actor, remote
from actorrl.runtime.cluster import Cluster
from actorrl.runtime.program import Program
class Looker(Actor):
    @remote
    def look(self): return [name for name in ("torch", "gymnasium") if name in sys.modules]
program = Program("look")
looker = program.add("looker", Looker)
with Cluster(program):
    assert looker.look.call().result() == []
"""


def run(text: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", text, *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of(module):
    run(RUN, module)


def test_an_actors_process_has_neither_torch_nor_gymnasium():
    run(IN_AN_ACTOR)
