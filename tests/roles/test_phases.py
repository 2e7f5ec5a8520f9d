from __future__ import annotations

import time

import pytest

from actorrl.roles.phases import Phases


def burn() -> None:
    """Some CPU time."""
    until = time.process_time() + 0.02
    while time.process_time() < until:
        pass


def test_laps_add_up_to_all_that_the_process_has_used():
    phases = Phases()
    phases.lap("runtime")
    started = time.process_time()
    burn()
    phases.lap("update")
    burn()
    phases.lap_split({"env": 3.0, "inference": 1.0})
    used = time.process_time() - started
    report = phases.report()
    parts = [report[f"cpu_{name}_s"] for name in ("update", "env", "inference")]
    assert parts[0] >= 0.02 and sum(parts) == pytest.approx(used, abs=0.01)
    assert parts[1] == pytest.approx(3 * parts[2])


def test_a_lap_without_any_second_on_the_clock_is_nobodys():
    phases = Phases()
    phases.lap_split({"env": 0.0, "inference": 0.0})
    assert phases.report() == {"cpu_env_s": 0.0, "cpu_inference_s": 0.0}


def test_actors_that_share_a_process_count_nothing():
    phases = Phases(inline=True)
    phases.lap("update")
    phases.lap_split({"env": 1.0})
    assert phases.report() == {}
