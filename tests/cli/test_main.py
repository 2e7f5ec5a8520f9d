"""The door itself: what is imported, unknown words, commands that are not built yet."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading

import pytest

from actorrl.cli import main
from actorrl.cli.main import COMMANDS, LATER, run
from actorrl.errors import EXIT_OK

HEAVY = ("torch", "gymnasium", "zmq", "multiprocessing.managers")
# Runs a command line in a fresh interpreter and prints which of HEAVY it imported.
PROBE = f"""
import json, sys
from actorrl.cli.main import run
sys.stdout = sys.stderr
code = run(json.loads(sys.argv[1]))
sys.stdout = sys.__stdout__
print(json.dumps([code, [name for name in {HEAVY!r} if name in sys.modules]]))
"""


def imported_by(words: list[str]) -> list[object]:
    command = [sys.executable, "-c", PROBE, json.dumps(words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: list[object] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_help_imports_none_of_torch_gymnasium_and_zmq() -> None:
    assert imported_by(["--help"]) == [0, []]


def test_what_nobody_reads_any_more_is_no_failure() -> None:
    """`actorrl list envs | head`."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "actorrl", "list", "algos"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "words",
    [
        ["launch", "--help"],
        ["evaluate", "--help"],
        ["status", "--results", "/nonexistent", "x"],
        ["logs", "--results", "/nonexistent", "x"],
        ["stop", "--results", "/nonexistent", "x"],
        ["list", "examples"],
        ["launch", "--algo", "APX"],
    ],
)
def test_light_commands_import_none_of_them_either(words: list[str]) -> None:
    assert imported_by(words)[1] == []


def test_python_dash_m_is_the_same_command() -> None:
    command = [sys.executable, "-m", "actorrl", "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: actorrl ")
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: actorrl {name} ")


@pytest.mark.parametrize("name", LATER)
def test_what_is_not_built_exits_2_and_says_so(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([name, "anything", "--flag"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {name}: not built yet")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["lunch"], "error: lunch: unknown command, did you mean 'launch'?\n"),
        (["xyzzy"], "error: xyzzy: unknown command, `actorrl --help` lists the commands\n"),
        (["launch", "--ago", "APEX"], "error: --ago: unknown option, did you mean '--algo'?\n"),
        (["launch", "--workers", "many"], "error: --workers: 'many' is not a valid integer\n"),
        (["list", "algs"], "error: {algos|envs|runs|examples}: 'algs' is not one of"),
        (["evaluate"], "error: RUN_OR_CHECKPOINT: missing\n"),
        ([], "Usage: actorrl "),
        (["example", "run", "x"], "error: example: unknown command, `actorrl list examples` shows"),
        (["list", "runs", "--results", "/nonexistent"], "error: --results: /nonexistent is no fo"),
        (["train", "x.yaml"], "error: x.yaml: unknown word, expected options; `-f FILE` for a fil"),
        (["train", "file", "x.yaml"], "error: -f: no file and no example called 'x.yaml'"),
        (["check", "--hosts", "/nonexistent"], "error: --hosts: there is no file '/nonexistent'"),
        (["hosts", "list", "--hosts", "/nonexistent"], "error: --hosts: there is no file '/none"),
        (["config", "json:loads"], "error: ALGO: 'json:loads' is not accepted, expected a class"),
    ],
)
def test_mistakes_on_the_command_line_take_one_line_and_exit_2(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(expected)
    assert "Traceback" not in captured.err and captured.out == ""


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("actorrl ")


ENDLESS = {
    "threads that have not ended: theirs": "threading.Thread(target=wait, name='theirs').start()",
    "an exit hook": "atexit.register(wait)",
}


@pytest.mark.parametrize("what", ENDLESS)
def test_what_an_environment_has_left_in_this_process_is_not_waited_for(what):
    wait = "wait = lambda: time.sleep(1000)"
    go = "main.EXIT_S = 0.1; sys.argv = ['actorrl', '--version']; main.main()"
    imports = "import atexit, sys, threading, time; from actorrl.cli import main"
    script = "; ".join([imports, wait, ENDLESS[what], go])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout[:8]) == (EXIT_OK, "actorrl ")
    assert done.stderr == f"actorrl: not waiting any longer for {what}\n"


def test_the_command_ends_without_searching_for_cycles(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["actorrl", "--version"])
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(main, "EXIT_S", 0.0)
    try:
        with pytest.raises(SystemExit) as end:
            main.main()
        for watch in [each for each in threading.enumerate() if isinstance(each, threading.Timer)]:
            watch.join()  # it ends nobody: we go on
        assert (end.value.code, gc.isenabled()) == (EXIT_OK, False)
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.enable()
