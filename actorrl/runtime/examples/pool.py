"""A pool: the same work on several processes, the results in order.

>>> from actorrl.runtime.cluster import Cluster
>>> from actorrl.runtime.refs import gather
>>> program = pool(2)
>>> print(program)
Program pool
  worker/0..1          Worker
>>> with Cluster(program) as cluster:
...     workers = [cluster.ref(f"worker/{index}") for index in range(2)]
...     futures = [workers[n % 2].square.call(n) for n in range(8)]  # all are on their way
...     print(gather(futures))
...     len(set(gather([worker.pid.call() for worker in workers])))
[0, 1, 4, 9, 16, 25, 36, 49]
2
"""

from __future__ import annotations

import os

from actorrl.runtime.actor import Actor, remote
from actorrl.runtime.program import Program


class Worker(Actor):
    @remote
    def square(self, number: int) -> int:
        return number * number

    @remote
    def pid(self) -> int:
        return os.getpid()


def pool(num_workers: int) -> Program:
    program = Program("pool")
    program.add_group("worker", Worker, count=num_workers)
    return program
