"""The supervisor as tables: time, event, expected commands."""

from __future__ import annotations

import pytest

from actorrl.runtime.program import Restart
from actorrl.runtime.slots import Policy, SlotState
from actorrl.runtime.supervisor import Announce, Fail, Kill, Start, Supervisor

POLICY = Policy(
    max_restarts=3,
    window_s=100.0,
    backoff_s=1.0,
    backoff_limit_s=3.0,
    jitter=0.0,
    same_failure_limit=3,
    start_timeout_s=20.0,
    healthy_s=50.0,
    gap_s=5.0,
)


def placed(sup: Supervisor, host: str = "here") -> Supervisor:
    for name in sup.slots:
        sup.placed(name, host)
    return sup


def supervisor(restart: Restart = Restart.PERMANENT, **changes) -> Supervisor:
    fields = {name: getattr(POLICY, name) for name in POLICY.__dataclass_fields__}
    return placed(Supervisor({"a/0": restart, "b/0": restart}, Policy(**{**fields, **changes})))


def tick_to(sup: Supervisor, start: float, end: float) -> list[tuple[float, object]]:
    """Ticks every half second; what was commanded when."""
    commands = []
    for half in range(int(start * 2), int(end * 2) + 1):
        commands += [(half / 2, command) for command in sup.tick(half / 2)]
    return commands


def bring_up(sup: Supervisor, now: float, name: str = "a/0") -> int:
    incarnation = sup.slots[name].incarnation
    assert sup.hello(name, incarnation, 100 + incarnation, f"ipc://{name}") == [Announce()]
    assert sup.ready(name, incarnation, now) == []
    return incarnation


def end(sup: Supervisor, now: float, code: int = 1, reason: str = "boom", fatal: bool = False):
    return sup.exited("a/0", sup.slots["a/0"].incarnation, code, reason, fatal, now)


def test_the_first_tick_starts_everybody_and_the_next_nobody():
    sup = supervisor()
    assert sup.tick(0.0) == [Start("a/0", 1), Start("b/0", 1)]
    assert sup.tick(0.5) == []
    assert not sup.all_ready
    bring_up(sup, 1.0)
    bring_up(sup, 1.0, "b/0")
    assert sup.all_ready


def test_one_that_ends_is_started_again_after_its_backoff_and_the_other_is_left_alone():
    sup = supervisor()
    sup.tick(0.0)
    bring_up(sup, 0.0)
    bring_up(sup, 0.0, "b/0")
    assert end(sup, 1.0) == [Announce()]
    assert sup.slots["a/0"].pid is None and sup.slots["a/0"].last_error == "boom"
    assert tick_to(sup, 1.0, 4.0) == [(2.0, Start("a/0", 2))]
    assert (sup.slots["a/0"].restarts, sup.slots["b/0"].restarts) == (1, 0)


def test_the_backoff_doubles_up_to_its_limit():
    sup = supervisor(max_restarts=10)
    sup.tick(0.0)
    now, waits = 0.0, []
    for _ in range(4):
        bring_up(sup, now)
        end(sup, now)
        ((when, command),) = tick_to(sup, now, now + 4.5)
        assert isinstance(command, Start)
        waits.append(when - now)
        now += 4.5
    assert waits == [1.0, 2.0, 3.0, 3.0]


def test_a_slot_that_was_healthy_for_long_starts_its_backoff_anew():
    sup = supervisor()
    sup.tick(0.0)
    bring_up(sup, 0.0)
    end(sup, 1.0)
    tick_to(sup, 1.0, 3.0)
    bring_up(sup, 3.0)
    tick_to(sup, 3.0, 60.0)
    end(sup, 60.0)
    assert sup.slots["a/0"].due == 61.0


def test_too_many_restarts_within_the_window_end_the_run():
    sup = supervisor()
    sup.tick(0.0)
    now = 0.0
    for attempt in range(3):
        bring_up(sup, now)
        assert end(sup, now, reason=f"boom {attempt}") == [Announce()]
        tick_to(sup, now, now + 4)
        now += 4
    bring_up(sup, now)
    *_, fail = end(sup, now, reason="the last")
    assert fail == Fail("a/0 ended 4 times within 100 s: the last", "a/0")
    assert sup.stopping and sup.slots["a/0"].state is SlotState.FAILED
    assert tick_to(sup, now, now + 10) == []


def large_group(size: int, **changes) -> Supervisor:
    fields = {name: getattr(POLICY, name) for name in POLICY.__dataclass_fields__}
    policy = Policy(**{**fields, "max_restarts": 1000, **changes})
    sup = placed(Supervisor({f"a/{index}": Restart.PERMANENT for index in range(size)}, policy))
    sup.tick(0.0)
    return sup


def end_all(sup: Supervisor, now: float) -> list[object]:
    commands: list[object] = []
    for name, slot in sup.slots.items():
        bring_up(sup, now, name)
        commands += sup.exited(name, slot.incarnation, -9, f"{name} {now}", False, now)
    return commands


def test_a_large_group_may_die_at_once_and_once_again():
    sup = large_group(30)
    end_all(sup, 0.0)
    tick_to(sup, 0.0, 4.0)
    assert set(end_all(sup, 4.0)) == {Announce()}
    tick_to(sup, 4.0, 8.0)
    bring_up(sup, 8.0, "a/7")
    *_, fail = sup.exited("a/7", 3, -9, "killed", False, 8.0)
    assert fail == Fail("a: 61 ends within 60 s, the last of a/7: killed", "a/7")


def test_what_a_group_lost_long_ago_does_not_count():
    sup = large_group(1)
    for now in range(0, 600, 10):
        bring_up(sup, now)
        assert end(sup, now, reason=str(now)) == [Announce()]
        tick_to(sup, now, now + 9.5)
    assert sup.slots["a/0"].restarts == 60


def test_backoffs_differ_within_the_jitter_and_are_the_same_for_the_same_seed():
    def dues(seed: int) -> list[float]:
        names = {f"a/{index}": Restart.PERMANENT for index in range(20)}
        sup = placed(Supervisor(names, Policy(backoff_s=1.0, jitter=0.2), seed))
        sup.tick(0.0)
        for name in names:
            sup.exited(name, 1, -9, name, False, 0.0)
        return [slot.due for slot in sup.slots.values()]

    assert dues(1) == dues(1) != dues(2)
    assert all(0.8 <= due <= 1.2 for due in dues(1)) and len(set(dues(1))) > 10


def test_one_that_hung_says_so_and_not_the_signal_that_ended_it():
    sup = supervisor()
    sup.tick(0.0)
    bring_up(sup, 0.0)
    sup.silent("a/0", 1, 5.0, at_limit=False)
    sup.silent("a/0", 1, 10.0, at_limit=True)
    assert end(sup, 10.0, code=-9, reason="killed by signal 9") == [Announce()]
    assert sup.slots["a/0"].last_error == "hung: no progress for 10 s, its stack is in its log"


def test_restarts_long_ago_do_not_count():
    sup = supervisor(healthy_s=1e9)
    sup.tick(0.0)
    for now in (0, 60, 120, 180, 240, 300):
        bring_up(sup, now)
        assert end(sup, now) == [Announce()]
        tick_to(sup, now, now + 60)
    assert sup.slots["a/0"].restarts == 6 and not sup.stopping


@pytest.mark.parametrize(
    "reasons", [["ImportError: x"] * 3, ["held 99 MiB", "held 1.2 GiB", "held 101 MiB"]]
)
def test_the_same_failure_three_times_before_it_was_ever_ready_ends_the_run(reasons):
    sup = supervisor()
    sup.tick(0.0)
    assert end(sup, 0.0, reason=reasons[0]) == [Announce()]
    tick_to(sup, 0.0, 2.0)
    assert end(sup, 2.0, reason=reasons[1]) == [Announce()]
    tick_to(sup, 2.0, 5.0)
    *_, fail = end(sup, 5.0, reason=reasons[2])
    assert fail == Fail(f"a/0 failed 3 times: {reasons[2]}", "a/0")


def test_different_failures_before_it_was_ready_are_bounded_by_the_intensity_alone():
    sup = supervisor()
    sup.tick(0.0)
    for attempt in range(3):
        assert end(sup, attempt * 4.0, reason=f"number {attempt}") == [Announce()]
        tick_to(sup, attempt * 4.0, attempt * 4.0 + 4.0)
    *_, fail = end(sup, 16.0, reason="number 3")
    assert isinstance(fail, Fail)


def test_once_it_was_ready_the_same_failure_is_bounded_by_the_intensity_alone():
    sup = supervisor()
    sup.tick(0.0)
    bring_up(sup, 0.0)
    for attempt in range(3):
        assert end(sup, attempt * 4.0) == [Announce()]
        tick_to(sup, attempt * 4.0, attempt * 4.0 + 4.0)
    assert not sup.stopping


def test_a_fatal_failure_ends_the_run_at_once():
    sup = supervisor()
    sup.tick(0.0)
    bring_up(sup, 0.0)
    assert end(sup, 1.0, reason="EnvironmentFailure: x", fatal=True) == [
        Fail("EnvironmentFailure: x", "a/0")
    ]


@pytest.mark.parametrize(
    ("restart", "code", "starts_again"),
    [
        (Restart.PERMANENT, 0, True),
        (Restart.PERMANENT, 1, True),
        (Restart.PERMANENT, -9, True),
        (Restart.TRANSIENT, 0, False),
        (Restart.TRANSIENT, 1, True),
        (Restart.TRANSIENT, -9, True),
        (Restart.TEMPORARY, 0, False),
        (Restart.TEMPORARY, 1, False),
        (Restart.TEMPORARY, -9, False),
    ],
)
def test_restart_kinds(restart, code, starts_again):
    sup = supervisor(restart)
    sup.tick(0.0)
    bring_up(sup, 0.0)
    bring_up(sup, 0.0, "b/0")
    end(sup, 1.0, code=code)
    assert bool(tick_to(sup, 1.0, 5.0)) == starts_again
    assert (sup.slots["a/0"].state is SlotState.STOPPED) != starts_again
    assert sup.slots["a/0"].last_error == ("boom" if code or starts_again else None)
    assert starts_again or sup.all_ready  # an end that is final keeps nobody waiting


def test_a_fatal_failure_of_a_temporary_actor_ends_only_itself():
    sup = supervisor(Restart.TEMPORARY)
    sup.tick(0.0)
    assert end(sup, 1.0, fatal=True) == [Announce()]
    assert not sup.stopping


def test_one_that_is_not_ready_in_time_is_killed_and_the_reason_says_so():
    sup = supervisor()
    sup.tick(0.0)
    sup.hello("a/0", 1, 5, "ipc://x")
    bring_up(sup, 1.0, "b/0")
    assert tick_to(sup, 0.0, 25.0) == [(20.5, Kill("a/0", 1))]
    end(sup, 25.0, code=-9, reason="killed by signal 9")
    assert sup.slots["a/0"].last_error == "not ready within 20 s, its `start_timeout_s`"


def test_one_that_cannot_even_be_killed_is_killed_again():
    sup = supervisor()
    sup.tick(0.0)
    bring_up(sup, 1.0, "b/0")
    kills = [when for when, command in tick_to(sup, 0.0, 60.0) if isinstance(command, Kill)]
    assert kills == [20.5, 41.0]


def test_a_gap_between_ticks_moves_every_deadline_and_ends_nobody():
    sup = supervisor()
    sup.tick(0.0)
    bring_up(sup, 0.0)
    end(sup, 1.0)  # due at 2
    sup.tick(1.5)
    assert sup.tick(1001.5) == []  # asleep for 1,000 s; b/0 is still starting
    assert sup.tick(1002.0) == [Start("a/0", 2)]
    assert tick_to(sup, 1002.5, 1020.0) == []
    kills = [command for _, command in tick_to(sup, 1020.5, 1021.0)]
    assert kills == [Kill("b/0", 1)]  # 20 s after its start, the gap left out


def test_a_gap_does_not_let_old_restarts_expire():
    sup = supervisor()
    sup.tick(0.0)
    for attempt in range(3):
        bring_up(sup, attempt * 4.0)
        end(sup, attempt * 4.0)
        tick_to(sup, attempt * 4.0, attempt * 4.0 + 4.0)
    sup.tick(1e6)
    bring_up(sup, 1e6)
    *_, fail = end(sup, 1e6)
    assert isinstance(fail, Fail)


def test_words_of_an_old_incarnation_change_nothing():
    sup = supervisor()
    sup.tick(0.0)
    bring_up(sup, 0.0)
    end(sup, 1.0)
    tick_to(sup, 1.0, 2.0)
    assert sup.hello("a/0", 1, 7, "ipc://old") == []
    assert sup.exited("a/0", 1, 1, "old", False, 3.0) == []
    sup.ready("a/0", 1, 3.0)
    slot = sup.slots["a/0"]
    assert (slot.state, slot.address, slot.restarts) == (SlotState.STARTING, "", 1)
    assert sup.hello("nobody/0", 1, 7, "ipc://x") == []


def test_nobody_is_started_while_the_run_is_being_stopped():
    sup = supervisor()
    sup.tick(0.0)
    bring_up(sup, 0.0)
    sup.stopping = True
    assert end(sup, 1.0, code=-9, reason="killed") == [Announce()]
    assert sup.slots["a/0"].state is SlotState.STOPPED and sup.slots["a/0"].last_error is None
    assert tick_to(sup, 1.0, 30.0) == []


def test_the_end_of_the_run_leaves_no_pid():
    sup = supervisor()
    sup.tick(0.0)
    bring_up(sup, 0.0)
    sup.all_lost()
    assert {(slot.pid, slot.state) for slot in sup.slots.values()} == {(None, SlotState.STOPPED)}
    assert tick_to(sup, 1.0, 30.0) == []


def test_nobody_is_started_who_has_no_place():
    sup = Supervisor({"a/0": Restart.PERMANENT, "b/0": Restart.PERMANENT}, POLICY)
    assert sup.tick(0.0) == [] and sup.homeless() == ["a/0", "b/0"]
    sup.placed("b/0", "there")
    assert sup.tick(0.5) == [Start("b/0", 1)] and sup.homeless() == ["a/0"]


def test_what_a_lost_host_carried_starts_elsewhere_at_once_and_burns_no_budget():
    sup = supervisor(max_restarts=1)
    sup.tick(0.0)
    for round_ in range(5):
        bring_up(sup, round_)
        sup.placed("b/0", "elsewhere")
        assert sup.host_lost("here", round_ + 0.5) == [Announce()]
        assert sup.homeless() == ["a/0"]
        assert sup.slots["a/0"].last_error == "its host here was lost"
        sup.placed("a/0", "here")
        assert sup.tick(round_ + 1.0) == [Start("a/0", round_ + 2)]
    assert sup.slots["a/0"].restarts == 5 and sup.slots["b/0"].restarts == 0
    assert end(sup, 6.0) == [Announce()]  # its own first failure


def test_a_temporary_actor_is_lost_with_its_host():
    sup = supervisor(Restart.TEMPORARY)
    sup.tick(0.0)
    bring_up(sup, 0.0)
    sup.host_lost("here", 1.0)
    assert sup.slots["a/0"].state is SlotState.STOPPED and tick_to(sup, 1.0, 10.0) == []


def test_what_a_lost_host_says_later_changes_nothing():
    sup = supervisor()
    sup.tick(0.0)
    bring_up(sup, 0.0)
    sup.host_lost("here", 1.0)
    assert sup.exited("a/0", 1, -9, "killed", False, 2.0) == []
    assert sup.hello("a/0", 1, 5, "ipc://old") == []
    assert sup.slots["a/0"].address == "" and sup.slots["a/0"].state is SlotState.WAITING


def test_an_endless_number_of_restarts_has_a_bounded_backoff():
    sup = supervisor(max_restarts=10**9, window_s=1e12)
    sup.tick(0.0)
    slot = sup.slots["a/0"]
    slot.recent.extend([0.0] * 5000)
    bring_up(sup, 0.0)
    end(sup, 1.0)
    assert slot.due == 4.0
