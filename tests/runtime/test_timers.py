from __future__ import annotations

from actorrl.runtime.timers import Timers
from tests.runtime.clusters import wait_until


def test_each_is_due_at_its_own_interval_and_again_once_it_was_done():
    timers, done = Timers(), []
    timers.add(0.05, lambda: done.append("often"))
    timers.add(0.4, lambda: done.append("seldom"))

    def turn() -> bool:
        for action in timers.due():
            action()
        return "seldom" in done

    assert list(timers.due()) == []
    wait_until(turn)
    assert 2 <= done.index("seldom") <= 8 and len(done) == done.index("seldom") + 1


def test_nobody_waits_beyond_what_is_due_next():
    timers = Timers()
    assert timers.patience_ms(500) == 500
    timers.add(60.0, lambda: None)
    assert timers.patience_ms(500) == 500
    timers.add(0.001, lambda: None)
    assert timers.patience_ms(500) <= 2
