"""Who waits in a poll is woken by others."""

from __future__ import annotations

import contextlib
import threading

import zmq

from actorrl.wire.bell import Bell


def has_rung(bell: Bell, timeout_ms: int = 0) -> bool:
    poller = zmq.Poller()
    poller.register(bell.fd, zmq.POLLIN)
    return bool(poller.poll(timeout_ms))


def test_a_bell_that_has_rung_ends_a_poll_until_it_is_heard():
    with contextlib.closing(Bell()) as bell:
        assert not has_rung(bell)
        bell.hear()
        bell.ring()
        bell.ring()
        assert has_rung(bell) and has_rung(bell)
        bell.hear()
        assert not has_rung(bell), "however often it rang"


def test_another_thread_wakes_who_waits():
    with contextlib.closing(Bell()) as bell:
        ringer = threading.Thread(target=bell.ring)
        ringer.start()
        assert has_rung(bell, 10_000)
        ringer.join()


def test_a_closed_bell_may_be_rung_and_closed_again():
    bell = Bell()
    bell.close()
    with contextlib.closing(Bell()) as other:
        bell.ring()
        bell.close()
        assert not has_rung(other), "which may have its number"
