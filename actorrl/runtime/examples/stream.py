"""A stream: producers step as long as the consumer gives credit; arrays travel beside the values.

>>> from actorrl.runtime.cluster import Cluster
>>> program = two_to_one()
>>> print(program)
Program stream
  producer/0..1        Producer
  consumer/0           Consumer
  numbers    producer/0..1 -> consumer/0    stream(credit=2, full=wait)
>>> with Cluster(program) as cluster:
...     cluster.ref("consumer/0").after.call(10).result()
[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
"""

from __future__ import annotations

import numpy as np

from actorrl.runtime.actor import Actor, remote
from actorrl.runtime.links import Item
from actorrl.runtime.mailbox import Later
from actorrl.runtime.program import Program, Stream


class Producer(Actor):
    """`step` is called while its stream has credit: it never waits, and never runs ahead."""

    def on_start(self) -> None:
        self.made = 0

    def step(self) -> None:
        self.made += 1
        frames = np.full((84, 84), self.made % 256, np.uint8)
        self.context.stream("numbers").send({"number": self.made}, {"frames": frames})


class Consumer(Actor):
    """`on_LINK` is called with each element; its arrays are good until the method returns."""

    def on_start(self) -> None:
        self.seen: dict[str, list[int]] = {"producer/0": [], "producer/1": []}
        self.waiting: list[tuple[int, Later]] = []

    def on_numbers(self, item: Item) -> None:
        assert item.arrays["frames"].mean() == item.body["number"] % 256
        self.seen[item.source].append(item.body["number"])
        for number, later in self.waiting:
            if len(self.seen["producer/0"]) == number:
                later.resolve(self.seen["producer/0"])

    @remote
    def after(self, number: int) -> Later:
        """What the first producer has sent, once it has sent so many; answered later."""
        later = Later()
        if len(self.seen["producer/0"]) >= number:
            later.resolve(self.seen["producer/0"][:number])
        else:
            self.waiting.append((number, later))
        return later


def two_to_one() -> Program:
    program = Program("stream")
    producers = program.add_group("producer", Producer, count=2)
    consumer = program.add("consumer", Consumer)
    program.link("numbers", Stream(credit=2), producers, consumer)
    return program
