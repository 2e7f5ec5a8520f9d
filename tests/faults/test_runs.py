"""A training run, and one fault after the other; the invariants after each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from actorrl.experiment.checkpoints import newest_whole
from actorrl.experiment.run_folder import RunFolder
from tests.faults import garbage
from tests.faults.harness import FaultyRun, faulty_run
from tests.faults.measures import Measure
from tests.system import runs

pytestmark = pytest.mark.timeout(400)
slow = pytest.mark.slow
WORDS = ["--env", "CartPole-v1", "--workers", "2", "--seed", "3", "--stop", "timesteps_total=1e9"]
WORDS += ["--set", "min_time_s_per_iteration=0.2"]
SLOTS = ["rollout/0", "replay/1", "learner/0", "agent/local", "driver"]


@pytest.fixture(scope="module", params=["APEX", pytest.param("IMPALA", marks=slow)])
def run(request, tmp_path_factory) -> Iterator[FaultyRun]:
    home = tmp_path_factory.mktemp(request.param)
    words = ["--checkpoint-freq", "10", "--keep", "3"]
    with faulty_run("--algo", request.param, *WORDS, *words, home=home) as run:
        run.settle()
        yield run


@pytest.mark.parametrize(
    "victims",
    [
        ["rollout/1"],
        ["rollout/0", "rollout/1"],
        ["learner/0"],
        ["replay/0"],
        pytest.param(["replay/0", "rollout/0", "learner/0"], marks=slow),
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


def test_an_agent_that_is_killed_takes_its_actors_along_and_all_come_back(run):
    run.kill_agent()
    assert run.broken_invariants() == []
    inexact = [event for event in run.event_list("learner_recovered") if not event["exact"]]
    assert len(inexact) == 1


@pytest.mark.parametrize(
    ("victim", "seconds"),
    [
        pytest.param(victim, seconds, marks=() if (victim, seconds) == ("agent/local", 6) else slow)
        for seconds in (6, 20)
        for victim in SLOTS
    ],
)
def test_who_stands_still_for_a_while_goes_on_and_nobody_is_started_again(run, victim, seconds):
    if victim not in {**run.actors(), "driver": None}:
        pytest.skip("this topology has no shards")
    run.stop_for(victim, seconds)
    assert run.broken_invariants() == []


def test_bytes_that_mean_nothing_change_nothing(run):
    restarts = run.num_restarts()
    assert garbage.send(run.run_id(), seed=1) >= 8, "driver, beats, agent, memory, actors"
    run.wait_until_it_learns()
    assert run.broken_invariants() == []
    assert run.num_restarts() == restarts


def test_a_driver_that_is_killed_leaves_nothing_and_resume_goes_on(tmp_path: Path) -> None:
    words = ["--algo", "IMPALA", *WORDS, "--checkpoint-freq", "4"]
    with faulty_run(*words, home=tmp_path) as run:
        run.wait_for(lambda: len(run.rows()) >= 10)
        first, moment = run.run_id(), time.time()
        run.process.kill()
        runs.wait_for(lambda: not runs.processes_of(first) and not runs.traces_of(first), 30)
        gone_s = time.time() - moment
    damaged = newest_whole(RunFolder.open(run.folder))
    assert damaged is not None
    (damaged / "state.json").write_text("{}")
    last, moment = run.last_row(), time.time()
    with faulty_run(str(run.folder), home=tmp_path, command="resume") as run:
        run.settle()
        resumed_s = time.time() - moment
        (told,) = run.event_list("run_resumed")
        assert 0 < told["updates_lost"] <= last["num_updates"]
        assert told["timesteps_lost"] <= last["timesteps_total"]
        (event,) = run.event_list("checkpoint_damaged")
        assert damaged.name in event["reason"] and damaged.name not in told["checkpoint"]
        watcher = run.watcher
        assert watcher is not None
        run.wait_for(lambda: watcher.seen[-1][0] > 1)  # a new epoch
        assert run.broken_invariants() == []
    lost = f"{told['updates_lost']} updates"
    note = "all its processes and sockets gone; by hand, `actorrl resume`: learns again"
    Measure("signal SIGKILL", "driver", gone_s, None, resumed_s, lost, note).keep()


CRASHES = {
    "weights.mid_publish": "learner/0",
    "learner.before_publish": "learner/0",
    "shard.mid_insert": "replay/",
    "shard.before_insert": "replay/",
    "worker.before_send": "rollout/",
}


def test_crashes_between_two_steps_are_recovered_from_as_a_whole(tmp_path):
    once = tmp_path / "once"
    once.mkdir()
    points = ",".join(f"{point}=kill@{20 * n + 20}" for n, point in enumerate(CRASHES))
    variables = {"ACTORRL_FAILPOINTS": points, "ACTORRL_FAILPOINTS_ONCE": str(once)}
    with faulty_run("--algo", "APEX", *WORDS, home=tmp_path, variables=variables) as run:
        run.wait_for(lambda: len(list(once.iterdir())) == len(CRASHES))
        run.wait_for(lambda: run.num_restarts() == len(CRASHES))
        run.settle()
        exits = run.event_list("actor_exited")
        assert len(exits) == len(CRASHES)
        for point, victim in CRASHES.items():
            moment = float((once / point).read_text().split()[0])
            end = min(
                (event for event in exits if event["actor"].startswith(victim)),
                key=lambda event: abs(event["time"] - moment),
            )
            assert "SIGKILL" in end["reason"]
            ready = min(
                event["time"]
                for event in run.event_list("actor_ready")
                if event["actor"] == end["actor"] and event["time"] > end["time"]
            )
            Measure(f"crash at {point}", victim, end["time"] - moment, ready - moment).keep()
        assert run.broken_invariants() == []
