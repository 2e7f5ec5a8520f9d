"""What does compression give between hosts, on a cable that is slow and on one that is not?

Fragments of Pong's frames (160 of them, 1.1 MB) go from a producer in a network namespace to a
consumer outside, counted there, while `tc` shapes the cable. Against the same bytes as signed
numbers, which are never compressed. Needs root, as scripts/sandbox does.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cloudpickle
import numpy as np

from actorrl.envs.check import check_env
from actorrl.envs.vector import make_vector
from actorrl.runtime.actor import Actor, remote
from actorrl.runtime.cluster import Cluster
from actorrl.runtime.hosts import load_cluster
from actorrl.runtime.launchers.over_ssh import SshLauncher
from actorrl.runtime.links import Item
from actorrl.runtime.program import Program, Stream
from benchmarks.harness.pairing import Case, Sample, Side, Window
from cluster.sandbox import network
from tests.cluster import sandboxes

_FRAMES = 160
_WINDOW_S = 10.0
_SETTLE_S = 3.0
_BARS = {100: ">= 5", 1000: "", 0: ">= 0.95"}  # by Mbit/s; 0: nothing holds it up


def cases(peers: bool) -> list[Case]:
    return [
        Case(
            f"{mbit} Mbit/s" if mbit else "no limit",
            "env steps/s",
            _side("actorrl", mbit, compressed=True),
            _side("uncompressed", mbit, compressed=False),
            bar,
            "frames of random play",
            pairs=2,
            together=False,
        )
        for mbit, bar in _BARS.items()
    ]


class Producer(Actor):
    def __init__(self, frames: np.ndarray) -> None:
        self.frames = frames

    def step(self) -> None:
        self.context.stream("fragments").send(None, {"frames": self.frames})


class Consumer(Actor):
    def __init__(self) -> None:
        self.batch = np.zeros((_FRAMES, 84, 84), np.uint8)
        self.count = 0

    def on_fragments(self, item: Item) -> None:
        np.copyto(self.batch, item.arrays["frames"].view(np.uint8))
        self.count += len(self.batch)

    @remote(lane="control")
    def received(self) -> tuple[float, int]:
        return time.monotonic(), self.count


def _of_pong() -> np.ndarray:
    """[F, 84, 84] uint8, some way into an episode."""
    vector = make_vector(check_env("ALE/Pong-v5", {}).env, {}, 1, seed=1)
    vector.reset()
    actions = np.random.default_rng(0).integers(6, size=(100 + _FRAMES, 1))
    frames = [np.array(vector.step(action).obs[0]) for action in actions]
    vector.close()
    return np.stack(frames[-_FRAMES:])


def _side(name: str, mbit: int, compressed: bool) -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        if reason := network.why_not():
            raise RuntimeError(reason)
        frames = _of_pong()
        frames = frames if compressed else frames.view(np.int8)
        with tempfile.TemporaryDirectory() as folder, _far_host(Path(folder), mbit) as hosts:
            program = Program("compression")
            producer = program.add("rollout", Producer, frames)
            consumer = program.add("learner", Consumer)
            program.link("fragments", Stream(credit=3), producer, consumer)
            spec = load_cluster(hosts)
            launch = SshLauncher(spec)
            launch.bootstrap()
            with (
                contextlib.closing(launch),
                Cluster(program, spec, launch=launch, log_dir=Path(folder, "logs")) as running,
            ):
                time.sleep(_SETTLE_S)
                received = running.ref("learner/0").received

                def window() -> Sample:
                    started, first = received.call().result()
                    time.sleep(_WINDOW_S)
                    ended, last = received.call().result()
                    return Sample((last - first) / (ended - started))

                yield window

    return Side(name, opened)


@contextlib.contextmanager
def _far_host(folder: Path, mbit: int) -> Iterator[str]:
    """A host list: the learner here, a rollout worker behind the cable."""
    module = sys.modules[__name__]  # the host does not have it
    cloudpickle.register_pickle_by_value(module)
    sandbox = sandboxes.up(folder / "sandbox", 1)
    try:
        if mbit:
            space = ["ip", "netns", "exec", sandbox.plan.hosts[0].namespace, "tc", "qdisc"]
            shape = ["tbf", "rate", f"{mbit}mbit", "burst", "128kb", "latency", "200ms"]
            subprocess.run([*space, "add", "dev", "eth0", "root", *shape], check=True)
        (folder / "project").mkdir()
        entries = (
            {"host": "local", "roles": ["learner"]},
            {"host": sandbox.addresses[0], "roles": ["rollout"]},
        )
        yield str(sandbox.cluster(folder / "project" / "cluster.yml", *entries))
    finally:
        sandboxes.down(folder / "sandbox")
        cloudpickle.unregister_pickle_by_value(module)
