"""Processes that are killed in the middle of a run, and signals: what goes on, what is left.

Faults one after the other, with invariants: tests/faults."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from actorrl.errors import EXIT_INTERRUPTED, EXIT_TERMINATED
from tests.system import runs

IMPALA = ["--algo", "IMPALA", "--env", "CartPole-v1", "--workers", "2", "--seed", "3"]
LONG = ["--stop", "timesteps_total=1e9", "--set", "min_time_s_per_iteration=0.3"]


def kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


slow = pytest.mark.slow


@pytest.mark.parametrize(
    "algo",
    ["A2C", pytest.param("IMPALA", marks=slow), pytest.param("A3C", marks=slow)],
)
def test_a_killed_worker_is_back_under_its_name_and_the_others_never_noticed(
    algo: str, tmp_path: Path
) -> None:
    words = ["--algo", algo, *IMPALA[2:], *LONG]
    with runs.launched(*words, home=tmp_path) as run:
        run.wait_for_rows(3)
        before = run.pids()
        kill(before["rollout/1"])

        def back() -> bool:
            pids = run.pids()
            return pids["rollout/1"] not in (None, before["rollout/1"])

        run.wait_for(back)
        run.wait_for(lambda: run.rows()[-1]["num_healthy_workers"] == 2)
        rows = run.rows()
        run.wait_for_rows(len(rows) + 3)
        after, last = run.pids(), run.rows()[-1]
        assert {n: p for n, p in after.items() if n != "rollout/1"} == {
            n: p for n, p in before.items() if n != "rollout/1"
        }
        assert last["num_restarts"] == 1
        assert last["timesteps_total"] > rows[-1]["timesteps_total"]
        (why,) = [e for e in run.events() if e["kind"] == "actor_exited"]
        assert why["actor"] == "rollout/1" and "SIGKILL" in why["reason"]
        (actor,) = [a for a in run.status["actors"] if a["name"] == "rollout/1"]
        assert (actor["incarnation"], actor["restarts"]) == (2, 1)
        assert "SIGKILL" in actor["last_error"]


def test_after_the_drivers_death_nothing_of_the_run_is_left_within_five_seconds(
    tmp_path: Path,
) -> None:
    with runs.launched("--algo", "APEX", *IMPALA[2:], *LONG, home=tmp_path) as run:
        run.wait_for_rows(2)
        run_id = run.run_id()
        count = len(runs.processes_of(run_id))
        assert count >= 6, "agent, forkserver, 2 shards, learner, 2 workers"
        assert runs.traces_of(run_id), "its sockets"
        run.process.kill()
        died = time.monotonic()
        runs.wait_for(lambda: not runs.processes_of(run_id) and not runs.traces_of(run_id), 20)
        took_s = time.monotonic() - died
    assert took_s < 5.0


def test_sigterm_ends_with_a_checkpoint_and_leaves_nothing(tmp_path: Path) -> None:
    with runs.launched(*IMPALA, *LONG, home=tmp_path) as run:
        run.wait_for_rows(2)
        run_id = run.run_id()
        assert run.end(signal.SIGTERM) == EXIT_TERMINATED
    assert runs.processes_of(run_id) == [] and runs.traces_of(run_id) == []
    assert list((run.folder / "checkpoints").iterdir())


def test_ctrl_c_ends_with_a_checkpoint_and_resume_goes_on_from_it(tmp_path: Path) -> None:
    saving = ["--checkpoint-freq", "1", "--keep", "4"]
    with runs.launched(*IMPALA, *LONG, *saving, home=tmp_path) as run:
        run.wait_for(lambda: bool(run.rows()) and run.rows()[-1]["episodes_total"] >= 200)
        run_id = run.run_id()
        assert run.end(signal.SIGINT) == EXIT_INTERRUPTED
        assert "resume:" in run.output()
    assert runs.processes_of(run_id) == [] and runs.traces_of(run_id) == []
    rows = runs.rows_in(run.folder)
    last = rows[-1]
    assert list((run.folder / "checkpoints").iterdir()), "a checkpoint"
    goal = last["training_iteration"] + 4
    words = ["resume", str(run.folder), "--stop", f"training_iteration={goal}", "--quiet"]
    done = runs.actorrl(*words, home=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    again = runs.rows_in(run.folder)
    kept = sorted(int(p.name.rpartition("_")[2]) for p in (run.folder / "checkpoints").iterdir())
    assert len(kept) == 4 and kept[-1] == again[-1]["training_iteration"], "as many as before"
    assert kept[-2] > last["training_iteration"], "as often as before"
    assert again[: len(rows)] == rows, "what was written stays"
    first = again[len(rows)]
    assert first["training_iteration"] == last["training_iteration"] + 1
    assert first["timesteps_total"] > last["timesteps_total"]
    assert first["num_updates"] > last["num_updates"]
    new_steps = first["env_steps_per_s"] * first["time_this_iter_s"]
    assert first["timesteps_total"] - last["timesteps_total"] == pytest.approx(new_steps, rel=0.01)
    assert first["episodes_total"] >= last["episodes_total"]
    # All environments begin anew, and the episodes that fail early are the first to end: those of a
    # policy with 198 had a mean of 47. A new policy has 22.
    assert first["episode_reward_mean"] > min(0.6 * last["episode_reward_mean"], 30), "from scratch"
    assert again[-1]["training_iteration"] >= goal


def test_ctrl_c_counts_where_nobody_reads_what_is_printed_any_more(tmp_path: Path) -> None:
    """As with `2>&1 | tee FILE`, which the same Ctrl-C ends."""
    with runs.launched(*IMPALA, *LONG, home=tmp_path) as run:
        run.wait_for_rows(2)
        assert run.process.stdout is not None
        run.process.stdout.close()
        assert run.end(signal.SIGINT) == EXIT_INTERRUPTED
    assert list((run.folder / "checkpoints").iterdir())
