from __future__ import annotations

from actorrl.runtime.timers import Timers


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_each_is_due_at_its_own_interval_and_again_once_it_was_done():
    clock, done = Clock(), []
    timers = Timers(clock)
    timers.add(0.5, lambda: done.append("often"))
    timers.add(2.0, lambda: done.append("seldom"))
    assert list(timers.due()) == []
    for _ in range(17):
        clock.now += 0.25
        for action in timers.due():
            action()
    assert done.count("often") == 8 and done.count("seldom") == 2
    assert done[:3] == ["often"] * 3 and "seldom" in done[3:5]


def test_one_that_is_wanted_once_is_done_once():
    clock, done = Clock(), []
    timers = Timers(clock)
    timers.add(1.0, lambda: done.append(clock.now), once=True)
    assert timers.patience_ms(5000) <= 1001
    for clock.now in (100.5, 101.5, 109.0):
        for action in timers.due():
            action()
    assert done == [101.5] and timers.patience_ms(5000) == 5000


def test_one_that_is_late_is_done_once_and_then_at_its_interval():
    clock, done = Clock(), []
    timers = Timers(clock)
    timers.add(1.0, lambda: done.append(clock.now))
    for clock.now in (107.0, 107.5, 108.0):
        for action in timers.due():
            action()
    assert done == [107.0, 108.0]


def test_nobody_waits_beyond_what_is_due_next():
    clock = Clock()
    timers = Timers(clock)
    assert timers.patience_ms(500) == 500
    timers.add(60.0, lambda: None)
    assert timers.patience_ms(500) == 500
    timers.add(0.1, lambda: None)
    assert 100 <= timers.patience_ms(500) <= 101
    clock.now += 1.0
    assert timers.patience_ms(500) == 0
