"""Versioned state between two agents' relays, over TCP."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from actorrl import failpoints
from actorrl.runtime import relay
from actorrl.runtime.relay import Relay, relay_name
from actorrl.wire.blocks import BlockReader, BlockWriter, Stamp
from actorrl.wire.control_messages import AgentConfig, RelayPlan
from actorrl.wire.keys import KeyPair
from actorrl.wire.messages import Peer
from actorrl.wire.shared_memory import MemoryClient
from actorrl.wire.sockets import TcpDoor
from tests.runtime.clusters import wait_until
from tests.wire.memory_server import served

PATIENCE_S = 30.0
PORTS = (23_000, 23_199)


class Side(NamedTuple):
    relay: Relay
    peer: Peer
    reader: BlockReader
    writer: BlockWriter


@contextlib.contextmanager
def side(host: str) -> Iterator[Side]:
    keys = KeyPair.new()
    config = AgentConfig(
        run_id="test",
        host=host,
        incarnation=1,
        driver_address="",
        beat_address="",
        log_dir="",
        preload=[],
        slots=[],
        tcp=TcpDoor(keys=keys, ports=PORTS),
    )
    with served() as memory, tempfile.TemporaryDirectory(prefix="rt-") as folder:
        relay = Relay(config, memory.address, f"ipc://{folder}/relay")
        relay.start()
        client = MemoryClient(memory.address)
        try:
            yield Side(
                relay,
                Peer(1, "", host, relay.address, keys.public),
                BlockReader(client, "state/weights"),
                BlockWriter(client, "state/weights"),
            )
        finally:
            relay.end()
            client.close()


@contextlib.contextmanager
def pair() -> Iterator[tuple[Side, Side]]:
    """The writer's host, and one that reads."""
    with side("one") as one, side("two") as two:
        agents = {relay_name("one"): one.peer, relay_name("two"): two.peer}
        one.relay.post(RelayPlan(agents, {}))
        two.relay.post(RelayPlan(agents, {"weights": relay_name("one")}))
        yield one, two


def arrays(number: int) -> dict[str, np.ndarray]:
    return {"w": np.full(1000, number, np.float32)}


def test_a_mirror_has_version_epoch_and_arrays_of_its_writer():
    with pair() as (one, two):
        for version, epoch in ((1, 1), (7, 1), (8, 2), (3, 4), (3, 5)):  # 3: from an older state
            one.writer.publish(version, arrays(version + epoch), epoch)
            wait_until(lambda: two.reader.stamp == one.reader.stamp, PATIENCE_S)
            stamp, got = two.reader.read_stamped()
            assert stamp == Stamp(version, epoch)
            assert (got["w"] == version + epoch).all()


def test_what_is_only_mirrored_is_not_passed_on():
    with pair() as (one, two), side("three") as three:
        one.writer.publish(5, arrays(5), 1)
        wait_until(lambda: two.reader.version == 5, PATIENCE_S)
        agents = {relay_name(each.peer.host): each.peer for each in (two, three)}
        two.relay.post(RelayPlan(agents, {}))  # the writer's host is lost, its next one is two
        three.relay.post(RelayPlan(agents, {"weights": relay_name("two")}))
        two.writer.publish(3, arrays(3), 2)
        wait_until(lambda: three.reader.version > 0, PATIENCE_S)
        assert three.reader.stamp == Stamp(3, 2)


def test_a_relay_that_fails_says_so(monkeypatch, capfd):
    with pair() as (one, two):
        one.writer.publish(1, arrays(1))
        wait_until(lambda: two.reader.version == 1, PATIENCE_S)
        assert not two.relay.has_failed
        plan = failpoints.parse("weights.mid_publish=raise@2")  # the first is the writer's own
        monkeypatch.setattr(failpoints, "ACTIVE", True)
        monkeypatch.setattr(failpoints, "_plan", plan)
        one.writer.publish(2, arrays(2))
        wait_until(lambda: two.relay.has_failed, PATIENCE_S)
        assert two.reader.version == 1 and not one.relay.has_failed
    assert "weights.mid_publish" in capfd.readouterr().err


def test_a_relay_that_gets_no_block_for_what_it_mirrors_fails_after_some_attempts(
    monkeypatch, capfd
):
    monkeypatch.setattr(relay, "_ASK_AGAIN_S", 0.05)
    monkeypatch.setattr(relay, "_RETRY_S", 0.01)
    with pair() as (one, two):
        two.writer.publish(1, {"w": np.zeros(7, np.float32)})  # so that ours do not fit
        one.writer.publish(2, arrays(2))
        wait_until(lambda: two.relay.has_failed, PATIENCE_S)
        assert two.relay._refused["weights"] == relay._MAX_REFUSED > 1
        assert not one.relay.has_failed
    assert "state 'weights' cannot be shared on this host: " in capfd.readouterr().err


def test_what_a_relay_could_mirror_in_the_end_counts_no_attempt_before(monkeypatch, capfd):
    monkeypatch.setattr(relay, "_ASK_AGAIN_S", 0.05)
    monkeypatch.setattr(relay, "_RETRY_S", 0.01)
    refused = iter([MemoryError("full")] * (relay._MAX_REFUSED - 1))
    keep = MemoryClient.keep

    def full_at_first(client, name, nbytes):
        if client is two.relay._memory and (error := next(refused, None)):
            raise error
        return keep(client, name, nbytes)

    with pair() as (one, two):
        monkeypatch.setattr(MemoryClient, "keep", full_at_first)
        one.writer.publish(1, arrays(1))
        wait_until(lambda: two.reader.version == 1, PATIENCE_S)
        wait_until(lambda: not two.relay._refused, PATIENCE_S)
        assert not two.relay.has_failed
    assert "MemoryError: full" in capfd.readouterr().err
