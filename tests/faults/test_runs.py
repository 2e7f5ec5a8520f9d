"""A training run, and one fault after the other; the invariants after each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.harness import FaultyRun, faulty_run
from tests.faults.measures import Measure
from tests.system import runs

pytestmark = pytest.mark.timeout(400)
WORDS = ["--env", "CartPole-v1", "--workers", "2", "--seed", "3", "--stop", "timesteps_total=1e9"]
WORDS += ["--set", "min_time_s_per_iteration=0.3"]


@pytest.fixture(scope="module", params=["IMPALA", "APEX"])
def run(request, tmp_path_factory) -> Iterator[FaultyRun]:
    home = tmp_path_factory.mktemp(request.param)
    with faulty_run("--algo", request.param, *WORDS, home=home) as run:
        run.settle()
        yield run


@pytest.mark.parametrize(
    "victims",
    [
        ["rollout/1"],
        ["rollout/0", "rollout/1"],
        ["learner/0"],
        ["replay/0"],
        ["replay/0", "rollout/0", "learner/0"],
    ],
    ids=" and ".join,
)
def test_whoever_is_killed_comes_back_and_nothing_is_left(run, victims):
    if not set(victims) <= run.actors().keys():
        pytest.skip("this topology has no shards")
    epoch, restarts = run.watcher.seen[-1][0], run.num_restarts()
    lost = len(run.event_list("learner_recovered")), len(run.event_list("rows_lost"))
    run.kill(*victims)
    assert run.broken_invariants() == []
    assert run.num_restarts() == restarts + len(victims)
    assert run.watcher.seen[-1][0] == epoch + ("learner/0" in victims)
    assert len(run.event_list("learner_recovered")) == lost[0] + ("learner/0" in victims)
    assert len(run.event_list("rows_lost")) == lost[1] + ("replay/0" in victims)


def test_what_a_learner_has_lost_is_what_its_rows_said(run):
    """No checkpoint yet: all updates are lost, the last row's and those since."""
    for event in run.event_list("learner_recovered"):
        before = [row for row in run.rows() if row["info"]["learner"]["epoch"] < event["epoch"]]
        assert event["updates_lost"] >= before[-1]["num_updates"] - _restored(event)
        assert event["timesteps_lost"] >= before[-1]["timesteps_total"] - _restored(event, 1)


def _restored(event: dict, which: int = 0) -> int:
    """Updates, or env steps, of the checkpoint it went on from."""
    if event["checkpoint"] is None:
        return 0
    pytest.skip("a recovery checkpoint was written meanwhile")


@pytest.mark.parametrize("victim", ["rollout/0", "learner/0", "agent/local", "driver"])
def test_who_stands_still_for_a_while_goes_on_and_nobody_is_started_again(run, victim):
    run.stop_for(victim, 3.0)
    assert run.broken_invariants() == []


def test_a_driver_that_is_killed_leaves_nothing_and_resume_goes_on(tmp_path: Path) -> None:
    words = ["--algo", "IMPALA", *WORDS, "--checkpoint-freq", "4"]
    with faulty_run(*words, home=tmp_path) as run:
        run.wait_for(lambda: len(run.rows()) >= 6, 90)
        first = run.run_id()
        moment = time.time()
        run.process.kill()
        runs.wait_for(lambda: not runs.processes_of(first) and not runs.traces_of(first), 30)
        Measure("signal SIGKILL", "driver", recover_s=time.time() - moment).keep()
    damaged = sorted((run.folder / "checkpoints").iterdir())[-1]
    if len(list(damaged.parent.iterdir())) > 1:
        (damaged / "state.json").write_text("{}")
    last = run.last_row()
    with faulty_run(str(run.folder), home=tmp_path, command="resume") as run:
        run.wait_for(lambda: bool(run.event_list("run_resumed")), 90)
        (told,) = run.event_list("run_resumed")
        assert 0 <= told["updates_lost"] <= last["num_updates"]
        assert told["timesteps_lost"] <= last["timesteps_total"]
        for event in run.event_list("checkpoint_damaged"):
            assert damaged.name in event["reason"] and damaged.name not in told["checkpoint"]
        run.settle()
        watcher = run.watcher
        assert watcher is not None
        run.wait_for(lambda: bool(watcher.seen) and watcher.seen[-1][0] > 1, 60)  # a new epoch
        assert run.broken_invariants() == []


@pytest.mark.parametrize(
    ("algo", "point", "victim"),
    [
        ("IMPALA", "weights.mid_publish=kill@40", "learner/0"),
        pytest.param("A3C", "learner.before_publish=kill@40", "learner/0", marks=pytest.mark.slow),
        ("APEX", "shard.mid_insert=kill@20", "replay/"),
        pytest.param("APEX", "shard.before_insert=kill@20", "replay/", marks=pytest.mark.slow),
        ("IMPALA", "worker.before_send=kill@20", "rollout/"),
    ],
)
def test_a_crash_between_two_steps_is_recovered_from_as_a_whole(algo, point, victim, tmp_path):
    once = tmp_path / "once"
    once.mkdir()
    variables = {"ACTORRL_FAILPOINTS": point, "ACTORRL_FAILPOINTS_ONCE": str(once)}
    with faulty_run("--algo", algo, *WORDS, home=tmp_path, variables=variables) as run:
        marker = once / point.partition("=")[0]
        run.wait_for(marker.exists, 60)
        moment = float(marker.read_text().split()[0])
        run.wait_for(lambda: run.status.get("actors") is not None and run.num_restarts() == 1, 60)
        run.settle()
        run.wait_until_it_learns()
        (exited,) = run.event_list("actor_exited")
        assert exited["actor"].startswith(victim) and "SIGKILL" in exited["reason"]
        Measure(
            f"crash at {point.partition('=')[0]}",
            exited["actor"],
            detect_s=exited["time"] - moment,
            recover_s=time.time() - moment,
        ).keep()
        assert run.broken_invariants() == []
