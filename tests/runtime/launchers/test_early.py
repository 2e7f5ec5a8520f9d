from __future__ import annotations

import contextlib
import glob
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import pytest

from actorrl.algorithms.a2c import A2CConfig
from actorrl.errors import RunFailed
from actorrl.runtime import strays
from actorrl.runtime.host_specs import LOCAL
from actorrl.runtime.launchers import early, local
from tests.runtime.clusters import SLEEPER, cluster_of, is_alive, rows, wait_until

_STARTED_AND_LEFT = """
import os
from actorrl.runtime.launchers import early, local
early.start(local.environment({run_id!r}, "local"), ["never_imported"])
while not os.path.exists("begun"):
    pass
os._exit(0)
"""
_NEVER_IMPORTED = "import time; open('begun', 'w').close(); time.sleep(1000)"


@contextlib.contextmanager
def one_waits(run_id: str) -> Iterator[int]:
    """Its pid."""
    early.start(local.environment(run_id, LOCAL), ["json"])
    assert early._waiting is not None
    try:
        yield early._waiting.process.pid
    finally:
        early.discard()


def forkservers_of(run_id: str) -> list[str]:
    """Their sockets."""
    return [path for each in directories(run_id) for path in glob.glob(f"{each}/pymp-*/listener-*")]


def directories(run_id: str) -> list[str]:
    return glob.glob(f"{tempfile.gettempdir()}/actorrl-{os.getuid()}/{run_id}*")


def test_the_socket_of_its_forkserver_goes_with_the_run(run_id):
    before = set(glob.glob(f"{tempfile.gettempdir()}/pymp-*"))
    with one_waits(run_id):
        with cluster_of(1, run_id=run_id):
            (directory,) = directories(run_id)
            assert glob.glob(f"{directory}/pymp-*/listener-*"), "actors are forked through it"
            assert set(glob.glob(f"{tempfile.gettempdir()}/pymp-*")) <= before
        assert directories(run_id) == []


def test_the_agent_that_waits_becomes_the_runs(run_id, tmp_path):
    with one_waits(run_id) as pid:
        assert early.run_id() == run_id
        with cluster_of(1, run_id=run_id, log_dir=tmp_path) as cluster:
            assert rows(cluster)["agent/local"]["pid"] == pid
            early.discard()  # nobody waits any more
            assert rows(cluster)["agent/local"]["pid"] == pid
            assert "Error" not in (tmp_path / "agent-local.log").read_text()
        assert strays.of_run(run_id) == []


def test_one_in_another_environment_is_not_taken(run_id, monkeypatch):
    with one_waits(run_id) as pid:
        monkeypatch.setenv("ACTORRL_TEST_VARIABLE", "1")
        with cluster_of(1, run_id=run_id) as cluster:
            assert rows(cluster)["agent/local"]["pid"] != pid
        wait_until(lambda: strays.of_run(run_id) == [])
        assert directories(run_id) == []


def test_one_that_is_not_taken_leaves_its_directory_to_the_run(run_id, monkeypatch):
    kill = strays.kill_session

    def kill_late(leader: int, patience_s: float) -> list[int]:  # as where the machine is busy
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not is_alive(leader), 2.0)
        return kill(leader, patience_s)

    with one_waits(run_id):
        wait_until(lambda: forkservers_of(run_id) != [])
        monkeypatch.setenv("ACTORRL_TEST_VARIABLE", "1")
        monkeypatch.setattr(strays, "kill_session", kill_late)
        with cluster_of(1, run_id=run_id) as cluster:
            assert cluster.ref("worker/0").add.call().result() == 1


def test_one_whose_run_failed_before_it_took_one_does_not_wait_for_another(
    run_id, tmp_path, monkeypatch
):
    """The run's directory is gone, and the forkserver's socket with it."""

    def fail(*_: object) -> None:
        raise OSError("half way")

    monkeypatch.setattr(local.LocalAgentProcess, "start", fail)
    config = A2CConfig().environment("CartPole-v1").rollouts(num_workers=1)
    with one_waits(run_id):
        with pytest.raises(RunFailed, match="half way"):
            config.build(results=tmp_path)
        assert early.run_id() != run_id and directories(run_id) == []


def test_one_that_nobody_needs_is_ended_with_its_forkserver(run_id):
    with one_waits(run_id):
        assert len(directories(run_id)) == 1
        early.discard()
        assert strays.of_run(run_id) == [] and directories(run_id) == []
        assert early.run_id() != run_id


def test_one_whose_command_was_killed_ends_with_its_forkserver_whatever_that_imports(
    run_id, tmp_path
):
    (tmp_path / "never_imported.py").write_text(_NEVER_IMPORTED)
    words = [sys.executable, "-c", _STARTED_AND_LEFT.format(run_id=run_id)]
    path = os.pathsep.join([str(tmp_path), *sys.path])
    subprocess.run(words, check=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path})
    wait_until(lambda: strays.of_run(run_id) == [] and directories(run_id) == [])


def test_a_child_that_does_not_end_is_named_and_not_waited_for(monkeypatch, caplog):
    monkeypatch.setattr(early, "_END_S", 0.01)
    child = subprocess.Popen(SLEEPER)  # as one that the kernel holds after its SIGKILL
    try:
        with caplog.at_level(logging.WARNING):
            early.reap(child)
        assert f"process {child.pid} was killed" in caplog.text
    finally:
        child.kill()
        child.wait()
    caplog.clear()
    early.reap(child)
    assert caplog.text == ""
