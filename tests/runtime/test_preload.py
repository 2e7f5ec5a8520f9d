"""When what actors need is imported: at once where they are sure to come, else with the first."""

from __future__ import annotations

import pytest

from actorrl.runtime import strays
from actorrl.wire.control_messages import StopAll, encode_control
from tests.runtime.agents import lone_agent
from tests.runtime.clusters import PATIENCE_S, wait_until


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """A file that is there once the module `marker` has been imported."""
    path = tmp_path / "imported"
    (tmp_path / "marker.py").write_text(f"open({str(path)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return path


def test_the_agent_of_the_only_host_imports_before_it_is_asked_for_an_actor(
    imported, run_id, tmp_path
):
    """So its successor loses no time when it was killed."""
    with lone_agent(run_id, tmp_path, preload=["marker"], expects_actors=True) as agent:
        wait_until(imported.exists)
        agent.say(encode_control(StopAll(0.0)))
        assert agent.process.wait(PATIENCE_S) == 0
    assert strays.of_run(run_id) == []


def test_one_that_may_carry_nobody_imports_nothing(imported, run_id, tmp_path):
    with lone_agent(run_id, tmp_path, preload=["marker"]) as agent:
        agent.say(encode_control(StopAll(0.0)))
        assert agent.process.wait(PATIENCE_S) == 0
    assert not imported.exists()
