"""status, logs, stop and list over run folders on disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from actorrl.cli import stop_run
from actorrl.cli.main import run
from actorrl.experiment.run_folder import RunFolder
from actorrl.experiment.status import ActorStatus, RunStatus

# A driver without training: takes the folder, says so, ends as the CLI does on SIGTERM.
DRIVER = """
import signal, sys
from actorrl.experiment.run_folder import RunFolder
folder = RunFolder.open(sys.argv[1])
folder.acquire("run-of-test-runs")
print("ready", flush=True)
signal.sigwait([signal.SIGTERM])
folder.release()
"""


@pytest.fixture(autouse=True)
def own_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder.create(tmp_path / "results", "first")
    actor = ActorStatus(
        name="rollout/0", role="rollout", pid=4242, state="ready", restarts=1, last_error="a\nBoom"
    )
    made.write_status(
        RunStatus(
            run="first", run_id="abc", state="finished", driver_pid=1, algo="APEX",
            env="CartPole-v1", training_iteration=7, timesteps_total=700, actors=[actor],
        )
    )  # fmt: skip
    return made


def test_status_prints_one_object_with_the_contracts_keys(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["status", str(folder.path), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert list(status) == [
        "run", "run_id", "state", "driver_pid", "algo", "env", "training_iteration",
        "timesteps_total", "actors",
    ]  # fmt: skip
    assert set(status["actors"][0]) == {
        "name", "role", "host", "pid", "state", "incarnation", "restarts", "last_error",
    }  # fmt: skip


def test_status_as_text_names_run_and_actors(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["status", "first", "--results", str(folder.path.parent)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("first: finished\nAPEX on CartPole-v1, iteration 7, 700 env steps\n")
    assert "rollout/0" in out and out.rstrip().endswith("Boom")


def test_an_unknown_run_is_refused_with_the_one_meant(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("status", "logs", "stop"):
        assert run([name, "frist", "--results", str(folder.path.parent)]) == 2
        assert "did you mean 'first'?" in capsys.readouterr().err


def test_list_runs_has_a_line_for_each(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    RunFolder.create(folder.path.parent, "second")
    assert run(["list", "runs", "--results", str(folder.path.parent)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "first  finished, iteration 7, 700 env steps",
        "second  (no status)",
    ]


def test_logs_prints_an_actors_log_whole_or_its_end(
    folder: RunFolder, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    (folder.logs / "rollout-0.log").write_bytes(b"one\ntwo\nthree \xff\n")
    assert run(["logs", str(folder.path), "rollout/0"]) == 0
    assert capsysbinary.readouterr().out == b"one\ntwo\nthree \xff\n"
    assert run(["logs", str(folder.path), "rollout/0", "-n", "1"]) == 0
    assert capsysbinary.readouterr().out == b"three \xff\n"
    assert run(["logs", str(folder.path), "rollout/0", "-n", "0", "-f"]) == 0
    assert capsysbinary.readouterr().out == b"", "a run that is over is not followed"


def test_logs_names_the_actors_that_there_are(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder.logs / "rollout-0.log").touch()
    (folder.logs / "replay-1.log").touch()
    assert run(["logs", str(folder.path)]) == 0
    assert capsys.readouterr().out == "replay/1\nrollout/0\n"
    assert run(["logs", str(folder.path), "rolout/0"]) == 2
    assert "did you mean 'rollout/0'?" in capsys.readouterr().err
    assert run(["logs", str(folder.path), "../owner"]) == 2


def test_stop_waits_as_long_as_the_runs_own_grace_and_what_comes_beside_it(
    folder: RunFolder,
) -> None:
    assert stop_run.patience_s(folder) == 30.0, "before there are settings: the default's"
    folder.write_params({"grace_s": 45.5})
    assert stop_run.patience_s(folder) == 65.5


def test_stop_ends_the_driver_and_only_a_live_one(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["stop", str(folder.path)]) == 2
    assert "not alive" in capsys.readouterr().err
    # sigwait needs the signal blocked, or it would end the process.
    block = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
    driver = subprocess.Popen(
        [sys.executable, "-c", block + DRIVER, str(folder.path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert driver.stdout is not None and driver.stdout.readline() == "ready\n"
        assert run(["stop"]) == 0, "the one live run is meant"
        assert driver.wait(timeout=10) == 0
        assert f"actorrl resume {folder.path}" in capsys.readouterr().out
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()


def test_a_run_that_may_not_be_looked_into_is_named_in_one_line(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["status", str(folder.path)]) == 0, "all that it needs is imported"
    capsys.readouterr()
    user = os.geteuid()
    folder.path.chmod(0)
    if user == 0:
        os.seteuid(65534)  # root may look everywhere
    try:
        code = run(["status", str(folder.path)])
    finally:
        os.seteuid(user)
        folder.path.chmod(0o700)
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 2
    assert line.startswith(f"error: {folder.path}: you may not look into it (Permission denied)")
