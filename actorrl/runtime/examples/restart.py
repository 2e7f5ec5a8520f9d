"""A crash and a restart: the name stays, the process and its memory do not.

>>> from actorrl.errors import ActorDied, RemoteError
>>> from actorrl.runtime.cluster import Cluster
>>> with Cluster(program()) as cluster:
...     fragile = cluster.ref("fragile/0")
...     print(fragile.add.call(5).result())
...     try:
...         fragile.divide.call(1, 0).result()  # an error of a call ends nobody
...     except RemoteError as error:
...         print(error.type_name, "executed:", error.executed)
...     print(fragile.add.call(1).result())
...     try:
...         fragile.crash.call().result()
...     except ActorDied as error:
...         print(error)
...     print(fragile.add.call(1).result())  # waits until it is up again
...     print(cluster.num_restarts(), cluster.status()[1]["last_error"])
5
ZeroDivisionError executed: yes
6
fragile/0 died during crash() (executed: maybe)
1
1 killed by signal 9 (SIGKILL)
"""

from __future__ import annotations

import os
import signal

from actorrl.runtime.actor import Actor, remote
from actorrl.runtime.program import Program


class Fragile(Actor):
    def __init__(self) -> None:
        self.total = 0

    @remote
    def add(self, amount: int) -> int:
        self.total += amount
        return self.total

    @remote
    def divide(self, a: int, b: int) -> float:
        return a / b

    @remote
    def crash(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def program() -> Program:
    program = Program("restart")
    program.add("fragile", Fragile)
    return program
