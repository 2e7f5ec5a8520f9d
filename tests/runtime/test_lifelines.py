"""A lifeline that broke is opened again, and is one: its end, with the beats', ends the agent."""

from __future__ import annotations

import subprocess
import threading
import time

from actorrl.errors import HostError
from actorrl.runtime.lifelines import Lifelines, Mended
from actorrl.wire.control_messages import Lifeline, encode_control
from tests.runtime.agents import lone_agent
from tests.runtime.clusters import PATIENCE_S, SLEEPER, wait_until

LEASE_S = 0.5


class Unreachable:
    """An agent that can be connected to again from the third time on."""

    def __init__(self, good_from: int = 3) -> None:
        self.connection_lost = True
        self.times: list[float] = []
        self._good_from = good_from

    def reopen(self) -> int:
        self.times.append(time.monotonic())
        if len(self.times) < self._good_from:
            raise HostError("there is no route")
        return 42


def test_it_is_tried_again_with_growing_pauses_until_it_is_open():
    mended: list[Mended] = []
    agent = Unreachable()
    lifelines = Lifelines(lambda process: True, lambda process, how: mended.append(how), 0.05)
    lifelines.mend(agent)
    wait_until(lambda: bool(mended))
    assert (mended[0].holder, mended[0].attempts) == (42, 3)
    pauses = [b - a for a, b in zip(agent.times, agent.times[1:], strict=False)]
    assert pauses[0] >= 0.08 and pauses[1] >= 0.16  # 0.1 and 0.2, less a fifth


def test_nobody_tries_for_a_host_that_is_lost_or_a_run_that_is_over():
    agent, asked = Unreachable(), threading.Event()

    def is_wanted(process: object) -> bool:
        asked.set()
        return False

    lifelines = Lifelines(is_wanted, lambda process, how: None, 0.05)
    lifelines.mend(agent)
    assert asked.wait(PATIENCE_S)
    other = Unreachable()
    lifelines.close()
    lifelines.mend(other)
    wait_until(lambda: not any(t.name == "lifeline" for t in threading.enumerate()))
    assert agent.times == other.times == []


def test_an_agent_whose_lifeline_is_mended_lives_without_beats_and_ends_with_it(run_id, tmp_path):
    with (
        lone_agent(run_id, tmp_path, lease_s=LEASE_S) as agent,
        subprocess.Popen(SLEEPER) as holder,
    ):
        try:
            agent.say(encode_control(Lifeline(holder.pid)))
            agent.break_lifeline()
            assert agent.process.wait(4 * LEASE_S) is None
        finally:
            holder.kill()
        assert agent.process.wait(PATIENCE_S) == 0
        assert "the driver is gone" in (tmp_path / "agent-here.log").read_text()
