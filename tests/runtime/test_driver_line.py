"""An agent's line to a driver that stands still."""

from __future__ import annotations

import collections
import tempfile

from actorrl.runtime.driver_line import DriverLine
from actorrl.wire import sockets
from actorrl.wire.control_messages import (
    ActorExited,
    AgentConfig,
    LogLines,
    decode_control,
)
from tests.runtime.clusters import wait_until

LINES = LogLines("worker/0", "something", 0)
END = ActorExited("worker/0", 1, -9, "")


def test_it_hears_of_an_actors_end_once_it_goes_on_however_much_was_said_before() -> None:
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

        def goes_on() -> bool:
            while driver.poll(0):
                heard.append(decode_control(driver.recv_multipart()[1]))
            line.tick()
            return END in heard

        try:
            while not drops["word to the driver"]:
                line.say(LINES)
            line.say(END)
            line.say(LINES)
            heard: list[object] = []
            wait_until(goes_on)
            assert heard[:-1] == [LINES] * (len(heard) - 1) and drops["word to the driver"] == 2
        finally:
            line.close()
            context.destroy(linger=0)
