"""Several learners of a run: one of them, or all, are killed in the middle of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from actorrl.errors import EXIT_INTERRUPTED
from tests.system import runs

PPO = ["--algo", "PPO", "--env", "CartPole-v1", "--workers", "1", "--seed", "3"]
TWO = ["--set", "num_learners=2", "--set", "train_batch_size=256"]
LONG = ["--stop", "timesteps_total=1e9"]
pytestmark = pytest.mark.slow


def killed(run: runs.Run, name: str) -> int:
    """Its pid."""
    pid = run.pids()[name]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid


def learners(row: dict) -> int:
    return int(row["info"]["learner"]["num_learners"])


def later(run: runs.Run, num_learners: int, condition: Callable[[], bool]) -> None:
    """So many learners share the batches of a row that was written after the condition."""
    run.wait_for(condition)
    count = len(run.rows())
    run.wait_for(lambda: any(learners(row) == num_learners for row in run.rows()[count:]))


@pytest.mark.parametrize("algo", ["PPO", "IMPALA"])
def test_training_goes_on_without_a_killed_partner_and_then_with_its_successor(
    algo: str, tmp_path: Path
) -> None:
    words = ["--algo", algo, *PPO[2:], *TWO, "--set", "min_time_s_per_iteration=0.3", *LONG]
    with runs.launched(*words, home=tmp_path) as run:
        later(run, 2, lambda: bool(run.rows()))
        before = run.rows()[-1]
        pids = run.pids()
        killed(run, "learner/1")
        later(run, 2, lambda: run.pids()["learner/1"] not in (None, pids["learner/1"]))
        after = run.rows()[-1]
        assert after["num_updates"] > before["num_updates"]
        assert after["num_restarts"] == 1 and run.pids()["learner/0"] == pids["learner/0"]
        met = [event for event in run.events() if event["kind"] == "learners_met"]
        assert [event["generation"] for event in met[:2]] == [1, 2]
        lost = sum(e["rows"] for e in run.events() if e["kind"] == "shares_lost")
        assert lost == after["info"]["learner"]["num_rows_lost"]
        run_id = run.run_id()
        assert run.end(signal.SIGINT) == EXIT_INTERRUPTED
    assert runs.processes_of(run_id) == [] and runs.traces_of(run_id) == []
    assert list((run.folder / "checkpoints").iterdir())


def test_partners_follow_the_successor_of_a_killed_lead(tmp_path: Path) -> None:
    with runs.launched(*PPO, *TWO, *LONG, home=tmp_path) as run:
        later(run, 2, lambda: bool(run.rows()))
        lead = killed(run, "learner/0")
        later(run, 2, lambda: run.pids()["learner/0"] not in (None, lead))
        (recovered,) = [e for e in run.events() if e["kind"] == "learner_recovered"]
        assert recovered["epoch"] == 2
        lead, partner = killed(run, "learner/0"), killed(run, "learner/1")
        gone = {lead, partner, None}
        later(run, 2, lambda: not gone & {run.pids()[f"learner/{i}"] for i in (0, 1)})
        run_id = run.run_id()
        assert run.end(signal.SIGTERM) != 0
    assert runs.processes_of(run_id) == [] and runs.traces_of(run_id) == []
