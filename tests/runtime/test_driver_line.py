"""An agent's line to a driver that stands still."""

from __future__ import annotations

import collections
import contextlib
import tempfile
import time
from collections.abc import Iterator

import pytest
import zmq

from actorrl.runtime import driver_line
from actorrl.runtime.driver_line import DriverLine
from actorrl.wire import sockets
from actorrl.wire.control_messages import (
    ActorEvent,
    ActorExited,
    AgentConfig,
    LogLines,
    decode_control,
)
from tests.runtime.clusters import wait_until

LINES = LogLines("worker/0", "something", 0)
END = ActorExited("worker/0", 1, -9, "")


@contextlib.contextmanager
def stalled() -> Iterator[tuple[DriverLine, zmq.Socket, collections.Counter[str]]]:
    """A line that takes nothing any more, what is the driver's end of it, and what it drops."""
    context, drops = sockets.new_context(), collections.Counter[str]()
    with tempfile.TemporaryDirectory() as folder:  # its path has to be short
        addresses = [f"ipc://{folder}/{name}" for name in ("control", "beats")]
        driver, _ = [sockets.router(context, address) for address in addresses]
        config = AgentConfig(
            run_id="run",
            host="one",
            incarnation=1,
            driver_address=addresses[0],
            beat_address=addresses[1],
            log_dir="",
            preload=[],
            slots=[],
        )
        line = DriverLine(config, context, drops)
        try:
            taken = 1
            while taken:  # ZeroMQ's thread may have made room since the last was dropped
                time.sleep(0.02)
                taken, drops["word to the driver"] = -1, 0
                while not drops["word to the driver"]:
                    line.say(LINES)
                    taken += 1
            drops.clear()
            yield line, driver, drops
        finally:
            line.close()
            context.destroy(linger=0)


def heard_until_its_end(line: DriverLine, driver: zmq.Socket) -> list[object]:
    """What the driver hears besides lines, once it goes on."""
    heard: list[object] = []

    def goes_on() -> bool:
        while driver.poll(0):
            heard.append(decode_control(driver.recv_multipart()[1]))
        line.tick()
        return END in heard

    wait_until(goes_on)
    return [message for message in heard if message != LINES]


def test_it_hears_of_an_actors_end_once_it_goes_on_however_much_was_said_before() -> None:
    with stalled() as (line, driver, drops):
        line.say(END)
        line.say(LINES)
        assert heard_until_its_end(line, driver) == [END]
        assert drops["word to the driver"] == 1


def test_it_hears_of_what_was_lost_which_is_said_once() -> None:
    lost = [ActorEvent("worker/0", 1, "elements_lost", {"rows": rows}) for rows in (8, 16)]
    with stalled() as (line, driver, drops):
        for message in (*lost, END):
            line.say(message)
        assert heard_until_its_end(line, driver) == [*lost, END]
        assert not drops["word to the driver"]


def test_events_without_end_are_counted_beyond_a_bound_and_leave_room_for_an_actors_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver_line, "_MAX_BEFORE_EVENTS", 3)
    events = [ActorEvent("worker/0", 1, "said", {"number": number}) for number in range(10)]
    with stalled() as (line, driver, drops):
        for message in (*events, END):
            line.say(message)
        assert heard_until_its_end(line, driver) == [*events[:3], END]
        assert drops["word to the driver"] == 7
