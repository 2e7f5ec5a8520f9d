"""Blocks: a reader sees whole versions only, never an older one, whatever happens to writers."""

from __future__ import annotations

import signal
import subprocess
import sys

import numpy as np
import pytest

from actorrl.errors import WireError
from actorrl.wire.blocks import _PUBLISHED, _VERSIONS, _WRITING, BlockReader, BlockWriter
from actorrl.wire.shared_memory import MemoryClient

# Publishes as fast as it can; every element of version v holds v.
WRITER = """
import sys, numpy as np
from actorrl.wire.blocks import BlockWriter
from actorrl.wire.shared_memory import MemoryClient
writer = BlockWriter(MemoryClient(sys.argv[1]), "weights")
a, b = np.empty(60_000, np.float32), np.empty((30, 7))
version = writer.newest().version
while True:
    version += 1
    a.fill(version); b.fill(version)
    writer.publish(version, {"a": a, "b": b})
"""


def weights(value: float) -> dict[str, np.ndarray]:
    return {"a": np.full((3, 4), value, np.float32), "b": np.full(5, value)}


def test_nothing_published_is_version_0(client):
    reader, writer = BlockReader(client, "w"), BlockWriter(client, "w")
    assert reader.version == 0 and writer.newest().version == 0
    with pytest.raises(WireError, match="nothing was published"):
        reader.read()


def test_a_reader_gets_its_own_copy_of_the_newest(client):
    reader, writer = BlockReader(client, "w"), BlockWriter(client, "w")
    for version in (1, 2, 7):
        writer.publish(version, weights(version))
        assert reader.version == version
        got, arrays = reader.read()
        assert got == version and (arrays["a"] == version).all() and (arrays["b"] == version).all()
    writer.publish(8, weights(8))
    assert (arrays["a"] == 7).all()


@pytest.mark.parametrize(
    "other",
    [
        {"a": np.zeros((3, 4), np.float32)},
        {"a": np.zeros((3, 4), np.float32), "b": np.zeros(1)},  # would broadcast
        {"a": np.zeros((3, 4)), "b": np.zeros(5)},
        {"b": np.zeros(5), "a": np.zeros((3, 4), np.float32)},
    ],
)
def test_versions_of_another_layout_are_refused(client, other):
    writer = BlockWriter(client, "w")
    writer.publish(1, weights(1))
    with pytest.raises(WireError, match="differ"):
        writer.publish(2, other)
    with pytest.raises(WireError, match="predecessor"):
        BlockWriter(client, "w").publish(2, other)
    assert BlockReader(client, "w").read()[0] == 1


def read_for(reader: BlockReader, num_reads: int, num_versions: int = 1) -> list[int]:
    """The versions that were read, each checked for being whole: at least so many reads of at least
    so many different versions."""
    versions: list[int] = []
    while len(versions) < num_reads or len(set(versions)) < num_versions:
        announced = reader.version
        if announced == 0:
            continue
        version, arrays = reader.read()
        assert version >= announced
        assert (arrays["a"] == version).all() and (arrays["b"] == version).all(), "torn"
        versions.append(version)
    return versions


def test_a_reader_never_sees_a_torn_or_older_version_while_another_process_publishes(memory):
    reader = BlockReader(MemoryClient(memory.address), "weights")
    with subprocess.Popen([sys.executable, "-c", WRITER, memory.address]) as writer:
        try:
            versions = read_for(reader, 2000, num_versions=100)
        finally:
            writer.kill()
    assert versions == sorted(versions)


def test_the_death_of_a_writer_in_the_middle_leaves_the_last_whole_version(memory):
    reader = BlockReader(MemoryClient(memory.address), "weights")
    last = 0
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, memory.address])
        versions = read_for(reader, 200)
        assert versions[0] >= last
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        last = read_for(reader, 3)[-1]
        assert reader.version == last


@pytest.mark.parametrize("steps", ["announced", "announced, versioned", "half filled"])
def test_whatever_a_writer_had_done_before_it_died_its_successor_goes_on(client, steps):
    writer, reader = BlockWriter(client, "w"), BlockReader(client, "w")
    writer.publish(1, weights(1))
    writer.publish(2, weights(2))
    words = writer._words
    assert words is not None
    words[_WRITING] = 3
    if "versioned" in steps:
        words[_VERSIONS + 1] = 3
    if "filled" in steps:
        words[_VERSIONS + 1] = 3
        writer._buffers[1][0][:] = 3
    assert reader.version == 2 and words[_PUBLISHED] == 2
    assert (reader.read()[1]["a"] == 2).all()
    successor = BlockWriter(client, "w")
    assert successor.newest().version == 2
    successor.publish(3, weights(3))
    assert reader.read()[0] == 3 and (reader.read()[1]["b"] == 3).all()
