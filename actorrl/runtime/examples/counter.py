"""An actor is a class; its remote methods can be called from anywhere in the run.

    >>> from actorrl.runtime.cluster import Cluster
    >>> with Cluster(program(start=3)) as cluster:
    ...     counter = cluster.ref("counter/0")
    ...     print(counter.add.call(2).result())  # waits for the answer, 60 s at most
    ...     counter.add.tell(10)  # waits for nothing
    ...     print(counter.add.within(5.0).call(1).result())
    5
    16

It lives in a process of its own. With another launcher, the same Program runs in this one:

    >>> with Cluster(program(), launcher="inproc") as cluster:
    ...     cluster.ref("counter/0").add.call(1).result()
    4
"""

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
