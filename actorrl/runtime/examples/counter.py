"""A counter actor, the smallest Program; used by the runtime's examples."""

from __future__ import annotations

from actorrl.runtime.actor import Actor, remote
from actorrl.runtime.program import Program


class Counter(Actor):
    def __init__(self, start: int = 0) -> None:
        self.total = start

    @remote
    def add(self, amount: int) -> int:
        self.total += amount
        return self.total


def program(start: int = 3) -> Program:
    program = Program("counter")
    program.add("counter", Counter, start=start)
    return program
