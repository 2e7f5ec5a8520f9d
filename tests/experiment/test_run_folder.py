"""The run folder: made once, found by name, owned by one live driver."""

import errno
import json
import os
import re
import socket
import stat
import subprocess
import sys
import tempfile
import time

import psutil
import pytest

from actorrl.errors import EXIT_USAGE, RunFolderError
from actorrl.experiment import ownership
from actorrl.experiment.run_folder import RunFolder, default_name, list_runs
from actorrl.experiment.state_files import read_json, write_json
from actorrl.experiment.status import ActorStatus, RunStatus

STATUS = {
    "run": "run",
    "run_id": "abc",
    "state": "running",
    "driver_pid": 1,
    "algo": "APEX",
    "env": "CartPole-v1",
    "training_iteration": 3,
    "timesteps_total": 3000,
    "actors": [{"name": "rollout/0", "role": "rollout", "host": "local", "pid": 7}],
}


@pytest.fixture
def other_process():
    """A live process that is not this one."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def make_owner(folder, pid, **changes):
    """Write an owner.json that names the process `pid`."""
    owner = {
        "pid": pid,
        "started": ownership.start_of(pid),
        "hostname": socket.gethostname(),
        "run_id": "other",
    }
    write_json(folder.path / "owner.json", {**owner, **changes})


# ---- making -------------------------------------------------------------------------------------


def test_a_new_folder_is_private_and_has_the_promised_subfolders(tmp_path):
    run = RunFolder.create(tmp_path / "deep" / "results", "my run-1")
    assert stat.S_IMODE(run.path.stat().st_mode) == 0o700
    folders = {path.name for path in run.path.iterdir()}
    assert folders == {"checkpoints", "recovery", "videos", "logs"}
    assert os.fspath(run) == str(run.path)


def test_an_existing_folder_is_refused_and_the_message_says_what_to_do(tmp_path, run):
    with pytest.raises(RunFolderError, match=r"exists already.*--name.*actorrl resume /.*/run$"):
        RunFolder.create(run.path.parent, "run")
    RunFolder.create(run.path.parent, "my run")
    with pytest.raises(RunFolderError, match=r"actorrl resume '/.*/my run'$") as error:
        RunFolder.create(run.path.parent, "my run")
    assert error.value.exit_code == EXIT_USAGE


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "/abs", "line\nbreak"])
def test_a_name_that_is_no_folder_name_is_refused(tmp_path, name):
    with pytest.raises(RunFolderError, match="cannot be a run's name"):
        RunFolder.create(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_the_check_makes_nothing(tmp_path):
    path = RunFolder.check_available(tmp_path / "results", "name")
    assert path == tmp_path / "results" / "name"
    assert list(tmp_path.iterdir()) == []


def test_results_below_a_file_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="--results"):
        RunFolder.create(tmp_path / "file" / "results", "name")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission_is_refused(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(RunFolderError, match="--results"):
        RunFolder.check_available(tmp_path / "closed", "name")


def test_a_disk_that_refuses_is_reported_as_not_writable():
    with pytest.raises(RunFolderError, match=r"cannot be made.*--results"):
        RunFolder.create("/proc", "name")


def test_the_default_name_has_algorithm_environment_and_time():
    name = default_name("APEX", "ALE/Pong-v5")
    assert re.fullmatch(r"APEX_ALE_Pong-v5_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", name)
    assert default_name("PPO", "my.module:Env").startswith("PPO_my.module_Env_")


# ---- finding ------------------------------------------------------------------------------------


def test_a_run_is_opened_by_folder_and_by_name(run):
    assert RunFolder.open(run.path).path == run.path
    assert RunFolder.open("run", run.path.parent).path == run.path


def test_an_unknown_run_is_answered_with_the_nearest_name(run):
    RunFolder.create(run.path.parent, "APEX_CartPole")
    with pytest.raises(RunFolderError, match="did you mean 'APEX_CartPole'"):
        RunFolder.open("APEX_CartPol", run.path.parent)
    assert set(list_runs(run.path.parent)) == {"run", "APEX_CartPole"}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_runs_of_another_user_are_not_listed_and_not_opened():
    with tempfile.TemporaryDirectory() as base:
        os.chmod(base, 0o755)
        foreign, own = (RunFolder.create(base, name).path for name in ("foreign", "own"))
        os.chown(own, 65534, 65534)
        os.seteuid(65534)
        try:
            assert list_runs(base) == ["own"]
            with pytest.raises(RunFolderError, match="you may not look into it"):
                RunFolder.open("foreign", base)
        finally:
            os.seteuid(0)
        assert set(list_runs(base)) == {foreign.name, "own"}


def test_a_folder_that_is_no_run_is_not_opened(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(RunFolderError, match="no run folder"):
        RunFolder.open(tmp_path / "photos")
    assert list_runs(tmp_path) == [] and list_runs(tmp_path / "absent") == []


# ---- small files --------------------------------------------------------------------------------


def test_status_has_exactly_the_promised_keys(run):
    run.acquire("abc")
    run.write_status(STATUS)
    written = read_json(run.path / "status.json")
    assert list(written) == list(STATUS)
    assert list(written["actors"][0]) == [
        *("name", "role", "host", "pid", "state", "incarnation", "restarts", "last_error")
    ]
    assert run.read_status() == RunStatus(
        **{k: v for k, v in STATUS.items() if k != "actors"},
        actors=[ActorStatus(name="rollout/0", role="rollout", pid=7)],
    )


@pytest.mark.parametrize(
    "change", [{"extra": 1}, {"timesteps_total": "many"}, {"actors": [{"name": "x"}]}]
)
def test_a_status_unlike_the_contract_is_refused(run, change):
    with pytest.raises(ValueError):
        run.write_status({**STATUS, **change})
    assert run.read_status() is None


def test_the_status_of_a_run_whose_driver_was_killed_says_dead(run):
    run.write_status(STATUS)
    status = run.read_status()
    assert (status.state, status.driver_pid) == ("dead", None)
    assert [(a.pid, a.state) for a in status.actors] == [(None, "dead")]


def test_the_status_of_an_ended_run_keeps_how_it_ended(run):
    run.write_status({**STATUS, "state": "finished"})
    status = run.read_status()
    assert status.state == "finished"
    assert status.actors[0].pid is None


def test_params_are_read_back_and_a_missing_file_is_an_error(run):
    with pytest.raises(RunFolderError, match=r"params\.json"):
        run.read_params()
    run.write_params({"config": {"lr": 1e-4}, "hosts": ["local"]})
    assert run.read_params() == {"config": {"lr": 1e-4}, "hosts": ["local"]}


def test_events_are_json_lines_with_time_and_kind(run):
    run.append_event("restarted", actor="rollout/0", reason="signal 9")
    run.append_event("stopped")
    first, second = run.read_events()
    assert first["kind"] == "restarted" and first["reason"] == "signal 9"
    assert abs(first["time"] - time.time()) < 60
    assert second["kind"] == "stopped"
    assert len((run.path / "events.jsonl").read_text().splitlines()) == 2


# ---- ownership ----------------------------------------------------------------------------------


def test_a_folder_that_another_live_driver_owns_is_refused_naming_its_pid(run, other_process):
    make_owner(run, other_process.pid)
    with pytest.raises(RunFolderError, match=f"pid {other_process.pid}"):
        run.acquire("mine")
    assert run.driver_pid() == other_process.pid


def test_a_full_disk_is_told_as_such_where_a_driver_would_own_the_folder(run, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(ownership, "write_json", fail)
    with pytest.raises(RunFolderError, match=r"run: cannot be written to .No space left"):
        run.acquire("mine")


def test_the_folder_of_a_driver_that_is_gone_is_taken_over(run, other_process):
    make_owner(run, other_process.pid)
    other_process.kill()
    other_process.wait()
    run.acquire("mine")
    assert run.driver_pid() == os.getpid()


def test_a_zombie_owns_nothing(run, other_process):
    make_owner(run, other_process.pid)
    other_process.kill()
    os.waitid(os.P_PID, other_process.pid, os.WEXITED | os.WNOWAIT)  # ended, not yet reaped
    assert run.driver_pid() is None


def test_another_process_that_got_the_same_pid_owns_nothing(run, other_process):
    make_owner(run, other_process.pid, started=ownership.start_of(os.getppid()))
    run.acquire("mine")
    assert run.driver_pid() == os.getpid()


def test_a_driver_is_the_owner_still_after_the_clock_was_set(run, other_process, monkeypatch):
    make_owner(run, other_process.pid)
    boot_time = psutil.boot_time()
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: boot_time + 3600.0)
    monkeypatch.setattr(time, "time", lambda: boot_time - 1e6)
    assert run.driver_pid() == other_process.pid
    with pytest.raises(RunFolderError, match=f"pid {other_process.pid}"):
        run.acquire("mine")


@pytest.mark.parametrize(("silence_s", "alive"), [(5.0, True), (1000.0, False)])
def test_a_driver_on_another_machine_is_alive_while_it_writes_its_status(run, silence_s, alive):
    make_owner(run, os.getpid(), hostname="elsewhere")
    run.write_status(STATUS)
    moment = time.time() - silence_s
    os.utime(run.path / "status.json", (moment, moment))
    assert (run.driver_pid() is not None) == alive


def test_a_driver_of_another_machine_that_has_this_pid_is_another_driver(run):
    mine = ownership.this_process("mine")
    make_owner(run, mine.pid, hostname="elsewhere")
    run.write_status(STATUS)
    with pytest.raises(RunFolderError, match=f"pid {mine.pid} on elsewhere"):
        run.acquire("mine")
    run.release()
    assert ownership.read_owner(run.path).hostname == "elsewhere"


def test_a_driver_may_take_its_own_folder_again(run):
    run.acquire("first")
    run.acquire("second")
    assert ownership.read_owner(run.path).run_id == "second"


def test_the_one_live_run_is_found_wherever_its_results_lie(tmp_path, run):
    run.acquire("id")
    assert RunFolder.find_live(tmp_path / "other results").path == run.path
    run.release()
    with pytest.raises(RunFolderError, match="no run is alive"):
        RunFolder.find_live(tmp_path / "other results")
    assert not (run.path / "owner.json").exists()


def test_two_live_runs_must_be_told_apart(tmp_path, run):
    run.acquire("1")
    RunFolder.create(tmp_path / "results", "run2").acquire("2")
    with pytest.raises(RunFolderError, match="2 runs are alive"):
        RunFolder.find_live(tmp_path)


def test_notes_of_dead_runs_are_removed(tmp_path, run):
    run.acquire("id")
    (run.path / "owner.json").unlink()
    assert ownership.live_runs() == []
    assert list(ownership.state_folder().iterdir()) == []


def test_a_live_run_is_found_in_the_results_when_the_home_cannot_be_written(run, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/none")
    run.acquire("id")
    assert ownership.live_runs(run.path.parent) == [run.path]
    run.release()


def test_release_leaves_another_owner_s_note_alone(run, other_process):
    make_owner(run, other_process.pid)
    run.release()
    assert run.driver_pid() == other_process.pid


def test_a_damaged_owner_note_owns_nothing(run):
    (run.path / "owner.json").write_text(json.dumps({"pid": "x"}))
    run.acquire("id")
    assert run.driver_pid() == os.getpid()
