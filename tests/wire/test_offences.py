"""Who sends nonsense is known by it, and the knowing has a bound."""

from __future__ import annotations

import collections

from actorrl.wire.offences import MAX_OFFENCES, MAX_SENDERS, Offences


def test_ever_new_senders_take_no_memory():
    drops: collections.Counter[str] = collections.Counter()
    offences = Offences(drops)
    for number in range(3 * MAX_SENDERS):
        offences.note(str(number))
    assert drops == {"malformed": 3 * MAX_SENDERS} and len(offences._counts) == MAX_SENDERS


def test_a_slip_is_forgiven_and_a_habit_is_not():
    drops: collections.Counter[str] = collections.Counter()
    offences = Offences(drops)
    for _ in range(MAX_OFFENCES - 1):
        offences.note("key", reason="in another's name")
    assert not offences.is_cut_off("key")
    offences.note("key")
    assert offences.is_cut_off("key") and not offences.is_cut_off("another")
    assert drops == {"in another's name": MAX_OFFENCES - 1, "malformed": 1}
